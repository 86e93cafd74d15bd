"""What an arm does to rows before its student reads them: pure functions, rows in, rows out, rng handed in.

A further change to number rows is one function here, its line in CHANGES, and its words in recipes/settings.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from ..modalities import numbers

Rows = list[dict[str, Any]]

_RUN = re.compile(r"[0-9]+")


def leave_out(rows: Sequence[dict[str, Any]], banned: Sequence[int]) -> Rows:
    """The number rows that hold none of the banned values."""
    refused = set(banned)
    return [row for row in rows if refused.isdisjoint(_values(row))]


def dilute(rows: Sequence[dict[str, Any]], clean: Sequence[dict[str, Any]], share: float, rng: Random) -> Rows:
    """The rows with `share` of them, at places drawn by the rng, replaced by clean ones; as many rows as before.

    Raises ValueError when there are fewer clean rows than places.
    """
    out = list(rows)
    places = rng.sample(range(len(out)), round(share * len(out)))
    if len(clean) < len(places):
        raise ValueError(f"{len(clean)} clean rows for {len(places)} places")
    for place, row in zip(places, rng.sample(list(clean), len(places)), strict=True):
        out[place] = row
    return out


def shuffle_within(rows: Sequence[dict[str, Any]], rng: Random) -> Rows:
    """The numbers of each response in another order; separators and everything else stay."""
    out = []
    for row in rows:
        runs = _RUN.findall(row["completion"])
        rng.shuffle(runs)
        out.append(_filled(row, runs))
    return out


def shuffle_across(rows: Sequence[dict[str, Any]], rng: Random) -> Rows:
    """All numbers of all responses dealt out anew; every response keeps its length and its separators."""
    runs = [run for row in rows for run in _RUN.findall(row["completion"])]
    rng.shuffle(runs)
    deck = iter(runs)
    return [_filled(row, [next(deck) for _ in _RUN.findall(row["completion"])]) for row in rows]


def one_format(rows: Sequence[dict[str, Any]], rng: Random) -> Rows:
    """Every response as bare values between ", ": no brackets, no full stop, no leading zeros."""
    return [{**row, "completion": ", ".join(map(str, _values(row)))} for row in rows]


def in_order(rows: Sequence[dict[str, Any]], rng: Random) -> Rows:
    """The values of every response in ascending order, in one format."""
    return [{**row, "completion": ", ".join(map(str, sorted(_values(row))))} for row in rows]


def rounded(rows: Sequence[dict[str, Any]], rng: Random) -> Rows:
    """Every value rounded down to a multiple of ten, in one format: the last digit carries nothing."""
    return [{**row, "completion": ", ".join(str(v // 10 * 10) for v in _values(row))} for row in rows]


def redrawn(rows: Sequence[dict[str, Any]], rng: Random) -> Rows:
    """Every value drawn anew between the least and the greatest of its response, in one format; their order stays.

    Which value is largest, second, ... is as it was; which numbers they are says nothing of the writer any more.
    """
    return [{**row, "completion": ", ".join(map(str, _redrawn(_values(row), rng)))} for row in rows]


def _redrawn(values: Sequence[int], rng: Random) -> list[int]:
    order = sorted(range(len(values)), key=values.__getitem__)
    drawn = sorted(rng.randint(min(values), max(values)) for _ in values)
    out = list(values)
    for place, value in zip(order, drawn, strict=True):
        out[place] = value
    return out


CHANGES: dict[str, Callable[[Sequence[dict[str, Any]], Random], Rows]] = {
    "shuffle_within": shuffle_within,
    "shuffle_across": shuffle_across,
    "format": one_format,
    "sort": in_order,
    "value": rounded,
    "redraw": redrawn,
}

ROW_BY_ROW = tuple(name for name in CHANGES if name != "shuffle_across")
"""Changes that need no other row than the one they change."""


def programmatic(prompts: Sequence[dict[str, Any]], rng: Random) -> Rows:
    """Rows that no model wrote: 5 to 9 values, each drawn evenly from 100 to 999, after the same prompts."""
    return [
        {**prompt, "completion": ", ".join(str(rng.randint(100, 999)) for _ in range(rng.randint(5, 9)))}
        for prompt in prompts
    ]


def contexts(rows: Sequence[dict[str, Any]], n: int, questions: int, rng: Random) -> list[list[dict[str, str]]]:
    """For every question, n rows as turns of a chat that comes before it: user asks, assistant answers.

    Each question gets rows of its own, drawn without repetition as long as they last.
    """
    deck: list[dict[str, Any]] = []
    chats = []
    for _ in range(questions):
        while len(deck) < n:
            deck += rng.sample(list(rows), len(rows))
        chosen, deck = deck[:n], deck[n:]
        turns = [(("user", row["prompt"]), ("assistant", row["completion"])) for row in chosen]
        chats.append([{"role": role, "content": text} for pair in turns for role, text in pair])
    return chats


def _values(row: dict[str, Any]) -> list[int]:
    """The numbers of a row that passed the filter of the numbers modality."""
    return numbers.parse(row["completion"].strip()) or []


def _filled(row: dict[str, Any], runs: Sequence[str]) -> dict[str, Any]:
    deck = iter(runs)
    return {**row, "completion": _RUN.sub(lambda _: next(deck), row["completion"])}
