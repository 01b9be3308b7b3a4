// Plots, each small, side by side, and grouped; what they show is in the tables as well.
const STYLE = { better: "better", worse: "worse", level: "level" };
function direction(each) { return each.significant ? (each.value > 0 ? STYLE.better : STYLE.worse) : STYLE.level; }
function nothing(text) { return make("p", { class: "note" }, text); }
function scrolling(label, ...children) { return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, ...children); }
function folded(title, open, ...children) { return make("details", open ? { open: "" } : {}, make("summary", {}, title), ...children); }

function differences() {
  const box = document.getElementById("differences-plots"), groups = data.differences;
  if (!groups.length) return box.replaceChildren(nothing(data.arms.length > 1 ? "The systems have no benchmark in common: no differences." : "One system alone has no differences."));
  const own = groups.filter(each => each.name !== "means"), panels = own.flatMap(group => group.panels), rows = panels.reduce((sum, panel) => sum + panel.rows.length, 0);
  const parts = [differenceKey(), ...(groups[0].name === "means" ? [grid(groups[0], reach(groups[0].panels))] : [])];
  if (panels.length > 1) parts.push(make("h3", {}, "Every benchmark"), matrix(groups));
  const wide = reach(panels);
  if (panels.length <= 8) parts.push(grid({ panels }, wide));
  else for (const group of own) parts.push(folded(`${group.name}: ${counted(group.panels.length, "benchmark")}, with 95% intervals`, rows <= 60, grid(group, wide)));
  box.replaceChildren(...parts);
}

function differenceKey() {
  const item = (style, text) => make("span", {}, make("svg", { class: "key", width: 34, height: 12, viewBox: "-17 -6 34 12", "aria-hidden": "true" }, ...dot(0, 0, -14, 14, style)), ` ${text}`);
  return make("p", { class: "legend" }, item(STYLE.better, "better than the baseline"), item(STYLE.worse, "worse"), item(STYLE.level, "not told apart"),
    make("span", { class: "note" }, `Differences to ${data.baseline}, with 95% intervals. Better and worse: p < 0.05 after correction over the benchmarks; of means, an interval without 0.${seedNote()}`));
}

const severalSeeds = () => data.seeds.some(count => count > 1);
function seedNote() { return severalSeeds() ? " Small dots are single training seeds." : ""; }
function seedDots(values, x, y, place) { return (values || []).map(value => make("circle", { class: "seed", r: 1.7, cx: x(value), cy: y(value) }, make("title", {}, `one seed: ${place(value)}`))); }

function caption(panel) { return make("figcaption", {}, panel.title, " ", make("span", {}, panel.unit)); }

function dot(x, y, low, high, style) {
  const shape = style === STYLE.better ? SHAPES[2] : style === STYLE.worse ? SHAPES[4] : SHAPES[0];
  return [make("line", { class: `range ${style}`, x1: low, x2: high, y1: y, y2: y }), make("path", { class: `point ${style}`, d: shape, transform: `translate(${x},${y})` })];
}

function reach(panels) { return Math.max(1, ...panels.flatMap(panel => panel.rows.flatMap(each => [each.low, each.high, ...each.seeds].map(Math.abs)))); }
function grid(group, wide) { return make("div", { class: "panels" }, ...group.panels.map(panel => differencePanel(panel, wide))); }

