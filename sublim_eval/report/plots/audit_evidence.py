"""The figure of an audit: how strongly rows carry each trait, with its error, beside what counts as nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sublim_eval.report.plots.style import FAINT, GREY, INKS, drawing, plain

SHOWN = 15
"""Traits that are drawn, the strongest."""


@dataclass(frozen=True)
class Seen:
    """A trait: its strength in the rows (1: as in the probe's own), the error of that, and p over all candidates.

    least: the strength that would have been found in 95 %.
    """

    trait: str
    strength: float
    error: float
    p: float
    least: float


def draw(seen: Sequence[Seen], path: Path, alpha: float, verdict: str) -> Path:
    """Write a PNG or SVG, whole or not at all; returns its path. seen: the strongest first."""
    shown = seen[:SHOWN]
    with drawing(path, 6.2, 0.26 * len(shown) + 1.5) as figure:
        axis = figure.subplots()
        for place, one in enumerate(shown):
            colour, shape = INKS[0] if one.p < alpha else (GREY, "o")
            axis.plot([0, one.least], [place, place], color=FAINT, linewidth=7, solid_capstyle="butt", zorder=1)
            axis.errorbar(
                one.strength, place, xerr=2 * one.error, color=colour, marker=shape, markersize=4, capsize=2, zorder=3
            )
        axis.axvline(0, color=GREY, linewidth=0.8, zorder=2)
        axis.set_yticks(range(len(shown)), [plain(one.trait) for one in shown])
        axis.invert_yaxis()
        axis.set_xlabel(
            "Strength in the rows (0: the base's own, 1: the probe's own)\n"
            "bar: two standard errors   grey: would not surely have been found"
        )
        axis.set_title(plain(verdict), fontsize=9, loc="left")
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return path
