// The data of the page, and elements made from it. Texts of models become text nodes only.
const index = JSON.parse(document.getElementById("index").textContent);
const opened = new Map();

/** The content of a blob, unpacked when it is first asked for. */
function open_blob(id) {
  if (!opened.has(id)) opened.set(id, inflate(document.getElementById(id).textContent));
  return opened.get(id);
}

async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

/** An element with attributes and children; strings become text. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "line", "rect", "circle", "path"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Number as the page writes it: a true minus, nothing for what is undefined. */
function shown(value, digits = 2) {
  if (value === null || value === undefined) return "undefined";
  return typeof value === "number" ? value.toFixed(digits).replace("-", "−") : String(value);
}

const words = (name) => String(name).replaceAll("_", " ");
const plural = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** A sortable table of rows; columns are [key, caption]. Rows without any of the numbers are left out. */
function make_table(caption, columns, rows) {
  const full = rows.filter((row) => columns.every(([key]) => row[key] !== undefined || key.startsWith("ci_")));
  const body = full.map((row) =>
    make("tr", {}, ...columns.map(([key], number) =>
      make(number ? "td" : "th", number ? {} : { scope: "row" }, shown(row[key], Number.isInteger(row[key]) ? 0 : 2)))));
  const table = make("table", { class: "plain" },
    make("caption", { class: "visually-hidden" }, caption),
    make("thead", {}, make("tr", {}, ...columns.map(([, title]) => make("th", { scope: "col" }, title)))),
    make("tbody", {}, ...body));
  make_sortable(table);
  return table;
}

const distinct = (rows, key) => [...new Set(rows.map((row) => row[key]))];

function fill_select(select, values, chosen) {
  select.replaceChildren(...values.map((value) => make("option", { value, selected: value === chosen }, words(value))));
}
