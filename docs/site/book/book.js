"use strict";
// The book is complete without this script. It adds the search and pictures that step through.

// On a small screen the list of contents would hide the text.
const contents = document.querySelector(".contents details");
if (matchMedia("(max-width: 63.99rem)").matches) contents.open = false;
const here = document.querySelector(".contents [aria-current]");
if (here && contents.open) here.scrollIntoView({ block: "nearest" });

// The search looks for all words in each section. Its index is loaded when somebody begins to type.
const form = document.getElementById("search");
const results = document.getElementById("results");
const input = form.elements.q;
let loading;

function loadIndex() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "index.js";
    script.onload = () => resolve(window.bookIndex);
    script.onerror = reject;
    document.head.append(script);
  });
  return loading;
}

// count returns how often a word occurs in a text.
const count = (text, word) => text.split(word).length - 1;

function find(index, words) {
  const found = [];
  index.forEach((section, order) => {
    const title = section.t.toLowerCase(), heading = (section.h || "").toLowerCase(), text = section.x.toLowerCase();
    let score = 0;
    for (const word of words) {
      const n = 8 * count(heading, word) + 4 * count(title, word) + Math.min(count(text, word), 5);
      if (n === 0) return;
      score += n;
    }
    if (text.includes(words.join(" ")) || heading.includes(words.join(" "))) score += 6;
    found.push({ section, score, order });
  });
  return found.sort((a, b) => b.score - a.score || a.order - b.order).slice(0, 20);
}

// excerpt returns the neighbourhood of the first word, with the words marked.
function excerpt(text, words) {
  const lower = text.toLowerCase();
  const first = Math.max(0, Math.min(...words.map((w) => lower.indexOf(w)).filter((i) => i >= 0), text.length) - 60);
  const begin = first === 0 ? 0 : text.indexOf(" ", first) + 1;
  const part = text.slice(begin, begin + 200);
  const p = document.createElement("p");
  if (begin > 0) p.append("… ");
  const pattern = new RegExp(words.map((w) => w.replace(/[^\p{L}\p{N}]/gu, "\\$&")).join("|"), "gi");
  let at = 0;
  for (const match of part.matchAll(pattern)) {
    const mark = document.createElement("mark");
    mark.textContent = match[0];
    p.append(part.slice(at, match.index), mark);
    at = match.index + match[0].length;
  }
  p.append(part.slice(at), begin + 200 < text.length ? " …" : "");
  return p;
}

async function search() {
  const words = input.value.toLowerCase().split(/\s+/).filter((w) => w.length > 1);
  results.hidden = words.length === 0;
  if (words.length === 0) return;
  const index = await loadIndex();
  const list = document.createElement("ol");
  for (const { section } of find(index, words)) {
    const a = document.createElement("a");
    a.href = section.p;
    a.textContent = section.h ? `${section.t}: ${section.h}` : section.t;
    const li = document.createElement("li");
    li.append(a, excerpt(section.x, words));
    list.append(li);
  }
  const none = document.createElement("p");
  none.textContent = "Nothing was found.";
  results.replaceChildren(list.children.length ? list : none);
}

form.hidden = false;
input.addEventListener("focus", loadIndex, { once: true });
input.addEventListener("input", search);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  results.querySelector("a")?.focus();
});
results.addEventListener("click", (event) => {
  if (event.target.closest("a")) results.hidden = true;
});

// "/" goes to the search, and the arrow keys turn pages, unless the key is meant for something else.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  if (event.target.closest("input, button, pre, .scroll, summary")) {
    if (event.key === "Escape" && event.target === input) {
      input.value = "";
      search();
    }
    return;
  }
  if (event.key === "/") {
    event.preventDefault();
    input.focus();
  } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    document.querySelector(`.turn a[rel="${event.key === "ArrowLeft" ? "prev" : "next"}"]`)?.click();
  }
});

// A picture in steps shows what has happened up to a step. The list after it has a caption for each step.
for (const figure of document.querySelectorAll("figure:has(.steps)")) {
  const parts = [...figure.querySelectorAll("[data-step]")];
  const last = Math.max(...parts.map((p) => Number(p.dataset.step)));
  const captions = figure.nextElementSibling?.tagName === "OL" ? [...figure.nextElementSibling.children] : [];
  if (captions.length) figure.nextElementSibling.classList.add("captions");
  const bar = document.createElement("div");
  bar.className = "stepper";
  const back = Object.assign(document.createElement("button"), { type: "button", textContent: "Back" });
  const next = Object.assign(document.createElement("button"), { type: "button", textContent: "Next step" });
  const where = document.createElement("output");
  bar.append(back, where, next);
  figure.prepend(bar);
  let step = last;
  const show = (to) => {
    step = Math.max(1, Math.min(last, to));
    for (const p of parts) p.classList.toggle("later", Number(p.dataset.step) > step);
    captions.forEach((c, i) => c.classList.toggle("later", i + 1 > step));
    where.textContent = `${step} of ${last}`;
    back.disabled = step === 1;
    next.textContent = step === last ? "From the start" : "Next step";
  };
  // On a small screen the picture is wider than its box. If a part does not fit either, its right end matters: the words
  // at its left are also in the caption.
  const box = figure.querySelector(".steps");
  const reveal = () => {
    const part = parts.findLast((p) => Number(p.dataset.step) === step).getBoundingClientRect();
    const { left, right, width } = box.getBoundingClientRect();
    if (part.right > right || part.width > width) box.scrollLeft += part.right - right + 8;
    else if (part.left < left) box.scrollLeft += part.left - left - 8;
  };
  const go = (to) => { show(to); reveal(); };
  back.addEventListener("click", () => go(step - 1));
  next.addEventListener("click", () => go(step === last ? 1 : step + 1));
  show(last);
}
