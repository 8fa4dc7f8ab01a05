"use strict";
// Search as you type. The state is in the address after "#", which browsers send to nobody.

const $ = (id) => document.getElementById(id);
const WAIT = 80; // milliseconds without a key before a question is asked
const TITLES = ["title", "name", "heading", "subject"];
const state = { indexes: [], hits: [], current: -1, opened: new Map(), asking: null, timer: 0 };

function element(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

async function ask(path, body, signal) {
  const headers = {};
  const key = sessionStorage.getItem("key");
  if (key) headers.authorization = `Bearer ${key}`;
  if (body) headers["content-type"] = "application/json";
  const answer = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal });
  $("key-form").hidden = answer.status !== 401;
  if (answer.status === 401) $("key").focus();
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.error.message);
  return found;
}

// --- filters, from the columns

const isNumber = (type) => /^(u?int|float|double|decimal)/.test(type);
const isDate = (type) => /^(date|timestamp)/.test(type);
const isText = (type) => /^(large_)?string/.test(type);
const quoted = (name) => `"${name.replaceAll('"', '""')}"`;
const literal = (text) => `'${text.replaceAll("'", "''")}'`;
const like = (text) => literal(`%${text.replaceAll(/[\\%_]/g, "\\$&")}%`);

function control(name, type) {
  const label = (text, input) => element("label", {}, text, element("br"), input);
  const field = (kind, op, text) => {
    const input = element("input", { type: kind, placeholder: text, ariaLabel: `${name} ${text}` });
    if (kind === "number") input.step = "any";
    Object.assign(input.dataset, { column: name, op, type });
    return input;
  };
  if (isNumber(type)) return element("div", {}, element("span", {}, name), field("number", ">=", "from"), " ", field("number", "<=", "to"));
  if (isDate(type)) return element("div", {}, element("span", {}, name), field("date", ">=", "from"), " ", field("date", "<=", "to"));
  if (type === "bool") {
    const choice = element("select", {}, new Option("any", ""), new Option("yes", "true"), new Option("no", "false"));
    Object.assign(choice.dataset, { column: name, op: "=", type });
    return label(name, choice);
  }
  if (!isText(type)) return null;
  const list = element("datalist", { id: `values-${name}` });
  const input = field("text", "like", "contains");
  input.setAttribute("list", list.id);
  return element("div", {}, label(name, input), list);
}

function showFilters() {
  const columns = Object.entries(chosen()?.columns ?? {}).filter(([name]) => name !== "text");
  $("filters").replaceChildren(...columns.map(([name, type]) => control(name, type)).filter(Boolean));
}

function condition() {
  const parts = [];
  for (const input of $("filters").querySelectorAll("[data-op]")) {
    const value = input.value.trim();
    if (!value) continue;
    const { column, op, type } = input.dataset;
    const said = op === "like" ? like(value) : isNumber(type) || type === "bool" ? value : literal(value);
    parts.push(`${quoted(column)} ${op} ${said}`);
  }
  $("filters-button").classList.toggle("on", parts.length > 0);
  $("filters-button").textContent = parts.length ? `Filters (${parts.length})` : "Filters";
  return parts.join(" and ");
}

function offerValues(hits) {
  for (const list of $("filters").querySelectorAll("datalist")) {
    const name = list.id.slice("values-".length);
    const values = new Set(hits.map((hit) => (name === "id" ? hit.id : hit.metadata[name])).filter((value) => value && value.length < 60));
    if (values.size) list.replaceChildren(...[...values].slice(0, 50).map((value) => new Option(value)));
  }
}

// --- questions

const chosen = () => state.indexes.find((one) => one.name === $("index").value);
const mode = () => document.querySelector("[name=mode]:checked").value;

function setMode(name) {
  document.querySelector(`[name=mode][value=${name}]`).checked = true;
}

function later() {
  clearTimeout(state.timer);
  state.timer = setTimeout(search, WAIT);
}

async function search() {
  clearTimeout(state.timer);
  state.asking?.abort();
  const query = $("query").value.trim();
  const asked = { index: $("index").value, query, mode: mode(), k: 20, explain: true };
  const filter = condition();
  if (filter) asked.filter = filter;
  const kept = new URLSearchParams({ q: query, mode: asked.mode, index: asked.index });
  history.replaceState(null, "", query ? `#${kept}` : location.pathname);
  document.title = query ? `${query} – Search` : "Search";
  if (!query) {
    show([]);
    say(`${chosen()?.documents.toLocaleString("en") ?? 0} documents`);
    return;
  }
  const asking = (state.asking = new AbortController());
  try {
    const found = await ask("search", asked, asking.signal);
    show(found.hits);
    offerValues(found.hits);
    const time = `${found.milliseconds.toFixed(1)} ms`;
    say(found.hits.length ? `${found.hits.length} best of ${chosen().documents.toLocaleString("en")} documents · ${time}` : `Nothing found · ${time}`);
  } catch (error) {
    if (error.name === "AbortError") return;
    show([]);
    say(error.message, true);
  }
}

// --- hits, and documents side by side

