"""What the theorem's measurement shows: a line a clause, and its picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sublim_eval import stats
from sublim_eval.report.plots.style import FAINT, GREY, INKS, drawing, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEADS = (
    "base",
    "teacher moves",
    "student moves",
    "inputs",
    "student learns",
    "cosine at the smallest step",
    "inner product >= 0",
    "loss not up",
    "holds to",
    "clause",
)
TINY = 1e-13
"""A change of the loss this small, in nats, is rounding of float64 and counts as none."""


def summaries(outcome: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry a line: the smallest step over seeds, and the largest step up to which every seed keeps the promise.

    outcome: as in theorem.json. holds_to: inner product not negative and the teacher's loss at the student not up, in
    every seed, at this step size and all smaller ones; None where it fails at the smallest.
    """
    entries = []
    for line in outcome["lines"]:
        table = by_step(line)
        smallest = table[0]
        kept = 0
        while kept < len(table) and table[kept]["agree"] == table[kept]["fell"] == table[kept]["seeds"]:
            kept += 1
        facts = {k: line[k] for k in ("base", "teacher_moves", "student_moves", "inputs", "targets", "broken")}
        summary = {"promise": line["promise"], **smallest, "holds_to": table[kept - 1]["step"] if kept else None}
        entries.append({**facts, **summary, "steps": table})
    return entries


