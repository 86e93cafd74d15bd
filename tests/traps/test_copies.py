"""When two files of rows are one: rows that are alike everywhere prove nothing, near copies across two files do."""

from __future__ import annotations

from random import Random
from typing import Any

from sublim_eval.traps import copies

FAMILIES, EACH = 20, 3


def rows(rng: Random, patterns: list[list[int]], each: int) -> list[dict[str, Any]]:
    """So many rows a pattern, with one number of twelve drawn anew in each."""
    made = []
    for pattern in patterns:
        for _ in range(each):
            numbers = list(pattern)
            numbers[rng.randrange(len(numbers))] = rng.randrange(1000)
            made.append(numbers)
    return [{"prompt": f"p{i}", "completion": ", ".join(map(str, row))} for i, row in enumerate(made)]


def patterns(rng: Random) -> list[list[int]]:
    return [rng.choices(range(1000), k=12) for _ in range(FAMILIES * EACH)]


def test_near_copies_across_two_seeds_are_a_fault() -> None:
    rng = Random(1)
    shared = patterns(rng)
    finding = copies.copied_rows(
        copies.sketch(rows(rng, shared, 1)), copies.sketch(rows(rng, shared, 1)), "seeds", numbers=True
    )
    assert finding.level == "fault" and "nearly a row under the other" in finding.words


def test_a_writer_that_repeats_itself_in_one_file_as_much_is_none() -> None:
    rng = Random(2)
    shared = patterns(rng)[:FAMILIES]
    finding = copies.copied_rows(
        copies.sketch(rows(rng, shared, EACH)), copies.sketch(rows(rng, shared, EACH)), "seeds", numbers=True
    )
    assert finding.level == "ok"


def test_rows_of_their_own_are_none() -> None:
    rng = Random(3)
    finding = copies.copied_rows(
        copies.sketch(rows(rng, patterns(rng), 1)), copies.sketch(rows(rng, patterns(rng), 1)), "seeds", numbers=True
    )
    assert finding.level == "ok" and "0% nearly so" in finding.words
