// Which models are in the charts, and how a chart gets its controls, its drawing and its table.
const SLOTS = 7;
const SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right"];
const ICONS = ["M6 1a5 5 0 1 0 .01 0z", "M1.5 1.5h9v9h-9z", "M6 1l5 9.5H1z", "M6 .5L11 6 6 11.5 1 6z",
  "M4 1h4v3h3v4H8v3H4V8H1V4h3z", "M6 11L1 1.5h10z", "M11 6L1.5 11V1z"];
const models = board
  ? [...board.tBodies[0].rows].map((row) => row.dataset.model)
  : [...new Set(index.runs.map((run) => run.model))];
for (const run of index.runs) if (!models.includes(run.model)) models.push(run.model);
// a model keeps its colour and shape while it is in the charts
const slots = new Map(models.slice(0, 4).map((model, slot) => [model, slot]));
const selected = () => models.filter((model) => slots.has(model));
const newest = new Map();

const AXIS = { labelColor: "var(--soft)", titleColor: "var(--soft)", gridColor: "var(--line)", domainColor: "var(--rule)",
  tickColor: "var(--rule)", labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelLimit: 150 };
const CONFIG = {
  // the font by name, because Vega measures labels before they are on the page
  background: "transparent", font: getComputedStyle(document.body).fontFamily, view: { stroke: null }, axis: AXIS, aria: false,
  title: { color: "var(--ink)", fontSize: 13, fontWeight: 600, anchor: "start", offset: 6 },
  header: { labelColor: "var(--ink)", labelFontSize: 12, title: null },
  rule: { color: "var(--rule)" }, text: { color: "var(--ink)", fontSize: 12 },
};

function model_scales() {
  const domain = selected();
  return {
    color: { field: "model", type: "nominal", legend: null,
      scale: { domain, range: domain.map((model) => `var(--c${slots.get(model) + 1})`) } },
    shape: { field: "model", type: "nominal", legend: null,
      scale: { domain, range: domain.map((model) => SHAPES[slots.get(model)]) } },
  };
}

/** A select in a figure's controls, made at the first drawing; returns its value. */
function control(figure, label, values) {
  const id = `${figure.id}-${label.replaceAll(" ", "-")}`;
  let select = document.getElementById(id);
  if (!select) {
    select = make("select", { id });
    fill_select(select, values, values[0]);
    select.addEventListener("change", () => draw(figure.id.slice(6)));
    const field = make("span", { class: "field" }, make("label", { for: id }, label), select);
    field.hidden = values.length < 2;
    figure.querySelector(".controls").append(field);
  }
  return select.value;
}

async function draw(name) {
  const figure = document.getElementById(`chart-${name}`);
  if (!figure) return;
  const turn = (newest.get(name) ?? 0) + 1;
  newest.set(name, turn);
  const plot = figure.querySelector(".plot");
  const { spec, columns, rows, text } = await CHARTS[name](figure, plot.clientWidth || 600);
  if (newest.get(name) !== turn) return; // a later choice is being drawn
  const title = figure.querySelector("h3").textContent;
  figure.querySelector("details .scroller").replaceChildren(make_table(title, columns, rows));
  plot.setAttribute("aria-label", `${title}. ${text ?? ""} The numbers follow as a table.`);
  // ast: expressions are interpreted, because the page's policy forbids eval
  const done = await vegaEmbed(plot, { config: CONFIG, ...spec },
    { ast: true, renderer: "svg", actions: false, defaultStyle: false, tooltip: show_tip, hover: false });
  plot.querySelector("svg").setAttribute("aria-hidden", "true"); // the label of the plot and the table stand for it
  const old = figure.view;
  figure.view = done;
  old?.finalize();
}

const tip = make("div", { id: "tip", "aria-hidden": "true", hidden: true });

function show_tip(_handler, event, _item, value) {
  tip.hidden = !value;
  if (!value) return;
  tip.replaceChildren(...Object.entries(value).map(([name, text]) => make("div", {}, make("b", {}, name), ` ${text}`)));
  const left = Math.min(event.pageX + 14, document.documentElement.clientWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${event.pageY + 16}px`;
}

/** The names of the models in the charts with their marks, and the boxes to choose them. */
function set_up_legend() {
  const legend = document.getElementById("legend");
  document.body.append(tip);
  if (!legend || models.length < 2) return say_marks();
  const boxes = models.map((model) => {
    const box = make("input", { type: "checkbox", value: model, checked: slots.has(model) });
    box.addEventListener("change", () => choose(box));
    return make("label", {}, box, ` ${model}`);
  });
  legend.after(make("details", { id: "chooser" },
    make("summary", {}, `Choose models for the charts (up to ${SLOTS})`), make("div", { class: "boxes" }, ...boxes)));
  say_marks();
}

function choose(box) {
  if (!box.checked) slots.delete(box.value);
  else slots.set(box.value, [...Array(SLOTS).keys()].find((slot) => ![...slots.values()].includes(slot)));
  const full = slots.size >= SLOTS;
  for (const other of document.querySelectorAll("#chooser input")) other.disabled = full && !other.checked;
  say_marks();
  draw_all();
}

function mark(slot) {
  return make("svg", { class: `mark c${slot + 1}`, width: 12, height: 12, viewBox: "0 0 12 12", "aria-hidden": "true" },
    make("path", { d: ICONS[slot] }));
}

function say_marks() {
  document.getElementById("legend")?.replaceChildren(
    ...selected().map((model) => make("span", {}, mark(slots.get(model)), ` ${model}`)),
    ...(slots.size ? [] : ["No model is chosen for the charts."]));
  for (const row of board ? board.tBodies[0].rows : []) {
    row.querySelector("svg.mark")?.remove();
    const slot = slots.get(row.dataset.model);
    if (slot !== undefined) row.querySelector(".open").before(mark(slot), " ");
  }
}

/** One chart after the other, with pauses, so that the page answers while they are drawn. */
async function draw_all() {
  for (const name of Object.keys(CHARTS)) {
    await new Promise((resolve) => setTimeout(resolve));
    await draw(name);
  }
  document.documentElement.dataset.drawn = String(Number(document.documentElement.dataset.drawn ?? 0) + 1);
}
