// What every page shares: light or dark, and charts drawn from data that stands in the page.
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);

const theme = {
  get dark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  },
  remembered() {
    try { return localStorage.getItem("theme"); } catch { return null; }
  },
  choose(name) {
    document.documentElement.dataset.theme = name;
    try { localStorage.setItem("theme", name); } catch { /* a page from disk may keep nothing */ }
    charts.redraw();
  },
};

const charts = {
  drawn: new Map(),
  config() {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim(), line = style.getPropertyValue("--line").trim();
    const quiet = style.getPropertyValue("--quiet").trim();
    const axis = { labelColor: ink, titleColor: quiet, titleFontWeight: "normal", gridColor: line, domainColor: line, tickColor: line, labelFontSize: 12, titleFontSize: 12, labelLimit: 240 };
    return {
      background: "transparent", font: "system-ui, sans-serif", view: { stroke: null }, axis,
      legend: { labelColor: ink, titleColor: quiet, labelFontSize: 12, orient: "top", symbolOpacity: 1, columns: innerWidth < 700 ? 2 : 0 },
    };
  },
  draw(element, spec) {
    if (!spec) return;
    this.drawn.set(element, spec);
    const compiled = vegaLite.compile(spec, { config: this.config(), logger: vega.logger(vega.Error) }).spec;
    const runtime = vega.parse(compiled, null, { ast: true });
    element.classList.remove("failed");
    const view = new vega.View(runtime, {
      expr: vega.expressionInterpreter, renderer: "svg", hover: true, container: element, loader: NOTHING,
      tooltip: (handler, event, item, value) => tip.show(event, value),
    });
    view.runAsync().catch((error) => {
      element.classList.add("failed");
      element.textContent = `This chart could not be drawn (${error.message}). The table holds its numbers.`;
    });
  },
  redraw() {
    for (const [element, spec] of this.drawn) { element.replaceChildren(); this.draw(element, spec); }
  },
};

// Vega may ask for nothing outside of the page.
const NOTHING = {
  load: () => Promise.reject(new Error("nothing is loaded")),
  sanitize: () => Promise.reject(new Error("nothing is linked")),
};

const tip = {
  element: null,
  show(event, value) {
    if (!this.element) {
      this.element = document.body.appendChild(document.createElement("div"));
      this.element.className = "tip";
    }
    this.element.hidden = value == null || value === "";
    if (this.element.hidden) return;
    this.element.replaceChildren(...Object.entries(value).map(([name, held]) => {
      const line = document.createElement("div");
      line.textContent = `${name}: ${held}`;
      return line;
    }));
    this.element.style.left = `${Math.min(event.clientX + 14, innerWidth - this.element.offsetWidth - 8)}px`;
    this.element.style.top = `${event.clientY + 14}px`;
  },
};

function at(path) {
  return path.split(".").reduce((held, key) => (held == null ? held : held[key]), DATA);
}

const remembered = theme.remembered();
if (remembered === "dark" || remembered === "light") document.documentElement.dataset.theme = remembered;
document.getElementById("theme").addEventListener("click", () => theme.choose(theme.dark ? "light" : "dark"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.redraw());

// A chart is drawn when it comes near the screen, and before the page is printed.
const waiting = new Set(document.querySelectorAll("[data-chart]"));
function drawWaiting(element) {
  if (!waiting.delete(element)) return;
  charts.draw(element, at(element.dataset.chart));
}
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) { watcher.unobserve(entry.target); drawWaiting(entry.target); }
}, { rootMargin: "400px" });
for (const element of waiting) watcher.observe(element);
let onScreen; // the theme as it was before the page went to paper, which is white
addEventListener("beforeprint", () => {
  onScreen = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  charts.redraw();
  for (const element of [...waiting]) drawWaiting(element);
});
addEventListener("afterprint", () => {
  if (onScreen) document.documentElement.dataset.theme = onScreen;
  else delete document.documentElement.dataset.theme;
  charts.redraw();
});

// A page that is written again while runs finish: a script beside it says which version lies there, and a newer one is
// shown as soon as nobody is in the middle of something. A page from disk may read nothing else.
const NONCE = document.currentScript.nonce;
const live = document.body.dataset;
function busy() {
  const here = document.activeElement;
  return Boolean(document.querySelector("dialog[open], details.menu[open]")) || (here && /^(INPUT|SELECT)$/.test(here.tagName));
}
function written(stamp) {
  if (stamp !== live.written && !busy()) location.reload();
}
function lookAgain() {
  const script = document.createElement("script");
  script.nonce = NONCE;
  script.src = `${document.querySelector(".brand").getAttribute("href").replace("index.html", "")}static/written.js?${Date.now()}`;
  script.addEventListener("load", () => script.remove());
  script.addEventListener("error", () => script.remove());
  document.head.append(script);
}
if (live.lookAgain) {
  const looking = setInterval(lookAgain, 1000 * Number(live.lookAgain));
  document.getElementById("still").addEventListener("click", () => { clearInterval(looking); document.getElementById("live").remove(); });
}
