"use strict";
// Brings the page's sections up to date, one by one and only where they have changed: nothing flickers, and nobody
// loses a place or a word. All that it shows was rendered by the server.

const refreshMs = Number(document.body.dataset.refreshMs);
const age = document.getElementById("age");
const stale = document.getElementById("stale");
const dialog = document.getElementById("act");
const message = document.getElementById("message");
let countedAt = Date.parse(document.getElementById("counted").dataset.at);
let skewMs = 0;
let sorted = null;
let asking = null;

function ageWords(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return `${Math.round(seconds / 3600)} h ago`;
}

function tellAge() {
  const seconds = (Date.now() + skewMs - countedAt) / 1000;
  age.textContent = `counted ${ageWords(seconds)}`;
  const isStale = seconds * 1000 > 3 * refreshMs + 15000;
  stale.hidden = !isStale;
  if (isStale) stale.textContent = `These numbers are of ${ageWords(seconds)}: the server gives no newer ones.`;
}

function isBusy(section) {
  const focus = document.activeElement;
  return dialog.open && section.contains(asking) || (section.contains(focus) && focus.matches("input, select"));
}

function letScroll(within) {
  // What is wider than its place can be scrolled by keyboard too.
  for (const part of within.querySelectorAll(".scroll, figure")) {
    if (part.scrollWidth > part.clientWidth) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  }
}

function put(name, given) {
  const section = document.getElementById(name);
  if (!section || section.dataset.hash === given.hash || isBusy(section)) return;
  const focus = document.activeElement;
  const path = section.contains(focus) ? [...section.querySelectorAll("button, a")].indexOf(focus) : -1;
  section.innerHTML = given.html;
  section.dataset.hash = given.hash;
  letScroll(section);
  if (name === "models" && sorted) sort(sorted.column, sorted.direction);
  if (path >= 0) section.querySelectorAll("button, a")[path]?.focus();
}

async function refresh() {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), Math.max(10000, refreshMs));
  try {
    const answer = await fetch(`/live/sections${location.search}`, { signal: controller.signal, headers: { accept: "application/json" } });
    if (answer.status === 401) { location.assign("/login"); return; }
    if (!answer.ok) return;
    const given = await answer.json();
    skewMs = Date.parse(given.servedAt) - Date.now();
    countedAt = Date.parse(given.now);
    for (const [name, section] of Object.entries(given.sections)) put(name, section);
  } catch (error) {
    if (!(error instanceof TypeError) && error.name !== "AbortError") throw error;
  } finally {
    clearTimeout(timer);
    tellAge();
  }
}

function show(query) {
  history.pushState(null, "", `/?${query}`);
  syncControls();
  refresh();
}

function syncControls() {
  const query = new URLSearchParams(location.search);
  const range = query.get("range") || document.querySelector(".ranges a[aria-current]")?.dataset.range || "24h";
  for (const link of document.querySelectorAll(".ranges a")) {
    if (link.dataset.range === range) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  const form = document.querySelector(".filters");
  form.elements.range.value = range;
  form.elements.model.value = query.get("model") || "";
  form.elements.team.value = query.get("team") || "";
}

function chosen() {
  const form = document.querySelector(".filters");
  const query = new URLSearchParams({ range: form.elements.range.value });
  for (const name of ["model", "team"]) if (form.elements[name].value) query.set(name, form.elements[name].value);
  return query;
}

function sort(column, direction) {
  const table = document.querySelector("table.sorts");
  if (!table) return;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, index) => head.setAttribute("aria-sort", index === column ? direction : "none"));
  const sign = direction === "ascending" ? 1 : -1;
  const value = (row) => row.cells[column].dataset.value;
  const rows = [...table.tBodies[0].rows].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
  });
  table.tBodies[0].append(...rows);
  sorted = { column, direction };
}

const ACTIONS = {
  approve: ["Approve", "It is applied, observed, and kept or taken back.", (it) => [`/live/optimizations/${it.id}/approve`, {}]],
  reject: ["Reject", "The same is not proposed again for 30 days.", (it) => [`/live/optimizations/${it.id}/reject`, {}]],
  revert: ["Take back", "Its keys get the values from before.", (it) => [`/live/optimizations/${it.id}/revert`, {}]],
  "approve-step": ["Approve", "The candidate gets this share of the requests.", (it) => [`/live/optimizations/${it.id}/approve`, {}]],
  hold: ["Hold", "It stays at its share. Harm still takes it back, and so does its deadline.", (it) => [`/live/optimizations/${it.id}/hold`, {}]],
  resume: ["Resume", "It takes the next step that the numbers allow.", (it) => [`/live/optimizations/${it.id}/resume`, {}]],
  jump: ["Jump", "The candidate gets this share, whatever the numbers say; with 100 % it is the model of its class.",
    (it) => [`/live/optimizations/${it.id}/jump`, {}]],
  abort: ["Abort", "All requests go to the old model again.", (it) => [`/live/optimizations/${it.id}/abort`, {}]],
  silence: ["Silence", "Nobody is told for a while. What still fires afterwards is told then.",
    (it) => ["/live/silences", { rule: it.rule, subject: it.subject }]],
  unsilence: ["End", "Alerts are told again.", (it) => [`/live/silences/${it.id}/end`, {}]],
};

function ask(button) {
  const [words, text] = ACTIONS[button.dataset.action];
  asking = button;
  document.getElementById("act-title").textContent = `${words}: ${button.dataset.what}`;
  document.getElementById("act-text").textContent = text;
  document.getElementById("act-go").textContent = words;
  document.getElementById("act-hours").hidden = button.dataset.action !== "silence";
  document.getElementById("act-percent").hidden = button.dataset.action !== "jump";
  document.getElementById("act-wrong").textContent = "";
  const note = dialog.querySelector("input[name=note]");
  note.required = button.dataset.action === "silence";
  note.value = "";
  dialog.showModal();
}

async function act(event) {
  if (event.submitter?.value !== "go") return;
  event.preventDefault();
  const fields = dialog.querySelector("form").elements;
  const [, , request] = ACTIONS[asking.dataset.action];
  const [address, extra] = request(asking.dataset);
  const body = { by: fields.by.value, note: fields.note.value, ...extra };
  if (asking.dataset.action === "silence") body.hours = Number(fields.hours.value);
  if (asking.dataset.action === "jump") body.percent = Number(fields.percent.value);
  const answer = await fetch(address, {
    method: "POST", headers: { "content-type": "application/json", "x-routewatch": "page" }, body: JSON.stringify(body),
  });
  const given = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    document.getElementById("act-wrong").textContent = given.detail || `The server said ${answer.status}.`;
    return;
  }
  dialog.close();
  message.textContent = given.message;
  await refresh();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const range = event.target.closest("a[data-range]");
  if (range) {
    event.preventDefault();
    document.querySelector(".filters").elements.range.value = range.dataset.range;
    show(chosen());
  } else if (button?.dataset.action) {
    ask(button);
  } else if (button?.classList.contains("sort")) {
    const head = button.closest("th");
    sort(head.cellIndex, head.getAttribute("aria-sort") === "descending" ? "ascending" : "descending");
  }
});
document.querySelector(".filters").addEventListener("change", () => show(chosen()));
dialog.querySelector("form").addEventListener("submit", act);
dialog.addEventListener("close", () => asking?.focus?.());
addEventListener("resize", () => letScroll(document));
addEventListener("popstate", () => { syncControls(); refresh(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
letScroll(document);
setInterval(tellAge, 1000);
setInterval(() => { if (!document.hidden) refresh(); }, refreshMs);
tellAge();
