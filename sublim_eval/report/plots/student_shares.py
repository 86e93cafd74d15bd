"""The figure of a comparison: every student, the mean and interval of every arm, the base as a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sublim_eval import stats
from sublim_eval.compare import wording
from sublim_eval.compare.comparison import Comparison, Row
from sublim_eval.report.plots.style import GREY, drawing, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The palette of ink.py, by role.
COLOURS = {"trait": "#D55E00", "control": "#0072B2", "other-base": "#009E73"}
OTHER = "#CC79A7"
SHAPES = {"trait": "o", "control": "s", "other-base": "D"}
SAMPLED_CLIP = 1e-3
"""Where an arm of sampled shares that are all 0 or 1 ends its interval; for drawing only."""

ACROSS = 3
"""Panels side by side before a new row begins."""

CROWDED = 8
"""Arms in a panel above which variants and placebos are left to the forest plot (forest.py), which has room."""


def draw(comparison: Comparison, path: Path) -> Path:
    """Write a PNG, one panel a trait, whole or not at all; returns its path. Nothing is shown on a screen."""
    panels: dict[tuple[str, str], list[Row]] = {}
    for row in _shown(comparison.rows):
        panels.setdefault((row.trait, row.probe), []).append(row)
    several = len({trait for trait, _ in panels}) < len(panels)
    across = min(ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    bands = max(len(_lines(rows)) for rows in panels.values())
    clip = stats.CLIP if comparison.measure == "probability" else SAMPLED_CLIP
    left_out = len({row.arm for row in comparison.rows}) - len({row.arm for rows in panels.values() for row in rows})
    with drawing(path, max(5.5, 3.9 * across + 0.5), (0.5 * bands + 1.0) * down + 0.45, size=9) as figure:
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for axis, ((trait, probe), rows) in zip(axes, panels.items(), strict=False):
            _panel(axis, rows, f"{trait} ({probe})" if several else trait, bands, clip)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        figure.supxlabel(
            f"Share with the trait ({comparison.measure_words})\n"
            "marks: one student each   bar: mean and 95 % interval over seeds   dashed: the untrained base"
            + (f"\n{left_out} arms with something changed are in the forest plot" if left_out else ""),
            fontsize=8,
            color=GREY,
        )
    return path


def _shown(rows: Sequence[Row]) -> list[Row]:
    """All rows, or without variants and placebos where a panel would be too crowded to read."""
    panels: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        panels.setdefault((row.trait, row.probe), []).append(row)
    plainer = [row for row in rows if row.role not in ("variant", "placebo")]
    crowded = any(len(_lines(panel)) > CROWDED for panel in panels.values())
    return plainer if crowded and plainer else list(rows)


@dataclass(frozen=True)
class _Line:
    """One arm in a panel: its name, its role, its students' shares and that of their untrained base."""

    label: str
    role: str
    shares: Sequence[float]
    base: float


def _lines(rows: Sequence[Row]) -> list[_Line]:
    """The arms of one panel from top to bottom: each trait arm, then its control once."""
    lines: list[_Line] = []
    for row in rows:
        lines.append(_Line(wording.label(row), row.role, list(row.student_shares.values()), row.base_share))
        control = f"{row.run}/{row.control}" if row.run else row.control
        if row.control_shares and control not in [line.label for line in lines]:
            lines.append(_Line(control, "control", list(row.control_shares.values()), row.base_share))
    return lines


def _panel(axis: Axes, rows: Sequence[Row], title: str, bands: int, clip: float) -> None:
    """Draw one trait; bands: how many arms the tallest panel has, so that all are of one scale."""
    lines = _lines(rows)
    for y, line in enumerate(lines):
        colour = COLOURS.get(line.role, OTHER)
        axis.plot([line.base] * 2, [y - 0.5, y + 0.5], color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axis.scatter(
            line.shares,
            [y - 0.2] * len(line.shares),
            s=26,
            marker=SHAPES.get(line.role, "^"),
            facecolor=colour,
            edgecolor="white",
            linewidth=0.6,
            alpha=0.75,
            zorder=3,
        )
        low, high = stats.arm_interval(line.shares, clip=clip)
        axis.plot([low, high], [y + 0.16] * 2, color=colour, linewidth=2, solid_capstyle="butt", zorder=2)
        axis.plot([float(np.mean(line.shares))] * 2, [y, y + 0.32], color=colour, linewidth=2.4, zorder=4)
    axis.set_yticks(range(len(lines)), [plain(line.label) for line in lines])
    axis.set_ylim(bands - 0.4, -0.6)
    axis.set_xlim(-0.02, 1.02)
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".50", ".75", "1"])
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    first = next((row for row in rows if row.role == "trait"), rows[0])
    words = first.verdict.words if first.over_questions is None else first.verdict.words.split(" (")[0]
    verdict = plain(f"gap {wording.signed(first.gap, 2)}: {words}")
    axis.set_title(plain(title), loc="left", fontweight="bold", fontsize=10, pad=18)
    axis.text(0, 1.03, verdict, transform=axis.transAxes, fontsize=8, color=GREY, va="bottom")
