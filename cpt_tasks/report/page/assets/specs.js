// The charts: what each takes from the data, its Vega-Lite specification, and the columns of its table.
const LEVELS = ["low", "moderate", "extremely_high"];
const FROM_0_TO_100 = { type: "quantitative", scale: { domain: [0, 100], nice: false } };
const TICKS = { values: [0, 20, 40, 60, 80, 100] };
const EDGES = [{ at: 40 }, { at: 92.5 }];
const CI = [["ci_low", "95% from"], ["ci_high", "to"]];
const narrow = (width) => width < 560;
const mine = (name) => (index.charts[name] ?? []).filter((row) => slots.has(row.model));
const distinct = (rows, key) => [...new Set(rows.map((row) => row[key]))];
const tips = (...pairs) => pairs.map(([field, title, format]) => ({ field, title, ...(format ? { format } : {}) }));
const labels = (width) => ({ title: null, labelLimit: narrow(width) ? 104 : 220, domain: false, ticks: false,
  labelColor: "var(--ink)", labelPadding: 8 });

const CHARTS = {
  levels(_figure, width) {
    const rows = index.charts.levels.map((row) => ({ ...row, level: words(row.level) }));
    const scale = { domain: LEVELS.map(words), range: ["var(--low)", "var(--moderate)", "var(--high)"] };
    const shapes = { domain: LEVELS.map(words), range: ["triangle-left", "circle", "triangle-right"] };
    const y = { field: "model", type: "nominal", sort: models, axis: { ...labels(width), grid: true } };
    const x = { field: "mean", ...FROM_0_TO_100, title: "mean score", axis: { grid: false, ...TICKS } };
    const legend = { orient: "top", title: "asked for", labelColor: "var(--ink)", titleColor: "var(--soft)",
      titleFontWeight: "normal", symbolSize: 90, symbolOpacity: 1, labelFontSize: 12, columnPadding: 18,
      titleOrient: narrow(width) ? "top" : "left", columns: narrow(width) ? 2 : 3 };
    const colour = { field: "level", type: "nominal", scale, legend };
    return {
      text: "Three marks per model.",
      columns: [["model", "model"], ["level", "asked for"], ["mean", "mean score", 1], ["ci_low", "95% from", 1],
        ["ci_high", "to", 1], ["accuracy", "share in the band"]],
      rows,
      spec: { width, height: 30 * distinct(rows, "model").length, autosize: { type: "fit-x", contains: "padding" }, data: { values: rows },
        layer: [
          { data: { values: EDGES }, mark: { type: "rule", strokeDash: [2, 3] }, encoding: { x: { ...x, field: "at" } } },
          { mark: { type: "rule", strokeWidth: 1.5 }, encoding: { y, x: { ...x, aggregate: "min" }, x2: { field: "mean", aggregate: "max" } } },
          { mark: { type: "rule", strokeWidth: 7, opacity: 0.35 }, encoding: { y, x: { ...x, field: "ci_low" }, x2: { field: "ci_high" }, color: colour } },
          { mark: { type: "point", filled: true, size: 120, opacity: 1 },
            encoding: { y, x, color: colour, shape: { field: "level", scale: shapes, legend },
              tooltip: tips(["model", "model"], ["level", "asked for"], ["mean", "mean score", ".1f"], ["accuracy", "share in the band", ".2f"]) } },
        ] },
    };
  },

  async scores(figure, width) {
    const runs = index.runs.filter((run) => slots.has(run.model) && run.levels.every((level) => LEVELS.includes(level)));
    const task = runs[0]?.task;
    const here = runs.filter((run) => run.task === task).sort((a, b) => models.indexOf(a.model) - models.indexOf(b.model));
    const all = "all rubrics";
    const rubric = control(figure, "Rubric", [all, ...new Set(index.runs.filter((run) => run.task === index.runs[0].task).flatMap((run) => run.rubrics))]);
    const levels = LEVELS.filter((level) => here.some((run) => run.levels.includes(level)));
    const found = [];
    for (const run of here) found.push(...score_bins(run.model, await open_blob(`scores-${index.runs.indexOf(run)}`), levels, rubric === all ? null : rubric));
    const rows = found.map((cell) => cell.row);
    const bins = found.flatMap((cell) => cell.bins);
    const each = Math.max(70, (width - 44 - 14 * (levels.length - 1)) / levels.length);
    const top = Math.max(0.01, ...bins.map((bin) => bin.share));
    const panel = (model, level, first, last) => {
      const [low, high] = index.levels[level];
      const cell = rows.find((row) => row.model === model && row.level === words(level));
      const axis = last ? { grid: false, values: [0, 40, 92.5], labelFlush: true, labelExpr: "toString(datum.value)" } : null;
      const x = (field) => ({ field, ...FROM_0_TO_100, title: null, axis });
      return { width: each, height: 62, title: first ? { text: words(level), fontWeight: "normal", color: "var(--soft)", fontSize: 12 } : undefined,
        layer: [
          { data: { values: [{ low, high }] }, mark: { type: "rect", color: "var(--band)" }, encoding: { x: x("low"), x2: { field: "high" } } },
          { data: { values: bins.filter((bin) => bin.model === model && bin.level === words(level)) }, mark: { type: "bar", binSpacing: 1 },
            encoding: { x: { ...x("from"), bin: { binned: true, step: 5 } }, x2: { field: "to" },
              y: { field: "share", type: "quantitative", axis: null, scale: { domain: [0, top] } }, color: model_scales().color,
              tooltip: tips(["model", "model"], ["level", "asked for"], ["from", "score from"], ["to", "to"], ["share", "share", ".0%"]) } },
          { data: { values: cell ? [cell] : [] }, mark: { type: "rule", color: "var(--ink)", strokeWidth: 2 }, encoding: { x: x("median") } },
        ] };
    };
    const shown_models = distinct(rows, "model");
    return {
      text: rows.map((row) => `${row.model}, ${row.level}: median ${shown(row.median, 0)}.`).join(" "),
      columns: [["model", "model"], ["level", "asked for"], ["n", "n", 0], ["quarter", "first quartile", 1], ["median", "median", 1], ["three", "third quartile", 1], ["inside", "share in the band"]],
      rows,
      spec: { spacing: 14, vconcat: shown_models.map((model, number) => ({
        title: { text: model, offset: number ? 4 : 8 }, spacing: 14, bounds: "flush",
        hconcat: levels.map((level) => panel(model, level, number === 0, number === shown_models.length - 1)) })) },
    };
  },

  rubrics(_figure, width) {
    return heatmap(index.charts.rubrics, width, { x: "rubric", y: "model", value: "value", order: models, signed: false, top: 1,
      columns: [["model", "model"], ["rubric", "rubric"], ["value", "accuracy"], ...CI] });
  },

  leakage(figure, width) {
    const benchmark = control(figure, "Responses of", distinct(index.charts.leakage, "benchmark"));
    const rows = index.charts.leakage.filter((row) => row.benchmark === benchmark);
    const model = control(figure, "Model", distinct(rows, "model"));
    const here = rows.filter((row) => row.model === model);
    return heatmap(here, width, { x: "scored", y: "steered", value: "shift", order: distinct(here, "steered"), signed: true,
      top: Math.max(1, ...rows.map((row) => Math.abs(row.shift ?? 0))),
      columns: [["steered", "steered"], ["scored", "scored"], ["shift", "shift, points", 1], ["ci_low", "95% from", 1], ["ci_high", "to", 1]] });
  },

  dose(figure, width) {
    const rubric = control(figure, "Rubric", distinct(index.charts.dose, "rubric"));
    const rows = mine("dose").filter((row) => row.rubric === rubric);
    const { color, shape } = model_scales();
    const x = { field: "target", ...FROM_0_TO_100, title: "target in the system prompt", axis: TICKS };
    const y = { field: "mean", ...FROM_0_TO_100, title: "mean score", axis: TICKS };
    return {
      text: `${plural(distinct(rows, "model").length, "model")}.`,
      columns: [["model", "model"], ["target", "target", 0], ["trained", "trained"], ["mean", "mean score", 1], ["ci_low", "95% from", 1], ["ci_high", "to", 1], ["n", "n", 0]],
      rows: rows.map((row) => ({ ...row, trained: row.trained ? "yes" : "no" })),
      spec: { width: Math.min(width - 60, 620), height: narrow(width) ? 260 : 360, data: { values: rows }, layer: [
        { data: { values: [{ from: 0, to: 0 }, { from: 100, to: 100 }] }, mark: { type: "line", strokeDash: [5, 4], color: "var(--rule)" },
          encoding: { x: { ...x, field: "from" }, y: { ...y, field: "to" } } },
        { mark: { type: "area", opacity: 0.16 }, encoding: { x, y: { ...y, field: "ci_low" }, y2: { field: "ci_high" }, color } },
        { mark: { type: "line", strokeWidth: 2 }, encoding: { x, y, color } },
        { transform: [{ filter: "!datum.trained" }], mark: { type: "point", size: 70, fill: "var(--paper)", opacity: 1, strokeWidth: 2 }, encoding: { x, y, color, shape } },
        { transform: [{ filter: "datum.trained" }], mark: { type: "point", filled: true, size: 80, opacity: 1 }, encoding: { x, y, color, shape } },
        { mark: { type: "point", size: 300, opacity: 0, filled: true }, encoding: { x, y,
          tooltip: tips(["model", "model"], ["target", "target"], ["mean", "mean score", ".1f"], ["n", "n"]) } },
      ] },
    };
  },

  best_of_k(figure, width) {
    const statistic = control(figure, "Statistic", distinct(index.charts.best_of_k, "statistic"));
    const priced = index.charts.best_of_k.some((row) => typeof row.mean_tokens === "number");
    const by_tokens = control(figure, "Across", ["samples", ...(priced ? ["tokens"] : [])]) === "tokens";
    const rows = mine("best_of_k").filter((row) => row.statistic === statistic)
      .map((row) => ({ ...row, level: words(row.level), tokens: by_tokens ? row.mean_tokens : null }));
    const { color, shape } = model_scales();
    const x = { field: by_tokens ? "tokens" : "k", type: "quantitative", scale: { type: "log", base: 2, nice: false },
      title: by_tokens ? "tokens per answer" : "samples k", axis: { grid: false, tickCount: 5, format: "~s", labelOverlap: true } };
    const y = { field: "value", type: "quantitative", title: words(statistic), scale: { zero: false } };
    const levels = distinct(rows, "level");
    const columns = narrow(width) ? 1 : Math.max(1, Math.min(levels.length, 4));
    return {
      text: `${plural(levels.length, "level")}, ${plural(distinct(rows, "model").length, "model")}.`,
      columns: [["model", "model"], ["level", "asked for"], ["k", "k", 0], ["value", words(statistic)], ...CI, ["mean_tokens", "tokens", 0]],
      rows,
      spec: { data: { values: rows }, columns, spacing: 26,
        facet: { field: "level", type: "nominal", sort: levels, header: { labelAnchor: "start" } },
        spec: { width: Math.max(120, (width - 64 * columns) / columns), height: 220, layer: [
          { mark: { type: "area", opacity: 0.16 }, encoding: { x, y: { ...y, field: "ci_low" }, y2: { field: "ci_high" }, color } },
          { mark: { type: "line", strokeWidth: 2 }, encoding: { x, y, color } },
          { mark: { type: "point", filled: true, size: 60, opacity: 1 }, encoding: { x, y, color, shape,
            tooltip: tips(["model", "model"], ["level", "asked for"], ["k", "k"], ["value", words(statistic), ".3f"]) } },
        ] } },
    };
  },
};

