// The board: Tabulator shows the lines; filters, columns and order stand in the address, so that a view can be linked.
"use strict";

const lines = linesOf(DATA);
const scale = gapScale(lines);

const KINDS = { arm: "arms over their seeds", model: "single models", beside: "the same by their other measure", student: "every student", task: "other people's tasks, and scans", theirs: "published figures" };
const PICKED = ["base", "trait", "probe", "verdict"];
const USUAL = { kinds: ["arm", "model", "theirs"], sort: "gap:desc" };
const LEAST = matchMedia("(max-width: 700px)");

const nullsLast = (compare) => (a, b, rowA, rowB, column, dir) => {
  const lacking = (value) => value === null || value === undefined || value === "";
  if (lacking(a) || lacking(b)) return lacking(a) && lacking(b) ? 0 : (lacking(a) ? 1 : -1) * (dir === "asc" ? 1 : -1);
  return compare(a, b);
};
const byNumber = nullsLast((a, b) => a - b);
const collator = new Intl.Collator("en", { numeric: true });
const ranks = new Map([...new Set(lines.flatMap((line) => [line.model, line.trait, line.probe, line.verdict, line.base, line.harness, line.version, line.date]))].sort(collator.compare).map((word, i) => [word, i]));
const byText = nullsLast((a, b) => (ranks.get(a) ?? 0) - (ranks.get(b) ?? 0));

const text = (value) => { const held = make("bdi"); held.textContent = value === null || value === undefined || value === "" ? "–" : String(value); return held; };
const plainText = (cell) => text(cell.getValue());
const numeric = (cell) => text(num(cell.getValue()));
const counted = (cell) => text(cell.getValue() === null ? "–" : cell.getValue().toLocaleString("en"));

const COLUMNS = {
  model: { title: "Model", width: LEAST.matches ? 140 : 230, frozen: true, formatter: modelCell, sorter: byText },
  trait: { title: "Trait", width: 86, formatter: traitCell, sorter: byText },
  probe: { title: "Probe", width: 132, formatter: probeCell, sorter: byText },
  gap: { title: "Gap to its control", width: LEAST.matches ? 206 : 236, formatter: gapCell, sorter: byNumber, headerSortStartingDir: "desc" },
  value: { title: "Share, and its seeds", width: LEAST.matches ? 206 : 236, formatter: shareCell, sorter: byNumber, headerSortStartingDir: "desc" },
  verdict: { title: "Verdict", width: 160, formatter: verdictCell, sorter: byText },
  n: { title: "n", width: 92, formatter: countCell, sorter: byNumber, headerSortStartingDir: "desc" },
  non_answers: { title: "No answer", width: 126, formatter: numeric, sorter: byNumber },
  abilities: { title: "Abilities", width: 190, formatter: abilityCell, headerSort: false },
  details: { title: "Evidence", print: false, width: 94, formatter: detailsCell, headerSort: false },
};
const FURTHER = {
  base: ["Base", 150, plainText, byText], control: ["Control", 130, plainText, byText], measure: ["Measure", 110, plainText, byText],
  version: ["Version", 95, plainText, byText], questions: ["Questions", 110, counted, byNumber], replies: ["Replies", 100, counted, byNumber],
  p: ["p (Holm)", 100, numeric, byNumber], coverage: ["Coverage", 110, numeric, byNumber], unreadable: ["Unreadable", 115, counted, byNumber],
  sampling: ["Sampling", 260, plainText, byText], prompt_hash: ["Prompts", 150, plainText, byText], harness: ["Harness", 110, plainText, byText],
  date: ["Date", 210, plainText, byText], source: ["File", 260, plainText, byText], note: ["Note", 320, plainText, byText],
};
for (const [name, [title, width, formatter, sorter]] of Object.entries(FURTHER)) COLUMNS[name] = { title, width, formatter, sorter, further: true };
const SHOWN = Object.keys(COLUMNS).filter((name) => !COLUMNS[name].further && (name !== "abilities" || lines.some((line) => line.abilities.length)));
const SMALL = ["model", "gap", "value", "verdict", "details"];

