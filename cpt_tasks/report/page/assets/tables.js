// Tables sorted by the buttons of their header cells, leaderboards filtered by text. They follow the sortable table of
// the ARIA Authoring Practices: buttons in header cells, aria-sort on the cell; a leaderboard says changes in a live
// region.
const boards = [...document.querySelectorAll("table.board")];

function set_up_tables() {
  document.querySelectorAll("main table").forEach(make_sortable);
  for (const board of boards) {
    part_of(board, "filter")?.addEventListener("input", () => say_board(board));
    for (const link of board.querySelectorAll("a.open"))
      link.addEventListener("click", () => show_samples({ task: board.dataset.task, model: link.closest("tr").dataset.model }));
  }
}

/** The filter or status of a leaderboard; one of a single model has none. */
const part_of = (board, name) => document.getElementById(board.id.replace("board", name));

function make_sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.hasAttribute("aria-sort")) head.setAttribute("aria-sort", "none");
    const button = make("button", { type: "button" }, ...head.childNodes);
    button.addEventListener("click", () => sort_table(table, heads, column));
    head.append(button);
  });
}

const text_of = (cell) => cell.dataset.value ?? cell.textContent.trim();
const number_of = (text) => parseFloat(text.replace("−", "-"));

/** Whether a column holds numbers: names of rows do not, and other columns do if they hold any. */
const is_numeric = (table, column) =>
  column > 0 && [...table.tBodies[0].rows].some((row) => Number.isFinite(number_of(text_of(row.cells[column]))));

function sort_table(table, heads, column) {
  const numeric = is_numeric(table, column);
  const before = heads[column].getAttribute("aria-sort");
  // numbers start at the highest, names at A
  const start = numeric ? "descending" : "ascending";
  const next = before === "none" ? start : before === "ascending" ? "descending" : "ascending";
  heads.forEach((head, number) => head.setAttribute("aria-sort", number === column ? next : "none"));
  const sign = next === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compare(text_of(a.cells[column]), text_of(b.cells[column]), numeric, sign));
  table.tBodies[0].append(...rows);
  if (boards.includes(table)) say_board(table);
}

/** Order of two cells; what is undefined comes last in both directions. */
function compare(a, b, numeric, sign) {
  if (!numeric) return sign * a.localeCompare(b, "en");
  const [first, second] = [number_of(a), number_of(b)];
  if (Number.isNaN(first) || Number.isNaN(second)) return Number.isNaN(first) - Number.isNaN(second);
  return sign * (first - second);
}

function say_board(board) {
  if (!part_of(board, "filter")) return;
  const wanted = part_of(board, "filter").value.trim().toLowerCase();
  const rows = [...board.tBodies[0].rows];
  for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
  const visible = rows.filter((row) => !row.hidden).length;
  const head = board.tHead.querySelector("[aria-sort=ascending], [aria-sort=descending]");
  const orders = is_numeric(board, head.cellIndex) ? ["lowest first", "highest first"] : ["A to Z", "Z to A"];
  const by = `sorted by ${head.textContent.trim()}, ${orders[Number(head.getAttribute("aria-sort") === "descending")]}`;
  const count = visible === rows.length ? plural(visible, "model") : `${visible} of ${plural(rows.length, "model")}`;
  part_of(board, "status").textContent = `${count}, ${by}.`;
}
