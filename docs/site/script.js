"use strict";

const $ = (id) => document.getElementById(id);

// ask fetches a path. If there is no answer, or its status is an error, ask throws an Error
// with a message for the reader.
async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Error("The server does not answer.");
  }
  if (!answer.ok) {
    const text = (await answer.text().catch(() => "")).trim();
    throw new Error(`${options?.method ?? "GET"} ${path}: ${text || `${answer.status} ${answer.statusText}`}`);
  }
  return answer;
}

const json = async (path, options) => (await ask(path, options)).json();

// attempt calls action. If it fails, attempt shows the message of the Error in the box.
async function attempt(box, action) {
  try {
    await action();
    $(box).hidden = true;
  } catch (err) {
    $(box).textContent = err.message;
    $(box).hidden = false;
  }
}

// The server.

// showServer names the stage that has sent the page, and marks it in the list.
function showServer({ stage, version }) {
  $("server").textContent = `This page was sent by ${stage}, version ${version}.`;
  const number = /^stage(\d)/.exec(stage)?.[1];
  document.querySelector(`.stages [data-stage="${number}"]`)?.setAttribute("aria-current", "true");
}

// The account. Scripts cannot read the cookie with the token, so the page asks the server
// for the claims in it.

function showClaims(claims) {
  const known = "sub" in claims;
  $("login").hidden = known;
  $("claims").hidden = !known;
  $("note").hidden = !known;
  if (known) {
    const time = (seconds) => new Date(seconds * 1000).toLocaleString();
    $("sub").textContent = claims.sub;
    $("iat").textContent = time(claims.iat);
    $("exp").textContent = time(claims.exp);
  }
}

const account = (action) => attempt("account-error", action);

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  account(async () => {
    form.querySelector("button").disabled = true;
    try {
      const { username, password } = Object.fromEntries(new FormData(form));
      showClaims(await json("/api/login", { method: "POST", body: JSON.stringify({ username, password }) }));
      form.reset();
    } finally {
      form.querySelector("button").disabled = false;
    }
  });
});

$("logout").addEventListener("click", () => account(async () => {
  await ask("/api/logout", { method: "POST" });
  showClaims(await json("/api/login"));
}));

// The machine.

const machine = () => attempt("machine-error", async () => {
  const load = await json("/loadavg");
  $("load").textContent = load.loadavg.join(" · ");
  $("threads").textContent = `${load.running_threads} running of ${load.total_threads}`;
  const memory = await json("/meminfo");
  const gb = (kB) => (kB / 1024 / 1024).toFixed(1);
  $("memory").textContent = `${gb(memory.MemAvailable)} of ${gb(memory.MemTotal)} GiB`;
});

$("refresh").addEventListener("click", machine);
// Stage 1 serves one connection at a time and closes it when it is idle for 5 seconds. With
// more frequent requests, this page would keep its connection and stage 1 would serve no
// other client.
setInterval(() => { if (!document.hidden) machine(); }, 10_000);

// Videos.

const pathOf = (name) => "/" + name.split("/").map(encodeURIComponent).join("/");

function choose(name, button) {
  for (const other of $("list").querySelectorAll("button")) {
    other.setAttribute("aria-pressed", String(other === button));
  }
  $("video").src = pathOf(name);
  $("player").hidden = false;
  $("range-answer").textContent = "";
  $("videos-error").hidden = true;
}

$("video").addEventListener("error", () => attempt("videos-error", () => {
  throw new Error(`The browser cannot play this video: ${$("video").error?.message || "it gives no reason"}`);
}));

for (const button of document.querySelectorAll("[data-jump]")) {
  button.addEventListener("click", () => {
    const video = $("video");
    const jump = () => { video.currentTime = video.duration * Number(button.dataset.jump); };
    if (video.readyState >= HTMLMediaElement.HAVE_METADATA) {
      jump();
    } else { // the duration is not known before the player has fetched the metadata
      video.addEventListener("loadedmetadata", jump, { once: true });
      video.preload = "metadata";
      video.load();
    }
  });
}

$("range").addEventListener("click", () => attempt("videos-error", async () => {
  const answer = await ask($("video").getAttribute("src"), { headers: { Range: "bytes=1000-1099" } });
  const bytes = (await answer.arrayBuffer()).byteLength;
  $("range-answer").textContent = `${answer.status}, Content-Range: ${answer.headers.get("Content-Range")}, ${bytes} bytes`;
}));

const videos = () => attempt("videos-error", async () => {
  const all = await json("/api/video");
  $("list").replaceChildren(...all.map(({ name, size }) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => choose(name, button));
    const kb = document.createElement("span");
    kb.textContent = `${Math.ceil(size / 1000).toLocaleString()} kB`;
    const item = document.createElement("li");
    item.append(button, kb);
    return item;
  }));
  if (all.length === 0) {
    $("list").textContent = "There is no .mp4 file in the root.";
  } else {
    $("list").querySelector("button").click();
  }
});

// The guest book. A note is shown with textContent: it may contain anything.

function entry({ user, text, at }) {
  const from = document.createElement("span");
  from.textContent = `${user}, ${new Date(at).toLocaleString()}`;
  const item = document.createElement("li");
  item.append(Object.assign(document.createElement("p"), { textContent: text }), from);
  return item;
}

const notes = () => attempt("notes-error", async () => {
  $("notes").replaceChildren(...(await json("/api/notes")).notes.map(entry));
});

$("note").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  attempt("notes-error", async () => {
    form.querySelector("button").disabled = true;
    try {
      const { text } = Object.fromEntries(new FormData(form));
      $("notes").prepend(entry(await json("/api/notes", { method: "POST", body: JSON.stringify({ text }) })));
      form.reset();
    } finally {
      form.querySelector("button").disabled = false;
    }
  });
});

// The requests follow one another, so that a browser needs only one connection: stage 1
// serves no more at a time.
(async () => {
  await account(async () => {
    $("login").hidden = false;
    showClaims(await json("/api/login"));
  });
  try {
    showServer(await json("/api/server"));
  } catch {
    // another server may not have this resource; the page is complete without it
  }
  await machine();
  await videos();
  await notes();
})();
