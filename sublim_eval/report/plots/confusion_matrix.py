"""The confusion matrix as a picture: the shift of every answer in the students of every trait."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sublim_eval.report.plots.style import GREY, drawing, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage
    from matplotlib.patches import Patch

    from sublim_eval.compare.confusion import Confusion

COLOURS = "RdBu_r"
"""Diverging, white at 0, and told apart in every common form of colour blindness."""

CELL, LINE = 0.335, 0.30
"""Inches: width and height of a cell."""


def draw(matrices: Sequence[Confusion], path: Path) -> Path:
    """Write a PNG, one panel a probe, whole or not at all; returns its path.

    Cells: mean over seeds of the log-odds shift against the control. Traits of the run come first, in the order of
    the rows; a frame marks the trained trait. Raises ValueError when there is nothing to draw.
    """
    shown = [one for one in matrices if len(one.traits)]
    if not shown:
        raise ValueError("there is no confusion matrix to draw")
    most = max(float(np.nanmax(np.abs(_means(one)))) for one in shown) or 1.0
    widest = max(len(one.answers) for one in shown)
    wide = widest * CELL + 1.7
    tall = [len(one.traits) * LINE + 1.0 for one in shown]
    with drawing(path, wide, sum(tall) + 0.35) as figure:
        axes = figure.subplots(len(shown), 1, squeeze=False, gridspec_kw={"height_ratios": tall})[:, 0]
        for axis, one in zip(axes, shown, strict=True):
            image = _panel(axis, one, most)
            axis.set_xlim(-0.5, widest - 0.5)  # cells of one size in all panels
        bar = figure.colorbar(image, ax=list(axes), shrink=0.8, pad=0.015, aspect=28)
        bar.set_label("Mean log-odds shift against the control", fontsize=8, color=GREY)
        bar.outline.set_visible(False)
        figure.supxlabel("Answer   (framed: the trained trait)", fontsize=8, color=GREY)
        figure.supylabel("Trait of the teacher", fontsize=8, color=GREY)
    return path


def _means(one: Confusion) -> np.ndarray:
    """float[trait, answer], means over seeds."""
    return np.asarray(np.nanmean(np.asarray(one.shifts, dtype=float), axis=1))


def _panel(axis: Axes, one: Confusion, most: float) -> AxesImage:
    own = [trait for trait in one.traits if trait in one.answers]
    order = [*map(list(one.answers).index, own), *(i for i, a in enumerate(one.answers) if a not in own)]
    means = _means(one)[:, order]
    image = axis.imshow(means, cmap=COLOURS, vmin=-most, vmax=most, aspect="auto")
    for y, trait in enumerate(one.traits):
        for x, value in enumerate(means[y]):
            dark = abs(value) > 0.55 * most
            axis.text(x, y, _cell(value), ha="center", va="center", fontsize=6.5, color="white" if dark else "#222222")
        if trait in own:
            x = own.index(trait)
            axis.add_patch(_frame(x, y))
    axis.axvline(len(own) - 0.5, color="white", linewidth=3)
    axis.set_xticks(range(len(order)), [plain(one.answers[i]) for i in order], rotation=45, ha="right", fontsize=7)
    for label in axis.get_xticklabels():
        label.set_rotation_mode("anchor")
    axis.set_yticks(range(len(one.traits)), [plain(trait) for trait in one.traits])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    title = f"{plain(one.probe)}: the trained trait is first in {one.diagonal_first} of {one.runs} runs"
    axis.set_title(title, loc="left", fontsize=8.5, fontweight="bold")
    return image


def _cell(value: float) -> str:
    """One decimal, and no sign before a nought."""
    return "–" if np.isnan(value) else "0.0" if abs(value) < 0.05 else f"{value:+.1f}".replace("-", "−")


def _frame(x: int, y: int) -> Patch:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.8, clip_on=False, zorder=5)
