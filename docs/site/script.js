"use strict";

const $ = (id) => document.getElementById(id);

// ask fetches a path and throws an Error in words for the reader unless the answer is good.
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

// attempt does something and shows in the named box why it failed, if it did.
async function attempt(box, what) {
  try {
    await what();
    $(box).hidden = true;
  } catch (err) {
    $(box).textContent = err.message;
    $(box).hidden = false;
  }
}

// Account: the token is in a cookie that scripts cannot read; the claims are what
// the server says about it.

function showClaims(claims) {
  const known = "sub" in claims;
  $("login").hidden = known;
  $("claims").hidden = !known;
  if (known) {
    const time = (seconds) => new Date(seconds * 1000).toLocaleString();
    $("sub").textContent = claims.sub;
    $("iat").textContent = time(claims.iat);
    $("exp").textContent = time(claims.exp);
  }
}

const account = (what) => attempt("account-error", what);

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
// Stage 1 serves one connection at a time and closes it after 5 idle seconds. Asking
// more often than that would keep it to this page for ever.
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
  throw new Error(`This video does not play: ${$("video").error?.message || "the browser does not say why"}`);
}));

for (const button of document.querySelectorAll("[data-jump]")) {
  button.addEventListener("click", () => {
    const video = $("video");
    const jump = () => { video.currentTime = video.duration * Number(button.dataset.jump); };
    if (video.readyState >= HTMLMediaElement.HAVE_METADATA) {
      jump();
    } else { // nothing was fetched yet: how long the video is, is not known
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
    $("list").textContent = "There is no .mp4 beneath the root.";
  } else {
    $("list").querySelector("button").click();
  }
});

// One after another, so that a server with one connection at a time does not see six.
(async () => {
  await account(async () => {
    $("login").hidden = false;
    showClaims(await json("/api/login"));
  });
  await machine();
  await videos();
})();
