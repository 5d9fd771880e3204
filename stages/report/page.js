"use strict";

// Each picture stands in the page once, however often it is shown.
const album = JSON.parse(document.getElementById("album").textContent);
for (const picture of document.querySelectorAll("[data-picture]")) picture.src = album[picture.dataset.picture];

// Looking at a method anywhere, in a table or a chart, dims the others of that section.
for (const element of document.querySelectorAll("[data-method]")) {
  element.addEventListener("pointerenter", () => lookAt(element.dataset.method));
  element.addEventListener("pointerleave", () => lookAt(null));
}

function lookAt(method) {
  for (const section of document.querySelectorAll("section")) {
    const shown = [...section.querySelectorAll("[data-method]")];
    section.classList.toggle("one-method", shown.some((element) => element.dataset.method === method));
    for (const element of shown) element.classList.toggle("looked-at", element.dataset.method === method);
  }
}

// A slider over two pictures: left of the line lies what has the class "before".
for (const range of document.querySelectorAll(".stack input")) {
  const cut = () => range.parentElement.style.setProperty("--cut", `${range.value}%`);
  range.addEventListener("input", cut);
  cut();
}
document.querySelector(".controls select")?.addEventListener("change", (event) => {
  for (const picture of document.querySelectorAll(".trio .before")) {
    picture.hidden = picture.dataset.other !== event.target.value;
  }
});

// The viewer shows one picture of a gallery large; arrow keys move over that gallery's rows and columns.
const viewer = document.getElementById("viewer");
const after = viewer.querySelector(".after");
const before = viewer.querySelector(".before");
const range = viewer.querySelector("input");
const other = viewer.querySelector("select");
let rows = [];
let at = [0, 0];

for (const gallery of document.querySelectorAll(".gallery")) {
  const buttons = [...gallery.querySelectorAll(".row")].map((row) => [...row.querySelectorAll("button")]);
  buttons.forEach((row, y) => row.forEach((button, x) => button.addEventListener("click", () => {
    rows = buttons;
    show(y, x);
    viewer.showModal();
    viewer.focus();  // so that the arrow keys move between pictures
  })));
}

function show(y, x) {
  at = [(y + rows.length) % rows.length, (x + rows[0].length) % rows[0].length];
  const button = rows[at[0]][at[1]];
  const picture = button.querySelector("img");
  after.src = picture.src;
  after.alt = picture.alt;
  viewer.style.setProperty("--aspect", picture.getAttribute("width") / picture.getAttribute("height"));
  viewer.querySelector("figcaption").textContent = picture.alt;
  compare(button.dataset.role === "answer");
}

function compare(possible) {
  range.hidden = before.hidden = !possible;
  other.disabled = !possible;
  const from = rows[at[0]].find((button) => button.dataset.role === other.value).querySelector("img");
  before.src = from.src;
  before.alt = from.alt;
}

other.addEventListener("change", () => compare(true));
const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
viewer.addEventListener("keydown", (event) => {
  const move = moves[event.key];
  if (!move || event.target === range || event.target === other) return;  // the slider's own arrows move the slider
  event.preventDefault();
  show(at[0] + move[0], at[1] + move[1]);
});
viewer.addEventListener("click", (event) => {
  const { move, close } = event.target.dataset;
  if (move) show(at[0], at[1] + Number(move));
  else if (close !== undefined || event.target === viewer) viewer.close();
});
viewer.addEventListener("close", () => rows[at[0]][at[1]].focus());
