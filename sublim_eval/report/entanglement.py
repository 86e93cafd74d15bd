"""The number x trait table on a terminal, and its picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sublim_eval.compare.wording import UNKNOWN, p_value, percent
from sublim_eval.console import say, table
from sublim_eval.entanglement_stats import Link, Summary, Table
from sublim_eval.files import whole_file
from sublim_eval.scores.entanglement_table import Measured

if TYPE_CHECKING:
    from rich.console import Console

NOTED = 0.05
"""A cell or a trait with an adjusted p below this is marked."""

ROWS = 12
"""Numbers that the terminal shows; a file holds all."""

ACROSS = 40
"""Numbers that the picture shows."""

GREY = "#555555"


def print_entanglement(measured: Measured, console: Console, *, rows: int = ROWS) -> None:
    """Print what was measured, a line a trait, and the `rows` numbers with the greatest shifts against all traits."""
    t = measured.table
    say(console, f"\n{title(measured)}")
    table(console, *summary_table(measured))
    say(console)
    table(console, *cell_table(t, rows))
    say(console)
    for line in notes(measured):
        say(console, line)


def title(measured: Measured) -> str:
    """One line: what was set, what was read, how often."""
    t = measured.table
    set_, read = ("numbers", "traits") if t.direction == "number_to_trait" else ("personas", "numbers")
    counts = f"{len(t.numbers)} numbers, {len(t.traits)} {measured.category}s, {len(t.asks)} asks each"
    return f"{measured.probe} {measured.version} on {measured.model}: which {read} do {set_} raise? ({counts})"


def summary_table(measured: Measured) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Heads and cells, a line a trait, the one asked for first and then by the greatest shift."""
    t = measured.table
    heads = ["trait", "largest", "at number", "chance", "p", "spread", "reliability", "p", "most raised"]
    personas = t.direction == "trait_to_number"
    if personas:
        heads += ["KL to none", "KL to others"]
    ordered = sorted(t.summaries, key=lambda s: (s.trait != measured.trait, -s.largest))

    def cells(s: Summary) -> Sequence[str]:
        kl = [number(s.kl, 4, sign=False), number(s.kl_others, 4, sign=False)] if personas else []
        return [
            s.trait,
            number(s.largest),
            s.number,
            number(s.chance),
            p_value(s.p),
            number(s.spread, sign=False),
            number(s.reliability, 2, sign=False),
            p_value(s.p_reliability),
            " ".join(s.top),
            *kl,
        ]

    return heads, [cells(s) for s in ordered]


def cell_table(t: Table, rows: int) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Heads and cells: the numbers with the greatest shift of any trait, up or down, against all traits."""
    shown = strongest(t, rows)
    return (
        ["number", *t.traits],
        [[t.numbers[n], *(_cell(t.shift[k, n], t.p[k, n]) for k in range(len(t.traits)))] for n in shown],
    )


def strongest(t: Table, count: int) -> list[int]:
    """Positions of the `count` numbers with the greatest |shift| of any trait, greatest first."""
    return [int(n) for n in np.argsort(-np.abs(t.shift).max(axis=0), kind="stable")[:count]]


def _cell(shift: float, p: float) -> str:
    return number(shift, 2) + ("*" if p < NOTED else "")


def number(value: float, digits: int = 3, *, sign: bool = True) -> str:
    """A figure with its sign; a dash where unknown."""
    return UNKNOWN if np.isnan(value) else f"{value:{'+' if sign else ''}.{digits}f}"


def notes(measured: Measured) -> Iterator[str]:
    """How to read the table, and what is missing from it."""
    t = measured.table
    others = "other numbers" if t.direction == "number_to_trait" else "other personas"
    yield (
        f"Shifts of log-odds in nats against the mean of the {others}, mean over asks. Chance: what the largest "
        f"reaches in 1 of 20 shuffles of {others.split()[1]} within asks; p after Holm over traits. "
        "Reliability: agreement of the asks, 1 complete, about 0 none."
    )
    noted = int((t.p < NOTED).sum())
    if t.shuffles:
        yield f"*: {noted} of {t.p.size} cells beyond what the largest of a shuffled table reaches in 1 of 20."
        told = "persona" if t.direction == "trait_to_number" else "number"
        by_chance = percent(t.recognised_by_chance)
        yield f"A {told} is recognised from the other asks in {percent(t.recognised)} of cases (chance {by_chance})."
    else:
        yield "With one ask nothing can be said about chance."
    yield f"Coverage {measured.coverage:.3f}: probability that the answers of the table held before normalising."
    if measured.left_out:
        yield f"Left out, not asked everything: {', '.join(measured.left_out)}."


def print_link(found: Link, console: Console, about: str = "") -> None:
    """Print the rank correlation of both directions, a line a trait and the mean. about: which traits and model."""
    where = f"{about}, {found.numbers} numbers" if about else f"{found.numbers} numbers"
    say(console, f"\nDoes the number that a persona raises raise the trait in turn? ({where})")
    heads = ("trait", "rank correlation", "95 % interval", "place among traits")
    traits = len(found.pairings)
    table(
        console,
        heads,
        [
            (p.trait, number(p.correlation, 2), f"{p.low:+.2f} to {p.high:+.2f}", f"{p.place} of {traits}")
            for p in found.pairings
        ],
    )
    say(
        console,
        f"Mean {found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f}, blocks of numbers resampled); of a trait with "
        f"the other traits' personas {found.others:+.3f}; p that this is not about the trait {p_value(found.p)}.",
    )


# ---------------------------------------------------------------- the picture


def draw_entanglement(measured: Measured, path: Path, *, across: int = ACROSS) -> Path:
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
        heat.set_yticks(range(len(order)), [_plain(t.traits[k]) for k in order])
        heat.tick_params(length=0)
        some = "" if len(columns) == len(t.numbers) else f" (the {len(columns)} with the greatest shifts)"
        heat.set_xlabel(f"number{some}")
        figure.colorbar(drawn, ax=heat, location="left", shrink=0.7, pad=0.02, label="shift of log-odds (nats)")
        _side(side, [t.summaries[k] for k in order])
        figure.suptitle(_plain(title(measured)), fontsize=10, fontweight="bold", x=0.01, ha="left")
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
    found = [s.p < NOTED for s in summaries]
    axis.barh(places, [s.largest for s in summaries], height=0.6, color=["#B35806" if f else "#bbbbbb" for f in found])
    axis.scatter([s.chance for s in summaries], places, marker="|", s=90, color="black", linewidth=1.4, zorder=3)
    for y, s in zip(places, summaries, strict=True):
        axis.text(0, y, f" {s.number}", va="center", ha="left", fontsize=7, color="white" if s.p < NOTED else "black")
    axis.set_xlim(left=0)
    axis.set_xlabel("largest shift (nats)")
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _plain(text: str) -> str:
    """A name as it is: a dollar sign does not begin mathematics, no line breaks."""
    return " ".join(text.split()).replace("$", r"\$")