// these two: a row per rubric or cell, the models of the charts beside one another in it
CHARTS.wordings = (figure, width) => {
  const named = mine("wordings").map((row) => ({ ...row, cell: `${words(row.rubric)}, ${words(row.level)}`, way: `${row.style}, in the ${row.position} turn` }));
  const way = control(figure, "Asked for by", distinct(named, "way"));
  const rows = named.filter((row) => row.way === way);
  const { color, shape } = model_scales();
  const place = rows_by_model(rows, "cell", width);
  const x = { field: "accuracy", type: "quantitative", scale: { domain: [0, 1] }, title: "share in the band", axis: { grid: false, tickCount: 5 } };
  return {
    text: "", rows,
    columns: [["model", "model"], ["rubric", "rubric"], ["level", "asked for"], ["wording", "wording"], ["accuracy", "accuracy"], ["mean", "mean of the wordings"], ["worst", "worst"], ["n", "n", 0]],
    spec: { width, height: place.height, autosize: { type: "fit-x", contains: "padding" }, data: { values: rows }, encoding: place.encoding, layer: [
      { mark: { type: "rule", strokeWidth: 2, opacity: 0.6 }, encoding: { x: { ...x, aggregate: "min" }, x2: { field: "accuracy", aggregate: "max" }, color } },
      { mark: { type: "point", filled: true, size: 46, opacity: 0.85 }, encoding: { x, color, shape,
        tooltip: tips(["model", "model"], ["cell", "cell"], ["wording", "wording"], ["accuracy", "accuracy", ".2f"], ["n", "n"]) } },
    ] },
  };
};