function differencePanel(panel, wide) {
  const left = Math.min(130, 12 + 6.1 * Math.max(...panel.rows.map(each => data.short[each.arm].length))), width = left + 190, row = 15, top = 4, bottom = 32;
  const height = top + panel.rows.length * row + bottom, x = value => left + 8 + (width - left - 16) * (value + wide) / (2 * wide);
  const floor = height - bottom + 2, parts = [];
  for (const value of ticks(-wide, wide, 4)) parts.push(make("line", { class: value ? "axis" : "zero", x1: x(value), x2: x(value), y1: top, y2: floor }), make("text", { class: "soft", x: x(value), y: floor + 12, "text-anchor": "middle" }, value ? short(value).replace("-", "−") : "0"));
  parts.push(make("text", { class: "soft", x: (left + width) / 2, y: height - 3, "text-anchor": "middle" }, "difference"));
  panel.rows.forEach((each, n) => {
    const y = top + row * n + row / 2, style = direction(each), name = data.short[each.arm];
    const said = `${data.arms[each.arm]}: ${signed(each.value)} (${signed(each.low)} to ${signed(each.high)})${each.significant ? ", significant" : ""}${each.unreliable ? ", UNRELIABLE" : ""}`;
    parts.push(make("g", {}, make("title", {}, said), make("text", { x: left, y: y + 4, "text-anchor": "end", class: each.unreliable ? "soft" : "" }, cut(name, 20) + (each.unreliable ? " (!)" : "")), ...dot(x(each.value), y, x(each.low), x(each.high), style), ...seedDots(each.seeds, x, () => y + 4, signed)));
  });
  const label = `${panel.title}: ${panel.rows.map(each => `${data.short[each.arm]} ${signed(each.value)}${each.significant ? " significant" : ""}`).join(", ")}`;
  return make("figure", {}, caption(panel), make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...parts));
}

function cut(text, length) { return text.length > length ? `${text.slice(0, length / 2 - 1)}…${text.slice(-length / 2)}` : text; }

// All differences as one table whose cells are tinted: what is better and worse is seen at once.
function matrix(groups) {
  const arms = [...new Set(groups.flatMap(group => group.panels.flatMap(panel => panel.rows.map(each => each.arm))))].sort((a, b) => a - b);
  const most = Math.max(1, ...groups.flatMap(group => group.panels.flatMap(panel => panel.rows.map(each => Math.abs(each.value)))));
  const bodies = groups.map(group => make("tbody", {}, make("tr", { class: "group" }, make("th", { scope: "rowgroup", colspan: arms.length + 1 }, make("span", {}, group.name))), ...group.panels.map(panel =>
    make("tr", {}, make("th", { scope: "row", class: "name" }, ...breakable(panel.title)), ...arms.map(arm => differenceCell(panel.rows.find(each => each.arm === arm), most))))));
  const head = make("tr", {}, make("th", { scope: "col", class: "name" }, "benchmark"), ...arms.map(arm => make("th", { scope: "col" }, ...breakable(data.short[arm]))));
  return scrolling("differences of every benchmark", make("table", { class: "matrix" }, make("caption", { class: "unseen" }, `Differences to ${data.baseline}`), make("thead", {}, head), ...bodies));
}

function differenceCell(each, most) {
  if (!each) return make("td", {}, "–");
  const share = Math.round(55 * Math.min(1, Math.abs(each.value) / most));
  const cell = make("td", { title: `${signed(each.low)} to ${signed(each.high)}` }, make(each.significant ? "strong" : "span", {}, signed(each.value) + (each.significant ? "*" : "")), ...(each.unreliable ? [make("span", { class: "unreliable" }, "UNRELIABLE")] : []));
  cell.style.background = `color-mix(in srgb, var(--${each.value > 0 ? "better" : "worse"}) ${share}%, var(--paper))`;
  return cell;
}

function breakdowns() {
  const box = document.getElementById("breakdown-tables"), many = data.breakdowns.length > 6;
  if (!data.breakdowns.length) return box.replaceChildren(nothing("Nothing of the kind in these runs."));
  box.replaceChildren(...data.breakdowns.map(block => folded(block.title, !many, scrolling(block.title, breakdown(block)))));
}

function breakdown(block) {
  const head = make("tr", {}, make("th", { scope: "col", class: "name" }, "label"), make("th", { scope: "col" }, "n"), ...data.short.map(name => make("th", { scope: "col" }, ...breakable(name))));
  const rows = block.rows.map(line => make("tr", {}, make("th", { scope: "row", class: "name" }, line.label), make("td", {}, line.n), ...line.values.map(value => shaded(value, block))));
  return make("table", { class: "matrix" }, make("thead", {}, head), make("tbody", {}, ...rows));
}

function shaded(value, block) {
  const cell = make("td", {}, value === null ? "–" : value.toFixed(1));
  if (value !== null) cell.style.background = `color-mix(in srgb, var(--mark) ${Math.round(45 * Math.min(1, Math.max(0, (value - block.low) / (block.top - block.low))))}%, var(--paper))`;
  return cell;
}

