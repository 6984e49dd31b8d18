"use strict";
// Without this script the page is whole; with it tables sort and filter, a model stands out, voices play, plots enlarge.
for (const group of document.querySelectorAll(".group")) {
  const table = group.querySelector("table.board");
  const body = table.tBodies[0];
  const rows = () => Array.from(body.rows);
  const controls = group.querySelector(".controls:not(.highlight)");
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

  // One model in colour and the others grey: in the plots the one under the pointer, elsewhere the one chosen.
  const choice = group.querySelector(".highlight select");
  if (!choice) continue;
  choice.closest(".highlight").hidden = false;
  const highlight = (series, boxes) => {
    for (const box of boxes) {
      for (const one of box.querySelectorAll("[data-series]")) {
        const on = one.dataset.series === series;
        if (on && one.matches(".series:not(.on)")) one.parentElement.append(one); // above the others
        one.classList.toggle("on", on);
      }
      box.classList.toggle("lit", box.querySelector(".on") !== null);
    }
  };
  const plots = Array.from(group.querySelectorAll("figure > svg"));
  const choose = (series) => {
    choice.value = series;
    highlight(series, [table, ...plots, ...group.querySelectorAll(".example")]);
  };
  const seriesAt = (event) => event.target.closest(".series, .row, .board [data-series]")?.dataset.series;
  choice.addEventListener("change", () => choose(choice.value));
  group.addEventListener("pointerover", (event) => highlight(seriesAt(event) ?? choice.value, plots));
  group.addEventListener("click", (event) => {
    const series = seriesAt(event);
    if (series !== undefined) choose(series);
  });
  choose(choice.value);
}

for (const button of document.querySelectorAll(".play")) {
  const sound = document.getElementById(button.dataset.plays);
  button.hidden = false;
  button.addEventListener("click", () => {
    const playing = button.classList.contains("playing");
    for (const other of document.querySelectorAll("audio")) other.pause();
    if (playing) return;
    sound.currentTime = 0;
    sound.play();
    button.classList.add("playing");
    sound.addEventListener("pause", () => button.classList.remove("playing"), { once: true }); // also at its end
  });
}

const dialog = document.querySelector("dialog");
dialog.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.matches("button")) dialog.close();
});
for (const figure of document.querySelectorAll("figure")) {
  const picture = figure.querySelector("svg, img");
  const enlarge = () => {
    if (picture.parentElement === dialog) return;
    const place = document.createComment("");
    picture.replaceWith(place);
    dialog.append(picture);
    dialog.addEventListener("close", () => place.replaceWith(picture), { once: true });
    dialog.showModal();
  };
  figure.querySelector(".enlarge").hidden = false;
  figure.querySelector(".enlarge").addEventListener("click", enlarge);
  picture.addEventListener("click", (event) => {
    if (!event.target.closest(".series, .row")) enlarge();
  });
}

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll(".how")) details.open = true;
});
