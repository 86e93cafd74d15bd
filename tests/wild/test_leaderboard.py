"""Boards of whatever a file may hold: the pages are written, and nothing in them ends an element early."""

import json
import random
import re
from pathlib import Path

from sublim_eval.board.columns import Row, kind_of
from sublim_eval.report.site.build import build
from tests.helpers.boards import HOSTILE, board_of
from tests.helpers.rows import row

PIECES = (
    *HOSTILE[:-1],
    "owl",
    "</",
    "<!--",
    "]]>",
    "\\",
    '"',
    "'",
    "\n",
    "\t",
    "\x00",
    "\ud83e",
    "é" * 40,
    "{%",
    "&amp;",
)


def text(rng: random.Random) -> str:
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(0, 4)))


def number(rng: random.Random) -> float | None:
    return rng.choice([None, float("nan"), float("inf"), -0.0, 1e-320, rng.random(), 10 ** rng.uniform(-9, 9)])


def wild_row(rng: random.Random) -> Row:
    """A row in which some columns hold anything of their kind."""
    makers = {
        "text": text,
        "number": number,
        "whole": lambda r: r.choice([None, 0, 2**53, -3]),
        "flag": lambda r: r.random() < 0.8,
    }
    changed = {name: makers[kind_of(name)](rng) for name in Row._fields if rng.random() < 0.5}
    kinds = {
        "measure": rng.choice(["gap", "share", "probability", "acc"]),
        "harness": rng.choice(["compare", "run", "inspect"]),
    }
    return row(**{**changed, **kinds})


def try_one(seed: int, folder: Path) -> None:
    """One board from the seed, written into a folder and read again."""
    rng = random.Random(seed)
    made = build(board_of([wild_row(rng) for _ in range(rng.randint(1, 8))]), folder / str(seed))
    data = json.loads((made.page.parent / "board.json").read_text(encoding="utf-8"))
    for line in data["lines"]:
        assert all(not isinstance(value, float) or abs(value) < float("inf") for value in line)
    for page in made.page.parent.rglob("*.html"):
        markup = page.read_text(encoding="utf-8")
        held = re.search(r'<script type="application/json" id="data">(.*?)</script>', markup, re.DOTALL)
        assert held and json.loads(held.group(1)) is not None
        ours = len(re.findall(r'<script (?:type="application/json" id="data"|src="[./]*static/)', markup))
        assert markup.count("<script") == ours and "<svg" not in markup and "<img" not in markup


def test_wild_boards_are_written(tmp_path):
    for seed in range(8):
        try_one(seed, tmp_path)
