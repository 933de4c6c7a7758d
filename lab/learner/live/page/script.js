// Shows the state that the server sends. Elements are kept and changed in place, so that an update moves neither the
// focus nor the scroll position.

const $ = (selector, from = document) => from.querySelector(selector);

function element(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children);
  return e;
}

function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

function setData(e, name, value) {
  if (e.dataset[name] !== value) e.dataset[name] = value;
}

function setHidden(e, hidden) {
  if (e.hidden !== hidden) e.hidden = hidden;
}

// sync makes the children of parent those of items, in order. A child stays as long as its key.
function sync(parent, items, key, create, update) {
  const old = new Map();
  for (const child of parent.children) old.set(child.dataset.key, child);
  let next = parent.firstElementChild;
  for (const item of items) {
    const k = String(key(item));
    let child = old.get(k);
    if (child) {
      old.delete(k);
    } else {
      child = create(item);
      child.dataset.key = k;
    }
    while (next && old.get(next.dataset.key) === next && next !== child && !items.some((i) => String(key(i)) === next.dataset.key)) {
      const gone = next;
      next = next.nextElementSibling;
      old.delete(gone.dataset.key);
      gone.remove();
    }
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
    update(child, item);
  }
  for (const child of old.values()) child.remove();
}

async function post(path, fields = {}) {
  const error = $("#error");
  try {
    const answer = await fetch(path, { method: "POST", body: new URLSearchParams(fields) });
    setHidden(error, answer.ok);
    if (!answer.ok) setText(error, await answer.text());
  } catch (e) {
    setHidden(error, false);
    setText(error, "the page's server does not answer: is lab live still running?");
  }
}

// The clients by id, for the chips.
let clients = new Map();

// A chip is the sign of a client: a letter and a colour. The probe is "new".
function chips(parent, groups) {
  sync(parent, groups, (g) => `${g.client} ${g.write ?? ""}`, () => element("span", { class: "chip" }), (chip, g) => {
    const c = clients.get(g.client);
    let name = "?", title = "a client that this page has not made";
    if (g.client === 0) [name, title] = ["new", "the new client that asks how long it waits"];
    if (c) {
      [name, title] = [c.name, `client ${c.name} ${c.words}`];
      chip.style.setProperty("--hue", (c.id * 137 + 73) % 360);
    }
    chip.classList.toggle("new", g.client === 0);
    chip.classList.toggle("stranger", g.client < 0 || (g.client > 0 && !c));
    chip.title = title;
    setText(chip, g.n > 1 ? `${name} × ${g.n}` : name);
  });
}

// merge adds up the groups of each client.
function merge(groups) {
  const sum = new Map();
  for (const g of groups) sum.set(g.client, (sum.get(g.client) ?? 0) + g.n);
  return [...sum].map(([client, n]) => ({ client, n }));
}

const total = (groups) => groups.reduce((n, g) => n + g.n, 0);

function bytes(n) {
  if (n < 1000) return String(n);
  return n < 1e6 ? `${(n / 1e3).toFixed(n < 1e4 ? 1 : 0)} kB` : `${(n / 1e6).toFixed(1)} MB`;
}

function newStage(pitfalls, n) {
  const article = $("#stage-template").content.cloneNode(true).firstElementChild;
  article.id = `stage-${n}`;
  const select = $("select", article);
  select.setAttribute("aria-label", `the server in the place of stage ${n}`);
  for (const p of pitfalls.filter((p) => p.stage === n)) {
    select.append(element("option", { value: p.id, title: p.bug }, `with the bug ${p.id}`));
  }
  select.addEventListener("change", () => post(`stages/${n}`, { pitfall: select.value }));
  return article;
}

function showStage(article, s) {
  setText($(".n", article), `Stage ${s.n}`);
  setText($(".name", article), s.name.replace(/^stage\d-/, ""));
  setText($(".technique", article), s.technique);
  const bug = $(".bug", article);
  setHidden(bug, !s.bug);
  setText(bug, s.bug && `Bug: ${s.bug}`);
  const said = $(".said", article);
  setHidden(said, !s.said);
  setText(said, s.said);
  setHidden($(".up", article), s.state !== "up");
  const select = $("select", article);
  if (document.activeElement !== select && select.value !== s.pitfall) select.value = s.pitfall;
  if (s.state !== "up") return;

  const p = s.probe;
  const probe = $(".probe", article);
  const late = p.waiting && p.ms >= 100;
  setData(probe, "mood", p.failed ? "bad" : late ? "waiting" : "good");
  setText($(".time", probe), p.text);
  setText($(".verdict", probe), p.failed ? "no answer" : late ? "still waiting" : "answered");

  const backlog = merge(s.conns.filter((c) => c.place === "backlog"));
  setText($(".backlog-count", article), String(s.backlog));
  chips($(".backlog", article), backlog);
  const queue = merge(s.conns.filter((c) => c.place === "queue"));
  setHidden($(".queue-title", article), queue.length === 0);
  setHidden($(".queue", article), queue.length === 0);
  setText($(".queue-count", article), String(total(queue)));
  chips($(".queue", article), queue);

  sync($(".threads", article), s.threads, (t) => t.tid, newThread, showThread);
  setText($(".others", article), s.others);
  setText($(".conn-count", article), String(total(s.conns)));
  sync($(".conns tbody", article), s.conns, (c) => `${c.client} ${c.owner} ${c.note} ${c.n > 1 ? `${c.unread} ${c.unacked}` : ""}`, newConn, showConn);
  setText($(".ids", article), `port ${s.port}, process ${s.pid}, backlog ${s.backlog} of ${s.limit}`);
}

