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

// A chip is the sign of a client: a letter and a colour. The probe is "test".
function chips(parent, groups) {
  sync(parent, groups, (g) => `${g.client} ${g.write ?? ""}`, () => element("span", { class: "chip" }), (chip, g) => {
    const c = clients.get(g.client);
    let name = "?", title = "a client that this page has not made";
    if (g.client === 0) [name, title] = ["test", "the client that asks again and again, to see how long a new client waits"];
    if (g.client === -2) [name, title] = ["left", "a client that has hung up, which the server does not know yet"];
    if (c) {
      [name, title] = [c.name, `client ${c.name} ${c.words}`];
      chip.style.setProperty("--hue", ((c.name.charCodeAt(0) - 65) * 137 + 210) % 360); // a letter keeps its colour
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
  if (n < 1024) return String(n);
  return n < 1 << 20 ? `${(n / 1024).toFixed(0)} KiB` : `${(n / (1 << 20)).toFixed(1)} MiB`;
}

function newStage(pitfalls, n) {
  const article = $("#stage-template").content.cloneNode(true).firstElementChild;
  article.id = `stage-${n}`;
  const select = $("select", article);
  select.setAttribute("aria-label", `the server in the place of stage ${n}`);
  for (const p of pitfalls.filter((p) => p.stage === n)) {
    select.append(element("option", { value: p.id, title: p.bug }, `bug: ${p.id}`));
  }
  $(".again", article).addEventListener("click", () => post(`stages/${n}`, { pitfall: select.value }));
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
  setHidden($(".dead", article), s.state !== "ended");
  setHidden($(".technique", article), Boolean(s.bug));
  const select = $("select", article);
  if (document.activeElement !== select && select.value !== s.pitfall) select.value = s.pitfall;
  if (s.state !== "up") return;

  const p = s.probe;
  const probe = $(".probe", article);
  const late = p.waiting && p.ms >= 100;
  setData(probe, "mood", p.failed ? "bad" : late ? "waiting" : "good");
  setData(probe, "port", String(p.port));
  setText($(".time", probe), p.text);
  setText($(".exact", probe), p.exact);
  setText($(".verdict", probe), p.failed ? "no answer" : late ? "still waiting" : "answered");

  const backlog = merge(s.conns.filter((c) => c.place === "backlog"));
  const tests = total(backlog.filter((g) => g.client === 0));
  setText($(".backlog-count", article), tests ? (s.backlog > tests ? `${s.backlog - tests} + the test client` : "only the test client") : String(s.backlog));
  chips($(".backlog", article), backlog);
  const queue = merge(s.conns.filter((c) => c.place === "queue"));
  setHidden($(".queued", article), queue.length === 0 && s.n !== 2 && s.n !== 3);
  setHidden($(".shut", article), s.accepts);
  const queued = total(queue);
  setText($(".queue-count", article), s.held ? `${queued} (${queued - s.held} in the queue, ${s.held} with the acceptor)` : String(queued));
  chips($(".queue", article), queue);

  sync($(".threads", article), s.threads, (t) => t.tid, newThread, showThread);
  setText($(".runtime", article), s.others);
  setText($(".conn-count", article), String(total(s.conns)));
  sync($(".conns tbody", article), s.conns, (c) => `${c.client} ${c.owner} ${c.note} ${c.n > 1 ? `${c.unread} ${c.unacked}` : ""}`, newConn, showConn);
  setText($(".ids", article), `port ${s.port}, process ${s.pid}, backlog ${s.backlog} of ${s.limit}`);
}

const states = { taken: "taken by", watches: "watches", accepts: "accepts", free: "free", full: "", running: "runs", unknown: "unknown" };

function newThread() {
  return element("li", {},
    element("div", { class: "head" }, element("span", { class: "label" }), element("span", { class: "state" }), element("span", { class: "clients" })),
    element("div", { class: "doing" }, element("code"), " ", element("span", { class: "text" })));
}

function showThread(li, t) {
  setData(li, "state", t.state);
  const title = `thread ID ${t.tid}: ${t.call}, ${t.text}`;
  if (li.title !== title) li.title = title;
  setText($(".label", li), t.label);
  setText($(".state", li), states[t.state]);
  chips($(".clients", li), t.clients);
  setText($("code", li), t.call);
  const full = t.clients.filter((g) => g.write).map((g) => clients.get(g.client)?.name ?? "?");
  const room = t.state === "watches" && full.length > 0;
  setText($(".text", li), room ? `until one sends, or there is room for ${full.join(", ")}` : t.text);
  // One line for each thread: the call says something only where a thread waits for one client.
  setHidden($("code", li), t.state !== "taken");
  setHidden($(".text", li), !room && ["taken", "watches", "accepts", "free"].includes(t.state));
}

function newConn() {
  return element("tr", {}, element("td", {}, element("span", { class: "who" })), element("td"), element("td"), element("td"));
}

function showConn(tr, c) {
  chips($(".who", tr), [c]);
  setText(tr.children[1], c.note ? `${c.owner} (${c.note})` : c.owner);
  for (const [td, n] of [[tr.children[2], c.unread], [tr.children[3], c.unacked]]) {
    setText(td, bytes(n));
    if (td.title !== `${n} bytes`) td.title = `${n} bytes`;
  }
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
    if (div.title !== cell.exact) div.title = cell.exact;
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

// The experiment whose question the reader is reading. An experiment that runs or has run is part of the state.
let asked = null;

// newExperiment builds the panel of an experiment: the question, and room for what happens.
function newExperiment(e) {
  const choices = e.choices.map((text, i) =>
    element("label", { "data-choice": i }, element("input", { type: "radio", name: "guess", value: i }), element("span", {}, text, " ", element("b", { class: "mark" }))));
  const panel = element("div", { class: "panel" });
  const left = element("div", {},
    element("h3", { id: "experiment-title" }, e.title),
    element("form", {},
      element("fieldset", { "aria-labelledby": "experiment-title" }, element("p", {}, e.question), ...choices),
      element("p", { class: "line" },
        element("button", { class: "main see" }, "see what happens"),
        element("button", { type: "button", class: "main more", hidden: "" }, "send the other half"),
        element("button", { type: "button", class: "back" }, "back"))),
    element("p", { class: "note", role: "status" }));
  const right = element("div", { class: "outcome", "aria-live": "polite" },
    element("p", { class: "caveat", hidden: "" }),
    element("table", { class: "found", hidden: "" },
      element("thead", {}, element("tr", {}, element("td"), ...[1, 2, 3, 4].map((n) => element("th", { scope: "col" }, `stage ${n}`)))),
      element("tbody")),
    element("p", { class: "verdict" }),
    element("p", { class: "why", hidden: "" }));
  panel.append(left, right);
  const form = $("form", panel);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const guess = new FormData(form).get("guess");
    if (guess === null) setText($(".note", panel), "Choose an answer first.");
    else post(`experiments/${e.id}`, { guess });
  });
  $(".more", panel).addEventListener("click", () => post("proceed"));
  $(".back", panel).addEventListener("click", () => {
    asked = null;
    if (panel.dataset.began) post("leave"); // the next state then closes the panel
    else openExperiment(null);
  });
  return panel;
}

// openExperiment shows the panel of an experiment in place of the list, or the list for null.
function openExperiment(e) {
  const panel = $("#experiment");
  if (!e) setHidden($("#adding"), false);
  const id = e?.id ?? "";
  if ((panel.dataset.id ?? "") === id) return;
  const inside = panel.contains(document.activeElement);
  panel.dataset.id = id;
  setHidden($("#experiments"), e !== null);
  setHidden(panel, e === null);
  // An experiment takes the whole width; the buttons then come after the stages, next to the clients.
  const controls = $(".controls"), adding = $("#adding");
  controls.classList.toggle("asking", e !== null);
  document.body.classList.toggle("experimenting", e !== null);
  if (e) $("#stages").after(adding);
  else controls.prepend(adding);
  panel.replaceChildren(...(e ? [newExperiment(e)] : []));
  if (!e && inside) $("#experiments button").focus();
}

function showTrial(trial, experiments, stages) {
  const e = trial ? experiments.find((e) => e.id === trial.id) : asked;
  openExperiment(e ?? null);
  if (!trial) return;
  asked = null;
  const panel = $("#experiment");
  setData($(".panel", panel), "began", "yes");
  for (const input of panel.querySelectorAll("input")) {
    const i = Number(input.value);
    input.checked = i === trial.guess;
    input.disabled = true;
    const label = input.parentElement;
    label.classList.toggle("right", i === trial.right);
    const marks = [i === trial.guess ? "your guess" : "", i === trial.right ? "what happened" : ""].filter(Boolean);
    setText($(".mark", label), marks.length ? `← ${marks.join(" and ")}` : "");
  }
  setHidden($(".see", panel), true);
  const back = $(".back", panel);
  setText(back, "all hang up, back to the list");
  const still = trial.done || trial.paused;
  if (back.disabled === still) back.disabled = !still;
  setHidden($(".more", panel), !trial.paused);
  setText($(".note", panel), trial.done ? trial.error : `${trial.note}${trial.paused ? "" : " …"}`);
  setHidden($("#adding"), !trial.done);
  setHidden($(".found", panel), trial.rows.length === 0);
  stages.forEach((s, i) => setText(panel.querySelectorAll(".found th[scope=col]")[i], s.pitfall ? `stage ${s.n} with ${s.pitfall}` : `stage ${s.n}`));
  sync($(".found tbody", panel), trial.rows, (r) => r.label, newFinding, showFinding);
  const verdict = !still || trial.error ? ""
    : trial.right < 0 ? "None of these answers fits what happened."
    : trial.right === trial.guess ? "Your guess was right." : "Your guess was not what happened.";
  setText($(".verdict", panel), verdict);
  setHidden($(".why", panel), !trial.why);
  setText($(".why", panel), trial.why);
  setHidden($(".caveat", panel), !trial.caveat);
  setText($(".caveat", panel), trial.caveat);
}

function newFinding() {
  return element("tr", {}, element("th", { scope: "row" }), ...[1, 2, 3, 4].map(() => element("td", {}, element("div", { class: "cell" }))));
}

function showFinding(tr, row) {
  setText(tr.children[0], row.label);
  row.cells.forEach((cell, i) => {
    const div = tr.children[i + 1].firstElementChild;
    setData(div, "mood", cell.mood);
    setText(div, cell.text);
    if (div.title !== cell.exact) div.title = cell.exact;
  });
}

function show(state, setup) {
  clients = new Map(state.clients.map((c) => [c.id, c]));
  sync($("#stages"), state.stages, (s) => s.n, (s) => newStage(setup.pitfalls, s.n), showStage);
  setHidden($("#clients"), state.clients.length === 0);
  sync($("#rows"), state.clients, (c) => c.id, newClient, showClient);
  showTrial(state.trial, setup.experiments, state.stages);
  const running = state.trial !== null && !state.trial.done;
  for (const button of document.querySelectorAll("#kinds button, #hang-up")) {
    if (button.disabled !== running) button.disabled = running;
  }
}

async function start() {
  const setup = await (await fetch("setup")).json();
  for (const k of setup.kinds) {
    const button = element("button", { type: "button", title: k.words, "data-kind": k.id }, k.button);
    button.addEventListener("click", () => post("clients", { kind: k.id, stage: $("#only").value }));
    $("#kinds").append(button);
  }
  for (const e of setup.experiments) {
    const button = element("button", { type: "button", "data-experiment": e.id }, e.title);
    button.addEventListener("click", () => {
      asked = e;
      openExperiment(e);
      $("#experiment input").focus();
    });
    $("#experiments").append(button);
  }
  $("#hang-up").addEventListener("click", () => post("hang-up"));

  const link = $("#link");
  const events = new EventSource("events");
  events.addEventListener("message", (e) => {
    show(JSON.parse(e.data), setup);
    link.classList.remove("lost");
    setText(link, `as the kernel sees it, four times a second; the servers' time-outs are ${setup.timeout} here`);
  });
  events.addEventListener("error", () => {
    link.classList.add("lost");
    setText(link, "the connection is lost: this is an old state. Is lab live still running?");
  });
}

start();
