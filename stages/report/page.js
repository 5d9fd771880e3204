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

// The viewer shows one picture of a gallery large; arrow keys move over that gallery's rows and columns.
const viewer = document.getElementById("viewer");
const after = viewer.querySelector(".after");
const before = viewer.querySelector(".before");
const slide = viewer.querySelector(".slide");
const range = slide.querySelector("input");
const other = slide.querySelector("select");
let rows = [];
let at = [0, 0];

for (const table of document.querySelectorAll(".pictures")) {
  const buttons = [...table.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("button")]);
  buttons.forEach((row, y) => row.forEach((button, x) => button.addEventListener("click", () => {
    rows = buttons;
    show(y, x);
    viewer.showModal();
  })));
}

function show(y, x) {
  at = [(y + rows.length) % rows.length, (x + rows[0].length) % rows[0].length];
  const button = rows[at[0]][at[1]];
  const picture = button.querySelector("img");
  after.src = picture.src;
  after.alt = picture.alt;
  const stack = viewer.querySelector(".stack");
  stack.style.setProperty("--aspect", picture.getAttribute("width") / picture.getAttribute("height"));
  stack.style.setProperty("--rendering", getComputedStyle(picture).imageRendering);
  viewer.querySelector("figcaption").textContent = picture.alt;
  compare(button.dataset.role === "answer");
}

// Left of the slider's place the image or the target, right of it the answer.
function compare(possible) {
  slide.hidden = before.hidden = !possible;
  if (!possible) return;
  const from = rows[at[0]].find((button) => button.dataset.role === other.value).querySelector("img");
  before.src = from.src;
  before.alt = from.alt;
  before.style.clipPath = `inset(0 ${100 - range.value}% 0 0)`;
}

range.addEventListener("input", () => compare(true));
other.addEventListener("change", () => compare(true));
viewer.querySelector(".stack").addEventListener("pointermove", (event) => {
  if (slide.hidden || (event.pointerType === "mouse" && !event.buttons)) return;
  const box = after.getBoundingClientRect();
  range.value = Math.round((100 * (event.clientX - box.left)) / box.width);
  compare(true);
});

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
