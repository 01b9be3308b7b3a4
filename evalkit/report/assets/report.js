// Texts come in compressed pieces: an index of each task says what to show, and only what is shown is decoded.
const total = (data.tasks || []).reduce((sum, task) => sum + task.size, 0);
const PER_PAGE = 25, KEPT = 40;
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
  const now = state(), a = Number(now.get("a") ?? data.sides[0]), b = Number(now.get("b") ?? data.sides[1]);
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
  const rect = (box, style, thick, dashed, name) => make("rect", { x: Math.min(box[0], box[2]), y: Math.min(box[1], box[3]), width: Math.abs(box[2] - box[0]), height: Math.abs(box[3] - box[1]),
    class: style, fill: "none", "stroke-width": thick, "stroke-dasharray": dashed }, make("title", {}, name));
  const boxes = s.answers.map((each, n) => each && each[3] ? rect(each[3], `box c${n % COLOURS}`, stroke, dashes(n, stroke / 2), data.checkpoints[n]) : null).filter(Boolean);
  return make("svg", { viewBox: `0 0 ${width} ${height}`, width: 280, role: "img", "aria-label": s.media }, make("image", { href: image, width, height, preserveAspectRatio: "none" }),
    ...(s.box ? [rect(s.box, "truth", 3.5 * stroke, "none", "reference")] : []), ...boxes);
}

function card(s) {
  const answers = s.answers.map((each, n) => {
    const name = make("strong", {}, key(n), data.checkpoints[n]);
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
  const select = (name, title, options) => make("label", {}, title, make("select", { name, "data-key": name, onchange: event => change({ [name]: event.target.value, page: "", ...(name === "task" ? { label: "" } : {}) }) },
    ...options.map(([value, text]) => make("option", { value, ...(String(now.get(name) || "") === String(value) ? { selected: "" } : {}) }, text))));
  const named = data.checkpoints.map((name, n) => [n, name]), from = first => [named[first], ...named.filter(([n]) => n !== first)];
  const task = now.get("task"), labels = [...new Set(indexes.flatMap((index, n) => !task || data.tasks[n].name === task ? index.names : []))].sort();
  refill(form, select("task", "benchmark", [["", "all"], ...data.tasks.map(({ name }) => [name, name])]), select("mode", "show", [["", "all"], ...Object.keys(MODES).slice(1).map(name => [name, name])]),
    select("a", "A", from(data.sides[0])), select("b", "B", from(data.sides[1])), select("label", "category", [["", "all"], ...labels.slice(0, 500).map(name => [name, name])]),
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

function update() { table(); if (data.tasks) { drawCurves(); filters(); browser().catch(failed); } }

function failed(error) { document.getElementById("count").textContent = `The samples can't be shown (${error}): open the page in a newer browser.`; }

async function start() {
  indexes = await Promise.all(data.tasks.map(task => unpacked(task.index)));
  update();
  // Who came by a link to a sample is taken there, once it is drawn.
  if (!state().get("q")) return;
  await browser();
  document.getElementById("browser").scrollIntoView();
}

// The address after # is what is shown, so a link of the page only goes to its place.
function goTo(event) {
  const place = document.getElementById(event.currentTarget.getAttribute("href").slice(1));
  event.preventDefault();
  place.scrollIntoView();
  place.focus({ preventScroll: true });
}

addEventListener("hashchange", update);
addEventListener("keydown", keys);
addEventListener("beforeprint", opened);
addEventListener("afterprint", closed);
for (const link of document.querySelectorAll("nav a")) link.addEventListener("click", goTo);
tableControls();
table();
if (data.tasks) { differences(); breakdowns(); rates(); drawCurves(); start().catch(failed); }
