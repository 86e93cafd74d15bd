"""How students came by their trait: its probability while they trained, a panel a trait, a line a student.

Asked with training phrasings, never with the questions that are scored; a curve is for looking at and chooses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sublim_eval.files import read_json
from sublim_eval.report.plots.style import GREY, INKS, drawing, legend, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILE = "learning.png"
ACROSS = 3
"""Panels side by side before a new row begins."""

CONTROL = ("#9a9a9a", "s")
READING = (
    "probability of naming the trait, on training phrasings; a line: one student; its end: the student that is scored"
)


class Curve(NamedTuple):
    """One student: points are (steps, probability in [0, 1]); control: it learnt from rows without the trait."""

    arm: str
    trait: str
    control: bool
    points: Sequence[tuple[int, float]]


def curves(folders: Sequence[Path]) -> list[Curve]:
    """The curves that runs recorded, in the order of their arms; none from a run that took none."""
    lines = []
    for folder in folders:
        record = read_json(folder / "run.json")
        for student in record.get("students", ()):
            arm = record["arms"][student["arm"]]
            points = [(int(p["step"]), float(p["probability"])) for p in student.get("curve") or ()]
            trait = student.get("curve_of") or arm["trait"]
            if len(points) > 1 and trait:
                lines.append(Curve(student["arm"], str(trait), arm["trait"] is None, points))
    return lines


def draw(lines: Sequence[Curve], path: Path) -> Path:
    """Write a PNG, whole or not at all; returns its path. Raises ValueError when there is no curve."""
    if not lines:
        raise ValueError("there is no learning curve to draw")
    panels: dict[str, list[Curve]] = {}
    for curve in lines:
        panels.setdefault(curve.trait, []).append(curve)
    arms = dict.fromkeys(curve.arm for curve in lines if not curve.control)
    colours = {arm: INKS[i % len(INKS)] for i, arm in enumerate(arms)}
    colours |= {curve.arm: CONTROL for curve in lines if curve.control}
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    with drawing(path, 3.4 * across + 0.8, 2.3 * down + 0.8) as figure:
        axes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
        for axis, (trait, several) in zip(axes, panels.items(), strict=False):
            _panel(axis, trait, several, colours)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        legend(figure, colours, reading=READING, columns=min(6, max(2, len(colours))))
    return path


def _panel(axis: Axes, trait: str, several: Sequence[Curve], colours: Mapping[str, tuple[str, str]]) -> None:
    for curve in sorted(several, key=lambda one: not one.control):  # controls below
        colour, shape = colours[curve.arm]
        steps, chances = zip(*curve.points, strict=True)
        axis.plot(steps, chances, color=colour, linewidth=1.1, alpha=0.8, marker=shape, markersize=2.6)
    axis.set_title(plain(trait), loc="left", fontsize=8.5, fontweight="bold")
    axis.set_xlabel("training steps", fontsize=8, color=GREY)
    axis.set_ylim(-0.02, 1.02)
    axis.grid(axis="y", color="#dddddd", linewidth=0.5)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
