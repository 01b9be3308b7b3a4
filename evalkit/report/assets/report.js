"use strict";
// Everything from models and data sets is set as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const colours = ["#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#65a30d", "#dc2626"];
const PER_PAGE = 25;

function make(name, attributes = {}, ...children) {
  const svg = ["svg", "rect", "line", "text", "circle", "image", "polyline", "g", "title"].includes(name) && attributes.svg !== false;
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "svg") continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "style") element.style.cssText = value; // an attribute of style is no style that the page's policy allows
    else element.setAttribute(key, value);
  }
  for (const child of children) element.append(child instanceof Node ? child : String(child));
  return element;
}

function state() { return new URLSearchParams(location.hash.slice(1)); }
function change(values) {
  const now = state();
  for (const [key, value] of Object.entries(values)) value === "" ? now.delete(key) : now.set(key, value);
  location.hash = now.toString();
}

function table() {
  const box = document.getElementById("table");
  const now = state(), sort = now.get("sort"), down = now.get("down") === "1", wanted = (now.get("rows") || "").toLowerCase();
  let lines = data.lines.filter(line => !wanted || `${line.category} ${line.label}`.toLowerCase().includes(wanted));
  if (sort !== null) {
    const place = Number(sort);
    const value = line => line.values[place] ?? -Infinity;
    lines = lines.filter(line => !line.mean).sort((a, b) => (down ? 1 : -1) * (value(b) - value(a)));
  }
  const arrow = place => sort === String(place) ? (down ? " ▲" : " ▼") : "";
  const head = make("tr", {}, make("th", {}, make("button", { onclick: () => change({ sort: "", down: "" }) }, data.heads[0])), make("th", {}, data.heads[1]),
    ...data.columns.map((name, place) => make("th", { scope: "col" }, make("button", {
      onclick: () => change({ sort: place, down: sort === String(place) && !down ? "1" : "" }) }, name + arrow(place)))));
  const body = lines.map(line => make("tr", line.mean ? { class: "mean" } : {}, make("td", {}, line.category), make("td", {}, line.label),
    ...line.entries.map(entry => make("td", {},
      make("span", { class: entry.rank === 1 ? "best" : entry.rank === 2 ? "second" : "" }, entry.score), " ",
      make("span", { class: "interval" }, entry.interval), " ",
      make("span", { class: entry.significant ? (entry.difference.startsWith("-") ? "down" : "up") : "interval" }, entry.difference)))));
  box.replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
}

function forest() {
  const box = document.getElementById("forest");
  if (!data.forest.length) return box.replaceChildren(make("p", { class: "note" }, "No baseline was given: no differences."));
  const width = 720, left = 260, row = 18;
  const reach = Math.max(1, ...data.forest.flatMap(each => [Math.abs(each.low), Math.abs(each.high)]));
  const x = value => left + (width - left - 20) * (value + reach) / (2 * reach);
  const parts = [make("line", { class: "axis", x1: x(0), x2: x(0), y1: 0, y2: data.forest.length * row + 6 })];
  data.forest.forEach((each, n) => {
    const y = row * n + 14, colour = colours[each.arm % colours.length];
    parts.push(make("text", { x: 0, y: y + 4 }, `${each.task}: ${data.arms[each.arm]}`),
      make("line", { x1: x(each.low), x2: x(each.high), y1: y, y2: y, stroke: colour, "stroke-width": each.significant ? 3 : 1 }),
      make("circle", { cx: x(each.value), cy: y, r: 4, fill: each.significant ? colour : "none", stroke: colour },
        make("title", {}, `${each.value.toFixed(1)} (${each.low.toFixed(1)} to ${each.high.toFixed(1)})`)));
  });
  const height = data.forest.length * row + 24;
  parts.push(make("text", { class: "soft", x: x(-reach), y: height - 4 }, (-reach).toFixed(0)), make("text", { class: "soft", x: x(reach) - 20, y: height - 4 }, `+${reach.toFixed(0)}`));
  box.replaceChildren(make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "differences to the baseline" }, ...parts));
}