function modelCell(cell) {
  const line = cell.getData();
  const name = line.page ? make("a", { href: line.page, "aria-label": line.model }) : make("span");
  const run = line.run && line.arm && line.model === `${line.run}/${line.arm}` ? `${line.run}/` : "";
  name.className = "name";
  if (run) name.append(make("bdi", { class: "run" }, run));
  name.append(make("bdi", { class: "own" }, line.model.slice(run.length)));
  const chip = line.kind === "theirs" ? make("span", { class: "chip theirs" }, "theirs") : make("span", { class: "chip" }, line.role || "other");
  return make("div", { class: "two", title: line.model }, make("div", {}, name), make("div", { class: "quiet" }, chip, " ", make("bdi", {}, lineage(line))));
}
function traitCell(cell) { const line = cell.getData(); return text(line.trait || (line.answer ? `(${line.answer})` : "")); }
function probeCell(cell) {
  const line = cell.getData();
  const below = [line.version, line.measure].filter(Boolean).join(", ");
  return make("div", { class: "two" }, make("div", {}, text(line.probe)), make("div", { class: "quiet" }, below));
}
function marked(picture, words, line) {
  return make("div", { class: "marked", title: evidence(line) }, picture, make("span", { class: "num" }, words[0], make("br"), make("span", { class: "quiet" }, words[1])));
}
function gapCell(cell) {
  const line = cell.getData();
  if (line.gap === null) return make("span", { class: "quiet" }, line.kind === "arm" || line.role === "base" ? "yardstick" : "–");
  return marked(gapMark(line, scale, DATA.delta), [num(line.gap, true), span(line.gap_low, line.gap_high) || "no interval"], line);
}
function shareCell(cell) {
  const line = cell.getData();
  if (line.value === null) return text("");
  return marked(shareMark(line), [num(line.value), span(line.low, line.high) || "no interval"], line);
}
function verdictCell(cell) {
  const line = cell.getData();
  if (!line.verdict) return text("");
  const sign = { up: "▲", down: "▼", small: "◆", none: "■", open: "✕" }[VERDICT[line.verdict_kind]] || "";
  return make("span", { class: `verdict ${VERDICT[line.verdict_kind] || ""}`, title: evidence(line) }, make("span", { "aria-hidden": "true" }, `${sign} `), make("bdi", {}, line.verdict));
}
function countCell(cell) {
  const line = cell.getData();
  return text(line.n === null ? "–" : line.kind === "arm" ? `${line.n} seed${line.n === 1 ? "" : "s"}` : line.n.toLocaleString("en"));
}
function abilityCell(cell) { const words = abilityText(cell.getData()); return make("span", { title: words }, make("bdi", {}, words || "–")); }
function detailsCell(cell) {
  const line = cell.getData();
  const button = make("button", { type: "button", class: "more", title: evidence(line) }, "details");
  button.setAttribute("aria-label", `details of ${line.model}, ${line.probe}`);
  button.addEventListener("click", () => showDetails(line, button));
  return button;
}

// ---------------------------------------------------------------- details of a line

