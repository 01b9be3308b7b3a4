// The table of scores: sorted and filtered, with its head and first column always in sight.
const WIDTHS = [[26, "widest"], [13, "wider"], [-1, ""]]; // columns that need smaller letters on paper
const UNRELIABLE = /\s*UNRELIABLE$/;

function scoreCell(entry, intervals) {
  const unreliable = UNRELIABLE.test(entry.score), score = entry.score.replace(UNRELIABLE, "");
  const shown = make(entry.rank === 1 ? "strong" : entry.rank === 2 ? "u" : "span", {}, score);
  const parts = [shown];
  if (entry.difference) parts.push(" ", make("span", { class: `difference ${entry.significant ? (entry.difference.startsWith("-") ? "down" : "up") : ""}` }, entry.difference.replace("-", "−")));
  if (entry.interval && intervals) parts.push(make("span", { class: "interval" }, entry.interval));
  if (unreliable) parts.push(make("span", { class: "unreliable" }, "UNRELIABLE"), ...(entry.why || []).map(text => make("span", { class: "interval why", title: text }, text.replace(/ \(limit [^)]*\)$/, ""))));
  return make("td", unreliable ? { class: "doubtful" } : {}, ...parts);
}

function columnHead(name, place, now) {
  const sorted = now.get("sort") === String(place), down = now.get("down") === "1";
  const arm = data.places ? data.places[place] : -1, base = arm >= 0 && data.arms[arm] === data.baseline && data.arms.length > 1;
  const small = [...(arm >= 0 && data.seeds.some(count => count > 1) ? [counted(data.seeds[arm], "seed")] : []), ...(base ? ["baseline"] : [])];
  // Browsers don't repeat a button on the next sheet of paper: there the name is a text.
  const order = sorted ? (down ? "ascending" : "descending") : "none";
  const button = make("button", { type: "button", "data-key": `sort ${place}`, title: `sort by ${name}`, onclick: () => change({ sort: place, down: sorted && !down ? "1" : "" }) },
    ...breakable(name), make("span", { class: "arrow", "aria-hidden": "true" }, sorted ? (down ? " ▲" : " ▼") : ""));
  return make("th", { scope: "col", "aria-sort": order }, ...(arm >= 0 ? [key(arm)] : []), button, make("span", { class: "printed", "aria-hidden": "true" }, ...breakable(name)), ...small.map(text => make("span", { class: "interval" }, text)));
}

function table() {
  const box = document.getElementById("table");
  const now = state(), sort = now.get("sort"), down = now.get("down") === "1", wanted = (now.get("rows") || "").toLowerCase();
  const intervals = now.get("plain") !== "1", grouped = sort === null;
  let lines = data.lines.filter(line => !wanted || `${line.category} ${line.label}`.toLowerCase().includes(wanted));
  if (sort !== null) {
    const value = line => line.values[Number(sort)] ?? -Infinity;
    lines = lines.filter(line => !line.mean).sort((a, b) => (down ? 1 : -1) * (value(b) - value(a)) || 0);
    if (down) lines.sort((a, b) => (value(a) === -Infinity) - (value(b) === -Infinity));
  }
  const first = make("th", { scope: "col", class: "name" }, make("button", { type: "button", "data-key": "sort", title: "in the first order", onclick: () => change({ sort: "", down: "" }) }, data.heads[1]), make("span", { class: "printed", "aria-hidden": "true" }, data.heads[1]));
  const head = make("tr", {}, first, ...data.columns.map((name, place) => columnHead(name, place, now)));
  const bodies = [];
  let group = null;
  for (const line of lines) {
    if (!bodies.length || (grouped && line.category !== group)) bodies.push(make("tbody", {}, ...(grouped ? [groupRow(line.category)] : [])));
    group = line.category;
    bodies.at(-1).append(make("tr", line.mean ? { class: "mean" } : {}, rowHead(line, grouped), ...line.entries.map(entry => scoreCell(entry, intervals))));
  }
  if (!lines.length) bodies.push(make("tbody", {}, make("tr", {}, make("td", { colspan: data.columns.length + 1, class: "none" }, wanted ? "No row has this text." : "No benchmark has a score."))));
  refill(box, make("table", { class: `scores ${WIDTHS.find(([least]) => data.columns.length > least)[1]}` }, make("caption", { class: "unseen" }, "Scores"), make("thead", {}, head), ...bodies));
}

function groupRow(name) { return make("tr", { class: "group" }, make("th", { scope: "rowgroup", colspan: data.columns.length + 1 }, make("span", {}, name))); }

function rowHead(line, grouped) {
  const [label, ...more] = line.label.split("\n");
  return make("th", { scope: "row", class: "name" }, ...breakable(label), ...[...more, ...(grouped ? [] : [line.category])].map(text => make("span", { class: "interval" }, text)));
}

function tableControls() {
  const rows = document.getElementById("rows"), plain = document.getElementById("plain");
  rows.value = state().get("rows") || "";
  rows.addEventListener("input", event => change({ rows: event.target.value }));
  if (!plain) return;
  plain.checked = state().get("plain") !== "1";
  plain.addEventListener("change", event => change({ plain: event.target.checked ? "" : "1" }));
}
