// The charts. Their specifications come from Python; here they get the chosen models with their colours, and a width.
const MARKS = [["var(--c1)", "circle"], ["var(--c2)", "square"], ["var(--c3)", "triangle-up"], ["var(--c4)", "diamond"],
  ["var(--c5)", "cross"], ["var(--c6)", "triangle-down"], ["var(--ink)", "triangle-right"]];
const models = distinct([...boards.flatMap((board) => [...board.tBodies[0].rows]).map((row) => row.dataset), ...index.runs], "model");
// a model keeps its colour and shape while it is in the charts; with few models they are those of the PNGs
const first = models.slice(0, MARKS.length);
const slots = new Map(distinct(index.runs, "model").filter((model) => first.includes(model)).map((model, slot) => [model, slot]));
const newest = new Map();
const tip = make("div", { id: "tip", "aria-hidden": "true", hidden: true });

/** The boxes to choose models; with few models all are drawn. */
function set_up_charts() {
  document.body.append(tip);
  const chooser = document.getElementById("chooser");
  chooser.hidden = models.length < 2 || !Object.keys(index.charts).length;
  chooser.querySelector("summary").append(` (up to ${MARKS.length})`);
  chooser.querySelector(".boxes").append(...models.map((model) => {
    const box = make("input", { type: "checkbox", value: model, checked: slots.has(model) });
    box.addEventListener("change", () => choose(box));
    return make("label", {}, box, ` ${model}`);
  }));
  limit_choice();
}

function choose(box) {
  if (!box.checked) slots.delete(box.value);
  else slots.set(box.value, [...MARKS.keys()].find((slot) => ![...slots.values()].includes(slot)));
  limit_choice();
  draw_all();
}

function limit_choice() {
  const full = slots.size >= MARKS.length;
  for (const box of document.querySelectorAll("#chooser input")) box.disabled = full && !box.checked;
}

/** The specification for the chosen models and the width, and the rows that stand for it as a table. */
function fitted(name, width) {
  const spec = structuredClone(index.charts[name]);
  const about = spec.usermeta;
  for (const [key, rows] of Object.entries(spec.datasets))
    if (!about.all_models) spec.datasets[key] = rows.filter((row) => !("model" in row) || slots.has(row.model));
  const rows = spec.datasets[spec.data.name];
  const marks = about.all_models ? MARKS : distinct(rows, "model").map((model) => MARKS[slots.get(model)]);
  spec.config.range = { category: marks.map(([colour]) => colour), symbol: marks.map(([, shape]) => shape) };
  // the font by name, because Vega measures labels before they are on the page
  spec.config.font = getComputedStyle(document.body).fontFamily;
  spec.config.aria = false;
  spec.config.legend.columns = Math.max(1, Math.floor(width / 220));
  if (width < 560) Object.assign(spec.config.axis, { labelLimit: 104, labelFontSize: 10 });
  if (!spec.facet) return { rows, spec: { ...spec, width, autosize: { type: "fit-x", contains: "padding" } } };
  const columns = Math.max(1, Math.min(spec.columns, distinct(rows, spec.facet.field).length, Math.floor(width / 230)));
  spec.columns = columns;
  spec.spec.width = Math.min(2 * spec.spec.width, (width - (width < 560 ? 60 : 110)) / columns - 20);
  return { rows, spec };
}

async function draw(name) {
  const figure = document.getElementById(`chart-${name}`);
  const turn = (newest.get(name) ?? 0) + 1;
  newest.set(name, turn);
  const plot = figure.querySelector(".plot");
  const { spec, rows } = fitted(name, plot.clientWidth || 600);
  const table = make_table(spec.usermeta.title, spec.usermeta.columns, rows);
  figure.querySelector(".numbers .scroller").replaceChildren(table);
  // ast: expressions are interpreted, because the page's policy forbids eval
  const view = await vegaEmbed(plot, spec,
    { ast: true, renderer: "svg", actions: false, defaultStyle: false, tooltip: show_tip, hover: false });
  if (newest.get(name) !== turn) return; // a later choice is being drawn
  plot.querySelector("svg").setAttribute("aria-hidden", "true"); // the label of the plot and the table stand for it
  figure.view?.finalize();
  figure.view = view;
}

function show_tip(_handler, event, _item, value) {
  tip.hidden = !value;
  if (!value) return;
  const known = Object.entries(value).filter(([, text]) => text !== "null" && text !== "undefined");
  tip.replaceChildren(...known.map(([name, text]) => make("div", {}, make("b", {}, name), ` ${text}`)));
  const left = Math.min(event.pageX + 14, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${event.pageY + 16}px`;
}

/** One chart after the other, with pauses, so that the page answers while they are drawn. */
async function draw_all() {
  for (const name of Object.keys(index.charts)) {
    await new Promise((resolve) => setTimeout(resolve));
    await draw(name);
  }
  document.documentElement.dataset.drawn = String(Number(document.documentElement.dataset.drawn ?? 0) + 1);
}
