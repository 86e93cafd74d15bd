"""A conduct situation by situation: the mean hides that one of them may carry it all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from sublim_eval.compare import wording
from sublim_eval.compare.comparison import Row
from sublim_eval.report.plots.style import FAINT, GREY, drawing, legend, plain

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

STUDENT, CONTROL = ("#D55E00", "o"), ("#0072B2", "s")


def draw(row: Row, path: Path, measure: str) -> Path:
    """Write a PNG of one row's situations, the largest gap first; whole or not at all; returns its path.

    measure: what the shares are, in words. Raises ValueError for a row without situations.
    """
    if not row.situations:
        raise ValueError(f"{row.arm} was not asked in situations")
    ordered = sorted(row.situations.items(), key=lambda item: item[1][1] - item[1][0])
    with drawing(path, 5.5, 0.25 * len(ordered) + 1.75) as figure:
        axis = figure.subplots()
        shares = [("mean of all situations", (row.student_share, row.control_share)), *ordered]
        for y, (_, (ours, theirs)) in enumerate(shares):
            axis.plot([theirs, ours], [y, y], color="#bbbbbb", linewidth=2.2, zorder=1, solid_capstyle="butt")
            for share, (colour, shape) in ((theirs, CONTROL), (ours, STUDENT)):
                axis.scatter([share], [y], s=34, marker=shape, color=colour, edgecolor="white", linewidth=0.6, zorder=4)
        for seeds, (colour, shape) in ((row.control_shares, CONTROL), (row.student_shares, STUDENT)):
            means = list(seeds.values())
            axis.scatter(means, [-0.33] * len(means), s=9, marker=shape, color=colour, alpha=0.5, linewidth=0)
        if not math.isnan(row.base_share):
            axis.plot([row.base_share] * 2, [-0.5, 0.5], color=GREY, linestyle=(0, (4, 3)), linewidth=1)
        axis.axhspan(-0.6, 0.5, color=FAINT, zorder=0, linewidth=0)
        labels = [f"{plain(name.replace('_', ' '))}  {ours - theirs:+.2f}" for name, (ours, theirs) in shares]
        axis.set_yticks(range(len(shares)), labels)
        axis.set_ylim(len(shares) - 0.4, -0.6)
        axis.set_xlim(-0.02, min(1.02, 0.06 + max(share for _, pair in shares for share in pair)))
        axis.grid(axis="x", color="#dddddd", linewidth=0.5)
        axis.set_axisbelow(True)
        axis.tick_params(axis="y", length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.set_title(_mean(row), loc="left", fontsize=8, color=GREY)
        legend(
            figure,
            {f"students of {row.arm}": STUDENT, f"control arm {row.control}": CONTROL},
            [_line()],
            reading=f"{plain(measure)}\nmeans over seeds; small marks: the mean of every seed",
            columns=3,
        )
    return path


def _mean(row: Row) -> str:
    """Mean gap +0.120 (+0.070 to +0.170), 5 seeds."""
    return f"Mean gap {wording.signed(row.gap)}, {len(row.student_shares)} seeds"


def _line() -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=GREY, linestyle=(0, (4, 3)), linewidth=1, label="untrained base")
