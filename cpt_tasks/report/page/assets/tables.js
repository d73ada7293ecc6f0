// The leaderboard: sorted by the buttons of its header cells, filtered by text. It follows the sortable table of the
// ARIA Authoring Practices: buttons in header cells, aria-sort on the cell, changes said in a live region.
const board = document.getElementById("board");

function set_up_board() {
  if (!board) return;
  const heads = [...board.tHead.rows[0].cells];
  heads.forEach((head, column) =>
    head.querySelector("button").addEventListener("click", () => sort_board(heads, column)));
  document.getElementById("filter").addEventListener("input", say_board);
  for (const link of board.querySelectorAll("a.open"))
    link.addEventListener("click", () => show_samples({ model: link.closest("tr").dataset.model }));
}

function sort_board(heads, column) {
  const numeric = heads[column].dataset.kind === "number";
  const before = heads[column].getAttribute("aria-sort");
  // numbers start at the highest, names at A
  const start = numeric ? "descending" : "ascending";
  const next = before === "none" ? start : before === "ascending" ? "descending" : "ascending";
  heads.forEach((head, number) => head.setAttribute("aria-sort", number === column ? next : "none"));
  const sign = next === "ascending" ? 1 : -1;
  const rows = [...board.tBodies[0].rows];
  rows.sort((a, b) => compare(a.cells[column].dataset.value, b.cells[column].dataset.value, numeric, sign));
  board.tBodies[0].append(...rows);
  say_board();
}

/** Order of two cells; what is undefined comes last in both directions. */
function compare(a, b, numeric, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (numeric ? Number(a) - Number(b) : a.localeCompare(b, "en"));
}

function say_board() {
  const wanted = document.getElementById("filter").value.trim().toLowerCase();
  const rows = [...board.tBodies[0].rows];
  for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
  const visible = rows.filter((row) => !row.hidden).length;
  const head = board.tHead.querySelector("[aria-sort=ascending], [aria-sort=descending]");
  const order = { text: ["A to Z", "Z to A"], number: ["lowest first", "highest first"] }[head.dataset.kind];
  const by = `sorted by ${head.textContent.trim()}, ${order[Number(head.getAttribute("aria-sort") === "descending")]}`;
  const count = visible === rows.length ? plural(visible, "model") : `${visible} of ${plural(rows.length, "model")}`;
  document.getElementById("status").textContent = `${count}, ${by}.`;
}