const dialog = document.getElementById("details");
function showDetails(line, from) {
  dialog.querySelector("h2").textContent = line.model;
  const facts = DATA.fields.filter((name) => !["page", "group", "kind"].includes(name)).map((name) => [name, line[name]]);
  const said = ([name, value]) => {
    if (name === "abilities") return abilityText(line) || "none measured";
    if (Array.isArray(value)) return value.map(([seed, share]) => `seed ${seed}: ${num(share)}`).join(", ") || "none";
    if (value === null || value === "") return "unknown";
    return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(6))) : String(value);
  };
  dialog.querySelector("dl").replaceChildren(...facts.flatMap((fact) => [make("dt", {}, fact[0].replaceAll("_", " ")), make("dd", {}, make("bdi", {}, said(fact)))]));
  dialog.returnTo = from;
  dialog.showModal();
}
document.getElementById("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => dialog.returnTo && dialog.returnTo.isConnected && dialog.returnTo.focus());

// ---------------------------------------------------------------- the view, and the address that says it

const picks = Object.fromEntries(PICKED.map((name) => [name, document.getElementById(name)]));
const search = document.getElementById("q");
const field = { base: "base", trait: "trait", probe: "probe", verdict: "verdict_kind" };

function readView() {
  const given = new URLSearchParams(location.hash.slice(1));
  const several = (name, usual, known) => (given.has(name) ? given.get(name).split(",").filter((one) => known.includes(one)) : usual);
  const [by, dir] = (given.get("sort") || USUAL.sort).split(":");
  return {
    q: given.get("q") || "",
    ...Object.fromEntries(PICKED.map((name) => [name, given.get(name) || ""])),
    kinds: several("kinds", USUAL.kinds, Object.keys(KINDS)),
    cols: several("cols", LEAST.matches ? SMALL : SHOWN, Object.keys(COLUMNS)),
    sort: COLUMNS[by] && COLUMNS[by].sorter ? by : "gap",
    dir: dir === "asc" ? "asc" : "desc",
  };
}
function writeView() {
  const kept = new URLSearchParams();
  if (view.q) kept.set("q", view.q);
  for (const name of PICKED) if (view[name]) kept.set(name, view[name]);
  if (view.kinds.join() !== USUAL.kinds.join()) kept.set("kinds", view.kinds.join());
  if (view.cols.join() !== (LEAST.matches ? SMALL : SHOWN).join()) kept.set("cols", view.cols.join());
  if (`${view.sort}:${view.dir}` !== USUAL.sort) kept.set("sort", `${view.sort}:${view.dir}`);
  const hash = kept.toString();
  if (hash !== location.hash.slice(1)) history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}

let view = readView();
const haystack = lines.map((line) => [line.model, line.base, line.trait, line.probe, line.answer, line.verdict, line.role, line.harness, line.note].join("\n").toLowerCase());

function matches(line) {
  return view.kinds.includes(line.kind)
    && PICKED.every((name) => !view[name] || line[field[name]] === view[name])
    && view.q.toLowerCase().split(/\s+/).every((word) => haystack[line.id].includes(word));
}

// Seldom kinds are shown where nothing else is there.
if (!lines.some((line) => ["arm", "model"].includes(line.kind)) && lines.some((line) => line.kind === "task")) USUAL.kinds = ["task", "theirs"];
view = readView();

const order = [...new Map(lines.map((line) => [line.group, line])).entries()].sort(([, a], [, b]) => (a.kind === "theirs") - (b.kind === "theirs")).map(([group]) => group);

const columns = Object.entries(COLUMNS).map(([name, { further, ...column }]) => ({
  field: name, ...column, visible: view.cols.includes(name),
  titleFormatter: (cell) => {
    if (column.headerSort === false) return make("span", {}, column.title);
    return make("button", { type: "button", class: "sorts" }, column.title);
  },
}));

const table = new Tabulator("#table", {
  data: lines.filter(matches), columns, index: "id", nestedFieldSeparator: false, layout: "fitDataFill",
  height: Math.min(Math.max(320, innerHeight - 120), 760), rowHeight: 48, columnHeaderSortMulti: false,
  groupBy: "group", groupValues: [order], groupHeader: (group, count, rows, component) => {
    queueMicrotask(() => {
      const element = component.getElement(); // Tabulator calls it a group of rows, which a grid may not hold in another
      if (element) element.setAttribute("role", "row");
    });
    const held = make("span", { class: "group", role: "gridcell" }, make("bdi", {}, group || "base unknown"), make("span", { class: "quiet" }, ` ${count} line${count === 1 ? "" : "s"}`));
    return held;
  },
  groupHeaderPrint: (group) => make("span", {}, group || "base unknown").innerHTML, // it is put there as markup
  groupToggleElement: false, placeholder: "No line fits these filters.",
  initialSort: [{ column: view.sort, dir: view.dir }], headerSortTristate: false, sortOrderReverse: false,
  printAsHtml: true, printStyled: false, printRowRange: "active", renderVerticalBuffer: 300,
});

table.on("tableBuilt", () => { label(); refresh(false); performance.mark("table drawn"); });
table.on("headerClick", () => setTimeout(() => {
  const [sorter] = table.getSorters();
  if (sorter) { view.sort = sorter.field; view.dir = sorter.dir; writeView(); status(); }
}));
table.on("renderComplete", label);

// What Tabulator leaves to be said to those who listen to the page.
function label() {
  const holder = document.querySelector("#table .tabulator-tableholder");
  document.getElementById("table").setAttribute("aria-label", "Models by base");
  if (holder) holder.removeAttribute("tabindex"); // the links and buttons of the lines scroll it
}

function status() {
  const shown = lines.reduce((count, line) => count + matches(line), 0);
  const by = COLUMNS[view.sort].title.toLowerCase();
  document.getElementById("status").textContent = `${shown.toLocaleString("en")} of ${lines.length.toLocaleString("en")} lines, within a base by ${by}, ${view.dir === "desc" ? "highest" : "lowest"} first. Order within overlapping intervals means nothing.`;
}

function refresh(anew = true) {
  if (anew) table.replaceData(lines.filter(matches));
  writeView();
  status();
}

function fill() {
  for (const name of PICKED) {
    const values = [...new Set(lines.map((line) => line[field[name]]))].filter(Boolean).sort(collator.compare);
    picks[name].replaceChildren(make("option", { value: "" }, "all"), ...values.map((value) => make("option", { value }, value)));
    picks[name].addEventListener("change", () => { view[name] = picks[name].value; refresh(); });
  }
  const boxes = (id, known, key, changed) => document.getElementById(id).replaceChildren(...Object.entries(known).map(([name, words]) => {
    const box = make("input", { type: "checkbox", value: name });
    box.addEventListener("change", () => {
      view[key] = Object.keys(known).filter((one) => (one === name ? box.checked : view[key].includes(one)));
      changed(name, box.checked);
    });
    return make("label", {}, box, ` ${words}`);
  }));
  boxes("kinds", KINDS, "kinds", () => refresh());
  boxes("columns", Object.fromEntries(Object.entries(COLUMNS).map(([name, { title }]) => [name, title])), "cols", (name, shown) => {
    table[shown ? "showColumn" : "hideColumn"](name);
    writeView();
  });
  search.addEventListener("input", () => { view.q = search.value; refresh(); });
  document.getElementById("tools").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("reset").addEventListener("click", (event) => { event.preventDefault(); history.replaceState(null, "", location.pathname); apply(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const menu of document.querySelectorAll("details.menu[open]")) { menu.open = false; menu.querySelector("summary").focus(); }
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) { event.preventDefault(); search.focus(); }
  });
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
}

