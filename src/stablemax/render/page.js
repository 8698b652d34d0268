"use strict";
// Controls for what the page already shows: without this script everything is still there to read.
const column = document.getElementById("column");
const outcome = document.getElementById("outcome");
const columns = new Set([...column.options].map((option) => option.value).filter(Boolean));
const judged = [...document.querySelectorAll("tr")].filter((row) => row.querySelector("[data-outcome]"));

function isOfOther(element) {
  const name = element.dataset.column;
  return column.value !== "" && columns.has(name) && name !== column.value;
}

function show() {
  for (const element of document.querySelectorAll("[data-column]")) {
    element.classList.toggle("filtered", isOfOther(element));
  }
  let count = 0;
  for (const row of judged) {
    const cells = [...row.querySelectorAll("[data-outcome]")].filter((cell) => !isOfOther(cell));
    const isShown = outcome.value === "" || cells.some((cell) => cell.dataset.outcome === outcome.value);
    row.classList.toggle("filtered", !isShown);
    count += isShown;
  }
  for (const table of new Set(judged.map((row) => row.closest("table")))) {
    const isEmpty = [...table.tBodies[0].rows].every((row) => row.classList.contains("filtered"));
    table.closest(".scroll").classList.toggle("filtered", isEmpty);
  }
  document.getElementById("shown").textContent = `${count} of ${judged.length} rows`;
}

function keyOf(row, index) {
  const cell = row.cells[index];
  const text = cell.textContent.trim();
  const number = cell.dataset.rank ?? text.replaceAll(",", "");
  return number !== "" && Number.isFinite(Number(number)) ? Number(number) : text;
}

function compare(a, b) {
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return typeof a === "number" ? a - b : a.localeCompare(b, "en");
}

function sort(table, index) {
  const head = table.tHead.rows[0].cells[index];
  const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => sign * compare(keyOf(a, index), keyOf(b, index)));
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  if (table.tBodies[0].rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((cell, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = cell.textContent || "name";
    button.addEventListener("click", () => sort(table, index));
    cell.replaceChildren(button);
  });
}

const all = document.getElementById("open-all");
function openAll(isOpen) {
  for (const element of document.querySelectorAll("details")) element.open = isOpen;
  all.setAttribute("aria-pressed", String(isOpen));
  all.textContent = isOpen ? "Close all details" : "Open all details";
}
all.addEventListener("click", () => openAll(all.getAttribute("aria-pressed") === "false"));

// A link to a formula opens it; print shows everything, and then what was closed is closed again.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
window.addEventListener("hashchange", openTarget);
let closed = [];
window.addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const element of closed) element.open = true;
});
window.addEventListener("afterprint", () => {
  for (const element of closed) element.open = false;
});

column.addEventListener("change", show);
outcome.addEventListener("change", show);
document.querySelector(".controls").addEventListener("submit", (event) => event.preventDefault());
document.querySelector(".controls").hidden = false;
openTarget();
show();