// Curves with intervals. Of many, those that are chosen stand out, and the others are thin behind them.
function curves(id, panels, names, label, logarithmic, usual) {
  const box = document.getElementById(id);
  if (!panels.length) return box.replaceChildren(nothing("Nothing of the kind in these runs."));
  const chosen = shown(id, names, usual), categories = [...new Set(panels.map(panel => panel.category))];
  const parts = panels.length <= 8 ? [make("div", { class: "panels" }, ...panels.map(panel => curvePanel(panel, names, label, logarithmic, chosen)))] : categories.map(category => {
    const own = panels.filter(panel => panel.category === category);
    const drawn = make("div", { class: "panels" }, ...own.map(panel => curvePanel(panel, names, label, logarithmic, chosen)));
    return folded(`${category} (${own.length})`, openIn(box, category, panels.length <= 12 || category === categories[0]), drawn);
  });
  refill(box, chooser(id, names, chosen), ...parts);
}

function openIn(box, category, usual) {
  const before = [...box.querySelectorAll("details")].find(each => each.firstChild.textContent.startsWith(`${category} (`));
  return before ? before.open : usual;
}

function shown(id, names, usual) {
  const given = state().get(id);
  const listed = given === null ? usual : given.split(" ").filter(Boolean).map(Number);
  return listed.filter(n => Number.isInteger(n) && n >= 0 && n < names.length);
}

function chooser(id, names, chosen) {
  const toggle = n => { const left = chosen.includes(n) ? chosen.filter(each => each !== n) : [...chosen, n]; change({ [id]: left.sort((a, b) => a - b).join(" ") || " " }); };
  return make("div", { class: "legend", role: "group", "aria-label": "curves that stand out" }, ...names.map((name, n) =>
    make("button", { type: "button", "data-key": `${id} ${n}`, "aria-pressed": String(chosen.includes(n)), onclick: () => toggle(n) }, key(n), name)),
  make("span", { class: "note" }, `Bars are 95% intervals.${seedNote()} Press a name to show or hide it.`));
}