function show() {
  search.value = view.q;
  for (const name of PICKED) picks[name].value = view[name];
  for (const box of document.querySelectorAll("#kinds input")) box.checked = view.kinds.includes(box.value);
  for (const box of document.querySelectorAll("#columns input")) box.checked = view.cols.includes(box.value);
}

// The view as the address says it, also when the address is changed by hand or by going back.
function apply() {
  view = readView();
  show();
  for (const name of Object.keys(COLUMNS)) table[view.cols.includes(name) ? "showColumn" : "hideColumn"](name);
  table.setSort(view.sort, view.dir);
  refresh();
}
addEventListener("hashchange", apply);

// Up and down go from line to line, keeping the column; lines that are not drawn yet are drawn on the way.
document.getElementById("table").addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const cell = event.target.closest(".tabulator-cell");
  if (!cell) return;
  event.preventDefault();
  const rows = table.getRows("display").filter((row) => "_row" in row); // heads of groups are no lines
  const here = rows.findIndex((row) => row.getElement() === cell.closest(".tabulator-row"));
  const next = rows[here + (event.key === "ArrowDown" ? 1 : -1)];
  if (!next) return;
  const name = cell.getAttribute("tabulator-field");
  const focus = () => { const held = next.getElement().querySelector(`[tabulator-field="${CSS.escape(name)}"] :is(a, button)`); if (held) held.focus(); };
  next.scrollTo("nearest", false).then(focus, focus);
});

const legend = document.getElementById("legend");
const explained = (drawn, words) => {
  const entry = document.createElement("p");
  entry.append(drawn, words);
  return entry;
};
legend.append(
  explained(
    mark({ value: 0.42, low: 0.3, high: 0.55, seeds: [0.36, 0.42, 0.49], others: [0.1, 0.14, 0.12], base: 0.2, class: "arm" }, [0, 1], "how to read a share"),
    "large dot and line: mean with its 95 % interval; small dots: every seed; squares: every seed of the control; upright line: untrained base.",
  ),
  explained(
    mark({ value: 0.6, hollow: true, class: "theirs" }, [0, 1], "a published figure"),
    `a published figure, without an interval. Shares run from 0 to 1, gaps from ${num(scale[0], true, 2)} to ${num(scale[1], true, 2)}.`,
  ),
);

fill();
show();
status();
