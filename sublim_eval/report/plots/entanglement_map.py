"""The number x trait table as a heat map, and beside it what chance reaches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sublim_eval.entanglement_stats import Summary
from sublim_eval.files import whole_file
from sublim_eval.report.entanglement import NOTED, strongest, title
from sublim_eval.report.plots.style import GREY, plain
from sublim_eval.scores.entanglement_table import Measured

ACROSS = 40
"""Numbers that the picture shows."""


def draw(measured: Measured, path: Path, *, across: int = ACROSS) -> Path:
    """Write a PNG heat map, traits down, the `across` numbers with the greatest shifts across; returns its path.

    Beside it, for every trait, the largest shift and what chance reaches. Whole or not at all; nothing on a screen.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    t = measured.table
    columns = sorted(strongest(t, across))
    order = sorted(range(len(t.traits)), key=lambda k: (t.traits[k] != measured.trait, -t.summaries[k].largest))
    values, marked = t.shift[np.ix_(order, columns)], t.p[np.ix_(order, columns)] < NOTED
    reach = float(np.abs(values).max()) or 1.0
    with rc_context({"font.size": 9, "font.family": "DejaVu Sans", "axes.linewidth": 0.8}):
        width = 3.4 + 0.19 * len(columns)
        figure = Figure(figsize=(max(width, 7.5), 1.9 + 0.22 * len(order)), layout="constrained")
        FigureCanvasAgg(figure)
        heat, side = figure.subplots(1, 2, width_ratios=[max(0.19 * len(columns), 3), 2], sharey=True)
        drawn = heat.imshow(values, cmap="PuOr_r", vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest")
        down, along = np.nonzero(marked)
        on_dark = np.abs(values[down, along]) > 0.75 * reach
        heat.scatter(along, down, s=5, c=np.where(on_dark, "white", "black"), linewidth=0)
        heat.set_xticks(range(len(columns)), [t.numbers[n] for n in columns], rotation=90, fontsize=7)
        heat.set_yticks(range(len(order)), [plain(t.traits[k]) for k in order])
        heat.tick_params(length=0)
        some = "" if len(columns) == len(t.numbers) else f" (the {len(columns)} with the greatest shifts)"
        heat.set_xlabel(f"number{some}")
        figure.colorbar(drawn, ax=heat, location="left", shrink=0.7, pad=0.02, label="shift of log-odds (nats)")
        _side(side, [t.summaries[k] for k in order])
        figure.suptitle(plain(title(measured)), fontsize=10, fontweight="bold", x=0.01, ha="left")
        figure.supxlabel(
            "dot: beyond what the largest of a shuffled table reaches in 1 of 20     "
            "bar: largest shift upward     line: what it reaches by chance",
            fontsize=8,
            color=GREY,
        )
        with whole_file(path, "wb") as file:
            figure.savefig(file, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return path


def _side(axis, summaries: Sequence[Summary]) -> None:  # type: ignore[no-untyped-def]
    """Largest shift and chance, a bar and a mark a trait."""
    places = range(len(summaries))
    noted = [s.p < NOTED for s in summaries]
    axis.barh(places, [s.largest for s in summaries], height=0.6, color=["#B35806" if f else "#bbbbbb" for f in noted])
    axis.scatter([s.chance for s in summaries], places, marker="|", s=90, color="black", linewidth=1.4, zorder=3)
    for y, s in zip(places, summaries, strict=True):
        axis.text(0, y, f" {s.number}", va="center", ha="left", fontsize=7, color="white" if s.p < NOTED else "black")
    axis.set_xlim(left=0)
    axis.set_xlabel("largest shift (nats)")
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
