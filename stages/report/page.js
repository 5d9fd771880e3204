"use strict";

// Looking at a method anywhere, in a table or a chart, dims the others everywhere.
const marked = [...document.querySelectorAll("[data-method]")];
for (const element of marked) {
  element.addEventListener("pointerenter", () => lookAt(element.dataset.method));
  element.addEventListener("pointerleave", () => lookAt(null));
}

function lookAt(method) {
  for (const section of document.querySelectorAll("section")) {
    const shown = [...section.querySelectorAll("[data-method]")];
    const found = shown.some((element) => element.dataset.method === method);
    section.classList.toggle("one-method", found);
    for (const element of shown) element.classList.toggle("looked-at", element.dataset.method === method);
  }
}

// The viewer shows one picture of the gallery large; arrow keys move over the gallery's rows and columns.
const viewer = document.getElementById("viewer");
const rows = [...document.querySelectorAll(".pictures tbody tr")].map((row) => [...row.querySelectorAll("button")]);
let at = [0, 0];

rows.forEach((row, y) => row.forEach((button, x) => button.addEventListener("click", () => { show(y, x); viewer.showModal(); })));

function show(y, x) {
  at = [(y + rows.length) % rows.length, (x + rows[0].length) % rows[0].length];
  const picture = rows[at[0]][at[1]].querySelector("img");
  const large = viewer.querySelector("img");
  large.src = picture.src;
  large.alt = picture.alt;
  viewer.querySelector("figcaption").textContent = picture.alt;
}

const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
viewer.addEventListener("keydown", (event) => {
  const move = moves[event.key];
  if (!move) return;
  event.preventDefault();
  show(at[0] + move[0], at[1] + move[1]);
});
viewer.addEventListener("click", (event) => {
  const { move, close } = event.target.dataset;
  if (move) show(at[0], at[1] + Number(move));
  else if (close !== undefined || event.target === viewer) viewer.close();
});
viewer.addEventListener("close", () => rows[at[0]][at[1]].focus());