def by_step(line: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry a step size, smallest first: mean cosine with its interval, and how many seeds keep the promise.

    shift: the change of the teacher's loss at the student over the change at the teacher itself, mean over the seeds;
    nan where the teacher's own step no longer lowers its loss.
    """
    entries = []
    for size in sorted({p["step"] for p in line["points"]}):
        mine = [p for p in line["points"] if p["step"] == size]
        cosines = np.array([np.nan if p["cosine"] is None else p["cosine"] for p in mine])
        mean = low = high = float("nan")
        if len(mine) > 1 and not np.isnan(cosines).any():
            made = stats.mean_difference(cosines, np.zeros(len(mine)))
            mean, low, high = made.mean, made.low, made.high
        shares = [p["student"] / p["own"] if p["own"] < 0 else np.nan for p in mine]
        entries.append(
            {
                "step": size,
                "cosine": mean,
                "low": low,
                "high": high,
                "agree": sum(p["inner"] >= 0 for p in mine),
                "fell": sum(p["student"] <= TINY for p in mine),
                "own_fell": sum(p["own"] <= TINY for p in mine),
                "share": float(np.mean(shares)),
                "seeds": len(mine),
            }
        )
    return entries


def rows(outcome: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """The cells of the table, promised lines first."""
    for s in sorted(summaries(outcome), key=lambda s: (s["base"], bool(s["broken"]))):
        yield (
            s["base"],
            s["teacher_moves"],
            s["student_moves"],
            s["inputs"],
            s["targets"],
            f"{s['cosine']:+.3f} [{s['low']:+.3f}, {s['high']:+.3f}]",
            f"{s['agree']}/{s['seeds']}",
            f"{s['fell']}/{s['seeds']}",
            "never" if s["holds_to"] is None else f"{s['holds_to']:g}",
            f"not promised: {s['promise']}" if s["broken"] else s["promise"],
        )


def verdict(outcome: Mapping[str, Any]) -> str:
    """One sentence: how many promised lines keep the promise at the smallest step."""
    promised = [s for s in summaries(outcome) if not s["broken"]]
    kept = sum(s["holds_to"] is not None for s in promised)
    step = min(p["step"] for p in promised)
    return (
        f"{kept} of {len(promised)} promised lines keep the promise in every seed at step {step:g}; "
        "where it stops for larger steps is under 'holds to'."
    )


def draw(outcome: Mapping[str, Any], path: Path) -> Path:
    """Write a PNG, a row a base and set of weights: the cosine where it is promised, the teacher's loss, the rest."""
    kinds = dict.fromkeys((x["base"], x["teacher_moves"]) for x in outcome["lines"])
    with drawing(path, 10.4, 2.9 * len(kinds) + 0.5, size=8.5) as figure:
        grid = figure.subplots(len(kinds), 3, squeeze=False)
        for axes, (base, moves) in zip(grid, kinds, strict=True):
            mine = [x for x in outcome["lines"] if (x["base"], x["teacher_moves"]) == (base, moves)]
            kept = [x for x in mine if x["targets"] == "probabilities" and not x["broken"]]
            _cosines(axes[0], kept, [x["inputs"] for x in kept])
            _losses(axes[1], kept, [x["inputs"] for x in kept])
            shown = "number rows" if any(x["inputs"] == "number rows" for x in kept) else "noise images"
            broken = [x for x in mine if x["inputs"] == shown and _is_drawn(x)]
            _cosines(axes[2], broken, [_short(x) for x in broken])
            titles = (f"{base}, {moves}", "promised: teacher's loss", f"not promised, {shown}")
            for axis, title in zip(axes, titles, strict=True):
                axis.set_title(plain(title), loc="left", fontweight="bold", fontsize=8.5)
        for axis in grid[-1]:
            axis.set_xlabel("size of the teacher's step")
        figure.supxlabel(
            f"line: mean over seeds ({len(outcome['settings']['seeds'])})   band: 95 % interval   grey field: away "
            "from the teacher   the student's step is as long as the teacher's",
            fontsize=8,
            color=GREY,
        )
    return path


def _is_drawn(line: Mapping[str, Any]) -> bool:
    """Of the lines that are not promised, one a clause: nothing is added by the same clause once more."""
    if line["broken"] in ("moves", "wider"):
        return bool(line["targets"] == "probabilities")
    return bool(line["broken"]) and line["targets"] != "logits" and line["teacher_moves"] == line["student_moves"]


def _short(line: Mapping[str, Any]) -> str:
    if line["broken"] in ("moves", "wider"):
        return f"{line['teacher_moves']} to {line['student_moves']}"
    return {"start": "other initialisation", "sign": "sign of gradient"}.get(line["broken"], line["targets"])


def _cosines(axis: Axes, lines: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    for (colour, shape), line, name in zip(INKS, lines, names, strict=False):
        table = by_step(line)
        x = [p["step"] for p in table]
        axis.plot(x, [p["cosine"] for p in table], color=colour, marker=shape, markersize=4, linewidth=1.4, label=name)
        low, high = [p["low"] for p in table], [p["high"] for p in table]
        axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    axis.set_ylabel("cosine of the two steps")
    _frame(axis)
    bottom, top = axis.get_ylim()
    axis.set_ylim(min(bottom, -0.15 * top), top * 1.05)
    axis.axhspan(axis.get_ylim()[0], 0, color=FAINT, zorder=0)


def _losses(axis: Axes, lines: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Change of the teacher's loss at the student, mean over seeds, on a scale that shows many sizes of either sign."""
    for (colour, shape), line, name in zip(INKS, lines, names, strict=False):
        style: dict[str, Any] = {"color": colour, "marker": shape, "markersize": 4, "linewidth": 1.4}
        axis.plot(*_means(line, "student"), label=name, **style)
    axis.plot(*_means(lines[0], "own"), color="black", linewidth=1.2, linestyle=":", label="teacher itself")
    axis.set_yscale("symlog", linthresh=1e-8)
    axis.set_yticks([-1, -1e-2, -1e-4, -1e-6, 0, 1e-6, 1e-4, 1e-2, 1])
    axis.set_ylabel("change of the teacher's loss (nats)")
    _frame(axis)
    axis.axhspan(0, axis.get_ylim()[1], color=FAINT, zorder=0)


def _means(line: Mapping[str, Any], change: str) -> tuple[list[float], list[float]]:
    """(step sizes, mean change over the seeds)."""
    sizes = sorted({p["step"] for p in line["points"]})
    return sizes, [float(np.mean([p[change] for p in line["points"] if p["step"] == size])) for size in sizes]


def _frame(axis: Axes) -> None:
    axis.set_xscale("log")
    axis.axhline(0, color=GREY, linewidth=0.9)
    axis.grid(color="#e4e4e4", linewidth=0.5)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0.02)
    axis.legend(frameon=False, fontsize=7, loc="best")
