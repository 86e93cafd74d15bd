"""What the digits experiment shows: a table a line an arm, and its picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sublim_eval import stats
from sublim_eval.report.plots.style import GREY, INKS, drawing, plain

CLIP = 1e-3
"""How near to 0 or 1 the accuracy of one network may come before its logit is taken: about half an image."""

STUDENTS = ("shared initialisation", "other initialisation", "untrained teacher")
CONTROLS = STUDENTS[1:]
SEEN = {"teacher": "teacher (trained on digits)", "untrained": "nobody trained (base)"}


def arms(outcome: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One entry an arm: mean accuracy, 95 % interval over seeds (nan below 2), every seed. outcome: as in JSON."""
    entries = []
    for arm in ("teacher", *STUDENTS, "untrained"):
        seeds = outcome["accuracy"][arm]
        low, high = stats.arm_interval(seeds, clip=CLIP)
        entries.append({"arm": arm, "mean": float(np.mean(seeds)), "low": low, "high": high, "seeds": list(seeds)})
    return entries


def gaps(outcome: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Shared-initialisation student minus each of its controls, paired by seed; none below 2 seeds."""
    shared = np.array(outcome["accuracy"][STUDENTS[0]])[:, None]
    if len(shared) < 2:
        return []
    entries = []
    for control in CONTROLS:
        gap = stats.share_gap(shared, np.array(outcome["accuracy"][control])[:, None])
        entry = {"against": control, "gap": gap.mean, "low": gap.low, "high": gap.high, "p": gap.p}
        entries.append({**entry, "verdict": stats.verdict(gap).words})
    return entries


def heads(outcome: Mapping[str, Any]) -> Sequence[str]:
    """The heads of the table."""
    return ("arm", "accuracy", "95 % interval", f"each of {len(outcome['settings']['seeds'])} seeds")


def rows(outcome: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """The cells of the table, a line an arm."""
    for arm in arms(outcome):
        seeds = " ".join(f"{value:.3f}"[1 if value < 1 else 0 :] for value in arm["seeds"])
        yield SEEN.get(arm["arm"], arm["arm"]), f"{arm['mean']:.3f}", interval(arm["low"], arm["high"]), seeds


def interval(low: float, high: float) -> str:
    """An interval in words; a dash where one seed has none."""
    return "-" if np.isnan(low) else f"[{low:.3f}, {high:.3f}]"


def draw(outcome: Mapping[str, Any], path: Path) -> Path:
    """Write a PNG: every seed a mark, mean and interval a bar, chance and the base as lines; returns its path."""
    shown = arms(outcome)
    base = shown.pop()["mean"]
    inks = dict(zip((arm["arm"] for arm in shown), (INKS[6], INKS[0], INKS[1], INKS[2]), strict=True))
    notes = {
        "teacher": "trained on\nthe class labels",
        STUDENTS[0]: "the teacher's 3 auxiliary\nlogits on noise, its own start",
        STUDENTS[1]: "the same lessons,\nanother start",
        STUDENTS[2]: "lessons of a network\nthat never learned",
    }
    with drawing(path, 6.4, 3.5, size=9) as figure:
        axis = figure.subplots()
        rng = np.random.default_rng(0)
        for x, arm in enumerate(shown):
            colour, shape = inks[arm["arm"]]
            spread = np.linspace(-0.17, 0.17, len(arm["seeds"])) if len(arm["seeds"]) > 1 else np.zeros(1)
            places = x - 0.16 + rng.permutation(spread)
            style = {"s": 24, "marker": shape, "facecolor": colour, "edgecolor": "white", "linewidth": 0.5}
            axis.scatter(places, arm["seeds"], alpha=0.75, zorder=3, **style)
            if not np.isnan(arm["low"]):
                axis.plot([x + 0.2] * 2, [arm["low"], arm["high"]], color=colour, linewidth=2.2, zorder=3)
            axis.plot([x + 0.12, x + 0.28], [arm["mean"]] * 2, color=colour, linewidth=2.6, zorder=4)
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            axis.text(x + 0.32, arm["mean"], f"{arm['mean']:.2f}", va="center", fontsize=8.5, color=colour, bbox=box)
        axis.axhline(outcome["chance"], color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axis.axhline(base, color=GREY, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
        axis.set_xticks(range(len(shown)), [f"{arm['arm']}\n{notes[arm['arm']]}" for arm in shown], fontsize=7.5)
        axis.set_xlim(-0.5, len(shown) - 0.3)
        axis.set_ylim(0, 1.02)
        axis.set_ylabel("accuracy on held-out digits")
        axis.grid(axis="y", color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.tick_params(axis="x", length=0)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_title(f"{plain(outcome['images'])}: a student that saw only noise", loc="left", fontweight="bold")
        figure.supxlabel(
            f"marks: one seed each ({len(shown[0]['seeds'])})   bar: mean and 95 % interval over seeds   "
            "dashed: chance   dotted: untrained networks",
            fontsize=7.5,
            color=GREY,
        )
    return path
