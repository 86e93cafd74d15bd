"""The number x trait table on a terminal; its picture is plots/entanglement_map.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sublim_eval.compare.wording import UNKNOWN, p_value, percent
from sublim_eval.console import say, table
from sublim_eval.entanglement_stats import Link, Summary, Table
from sublim_eval.scores.entanglement_table import Measured

if TYPE_CHECKING:
    from rich.console import Console

NOTED = 0.05
"""A cell or a trait with an adjusted p below this is marked."""

ROWS = 12
"""Numbers that the terminal shows; a file holds all."""


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
        setting = "persona" if t.direction == "trait_to_number" else "number"
        by_chance = percent(t.recognised_by_chance)
        yield f"A {setting} is recognised from the other asks in {percent(t.recognised)} of cases (chance {by_chance})."
    else:
        yield "With one ask nothing can be said about chance."
    yield f"Coverage {measured.coverage:.3f}: probability that the answers of the table held before normalising."
    if measured.left_out:
        yield f"Left out, not asked everything: {', '.join(measured.left_out)}."


def print_link(agreement: Link, console: Console, about: str = "") -> None:
    """Print the rank correlation of both directions, a line a trait and the mean. about: which traits and model."""
    where = f"{about}, {agreement.numbers} numbers" if about else f"{agreement.numbers} numbers"
    say(console, f"\nDoes the number that a persona raises raise the trait in turn? ({where})")
    heads = ("trait", "rank correlation", "95 % interval", "place among traits")
    traits = len(agreement.pairings)
    table(
        console,
        heads,
        [
            (p.trait, number(p.correlation, 2), f"{p.low:+.2f} to {p.high:+.2f}", f"{p.place} of {traits}")
            for p in agreement.pairings
        ],
    )
    say(
        console,
        f"Mean {agreement.mean:+.3f} ({agreement.low:+.3f} to {agreement.high:+.3f}, blocks of numbers resampled); of "
        f"a trait with the other traits' personas {agreement.others:+.3f}; p that this is not about the trait "
        f"{p_value(agreement.p)}.",
    )
