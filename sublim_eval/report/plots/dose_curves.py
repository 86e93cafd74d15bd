"""Dose curves: how the gap changes with how much of one thing there is, a panel an axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sublim_eval.compare.comparison import Comparison, Row
from sublim_eval.report.plots.forest import seed_gaps
from sublim_eval.report.plots.style import FAINT, GREY, drawing, inks, legend, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sublim_eval.compare.confusion import Dose

ACROSS = 3
"""Panels side by side before a new row begins."""

READING = "large: mean and 95 % interval over seeds   small: every seed"

WIDE, TALL = 2.45, 2.0
"""Inches of a panel."""


def draw(comparison: Comparison, path: Path) -> Path:
    """Write a PNG, whole or not at all; returns its path.

    Doses stand in order and at equal distances, not to scale. Raises ValueError when there is no curve.
    """
    panels: dict[str, list[Dose]] = {}
    for one in comparison.doses:
        if len(one.points) > 1:
            panels.setdefault(one.axis, []).append(one)
    if not panels:
        raise ValueError("there is no dose curve to draw")
    colours = inks(one.trait for curves in panels.values() for one in curves)
    across = min(ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    with drawing(path, WIDE * across + 0.4, TALL * down + 0.75) as figure:
        axes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
        for axis, (name, curves) in zip(axes, panels.items(), strict=False):
            _panel(axis, name, curves, comparison, colours)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        hollow = Line2D(
            [], [], color=GREY, marker="o", markerfacecolor="white", linestyle="none", markersize=6, label="intact arm"
        )
        band = Patch(facecolor=FAINT, label=f"equivalence ±{comparison.delta:g}")
        legend(figure, colours, [hollow, band], reading=READING)
        figure.supylabel("Gap to the control arm, in share", fontsize=8, color=GREY)
    return path


def _panel(
    axis: Axes, name: str, curves: list[Dose], comparison: Comparison, colours: Mapping[str, tuple[str, str]]
) -> None:
    doses = sorted({dose for one in curves for dose, _ in one.points})
    axis.axhspan(-comparison.delta, comparison.delta, color=FAINT, linewidth=0, zorder=0)
    axis.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    for i, one in enumerate(curves):
        colour, shape = colours[one.trait]
        aside = 0.14 * (i - (len(curves) - 1) / 2)
        points = sorted(one.points, key=lambda point: point[0])
        xs = [doses.index(dose) + aside for dose, _ in points]
        means = [gap.mean for _, gap in points]
        axis.plot(xs, means, color=colour, linewidth=1, alpha=0.6, zorder=2)
        for x, (dose, gap) in zip(xs, points, strict=True):
            row, intact = _row_of(one, dose, comparison)
            seeds = seed_gaps(row) if row else []
            axis.scatter([x + 0.07] * len(seeds), seeds, s=6, marker=shape, color=colour, linewidth=0, alpha=0.4)
            if not math.isnan(gap.low):
                axis.plot([x, x], [gap.low, gap.high], color=colour, linewidth=1.4, solid_capstyle="butt", zorder=3)
            face, edge = ("white", colour) if intact else (colour, "white")
            axis.scatter([x], [gap.mean], s=26, marker=shape, facecolor=face, edgecolor=edge, linewidth=1, zorder=4)
    axis.set_xticks(range(len(doses)), [_number(dose, name) for dose in doses])
    axis.set_xlim(-0.5, len(doses) - 0.5)
    axis.set_title(plain(name), loc="left", fontsize=8.5, fontweight="bold")
    axis.grid(axis="y", color="#dddddd", linewidth=0.5)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _row_of(one: Dose, dose: float, comparison: Comparison) -> tuple[Row | None, bool]:
    """The row behind a point, and whether it is that of the intact arm."""
    rows = [row for row in comparison.rows if row.trait == one.trait and row.probe == one.probe]
    made = next((row for row in rows if row.axis == one.axis and row.dose == dose), None)
    return made or next((row for row in rows if row.role == "trait"), None), made is None


def _number(dose: float, axis: str) -> str:
    return f"{dose:.0%}" if "share" in axis else f"{dose:,.0f}" if dose == int(dose) else f"{dose:g}"
