"use strict";
// Without this script the page is whole; with it tables sort and filter.
for (const group of document.querySelectorAll(".group")) {
  const table = group.querySelector("table.board");
  const body = table.tBodies[0];
  const rows = () => Array.from(body.rows);
  const controls = group.querySelector(".controls");
  const filter = controls.querySelector("input[type=search]");
  const count = controls.querySelector("output");
  const status = group.querySelector("[role=status]");
  controls.hidden = false;

  const show = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows()) {
      row.hidden = !words.every((word) => row.dataset.words.includes(word));
    }
    const left = rows().filter((row) => !row.hidden).length;
    count.textContent = `${left} of ${body.rows.length} ${body.rows.length === 1 ? "row" : "rows"}`;
  };
  filter.addEventListener("input", show);
  show();

  // Rows whose value is missing come last either way; chance and ideal rows are in a body of their own and stay.
  const sort = (head) => {
    const numbers = head.classList.contains("number");
    const first = head.dataset.first;
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    const sign = order === "ascending" ? 1 : -1;
    const value = (row) => row.cells[head.cellIndex].dataset.value ?? "";
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (numbers ? x - y : x.localeCompare(y));
    };
    body.append(...rows().sort(compare));
    for (const one of head.parentElement.cells) one.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    status.textContent = `sorted by ${head.dataset.name}, ${order}`;
  };
  for (const head of table.tHead.rows[0].cells) {
    head.querySelector("button").addEventListener("click", () => sort(head));
  }

  for (const box of controls.querySelectorAll("input[type=checkbox]")) {
    box.addEventListener("change", () => {
      for (const cell of table.querySelectorAll(`[data-block="${box.value}"]`)) cell.hidden = !box.checked;
    });
  }
}
