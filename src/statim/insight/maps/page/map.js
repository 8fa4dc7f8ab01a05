"use strict";
// Draws the map. `data`: texts, columns, and for each space x, y and labels; a text is a number everywhere.

const SHOWN = 200; // texts in the list
const $ = (id) => document.getElementById(id);
const state = { data: null, panes: [], chosen: null, hover: -1, lower: null, lasso: false };
let PALETTE, RAMP, GREY; // lists of red, green and blue

function rgb(hex) { return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)); }
function css(color) { return `rgb(${color.join(" ")})`; }
function middle(values) { // the bounds of all but the outermost points
  const sorted = Float64Array.from(values).sort(), cut = Math.floor(sorted.length / 100);
  return [sorted[cut], sorted[sorted.length - 1 - cut]];
}
function number(value) { return value.toLocaleString("en"); }

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

async function unpack() {
  const packed = atob($("data").textContent), bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  $("data").remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

// Colors ------------------------------------------------------------------------------------------------------

function palette(column) {
  const { names, values } = column;
  if (names) return (i) => (values[i] === null ? GREY : PALETTE[values[i]] || GREY);
  const [least, most] = bounds(values), width = most - least || 1;
  return (i) => (values[i] === null ? GREY : ramp((values[i] - least) / width));
}

function bounds(values) {
  let least = Infinity, most = -Infinity;
  for (const value of values) if (value !== null) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return [least, most];
}

function ramp(share) {
  const place = share * (RAMP.length - 1), i = Math.min(Math.floor(place), RAMP.length - 2);
  return RAMP[i].map((from, c) => Math.round(from + (RAMP[i + 1][c] - from) * (place - i)));
}

function colors() {
  const { data, chosen } = state, n = data.texts.length, color = palette(data.columns[data.color]);
  const found = new Uint8Array(4 * n), usual = n > 20000 ? 150 : 200;
  for (let i = 0; i < n; i++) {
    const [r, g, b] = color(i), out = chosen && !chosen.has(i);
    found[4 * i] = r; found[4 * i + 1] = g; found[4 * i + 2] = b; found[4 * i + 3] = out ? 22 : usual;
  }
  return found;
}

function dark() { return matchMedia("(prefers-color-scheme: dark)").matches; }

function lasso(on) {
  state.lasso = on;
  $("lasso").setAttribute("aria-pressed", on);
  for (const pane of state.panes) pane.svg.classList.toggle("drawing", on);
}

function draw() {
  state.colors = colors();
  for (const pane of state.panes) pane.draw();
}

// What is pointed at, and what is chosen ----------------------------------------------------------------------

function hover(pane, index, x, y) {
  if (index !== state.hover) {
    state.hover = index;
    for (const one of state.panes) one.draw();
  }
  const tip = $("tip");
  tip.hidden = index < 0;
  if (index < 0) return;
  const lines = state.data.columns.flatMap(({ name, names, values }) => {
    const value = values[index];
    return value === null ? [] : [make("dt", { textContent: name }), make("dd", { textContent: names ? names[value] : value })];
  });
  tip.replaceChildren(state.data.texts[index], make("dl", {}, ...lines));
  const box = pane.element.getBoundingClientRect(), left = box.left + x + 14, top = box.top + y + 14;
  tip.style.left = `${Math.max(4, Math.min(left, innerWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${top + tip.offsetHeight > innerHeight ? Math.max(4, top - tip.offsetHeight - 28) : top}px`;
}

function choose(found, how) {
  state.chosen = found === null ? null : new Set(found);
  list(found, how);
  draw();
}

function list(found, how) {
  for (const button of $("legend").querySelectorAll("button")) button.setAttribute("aria-pressed", false);
  $("count").textContent = found === null ? `${number(state.data.texts.length)} texts` : `${number(found.length)} ${how}`;
  $("chosen").hidden = found === null;
  const some = (found || []).slice(0, SHOWN);
  $("list").replaceChildren(...some.map((i) => make("li", {}, make("button", {
    type: "button", onclick: () => show(i) }, make("span", { textContent: state.data.texts[i] })))));
  $("more").textContent = found && found.length > SHOWN ? `and ${number(found.length - SHOWN)} more` : "";
}

function show(i) {
  state.hover = i;
  for (const pane of state.panes) pane.fit([pane.space.x[i], pane.space.y[i], 0]);
  draw();
}

function search(words) {
  state.lower ||= state.data.texts.map((text) => text.toLowerCase());
  const wanted = words.trim().toLowerCase(), found = [];
  if (!wanted) { choose(null); return; }
  for (let i = 0; i < state.lower.length; i++) if (state.lower[i].includes(wanted)) found.push(i);
  choose(found, "found");
}

function legend() {
  const column = state.data.columns[state.data.color], { names, values } = column;
  if (!names) {
    const ramp = make("div", { className: "ramp" });
    ramp.style.background = `linear-gradient(to right, ${RAMP.map(css).join()})`;
    const ends = bounds(values).map((end) => make("small", { textContent: Number.isFinite(end) ? number(end) : "–" }));
    $("legend").replaceChildren(ramp, make("div", { className: "ends" }, ...ends));
    return;
  }
  const sizes = new Array(names.length).fill(0);
  for (const value of values) if (value !== null) sizes[value]++;
  const rest = sizes.slice(PALETTE.length).reduce((a, b) => a + b, 0);
  const entry = (name, color, size, belongs) => {
    const dot = make("i");
    dot.style.background = css(color);
    const button = make("button", { type: "button" }, dot, make("b", { textContent: name }),
      make("small", { textContent: number(size) }));
    button.onclick = () => {
      const on = button.getAttribute("aria-pressed") !== "true", found = [];
      for (let i = 0; i < values.length; i++) if (belongs(values[i])) found.push(i);
      choose(on ? found : null, "chosen");
      button.setAttribute("aria-pressed", on);
    };
    return button;
  };
  const entries = names.slice(0, PALETTE.length).map((name, i) => entry(name, PALETTE[i], sizes[i], (v) => v === i));
  if (rest) entries.push(entry("other", GREY, rest, (v) => v >= PALETTE.length));
  $("legend").replaceChildren(...entries);
}

function rows() {
  const { texts, columns } = state.data;
  return [...state.chosen].map((i) => ({ row: i, text: texts[i], ...Object.fromEntries(columns.map(
    ({ name, names, values }) => [name, values[i] === null || !names ? values[i] : names[values[i]]])) }));
}

async function copy() {
  const text = rows().map((row) => row.text).join("\n");
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.body.appendChild(make("textarea", { value: text }));
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  $("count").textContent = `${number(state.chosen.size)} copied`;
}

function save() {
  const lines = rows().map((row) => JSON.stringify(row) + "\n");
  const link = make("a", { download: "texts.jsonl", href: URL.createObjectURL(new Blob(lines)) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function failed(error) {
  if (state.failed) return;
  state.failed = true;
  console.error(error);
  $("panes").replaceChildren(make("p", { className: "failed",
    textContent: `The map cannot be drawn: ${error.message || error}. It needs a browser with WebGL 2.` }));
}

async function main() {
  const data = (state.data = await unpack());
  [PALETTE, RAMP, [GREY]] = [data.palette, data.ramp, [data.grey]].map((colors) => colors.map(rgb));
  for (const [i, column] of data.columns.entries()) {
    if (column.colorable) $("color").append(make("option", { value: i, textContent: column.name, selected: i === data.color }));
  }
  legend(); // before the panes, which take the room that is left
  list(null);
  state.colors = colors();
  const panes = data.spaces.map((space) => new Pane(space, $("panes"), data.spaces.length > 1));
  state.panes = panes;
  for (const pane of panes) pane.start();
  let waiting = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => search($("search").value), 150);
  });
  $("color").addEventListener("change", () => { data.color = Number($("color").value); legend(); choose(null); });
  $("lasso").addEventListener("click", () => lasso(!state.lasso));
  $("fit").addEventListener("click", () => { for (const pane of panes) pane.fit(); });
  $("copy").addEventListener("click", copy);
  $("save").addEventListener("click", save);
  $("clear").addEventListener("click", () => { $("search").value = ""; choose(null); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("keydown", (event) => {
    const typing = /INPUT|SELECT/.test(document.activeElement.tagName);
    if (event.key === "Shift" && !state.lasso && !typing) lasso(true);
    if (event.key === "Escape") { lasso(false); $("search").value = ""; choose(null); }
    if (event.key === "/" && !typing) {
      event.preventDefault();
      $("search").focus();
    }
  });
  addEventListener("keyup", (event) => { if (event.key === "Shift") lasso(false); });
}

main().catch(failed);
