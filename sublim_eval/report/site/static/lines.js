// Lines of the board from their compact form, numbers in the form of the papers, and intervals as marks.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const NARROW = matchMedia("(max-width: 700px)");
const VERDICT = { "transferred": "up", "moved away": "down", "small shift": "small", "no transfer": "none", "inconclusive": "open" };

function linesOf(data) {
  const text = new Set(data.text);
  return data.lines.map((held, id) => {
    const line = { id };
    data.fields.forEach((name, i) => { line[name] = text.has(name) ? data.words[held[i]] : held[i]; });
    return line;
  });
}

function num(value, sign = false, digits = 3) {
  if (value === null || value === undefined) return "–";
  const text = Math.abs(value).toFixed(digits).replace(/^0\./, ".");
  return (value < 0 ? "−" : sign ? "+" : "") + text;
}

function span(low, high) {
  return low === null || high === null ? "" : `[${num(low)}, ${num(high)}]`;
}

function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") element.className = value;
    else if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function draw(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// What must stand one hover or key away from every mean.
function evidence(line) {
  const n = line.kind === "arm" ? `${line.n ?? "?"} seed${line.n === 1 ? "" : "s"}` : `n ${line.n ?? "unknown"}`;
  if (line.kind === "theirs") return `published by others: ${line.note}`;
  return `${n}; ${line.probe} ${line.version || "of unknown version"}, ${line.questions ?? "?"} questions; sampling ${line.sampling || "unknown"}; ${line.harness} ${line.harness_version}`;
}

// An interval as a mark: a line, a dot, seeds as small dots above it. scale: [from, to] of the whole column.
function mark(parts, scale, label) {
  const wide = NARROW.matches ? 100 : 124, high = 30, pad = 6;
  const x = (value) => (pad + (wide - 2 * pad) * (Math.min(Math.max(value, scale[0]), scale[1]) - scale[0]) / (scale[1] - scale[0] || 1)).toFixed(1);
  const svg = draw("svg", { viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, class: `mark ${parts.class || ""}`, role: "img", "aria-label": label });
  if (parts.band) svg.append(draw("rect", { x: x(parts.band[0]), y: 2, width: Math.max(1, x(parts.band[1]) - x(parts.band[0])), height: high - 4, class: "band" }));
  if (parts.zero) svg.append(draw("line", { x1: x(0), x2: x(0), y1: 2, y2: high - 2, class: "zero" }));
  if (parts.low !== null && parts.high !== null && parts.low !== undefined) {
    svg.append(draw("line", { x1: x(parts.low), x2: x(parts.high), y1: 20, y2: 20, class: "reach" }));
    for (const end of [parts.low, parts.high]) svg.append(draw("line", { x1: x(end), x2: x(end), y1: 17, y2: 23, class: "reach" }));
  }
  for (const value of parts.others || []) svg.append(draw("rect", { x: x(value) - 2, y: 7.5, width: 4, height: 4, class: "other" }));
  for (const value of parts.seeds || []) svg.append(draw("circle", { cx: x(value), cy: 4.5, r: 2.4, class: "seed" }));
  if (parts.base !== null && parts.base !== undefined) svg.append(draw("line", { x1: x(parts.base), x2: x(parts.base), y1: 14, y2: 28, class: "base" }));
  if (parts.value !== null && parts.value !== undefined) {
    const there = Number(x(parts.value));
    svg.append(parts.hollow ? draw("path", { d: `M${there} 15 l5 5 l-5 5 l-5 -5 z`, class: "hollow" }) : draw("circle", { cx: there, cy: 20, r: 4.2, class: "point" }));
  }
  return svg;
}

function gapScale(lines) {
  const ends = lines.flatMap((line) => [line.gap, line.gap_low, line.gap_high]).filter((value) => value !== null);
  return [Math.min(-0.06, ...(ends.length ? [least(ends)] : [])), Math.max(0.06, ...(ends.length ? [most(ends)] : []))];
}

// Of many numbers: an argument each would be too many arguments.
function least(values) { return values.reduce((a, b) => (b < a ? b : a)); }
function most(values) { return values.reduce((a, b) => (b > a ? b : a)); }

function gapMark(line, scale, delta) {
  if (line.gap === null) return "";
  const words = `gap ${num(line.gap, true)} ${span(line.gap_low, line.gap_high)}${line.gap_interval ? ` over ${line.gap_interval}` : ", no interval"}`;
  return mark({ value: line.gap, low: line.gap_low, high: line.gap_high, band: [-delta, delta], zero: true, class: VERDICT[line.verdict_kind] || "" }, scale, words);
}

function shareMark(line) {
  if (line.value === null || line.value < -1e-9 || line.value > 1 + 1e-9) return "";
  const seeds = line.seeds.map(([, share]) => share), others = line.controls.map(([, share]) => share);
  const parts = [`${line.measure || "share"} ${num(line.value)} ${span(line.low, line.high)}`];
  if (seeds.length) parts.push(`seeds ${seeds.map((share) => num(share)).join(", ")}`);
  if (others.length) parts.push(`control's seeds ${others.map((share) => num(share)).join(", ")}`);
  if (line.untrained !== null) parts.push(`untrained base ${num(line.untrained)}`);
  return mark({ value: line.value, low: line.low, high: line.high, seeds, others, base: line.untrained, hollow: line.kind === "theirs", class: line.kind }, [0, 1], parts.join("; "));
}

function abilityText(line) {
  return line.abilities.map(([task, metric, values]) => `${task} ${metric} ${values.map((value) => num(value)).join(", ")}`).join("; ");
}

function lineage(line) {
  if (line.kind === "theirs") return line.note;
  if (line.role === "base") return "untrained";
  const teacher = line.trait ? `${line.trait} teacher` : line.role === "control" ? "no trait" : "";
  return [line.base || "unknown base", teacher, line.arm === line.trait ? "" : line.arm].filter(Boolean).join(" → ");
}
