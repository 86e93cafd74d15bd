// Two models side by side; which two stands in the address. What is known of their order was worked out beforehand.
"use strict";

const lines = linesOf(DATA);
const picks = [document.getElementById("first"), document.getElementById("second")];

function nameOf(line) { return `${line.model} · ${line.probe}${line.answer ? ` · ${line.answer}` : ""}${line.measure ? ` (${line.measure})` : ""}`; }
function keyOf(line) { return [line.model, line.probe, line.answer, line.measure, line.harness, line.question_set].join("|"); }

for (const pick of picks) {
  const groups = new Map();
  for (const line of lines) {
    if (!groups.has(line.group)) groups.set(line.group, make("optgroup", { label: line.group || "base unknown" }));
    groups.get(line.group).append(make("option", { value: String(line.id) }, nameOf(line)));
  }
  pick.replaceChildren(...groups.values());
  pick.addEventListener("change", () => { writeAddress(); show(); });
}

function writeAddress() {
  const [a, b] = picks.map((pick) => keyOf(lines[pick.value]));
  history.replaceState(null, "", `#${new URLSearchParams({ a, b })}`);
}
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  ["a", "b"].forEach((name, i) => {
    const line = lines.find((one) => keyOf(one) === given.get(name)) || usual()[i];
    if (line) picks[i].value = String(line.id);
  });
}

// Two arms that may be held against each other, where there are some; else the first two lines.
function usual() {
  const arms = lines.filter((line) => line.gap !== null);
  for (const one of arms) {
    const other = arms.find((line) => line.id > one.id && ["base", "probe", "answer", "measure", "question_set"].every((key) => line[key] === one[key]));
    if (other) return [one, other];
  }
  return [...arms, ...lines].slice(0, 2).concat(lines.slice(-1));
}

const ROWS = [
  ["base", (line) => line.base || "unknown"], ["lineage", lineage], ["probe", (line) => `${line.probe} ${line.version}`],
  ["answer", (line) => line.answer || "–"], ["measure", (line) => line.measure || "–"],
  ["mean", (line) => `${num(line.value)} ${span(line.low, line.high)} ${line.interval && `over ${line.interval}`}`],
  ["", (line) => shareMark(line)],
  ["gap to its control", (line) => (line.gap === null ? "–" : `${num(line.gap, true)} ${span(line.gap_low, line.gap_high)}`)],
  ["", (line) => gapMark(line, gapScale(lines), DATA.delta)],
  ["verdict", (line) => line.verdict || "–"],
  ["seeds", (line) => line.seeds.map(([seed, share]) => `${seed}: ${num(share)}`).join(", ") || "–"],
  ["n", (line) => String(line.n ?? "unknown")], ["replies", (line) => (line.replies === null ? "unknown" : line.replies.toLocaleString("en"))],
  ["non-answers", (line) => num(line.non_answers)], ["abilities", (line) => abilityText(line) || "–"],
  ["sampling", (line) => line.sampling || "unknown"], ["questions", (line) => `${line.questions ?? "?"} (${line.question_set || "unknown"})`],
  ["prompts", (line) => line.prompt_hash.slice(0, 12) || "unknown"], ["harness", (line) => `${line.harness} ${line.harness_version}`],
  ["note", (line) => line.note || "–"],
];

function orderOf(a, b) {
  if (a.id === b.id) return "Choose two different lines.";
  const unlike = [["base", "base"], ["probe", "probe"], ["version", "version"], ["question_set", "questions"], ["measure", "measure"], ["answer", "answer"]].filter(([key]) => a[key] !== b[key]).map(([, words]) => words);
  if (unlike.length) return `Their figures may not be held against each other: another ${unlike.join(", ")}. They stand side by side for reading alone.`;
  for (const family of DATA.families) {
    const pair = family.pairs.find((one) => (one.first === a.model && one.second === b.model) || (one.first === b.model && one.second === a.model));
    if (!pair || family.probe !== a.probe || family.answer !== a.answer || family.measure !== a.measure || family.question_set !== a.question_set) continue;
    if (pair.p === null) return "Their order could not be tested: no scores by question for both, or one student against several.";
    const turned = pair.first !== a.model;
    const [difference, low, high] = turned ? [-pair.difference, pair.high === null ? null : -pair.high, pair.low === null ? null : -pair.low] : [pair.difference, pair.low, pair.high];
    return `First minus second: ${num(difference, true)} ${span(low, high)}, ${pair.over} (this pair alone); p ${num(pair.p)} after Holm over all pairs of the family. The order is ${pair.decided ? "decided" : "not decided"}.`;
  }
  return "Their order was not tested: controls and bases are yardsticks; the verdict of each arm says how it stands to its own.";
}

function show() {
  if (!lines.length) return;
  const [a, b] = picks.map((pick) => lines[pick.value]);
  document.getElementById("order").textContent = orderOf(a, b);
  const head = make("tr", {}, make("td"), ...[a, b].map((line) => make("th", { scope: "col" }, make("a", { href: line.page }, make("bdi", {}, line.model)))));
  const rows = ROWS.map(([name, told]) => make("tr", {}, name ? make("th", { scope: "row" }, name) : make("td"), ...[a, b].map((line) => {
    const value = told(line);
    return make("td", {}, typeof value === "string" ? make("bdi", {}, value) : value);
  })));
  document.getElementById("side").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  drawQuestions(a, b);
}

function drawQuestions(a, b) {
  const element = document.getElementById("questions"), words = document.getElementById("no-questions");
  element.replaceChildren();
  const [one, other] = [a, b].map((line) => DATA.questions[line.id] || {});
  const values = [...new Set([...Object.keys(one), ...Object.keys(other)])].flatMap((question) => [["first", one], ["second", other]].filter(([, held]) => held[question] != null).map(([who, held]) => ({ question, who, share: held[question] })));
  words.textContent = values.length ? "" : "No file behind these lines tells answers by question.";
  charts.drawn.delete(element);
  if (!values.length) return;
  const who = { field: "who", type: "nominal", title: null };
  charts.draw(element, {
    data: { values }, width: "container", autosize: { type: "fit-x", contains: "padding" }, height: { step: 17 }, mark: { type: "point", filled: true, size: 60, opacity: 0.9 },
    encoding: {
      x: { field: "share", type: "quantitative", title: "share of the answer", scale: { domainMin: 0 } },
      y: { field: "question", type: "nominal", title: null, sort: null, axis: { grid: true } },
      color: { ...who, scale: { domain: ["first", "second"], range: ["#D55E00", "#0072B2"] } },
      shape: { ...who, scale: { domain: ["first", "second"], range: ["circle", "square"] } },
      tooltip: [{ field: "question" }, { field: "who" }, { field: "share", type: "quantitative", format: ".3f" }],
    },
  });
}

document.getElementById("swap").addEventListener("click", () => {
  [picks[0].value, picks[1].value] = [picks[1].value, picks[0].value];
  writeAddress();
  show();
});
addEventListener("hashchange", () => { readAddress(); show(); });
readAddress();
show();
