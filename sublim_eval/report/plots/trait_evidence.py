"""How far students went towards any trait while they trained, a line a student, and where a rule stopped them.

The evidence is that of the strongest of all known traits, in the student's weights (distill/training/trait_gauge.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sublim_eval.files import read_json
from sublim_eval.report.plots.learning_curves import CONTROL
from sublim_eval.report.plots.style import GREY, drawing, inks, legend

FILE = "evidence.png"
READING = "evidence of the strongest trait in the weights; a line: one student; dashed: a training is stopped above it"


class EvidenceCurve(NamedTuple):
    """One student: points are (part of the training in [0, 1], evidence in [-1, 1]).

    control: its rows had no trait. stopped: a rule ended its training at its last point. threshold: of the rule.
    """

    arm: str
    control: bool
    points: Sequence[tuple[float, float]]
    stopped: bool = False
    threshold: float | None = None


def curves(folders: Sequence[Path]) -> list[EvidenceCurve]:
    """The evidence that runs recorded, in the order of their arms; none from a run without a stop rule."""
    lines = []
    for folder in folders:
        record = read_json(folder / "run.json")
        for student in record.get("students", ()):
            stop = student.get("stopped") or {}
            steps = stop.get("of") or student.get("steps")
            seen = [(p["step"] / steps, max(p["evidence"].values())) for p in student.get("evidence") or ()]
            if seen:
                carries = record["arms"][student["arm"]]["trait"] is not None
                lines.append(EvidenceCurve(student["arm"], not carries, seen, bool(stop), stop.get("threshold")))
    return lines


def draw(lines: Sequence[EvidenceCurve], path: Path) -> Path:
    """Write a PNG, whole or not at all; returns its path. Raises ValueError when there is no curve."""
    if not lines:
        raise ValueError("there is no curve of evidence to draw")
    colours = inks(line.arm for line in lines if not line.control)
    colours |= {line.arm: CONTROL for line in lines if line.control}
    with drawing(path, 6.4, 3.4) as figure:
        axis = figure.subplots()
        for line in sorted(lines, key=lambda one: not one.control):  # controls below
            colour, shape = colours[line.arm]
            parts, seen = zip(*[(100 * part, value) for part, value in line.points], strict=True)
            axis.plot(parts, seen, color=colour, linewidth=1.0, alpha=0.8)
            if line.stopped:
                axis.plot(parts[-1], seen[-1], color=colour, marker=shape, markersize=4.5)
        for threshold in sorted({line.threshold for line in lines if line.threshold is not None}):
            axis.axhline(threshold, color=GREY, linewidth=0.9, linestyle="--")
        axis.set_xlabel("part of the training, in percent", fontsize=8, color=GREY)
        axis.set_xlim(0, 101)
        axis.grid(axis="y", color="#dddddd", linewidth=0.5)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        legend(figure, colours, reading=READING, columns=min(6, max(2, len(colours))))
    return path