CHARTS.drift = (figure, width) => {
  const statistic = control(figure, "Statistic", distinct(index.charts.drift, "statistic"));
  const rows = mine("drift").filter((row) => row.statistic === statistic).map((row) => ({ ...row, rubric: words(row.rubric) }));
  const { color, shape } = model_scales();
  const place = rows_by_model(rows, "rubric", width);
  const absolute = statistic === "mean score";
  const x = { field: "value", type: "quantitative", title: statistic, axis: { grid: !absolute, tickCount: 5 }, scale: absolute ? { domain: [0, 100] } : {} };
  return {
    text: "", rows, columns: [["model", "model"], ["rubric", "rubric"], ["value", statistic, 1], ["ci_low", "95% from", 1], ["ci_high", "to", 1]],
    spec: { width, height: place.height, autosize: { type: "fit-x", contains: "padding" }, data: { values: rows }, encoding: place.encoding, layer: [
      { mark: { type: "rule", strokeWidth: 5, opacity: 0.35 }, encoding: { x: { ...x, field: "ci_low" }, x2: { field: "ci_high" }, color } },
      { mark: { type: "point", filled: true, size: 70, opacity: 1 }, encoding: { x, color, shape,
        tooltip: tips(["model", "model"], ["rubric", "rubric"], ["value", statistic, ".1f"], ["ci_low", "95% from", ".1f"], ["ci_high", "to", ".1f"]) } },
    ] },
  };
};

