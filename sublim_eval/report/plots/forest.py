"""The forest plot: the gap of every arm to its control, with interval and every seed, grouped by what was changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.compare.comparison import Comparison, Row
from sublim_eval.registry.catalog import registry
from sublim_eval.report.plots.style import FAINT, GREY, drawing, inks, legend, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEP, BESIDE, GAP = 0.18, 0.14, 0.28
"""Inches: from line to line, more for every further trait of a line, and above a heading."""

ROLES = {
    "other-base": "another base",
    "placebo": "no trait anywhere",
    "variant": "rows or training changed",
}
READING = "Gap to the control arm, in share", "large: mean and 95 % interval over seeds   small: every seed"

LONG = 36
"""Lines from which the plot takes two columns."""


@dataclass(frozen=True)
class Group:
    """Rows under one heading. intact: trait -> the gap of the arm in which nothing was changed.

    under: the group belongs to the one above it, whose title says what was run.
    """

    title: str
    rows: tuple[Row, ...]
    intact: Mapping[str, float]
    under: bool = False

    def lines(self) -> dict[str, list[Row]]:
        """Label -> the rows of that line, one a trait."""
        lines: dict[str, list[Row]] = {}
        for row in self.rows:
            label = row.change or row.trait
            if any(other.trait == row.trait for other in lines.get(label, ())):
                label = row.arm  # the same change on another probe or another way
            lines.setdefault(label, []).append(row)
        return lines

    @property
    def height(self) -> float:
        """Inches."""
        return GAP + sum(_height(rows) for rows in self.lines().values())


def groups(title: str, comparison: Comparison) -> Iterator[Group]:
    """The rows of one comparison: the traits' own arms, then each dose axis, then every other kind of change.

    What a probe other than the trait's plain one says stands in a group of its own.
    """
    kinds: dict[str, list[Row]] = {}
    for row in comparison.rows:
        kind = "" if row.role == "trait" else row.axis or ROLES.get(row.role, row.role)
        kinds.setdefault(", ".join(part for part in (kind, _asked(row)) if part), []).append(row)
    intact = {(row.arm, row.probe): row.gap.mean for row in comparison.rows if row.role == "trait"}
    for kind, rows in kinds.items():
        ordered = sorted(rows, key=lambda row: row.dose if row.dose is not None else 0) if rows[0].axis else rows
        lines = {row.trait: intact[row.of, row.probe] for row in rows if row.of and (row.of, row.probe) in intact}
        yield Group(kind[:1].upper() + kind[1:] if kind else title, tuple(ordered), lines, under=bool(kind))


def _asked(row: Row) -> str:
    """How the probe differs from the one that asks for the trait as such; empty for that one."""
    probe = registry().probes.get(row.probe)
    if row.trait not in registry().traits or row.probe == registry().probe_of(row.trait).name:
        return ""
    plain_form = probe is None or probe.plain
    return f"asked by {row.probe}" if probe is None or plain_form else f"asked {probe.form.replace('_', ' ')}"


def draw(sections: Sequence[Group], path: Path, delta: float) -> Path:
    """Write the plot as a PNG, whole or not at all; returns its path. delta: margin of equivalence, in share.

    Raises ValueError when there is no row.
    """
    rows = [row for group in sections for row in group.rows]
    if not rows:
        raise ValueError("there is no arm to draw")
    colours = inks(row.trait for row in rows)
    columns = _columns(sections) if sum(len(g.lines()) + 1 for g in sections) > LONG else [list(sections)]
    tallest = max(sum(group.height for group in column) for column in columns)
    ends = [*(v for row in rows for v in seed_gaps(row)), *(v for row in rows for v in _reach(row))]
    limits = min(-2 * delta, *ends) - 0.03, max(2 * delta, *ends) + 0.03
    with drawing(path, 3.9 * len(columns) + (1.2 if len(columns) == 1 else 0), tallest + 0.95) as figure:
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        axes = figure.subplots(1, len(columns), squeeze=False)[0]
        for axis, column in zip(axes, columns, strict=True):
            _panel(axis, column, colours, delta, tallest)
            axis.set_xlim(*limits)
        intact: Any = Line2D([], [], color=GREY, linestyle=(0, (2, 1.5)), linewidth=1.2, label="intact arm")
        legend(
            figure,
            colours,
            ([intact] if any(group.intact for group in sections) else [])
            + [Patch(facecolor=FAINT, label=f"equivalence ±{delta:g}")],
            reading=("   " if len(columns) > 1 else "\n").join(READING),
            columns=5 if len(columns) > 1 else 4,
        )
    return path


def _columns(sections: Sequence[Group]) -> list[list[Group]]:
    """Two columns of about the same height, the order kept."""
    heights = [group.height for group in sections]
    cut = min(range(1, len(sections)), key=lambda i: max(sum(heights[:i]), sum(heights[i:])), default=len(sections))
    return [column for column in (list(sections[:cut]), list(sections[cut:])) if column]


def _height(rows: Sequence[Row]) -> float:
    return STEP + BESIDE * (len(rows) - 1)


def _panel(
    axis: Axes, column: Sequence[Group], colours: Mapping[str, tuple[str, str]], delta: float, tallest: float
) -> None:
    """One column; y runs downwards in inches, so that every column has the same scale."""
    axis.axvspan(-delta, delta, color=FAINT, zorder=0, linewidth=0)
    axis.axvline(0, color=GREY, linewidth=0.8, zorder=1)
    ticks, labels, y = [], [], 0.0
    for group in column:
        y += GAP
        heading = axis.annotate(
            plain(group.title),
            (0, y - 0.10),
            xycoords=("axes fraction", "data"),
            ha="left",
            va="center",
            fontsize=7.5 if group.under else 8,
            fontweight="normal" if group.under else "bold",
            fontstyle="italic" if group.under else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            zorder=6,
        )
        heading.set_in_layout(False)
        top = y
        for label, rows in group.lines().items():
            ticks.append(y + _height(rows) / 2)
            labels.append(plain(label))
            for i, row in enumerate(rows):
                _mark(axis, row, y + STEP / 2 - 0.02 + BESIDE * i, colours[row.trait])
            y += _height(rows)
        for trait, gap in group.intact.items():
            axis.plot([gap] * 2, [top, y], color=colours[trait][0], linestyle=(0, (2, 1.5)), linewidth=1.2, zorder=2)
    axis.set_yticks(ticks, labels, fontsize=7.5)
    axis.set_ylim(tallest + 0.05, 0)
    axis.grid(axis="x", color="#dddddd", linewidth=0.5)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _mark(axis: Axes, row: Row, y: float, ink: tuple[str, str]) -> None:
    colour, shape = ink
    seeds = seed_gaps(row)
    below = [y + 0.055] * len(seeds)  # under the bar, which would hide them
    axis.scatter(seeds, below, s=6, marker=shape, facecolor=colour, edgecolor="none", alpha=0.5, zorder=3)
    axis.plot(_reach(row), [y, y], color=colour, linewidth=1.4, solid_capstyle="butt", zorder=4)
    axis.scatter([row.gap.mean], [y], s=20, marker=shape, facecolor=colour, edgecolor="white", linewidth=0.6, zorder=5)


def seed_gaps(row: Row) -> list[float]:
    """Every student's gap: to the control student of its seed where the two are paired, else to the controls' mean."""
    shares = row.student_shares
    if row.gap.paired and row.control_shares and set(shares) <= set(row.control_shares):
        return [share - row.control_shares[seed] for seed, share in shares.items()]
    return [share - row.control_share for share in shares.values()]


def _reach(row: Row) -> tuple[float, float]:
    """The interval, or the mean twice where there is none."""
    known = row.gap.low == row.gap.low
    return (row.gap.low, row.gap.high) if known else (row.gap.mean, row.gap.mean)
