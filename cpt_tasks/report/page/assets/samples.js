// The drill-down: benchmark, model, rubric and level to the responses, with what the judge said of each.
const PAGE_OF = 5;
const picks = Object.fromEntries(["task", "model", "rubric", "level", "order"].map((name) => [name, document.getElementById(`pick-${name}`)]));
const more = document.getElementById("more");
let waiting = [];
let cell_turn = 0;

function set_up_samples() {
  if (!index.runs.length) return;
  document.getElementById("picker").hidden = false;
  fill_select(picks.task, distinct(index.runs, "task"));
  picks.task.closest(".field").hidden = picks.task.options.length < 2;
  for (const pick of Object.values(picks)) pick.addEventListener("change", () => show_samples({}));
  document.getElementById("picker").addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => show_more(true));
  const asked = new URLSearchParams(location.hash.split("?")[1] ?? "");
  show_samples(asked.size ? Object.fromEntries(asked) : { model: models[0] }, false);
}

/** Shows a cell; what is not asked for stays as it is, or becomes the first there is. */
async function show_samples(asked, record = true) {
  if (asked.model && !asked.task && !run_of(picks.task.value, asked.model))
    asked.task = index.runs.find((run) => run.model === asked.model)?.task;
  const now = (name) => asked[name] ?? picks[name].value;
  const keep = (name, values) => fill_select(picks[name], values, values.includes(now(name)) ? now(name) : values[0]);
  keep("task", distinct(index.runs, "task"));
  keep("model", models.filter((model) => run_of(picks.task.value, model)));
  const run = run_of(picks.task.value, picks.model.value);
  keep("rubric", run.rubrics);
  keep("level", run.levels);
  if (record) {
    const place = new URLSearchParams(["task", "model", "rubric", "level"].map((name) => [name, picks[name].value]));
    history.replaceState(null, "", `#samples?${place}`);
  }
  const turn = ++cell_turn;
  const number = index.runs.indexOf(run);
  const data = await open_blob(`samples-${number}`);
  if (turn === cell_turn) show_cell(rows_of(data), data);
}

const run_of = (task, model) => index.runs.find((run) => run.task === task && run.model === model);

function rows_of(columns) {
  const rubric = columns.rubric_names.indexOf(picks.rubric.value);
  const level = columns.level_names.indexOf(picks.level.value);
  return [...columns.score.keys()]
    .filter((row) => columns.rubric[row] === rubric && columns.level[row] === level)
    .map((row) => ({
      row, score: columns.score[row], miss: columns.miss[row], words: columns.words[row], text: columns.text[row],
      epoch: columns.epoch[row], prompt: columns.user_prompt_id_names[columns.user_prompt_id[row]],
      wording: columns.wording_names[columns.wording[row]], note: columns.note_names[columns.note[row]],
    }));
}

function show_cell(rows, texts) {
  const by = { worst: (a, b) => Math.abs(b.miss) - Math.abs(a.miss), best: (a, b) => Math.abs(a.miss) - Math.abs(b.miss), prompt: (a, b) => a.prompt.localeCompare(b.prompt) };
  rows.sort((a, b) => by[picks.order.value](a, b) || a.row - b.row);
  const kept = rows.filter((row) => row.text >= 0);
  const left = rows.filter((row) => row.text < 0);
  const judged = rows.filter((row) => row.note !== "no response");
  const mean = judged.length ? shown(judged.reduce((sum, row) => sum + row.score, 0) / judged.length, 1) : "undefined";
  const inside = rows.filter((row) => row.miss === 0).length;
  const aimed = rows.some((row) => row.miss !== null);
  const target = !aimed ? "" : picks.level.value in index.levels ? `, ${inside} in the band` : `, ${inside} on the target`;
  document.getElementById("cell").textContent = rows.length
    ? `${plural(rows.length, "response")}: mean score ${mean}${target}. `
      + (left.length ? `The texts of ${kept.length} are here; ${left.length} are left out to keep the file small, with the scores ${left.map((row) => shown(row.score, 0)).join(", ")}.` : "All texts are here.")
    : "No scored response in this cell.";
  document.getElementById("responses").replaceChildren();
  waiting = kept.map((row) => () => response_card(row, texts));
  show_more(false);
}

function show_more(focus) {
  const cards = waiting.splice(0, PAGE_OF).map((build) => build());
  document.getElementById("responses").append(...cards);
  more.hidden = !waiting.length;
  more.textContent = `Show ${Math.min(PAGE_OF, waiting.length)} more of ${waiting.length}`;
  if (focus) cards[0]?.focus();
}

function response_card(row, texts) {
  const n = row.text;
  const criteria = texts.criteria[n];
  const facts = [row.wording && `system prompt ${row.wording}`, plural(row.words, "word"), row.epoch > 1 && `sample ${row.epoch}`,
    texts.holistic[n] !== null && `overall score ${shown(texts.holistic[n], 0)}`, row.note].filter(Boolean);
  return make("article", { class: "response", tabindex: "-1", "aria-label": `Response to ${row.prompt}, score ${shown(row.score, 1)}` },
    make("header", {}, make("span", { class: row.miss ? "score out" : "score in" }, shown(row.score, 1)), make("span", { class: "verdict" }, verdict(row)), gauge(row),
      make("span", { class: "about" }, `${row.prompt} · ${facts.join(" · ")}`)),
    make("div", { class: "texts" },
      make("div", {},
        make("details", {}, make("summary", {}, "System prompt"), make("p", { class: "said" }, texts.system_prompt_names[texts.system_prompt[n]] || "none")),
        make("h3", {}, "User"), make("p", { class: "said user" }, texts.user_prompt_names[texts.user_prompt[n]]),
        make("h3", {}, "Response"), make("p", { class: "said" }, texts.response[n] || "(empty)")),
      criteria.length ? make("div", { class: "judge" }, make("h3", {}, "Judge, by criterion"),
        make("dl", {}, ...criteria.map(([id, score, reason]) => make("div", {}, make("dt", {}, words(id), make("b", {}, shown(score, 0)), bar(score)), make("dd", {}, reason))))) : null));
}

function verdict(row) {
  const banded = picks.level.value in index.levels;
  if (row.note === "no response") return "nothing to judge";
  if (row.miss === null) return "no level was asked for";
  if (row.miss === 0) return banded ? "in the band" : "on the target";
  const points = Math.abs(row.miss) < 0.15 && banded ? "just" : `${shown(Math.abs(row.miss), 1)} points`;
  return `${points} ${row.miss > 0 ? "above" : "below"} the ${banded ? "band" : "target"}`;
}

function gauge(row) {
  const target = row.score - row.miss;
  const [low, high] = index.levels[picks.level.value] ?? (row.miss === null ? [0, 0] : [target - 0.5, target + 0.5]);
  return make("svg", { class: "gauge", height: 16, "aria-hidden": "true" },
    make("line", { class: "axis", x1: 0, x2: "100%", y1: 8, y2: 8 }),
    make("rect", { class: "band", x: `${low}%`, width: `${high - low}%`, y: 2, height: 12 }),
    make("circle", { class: "value", cx: `${row.score}%`, cy: 8, r: 5 }));
}

const bar = (score) => make("svg", { class: "bar", height: 6, "aria-hidden": "true" },
  make("rect", { class: "track", width: "100%", height: 6, rx: 3 }), make("rect", { class: "value", width: `${score}%`, height: 6, rx: 3 }));
