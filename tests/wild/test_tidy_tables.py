"""Tidy tables as CSV, Parquet and JSON that somebody bent or tore: rows of the right kinds, or a sentence."""

import random
from pathlib import Path

import pytest

from sublim_eval.board import tables
from sublim_eval.errors import SublimError
from tests.helpers.rows import HOSTILE, row
from tests.wild.test_board import fits, torn

TEXTS = [HOSTILE, "", "'", "=1", "\u202e", "a,b", 'a"b', "a\nb", "🦉", "-", "'=", "x" * 3000]


def some_rows(rng: random.Random) -> list:
    """Sound rows with numbers and texts of every sort."""
    number = lambda: rng.choice([None, 0.0, -0.0, 5e-324, 1 / 3, 1e300, rng.random()])  # noqa: E731
    whole = lambda: rng.choice([None, 0, -1, 2**53, rng.randrange(1000)])  # noqa: E731
    return [
        row(model=rng.choice(TEXTS), note=rng.choice(TEXTS), value=number(), low=number(), seed=whole(), n=whole())
        for _ in range(rng.randint(0, 6))
    ]


def try_one(seed: int, folder: Path) -> None:
    """A table there and back, then the same file torn."""
    rng = random.Random(seed)
    rows = some_rows(rng)
    file = tables.write(rows, folder / f"t.{rng.choice(['csv', 'parquet', 'json'])}")
    assert tables.read(file) == rows
    file.write_bytes(torn(file.read_bytes(), rng))
    try:
        read = tables.read(file)
    except SublimError:
        return
    for one in read:
        fits(one._replace(ours=False))


@pytest.mark.parametrize("seed", [*range(25), 102, 749])  # the last two: text that is no UTF-8 inside of Parquet
def test_wild_tables(seed, tmp_path):
    try_one(seed, tmp_path)