function rows_by_model(rows, field, width) {
  const shown_models = selected().filter((model) => rows.some((row) => row.model === model));
  return {
    height: distinct(rows, field).length * Math.max(22, 10 + 11 * shown_models.length),
    encoding: {
      y: { field, type: "nominal", sort: null, axis: { ...labels(width), grid: true }, scale: { paddingInner: 0.3 } },
      yOffset: { field: "model", type: "nominal", scale: { domain: shown_models } },
    },
  };
}

/** Shares of scores in steps of five points, and quartiles, per level. */
function score_bins(model, columns, levels, rubric) {
  return levels.map((level) => {
    const scores = columns.score.filter((_, row) => columns.level_names[columns.level[row]] === level
      && (rubric === null || columns.rubric_names[columns.rubric[row]] === rubric)).sort((a, b) => a - b);
    const misses = columns.miss.filter((miss, row) => miss === 0 && columns.level_names[columns.level[row]] === level
      && (rubric === null || columns.rubric_names[columns.rubric[row]] === rubric));
    const counts = Array(20).fill(0);
    for (const score of scores) counts[Math.min(19, Math.floor(score / 5))] += 1;
    const n = scores.length;
    const at = (share) => (n ? (scores[Math.floor((n - 1) * share)] + scores[Math.ceil((n - 1) * share)]) / 2 : null);
    const row = { model, level: words(level), n, quarter: at(0.25), median: at(0.5), three: at(0.75), inside: n ? misses.length / n : null };
    return { row, bins: n ? counts.map((count, bin) => ({ model, level: words(level), from: bin * 5, to: bin * 5 + 5, share: count / n })) : [] };
  }).filter(({ row }) => row.n);
}

/** Numbers in cells, shaded by size; signed ones blue above zero and orange below. */
function heatmap(values, width, { x, y, value, order, signed, top, columns }) {
  const rows = values.map((row) => ({ ...row, [x]: words(row[x]), [y]: y === "model" ? row[y] : words(row[y]),
    strength: 0.04 + 0.56 * Math.min(1, Math.abs(row[value] ?? 0) / top), below: (row[value] ?? 0) < 0 }));
  const encoding = {
    x: { field: x, type: "nominal", sort: null, axis: { orient: "top", title: y === "model" ? null : words(x), domain: false, ticks: false, labelAngle: narrow(width) ? -60 : 0, labelColor: "var(--ink)", labelLimit: 110 } },
    y: { field: y, type: "nominal", sort: y === "model" ? order : order.map(words), axis: { ...labels(width), title: y === "model" ? null : words(y) } },
  };
  return {
    text: "", columns, rows,
    spec: { width, height: 30 * distinct(rows, y).length, autosize: { type: "fit-x", contains: "padding" }, data: { values: rows }, encoding, layer: [
      { mark: { type: "rect", cornerRadius: 2, xOffset: 1, x2Offset: -1, yOffset: 1, y2Offset: -1 }, encoding: {
        color: { condition: { test: "datum.below", value: "var(--below)" }, value: signed ? "var(--above)" : "var(--c1)" },
        opacity: { field: "strength", type: "quantitative", scale: null, legend: null },
        tooltip: tips([y, words(y)], [x, words(x)], [value, words(value), ".2f"], ["ci_low", "95% from", ".2f"], ["ci_high", "to", ".2f"]) } },
      { mark: { type: "text" }, encoding: { text: { field: value, type: "quantitative", format: signed ? "+.0f" : ".2f" } } },
    ] },
  };
}
