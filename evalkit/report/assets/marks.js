"use strict";
// What all parts of the page share. Everything from models and data sets is set as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const SVG = new Set(["svg", "rect", "line", "text", "circle", "image", "polyline", "path", "g", "title"]);

function make(name, attributes = {}, ...children) {
  const element = SVG.has(name) ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
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

// Draw a part anew without taking the focus away from what a keyboard is at; `data-key` says what is the same.
function refill(box, ...children) {
  const key = box.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const { scrollLeft, scrollTop } = box;
  box.replaceChildren(...children);
  box.scrollLeft = scrollLeft;
  box.scrollTop = scrollTop;
  if (key !== undefined) [...box.querySelectorAll("[data-key]")].find(each => each.dataset.key === key)?.focus();
}

// A name that may be broken after its separators.
function breakable(name) {
  const parts = name.split(/(?<=[@/+_-])/);
  return parts.flatMap((part, n) => n ? [make("wbr"), part] : [part]);
}

// Systems differ by colour (styles c0 to c11), by marker, and by the dashes of their lines: any two of them do.
const COLOURS = 12;
const SHAPES = ["M4,0A4,4 0 1 1 -4,0A4,4 0 1 1 4,0Z", "M-3.6,-3.6H3.6V3.6H-3.6Z", "M0,-4.6L4.4,3.4H-4.4Z", "M0,-5L5,0L0,5L-5,0Z", "M0,4.6L4.4,-3.4H-4.4Z",
  "M-1.5,-4.5H1.5V-1.5H4.5V1.5H1.5V4.5H-1.5V1.5H-4.5V-1.5H-1.5Z"];
const DASHES = ["none", "7 3", "2 3", "9 3 2 3", "4 2", "12 4"];

function mark(n, x, y, ...children) {
  const hollow = Math.floor(n / SHAPES.length) % 2 ? " hollow" : "";
  return make("path", { class: `mark c${n % COLOURS}${hollow}`, d: SHAPES[n % SHAPES.length], transform: `translate(${x.toFixed(1)},${y.toFixed(1)})` }, ...children);
}

function dashes(n, factor = 1) {
  const found = DASHES[(n + Math.floor(n / SHAPES.length)) % DASHES.length];
  return found === "none" ? found : found.split(" ").map(length => length * factor).join(" ");
}

function curve(n, points) {
  return make("polyline", { class: `curve c${n % COLOURS}`, "stroke-dasharray": dashes(n), points: points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ") });
}

function key(n) {
  return make("svg", { class: "key", width: 30, height: 12, viewBox: "-15 -6 30 12", "aria-hidden": "true" }, curve(n, [[-14, 0], [14, 0]]), mark(n, 0, 0));
}

// Round numbers that divide a range into about `count` parts.
function ticks(low, high, count = 4) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= raw * 0.999);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) found.push(Math.abs(value) < step / 1e6 ? 0 : value);
  return found;
}

// 1, 2 and 5 times powers of ten within a range, at most about six of them.
function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) for (const factor of [1, 2, 5]) found.push(factor * 10 ** power);
  const inside = found.filter(value => value >= low * 0.999 && value <= high * 1.001);
  return inside.length > 6 ? inside.filter(value => /^1/.test(String(value))) : inside.length > 1 ? inside : ticks(low, high, 3);
}

function short(value) {
  const size = Math.abs(value);
  return size >= 10000 ? `${+(value / 1000).toFixed(size >= 100000 ? 0 : 1)}k` : String(+value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2));
}
function signed(value) { return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`; }
function counted(count, noun) { return `${count} ${noun}${count === 1 ? "" : "s"}`; }