function heat() {
  const blocks = data.heat.map(block => make("div", {}, make("h3", {}, block.title), make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, make("th", {}, "label"), make("th", {}, "n"), ...data.arms.map(name => make("th", {}, name)))),
    make("tbody", {}, ...block.rows.map(line => make("tr", {}, make("td", {}, line.label), make("td", {}, line.n), ...line.values.map(value => {
      const cell = make("td", {}, value === null ? "–" : value.toFixed(1));
      if (value !== null) cell.style.background = `color-mix(in srgb, var(--mark) ${Math.round(60 * Math.min(1, Math.max(0, value / block.top)))}%, transparent)`;
      return cell;
    }))))))));
  document.getElementById("heat").replaceChildren(...blocks);
}

function curves(id, plots, label) {
  const width = 340, height = 200, left = 36, bottom = 26;
  const drawn = plots.map(plot => {
    const xs = plot.curves.flatMap(curve => curve.points.map(point => point[0])), low = Math.min(...xs), high = Math.max(...xs, low + 1e-9);
    const x = value => left + (width - left - 10) * (Math.log1p(value) - Math.log1p(low)) / (Math.log1p(high) - Math.log1p(low) || 1);
    const y = value => 10 + (height - bottom - 10) * (1 - value / plot.top);
    const parts = [make("line", { class: "axis", x1: left, x2: width - 10, y1: y(0), y2: y(0) }), make("text", { class: "soft", x: 0, y: y(plot.top) + 4 }, plot.top), make("text", { class: "soft", x: 0, y: y(0) }, "0"),
      make("text", { class: "soft", x: left, y: height - 4 }, low.toFixed(0)), make("text", { class: "soft", x: width - 40, y: height - 4 }, high.toFixed(0)), make("text", { class: "soft", x: width / 2 - 40, y: height - 4 }, label)];
    for (const curve of plot.curves) {
      const colour = colours[curve.arm % colours.length];
      parts.push(make("polyline", { points: curve.points.map(point => `${x(point[0])},${y(point[1])}`).join(" "), fill: "none", stroke: colour, "stroke-width": 2 }));
      for (const point of curve.points) parts.push(make("circle", { cx: x(point[0]), cy: y(point[1]), r: 3, fill: colour }, make("title", {}, `${data.arms[curve.arm]}: ${point[1].toFixed(1)} at ${point[0].toFixed(0)} (n = ${point[2]})`)));
    }
    return make("figure", {}, make("figcaption", {}, plot.task), make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${plot.task} by ${label}` }, ...parts));
  });
  const box = document.getElementById(id);
  drawn.length ? box.replaceChildren(legend(), ...drawn) : box.replaceChildren(make("p", { class: "note" }, "Nothing of the kind in these runs."));
  box.style.display = drawn.length ? "flex" : ""; box.style.flexWrap = "wrap"; box.style.gap = "1rem";
}

function legend() {
  return make("p", { class: "small", style: "width:100%" }, ...data.arms.map((name, n) => {
    const item = make("span", { style: "margin-right:1rem" }, `● ${name}`); item.style.color = colours[n % colours.length]; return item; }));
}

function flags() {
  const names = Object.keys(data.flags[0] || {});
  document.getElementById("flags").replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, make("th", {}, "variant"), ...names.map(name => make("th", {}, name)))),
    make("tbody", {}, ...data.flags.map((counts, n) => make("tr", {}, make("td", {}, data.arms[n]), ...names.map(name => make("td", {}, counts[name])))))));
}

// Texts come in compressed pieces: an index of each task says what to show, and only what is shown is decoded.
const total = (data.tasks || []).reduce((sum, task) => sum + task.size, 0);
const KEPT = 40;
const decoded = new Map();
let indexes = [], latest = 0;

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

async function piece(task, number) {
  const key = `${task} ${number}`;
  if (!decoded.has(key)) {
    if (decoded.size >= KEPT) decoded.delete(decoded.keys().next().value);
    decoded.set(key, unpacked(data.tasks[task].pieces[number]));
  }
  return decoded.get(key);
}

async function sample([task, place]) {
  const part = await piece(task, Math.floor(place / data.piece));
  const found = part.samples[place % data.piece];
  return { ...found, task: data.tasks[task].name, prompt: part.prompts[found.prompt] };
}

const right = value => value !== null && value >= 0.5;
const MODES = {
  all: () => true,
  "a right, b wrong": (index, n, a, b) => right(index.values[n][a]) && !right(index.values[n][b]),
  "a better than b": (index, n, a, b) => (index.values[n][a] ?? -1) > (index.values[n][b] ?? -1),
  "answers differ": (index, n, a, b) => index.same[n][a] !== index.same[n][b],
  "both wrong": (index, n, a, b) => !right(index.values[n][a]) && !right(index.values[n][b]),
};

// [task, place] of every sample that the index lets through.
function candidates() {
  const now = state(), a = Number(now.get("a") || 0), b = Number(now.get("b") || Math.min(1, data.arms.length - 1));
  const mode = MODES[now.get("mode")] || MODES.all, wanted = now.get("task"), label = now.get("label"), flag = now.get("flag"), found = [];
  indexes.forEach((index, task) => {
    if (wanted && data.tasks[task].name !== wanted) return;
    const named = index.names.indexOf(label), flags = index.flags.map(each => each.split(" ").includes(flag));
    for (let n = 0; n < data.tasks[task].size; n++) {
      if (mode(index, n, a, b) && (!label || index.labels[n].includes(named)) && (!flag || index.flagged[n].some(each => flags[each]))) found.push([task, n]);
    }
  });
  return found;
}

// Those among them that have a text: a newer order ends the search.
async function searched(places, text, turn) {
  const found = [];
  for (const [number, place] of places.entries()) {
    const s = await sample(place);
    if (turn !== latest) return null;
    if (number % 2000 === 0) document.getElementById("count").textContent = `searched ${number} of ${places.length} samples`;
    if (`${s.id} ${s.question} ${s.reference} ${s.answers.map(each => each ? each[0] : "").join(" ")}`.toLowerCase().includes(text)) found.push(place);
  }
  return found;
}

function picture(s) {
  if (s.thumb === null) return make("p", { class: "note" }, s.media);
  const image = data.thumbs[s.thumb];
  if (!s.size || (!s.box && !s.answers.some(each => each && each[3]))) return make("img", { src: image, alt: s.media, loading: "lazy" });
  const [width, height] = s.size, stroke = Math.max(width, height) / 150;
  const rect = (box, colour, dashes, name) => make("rect", { x: Math.min(box[0], box[2]), y: Math.min(box[1], box[3]), width: Math.abs(box[2] - box[0]), height: Math.abs(box[3] - box[1]),
    fill: "none", stroke: colour, "stroke-width": stroke, "stroke-dasharray": dashes }, make("title", {}, name));
  const boxes = s.answers.map((each, n) => each && each[3] ? rect(each[3], colours[n % colours.length], "", data.arms[n]) : null).filter(Boolean);
  return make("svg", { viewBox: `0 0 ${width} ${height}`, width: 280, role: "img", "aria-label": s.media }, make("image", { href: image, width, height, preserveAspectRatio: "none" }),
    ...(s.box ? [rect(s.box, "#16a34a", `${4 * stroke} ${2 * stroke}`, "reference")] : []), ...boxes);
}

function card(s) {
  const answers = s.answers.map((each, n) => {
    const name = make("strong", {}, data.arms[n]); name.style.color = colours[n % colours.length];
    if (!each) return make("div", { class: "answer" }, name, " not run");
    const verdict = each[1] === null ? "no score" : each[1].toFixed(2);
    return make("div", { class: "answer" }, name, " ", make("span", { class: right(each[1]) ? "right" : "wrong" }, verdict),
      ...(each[2] ? each[2].split(" ").map(flag => make("span", { class: "flag" }, flag)) : []), ...(each[5] ? [make("span", { class: "small" }, ` read by ${each[5]}`)] : []), make("pre", {}, each[0]),
      ...(each[4] ? [make("details", { class: "reasoning" }, make("summary", { class: "small" }, "reasoning"), make("pre", {}, each[4]))] : []));
  });
  return make("article", { class: "sample", tabindex: "0" }, make("figure", {}, picture(s), make("figcaption", { class: "small" }, s.media)),
    make("div", {}, make("div", { class: "small" }, `${s.task} · ${s.id} · ${s.labels.join(", ")}`), make("pre", {}, s.question), make("div", {}, "reference: ", make("b", {}, s.reference)),
      make("details", {}, make("summary", { class: "small" }, "prompt"), make("pre", {}, s.prompt)), ...answers));
}

async function browser() {
  const mine = ++latest, text = (state().get("q") || "").toLowerCase(), places = candidates();
  const found = text ? await searched(places, text, mine) : places;
  if (found === null) return;
  const now = state(), pages = Math.max(1, Math.ceil(found.length / PER_PAGE)), page = Math.min(pages - 1, Number(now.get("page") || 0));
  const shown = await Promise.all(found.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(sample));
  if (mine !== latest) return;
  document.getElementById("count").textContent = `${found.length} of ${total} samples, page ${page + 1} of ${pages}`;
  document.getElementById("samples").replaceChildren(...shown.map(card));
  const turn = (name, to) => make("button", { onclick: () => change({ page: to }), ...(to < 0 || to >= pages ? { disabled: "" } : {}) }, name);
  for (const pager of document.querySelectorAll(".pager")) pager.replaceChildren(turn("previous", page - 1), " ", turn("next", page + 1));
}

function filters() {
  const now = state(), form = document.getElementById("filters");
  form.onsubmit = event => event.preventDefault();
  if (form.contains(document.activeElement) && document.activeElement.name === "q") return;
  const select = (name, title, options) => make("label", {}, title, make("select", { name, onchange: event => change({ [name]: event.target.value, page: "", ...(name === "task" ? { label: "" } : {}) }) },
    ...options.map(([value, text]) => make("option", { value, ...(String(now.get(name) || "") === String(value) ? { selected: "" } : {}) }, text))));
  const arms = data.arms.map((name, n) => [n, name]);
  const task = now.get("task"), labels = [...new Set(indexes.flatMap((index, n) => !task || data.tasks[n].name === task ? index.names : []))].sort();
  form.replaceChildren(select("task", "benchmark", [["", "all"], ...data.tasks.map(({ name }) => [name, name])]), select("mode", "show", [["", "all"], ...Object.keys(MODES).slice(1).map(name => [name, name])]),
    select("a", "A", arms), select("b", "B", arms.length > 1 ? [[1, data.arms[1]], ...arms.filter(([n]) => n !== 1)] : arms), select("label", "category", [["", "all"], ...labels.slice(0, 500).map(name => [name, name])]),
    select("flag", "flag", [["", "all"], ...["error", "truncated", "empty", "unparsed", "repeating"].map(name => [name, name])]),
    make("label", {}, "text", make("input", { name: "q", type: "search", value: now.get("q") || "", oninput: event => change({ q: event.target.value, page: "" }) })));
}

function keys(event) {
  if (["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return;
  const cards = [...document.querySelectorAll(".sample")], at = cards.indexOf(document.activeElement), page = Number(state().get("page") || 0);
  if (event.key === "j") cards[Math.min(cards.length - 1, at + 1)]?.focus();
  else if (event.key === "k") cards[Math.max(0, at - 1)]?.focus();
  else if (event.key === "n") change({ page: page + 1 });
  else if (event.key === "p") change({ page: Math.max(0, page - 1) });
}

function update() { table(); if (data.tasks) { filters(); browser().catch(failed); } }

function failed(error) { document.getElementById("count").textContent = `The samples can't be shown (${error}): open the page in a newer browser.`; }

async function start() {
  indexes = await Promise.all(data.tasks.map(task => unpacked(task.index)));
  update();
}

document.getElementById("rows").addEventListener("input", event => change({ rows: event.target.value }));
addEventListener("hashchange", update);
addEventListener("keydown", keys);
document.getElementById("rows").value = state().get("rows") || "";
if (data.tasks) { forest(); heat(); curves("duration", data.duration, "seconds of video"); curves("tokens", data.tokens, "visual tokens"); flags(); }
table();
if (data.tasks) start().catch(failed);