function marked(text, marks = []) {
  const letters = Array.from(text); // marks count characters, not UTF-16
  const parts = [];
  let end = 0;
  for (const [from, to] of marks) {
    parts.push(letters.slice(end, from).join(""), element("mark", {}, letters.slice(from, to).join("")));
    end = to;
  }
  return [...parts, letters.slice(end).join("")];
}

const titleOf = (hit) => {
  const name = TITLES.find((one) => typeof hit.metadata[one] === "string" && hit.metadata[one]);
  return name ? hit.metadata[name] : hit.id;
};

function details(hit) {
  const rows = Object.entries(hit.metadata).filter(([, value]) => value !== null && value !== titleOf(hit));
  const shown = (value) => (typeof value === "object" ? JSON.stringify(value) : String(value));
  return element("dl", {}, ...rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, shown(value)))));
}

function row(hit, place) {
  const head = element("div", { className: "head" }, element("b", {}, titleOf(hit)), element("span", { className: "score" }, hit.score.toFixed(3)));
  const text = element("p", { className: "text" }, ...marked(...around(hit)));
  const made = element("li", { className: "hit", tabIndex: -1 }, head, text, details(hit));
  made.addEventListener("click", () => {
    if (String(getSelection())) return; // text is being selected
    move(place);
    toggle(hit);
  });
  return made;
}

function around({ text, marks = [] }) {
  // A long text from a little before its first marked word
  const letters = Array.from(text);
  if (letters.length < 400 || !marks.length || marks[0][0] < 120) return [text, marks];
  const start = marks[0][0] - 60;
  return [`…${letters.slice(start).join("")}`, marks.map(([from, to]) => [from - start + 1, to - start + 1])];
}

function show(hits) {
  state.hits = hits;
  state.current = -1;
  $("hits").replaceChildren(...hits.map(row));
  paint();
}

function paint() {
  [...$("hits").children].forEach((one, place) => {
    one.classList.toggle("current", place === state.current);
    one.classList.toggle("opened", state.opened.has(state.hits[place].id));
    one.ariaCurrent = String(place === state.current);
  });
}

function move(place) {
  state.current = Math.max(-1, Math.min(place, state.hits.length - 1));
  paint();
  const one = $("hits").children[state.current];
  if (one) one.focus();
  else $("query").focus();
}

function toggle(hit) {
  if (!state.opened.delete(hit.id)) state.opened.set(hit.id, hit);
  showOpened();
}

function showOpened() {
  const articles = [...state.opened.values()].map((hit) => {
    const close = element("button", { type: "button", title: "Close", ariaLabel: `Close ${titleOf(hit)}` }, "×");
    close.addEventListener("click", () => toggle(hit));
    return element("article", {}, close, element("h2", {}, titleOf(hit)), element("p", { className: "text" }, ...marked(hit.text, hit.marks)), details(hit));
  });
  $("open").replaceChildren(...articles);
  $("open").hidden = articles.length === 0;
  paint();
}

// --- keys, themes, start

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select") && event.target.id !== "query";
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const inQuery = event.target.id === "query";
  if (event.key === "/" && !inQuery) $("query").select();
  else if (event.key === "ArrowDown") move(state.current + 1);
  else if (event.key === "ArrowUp") move(state.current - 1);
  else if (event.key === "Enter" && (inQuery || event.target.matches(".hit")) && state.hits.length) {
    if (state.current < 0) move(0);
    toggle(state.hits[state.current]);
  } else if (event.key === "Escape" && state.opened.size) {
    state.opened.clear();
    showOpened();
  } else if (event.key === "Escape") {
    $("query").value = "";
    move(-1);
    search();
  } else return;
  event.preventDefault();
});

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  localStorage.setItem("theme", name);
}

$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  setTheme(dark === "dark" ? "light" : "dark");
});
$("filters-button").addEventListener("click", () => {
  $("filters").hidden = !$("filters").hidden;
  $("filters-button").ariaExpanded = String(!$("filters").hidden);
});
$("form").addEventListener("submit", (event) => event.preventDefault());
$("query").addEventListener("input", later);
$("filters").addEventListener("input", later);
$("mode").addEventListener("change", search);
$("index").addEventListener("change", () => {
  state.opened.clear();
  showOpened();
  showFilters();
  setMode(chosen().mode);
  search();
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", $("key").value);
  start();
});

async function start() {
  if (localStorage.getItem("theme")) setTheme(localStorage.getItem("theme"));
  try {
    const info = await ask("info");
    state.indexes = info.served.filter((one) => one.kind === "index" && !one.error);
    if (!state.indexes.length) {
      say(info.served.find((one) => one.error)?.error ?? "No index is served here; start the server with one to search it.", true);
      return;
    }
    $("index").replaceChildren(...state.indexes.map((one) => new Option(one.name)));
    $("index").hidden = state.indexes.length < 2;
  } catch (error) {
    say(error.message, true);
    return;
  }
  const kept = new URLSearchParams(location.hash.slice(1));
  if (state.indexes.some((one) => one.name === kept.get("index"))) $("index").value = kept.get("index");
  setMode(["hybrid", "vector", "bm25"].includes(kept.get("mode")) ? kept.get("mode") : chosen().mode);
  $("query").value = $("query").value || kept.get("q") || "";
  showFilters();
  search();
}

start();
