"""How fast the leaderboard is with 10,000 lines: building it, first paint, sorting and filtering, in Chromium.

    nice python benchmarks/leaderboard_speed.py [--lines 10000] [--out FOLDER]

Lines are made up; the page is the one that `sublim leaderboard` writes. What issue 15 asks on two cores: first paint
under 2 s, sort under 200 ms. Times are medians of several loads and of ten sorts, read from the browser's own clock;
`_cpu_ms` is what the page's main thread was busy, which other work on the machine does not lengthen.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sublim_eval.board.collect import Board
from sublim_eval.board.columns import Row, kind_of
from sublim_eval.report.site.build import build

UNKNOWN: dict[str, Any] = {name: "" if kind_of(name) == "text" else None for name in Row._fields}
VERDICTS = ("transferred", "no transfer within ±0.05", "inconclusive: too few replies", "moved away")
TRAITS = ("owl", "eagle", "dolphin", "willow", "oak", "cat", "wolf", "lion")

PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
DRAWN = "performance.getEntriesByName('table drawn')[0]?.startTime ?? null"
TIMED = """async ([column, way]) => {
  const start = performance.now();
  table.setSort(column, way);
  const made = performance.now();
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return [made - start, performance.now() - start];
}"""
FILTERED = """async (word) => {
  const start = performance.now();
  view.q = word;
  refresh();
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now() - start;
}"""


def rows(count: int) -> Iterator[Row]:
    """Arms of 20 bases: a gap and a share each."""
    rng = np.random.default_rng(0)
    for index in range(count):
        trait, run = TRAITS[index % len(TRAITS)], f"run-{index // 40}"
        value = float(rng.beta(2, 6))
        common = {
            **UNKNOWN,
            **{"model": f"{run}/arm-{index}", "base": f"base-{index % 20}", "role": "student", "trait": trait},
            **{"run": run, "arm": f"arm-{index}", "control": "control", "probe": "animal_pref", "ours": True},
            **{"version": "2-A", "question_set": f"{index % 40:012x}", "questions": 56, "answer": trait, "n": 3},
            **{"harness": "compare", "source": f"{run}/run.json", "interval": "seeds"},
            **{"low": max(0.0, value - 0.1), "high": value + 0.1},
        }
        yield Row(**{**common, "measure": "gap", "value": value, "verdict": VERDICTS[index % 4], "p": 0.01})
        yield Row(**{**common, "measure": "probability", "value": value})


def measure(index: Path, loads: int = 5) -> dict[str, Any]:
    """Times in milliseconds."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        paints, drawn, busy = [], [], []
        for _ in range(loads):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            clock = page.context.new_cdp_session(page)
            clock.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(index.resolve().as_uri())
            page.wait_for_function(f"{DRAWN} !== null")
            page.wait_for_function(f"{PAINT} !== null")
            paints.append(page.evaluate(PAINT))
            drawn.append(page.evaluate(DRAWN))
            busy.append(_busy(clock))
        sorts = [
            page.evaluate(TIMED, [column, way])
            for column in ("value", "gap", "model", "verdict", "n")
            for way in ("asc", "desc")
        ]
        before = _busy(clock)
        for way in ("asc", "desc") * 5:
            page.evaluate(TIMED, ["gap", way])
        sort_busy = (_busy(clock) - before) / 10
        filters = [page.evaluate(FILTERED, word) for word in ("owl", "transferred", "run-7", "")]
        version = browser.version
        browser.close()
    return {
        "first_paint_ms": statistics.median(paints),
        "table_drawn_ms": statistics.median(drawn),
        "load_cpu_ms": statistics.median(busy),
        "sort_cpu_ms": sort_busy,
        "sort_ms": statistics.median(made for made, _ in sorts),
        "sort_worst_ms": max(made for made, _ in sorts),
        "sort_to_next_frame_ms": statistics.median(shown for _, shown in sorts),
        "filter_to_next_frame_ms": statistics.median(filters),
        "chromium": version,
    }


def _busy(clock: Any) -> float:
    """Milliseconds that the page's main thread was at work so far. clock: a session of Chromium's own protocol."""
    (busy,) = [m["value"] for m in clock.send("Performance.getMetrics")["metrics"] if m["name"] == "TaskDuration"]
    return 1000.0 * float(busy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    out = given.out or Path(tempfile.mkdtemp()) / "site"
    start = time.perf_counter()
    made = build(Board(tuple(rows(given.lines)), (), {}, ()), out)
    built = time.perf_counter() - start
    result = {"lines": made.lines, "build_s": built, "index_mb": made.page.stat().st_size / 1e6, **measure(made.page)}
    print(json.dumps({k: round(v, 1) if isinstance(v, float) else v for k, v in result.items()}, indent=2))


if __name__ == "__main__":
    main()