const states = { taken: "taken", watches: "watches all", accepts: "accepts", free: "free", running: "running", unknown: "unknown" };

function newThread() {
  return element("li", {},
    element("div", { class: "head" }, element("span", { class: "label" }), element("span", { class: "state" })),
    element("code"), " ", element("span", { class: "text" }), " ", element("span", { class: "clients" }));
}

function showThread(li, t) {
  setData(li, "state", t.state);
  li.title = `thread ID ${t.tid}`;
  setText($(".label", li), t.label);
  setText($(".state", li), states[t.state]);
  setText($("code", li), t.call);
  setText($(".text", li), t.text);
  chips($(".clients", li), t.clients);
}

function newConn() {
  return element("tr", {}, element("td", {}, element("span", { class: "who" })), element("td"), element("td"), element("td"));
}

function showConn(tr, c) {
  chips($(".who", tr), [c]);
  setText(tr.children[1], c.note ? `${c.owner}, ${c.note}` : c.owner);
  setText(tr.children[2], bytes(c.unread));
  setText(tr.children[3], bytes(c.unacked));
}

function newClient(c) {
  const step = element("button", { type: "button", class: "step" });
  const leave = element("button", { type: "button", class: "leave" });
  step.addEventListener("click", () => post(`clients/${c.id}/step`));
  leave.addEventListener("click", () => post(`clients/${c.id}/hang-up`));
  const cells = [1, 2, 3, 4].map((n) => element("td", { "data-stage": n },
    element("div", { class: "cell" }, element("span", { class: "text" }), element("span", { class: "place" }))));
  return element("tr", { id: `client-${c.id}` },
    element("td", {}, element("span", { class: "who" }), " ", element("span", { class: "words" })),
    ...cells,
    element("td", {}, element("div", { class: "actions" }, step, leave)));
}

function showClient(tr, c) {
  tr.classList.toggle("done", c.done);
  chips($(".who", tr), [{ client: c.id, n: 1 }]);
  setText($(".words", tr), c.words);
  c.cells.forEach((cell, i) => {
    const div = $(".cell", tr.children[i + 1]);
    setData(div, "mood", cell.mood);
    setText($(".text", div), cell.text);
    setText($(".place", div), cell.place);
  });
  const step = $(".step", tr), leave = $(".leave", tr);
  setHidden(step, !c.step);
  setText(step, c.step);
  step.setAttribute("aria-label", `client ${c.name}: ${c.step}`);
  const words = c.done ? "remove" : "hang up";
  setText(leave, words);
  leave.setAttribute("aria-label", `client ${c.name}: ${words}`);
}

function show(state, pitfalls) {
  clients = new Map(state.clients.map((c) => [c.id, c]));
  sync($("#stages"), state.stages, (s) => s.n, (s) => newStage(pitfalls, s.n), showStage);
  setHidden($("#clients"), state.clients.length === 0);
  sync($("#rows"), state.clients, (c) => c.id, newClient, showClient);
}

async function start() {
  const setup = await (await fetch("setup")).json();
  for (const k of setup.kinds) {
    const button = element("button", { type: "button", title: k.words, "data-kind": k.id }, k.button);
    button.addEventListener("click", () => post("clients", { kind: k.id, stage: $("#only").value }));
    $("#kinds").append(button);
  }
  $("#hang-up").addEventListener("click", () => post("hang-up"));

  const link = $("#link");
  const events = new EventSource("events");
  events.addEventListener("message", (e) => {
    show(JSON.parse(e.data), setup.pitfalls);
    link.classList.remove("lost");
    setText(link, "read from /proc and the kernel's socket lists four times a second");
  });
  events.addEventListener("error", () => {
    link.classList.add("lost");
    setText(link, "the connection is lost: this is an old state. Is lab live still running?");
  });
}

start();