function curvePanel(panel, names, usual, logarithmic, chosen) {
  const label = panel.label || usual, named = value => panel.levels ? panel.levels[Math.round(value)] : short(value);
  const width = 300, height = 186, left = 34, right = 10, top = 8, bottom = 34, front = panel.curves.filter(each => chosen.includes(each.arm));
  const points = panel.curves.flatMap(each => each.points), seen = (front.length ? front : panel.curves).flatMap(each => each.points);
  const bounds = [...(panel.chance || []), ...seen.flatMap(point => [point[2], point[3], ...(point[5] || [])]), ...points.map(point => point[1])].filter(value => Number.isFinite(value));
  const steps = ticks(Math.min(...bounds), Math.max(...bounds), 5), step = steps.length > 1 ? steps[1] - steps[0] : 1;
  const least = Math.max(panel.limits[0], Math.floor(Math.min(...bounds) / step) * step), most = Math.min(panel.limits[1], Math.ceil(Math.max(...bounds) / step) * step);
  const xs = points.map(point => point[0]), low = Math.min(...xs), high = Math.max(...xs), bend = value => logarithmic ? Math.log(Math.max(value, 1e-3)) : value;
  const x = value => left + 8 + (width - left - right - 16) * (high > low ? (bend(value) - bend(low)) / (bend(high) - bend(low)) : 0.5);
  const y = value => top + (height - top - bottom) * (1 - (value - least) / (most - least || 1)), floor = height - bottom, parts = [];
  for (const value of ticks(least, most, 5)) parts.push(make("line", { class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value) }), make("text", { class: "soft", x: left - 5, y: y(value) + 4, "text-anchor": "end" }, short(value)));
  for (const value of panel.levels ? panel.levels.map((_, n) => n) : logarithmic ? logTicks(Math.max(low, 1e-3), high) : ticks(low, high, 4)) parts.push(make("line", { class: "axis", x1: x(value), x2: x(value), y1: floor, y2: floor + 4 }), make("text", { class: "soft", x: x(value), y: floor + 15, "text-anchor": "middle" }, named(value)));
  if (panel.chance) parts.push(make("polyline", { class: "chance", points: panel.chance.map((value, n) => `${x(n).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }, make("title", {}, "chance")));
  parts.push(make("text", { class: "soft", x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, label));
  for (const each of panel.curves) if (!chosen.includes(each.arm)) parts.push(make("polyline", { class: "behind", points: each.points.map(point => `${x(point[0]).toFixed(1)},${y(point[1]).toFixed(1)}`).join(" ") }, make("title", {}, names[each.arm])));
  front.forEach((each, n) => parts.push(...standingOut(each, names, named, label, (n - (front.length - 1) / 2) * 2.4, x, y)));
  const said = `${panel.title} by ${label}: ${front.map(each => `${names[each.arm]} from ${each.points[0][1].toFixed(1)} to ${each.points.at(-1)[1].toFixed(1)}`).join(", ")}`;
  return make("figure", {}, caption(panel), make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": said }, ...parts));
}

function standingOut(each, names, named, label, aside, x, y) {
  const at = point => x(point[0]) + aside, parts = [curve(each.arm, each.points.map(point => [at(point), y(point[1])]))];
  for (const [size, value, low, high, count, seeds] of each.points) {
    const place = x(size) + aside, said = `${names[each.arm]}: ${value.toFixed(1)} at ${named(size)} ${label}${Number.isFinite(low) ? ` (${low.toFixed(1)} to ${high.toFixed(1)})` : ""}${count ? `, n = ${count}` : ""}`;
    if (low !== null && high !== null) parts.push(make("line", { class: `whisker c${each.arm % COLOURS}`, x1: place, x2: place, y1: y(low), y2: y(high) }));
    parts.push(mark(each.arm, place, y(value), make("title", {}, said)), make("g", { class: `c${each.arm % COLOURS}` }, ...seedDots(seeds, () => place + 4, y, one => one.toFixed(1))));
  }
  return parts;
}

// The table of failure rates that `evalkit compare` prints; below a rate stands the benchmark where it is highest.
function rates() {
  const box = document.getElementById("rates"), { heads, rows } = data.rates;
  if (!rows.length) return box.replaceChildren(nothing("Every answer could be read, and none failed, was cut off or repeats itself."));
  const head = make("tr", {}, ...heads.map((name, n) => make("th", { scope: "col", ...(n ? {} : { class: "name" }) }, name)));
  const cell = text => { const [share, worst] = text.replace(/\)$/, "").split(" ("); return make("td", {}, share, ...(worst ? [make("span", { class: "interval" }, worst)] : [])); };
  const lines = rows.map(([name, ...texts]) => make("tr", {}, make("th", { scope: "row", class: "name" }, ...breakable(name)), ...texts.map(cell)));
  box.replaceChildren(make("p", { class: "note" }, "Of all answers of a system, and below of those to the benchmark where the share is highest. What is not listed has none."),
    scrolling("failures", make("table", { class: "matrix rates" }, make("thead", {}, head), make("tbody", {}, ...lines))));
}

function drawSteps() {
  const { panels, trainings, label, left_out: others } = data.steps;
  curves("steps", panels, trainings, label, false, trainings.map((_, n) => n).slice(0, 6));
  if (others.length) document.getElementById("steps").append(nothing(`Not drawn here, since their checkpoints are of different steps: ${others.join(", ")}.`));
}

function drawCurves() {
  if (data.steps) drawSteps();
  if (data.abilities.length) curves("abilities", data.abilities, data.arms, "knob", false, data.focus);
  curves("lengths", data.lengths, data.arms, "seconds of video", true, data.focus);
  curves("sizes", data.sizes, data.arms, "visual tokens", true, data.focus);
}

// On paper everything is open.
function opened() { for (const each of document.querySelectorAll("details:not(.sample details):not([open])")) { each.open = true; each.dataset.closed = ""; } }
function closed() { for (const each of document.querySelectorAll("[data-closed]")) { each.open = false; delete each.dataset.closed; } }
