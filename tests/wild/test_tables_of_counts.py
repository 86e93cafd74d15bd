"""Tables that people and programs write: what is read is right to the last count, everything else is one sentence."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from sublim_eval.compare.compare import compare_table
from sublim_eval.errors import SublimError

HEADS = ("trait", "arm", "seed", "question", "hits", "n")
ODD = (
    "",
    " ",
    "-1",
    "1e3",
    "0.5",
    "nan",
    "9" * 20,
    "٣",
    "１",
    '"',
    '"a',
    "a,b",
    "\x00",
    "\x1b[31m",
    "\n",
    "\ufeff",
    "=1+1",
    "0x1",
)
ENDS = ("\n", "\r\n", "\r")


def lines(rng: random.Random) -> list[list[str]]:
    """A sound table of one trait."""
    questions = [f"q{i}" for i in range(rng.randint(1, 4))]
    made = []
    for arm in ("control", *(f"arm {i}" for i in range(rng.randint(1, 3)))):
        for seed in range(rng.randint(1, 4)):
            for question in questions:
                n = rng.choice([1, 5, 100])
                made.append(["owl", arm, str(seed), question, str(rng.randint(0, n)), str(n)])
    return made


def quoted(cell: str, rng: random.Random) -> str:
    """A cell as a spreadsheet may write it."""
    return '"' + cell.replace('"', '""') + '"' if rng.random() < 0.2 or set(cell) & set(',"\r\n') else cell


def spoilt(rows: list[list[str]], rng: random.Random) -> list[list[str]]:
    """The same with one odd thing in it."""
    row = rng.choice(rows)
    kind = rng.randrange(4)
    if kind == 0:
        row[rng.randrange(len(row))] = rng.choice(ODD)
    elif kind == 1:
        rows.append(list(row))
    elif kind == 2:
        del row[rng.randrange(len(row))]
    else:
        row.append("further")
    return rows


def try_one(seed: int, folder: Path) -> None:
    """A table in some order, quoting and encoding, sound or with one odd thing: the right shares or one sentence."""
    rng = random.Random(seed)
    rows, sound = lines(rng), rng.random() < 0.5
    rng.shuffle(rows)
    order = rng.sample(range(6), 6)
    table = [[HEADS[i] for i in order], *([row[i] for i in order] for row in rows)]
    table = table if sound else spoilt(table, rng)
    end = rng.choice(ENDS)
    text = end.join(",".join(quoted(cell, rng) for cell in row) for row in table) + rng.choice(["", end, end + end])
    file = folder / "wild.csv"
    file.write_bytes(text.encode(rng.choice(["utf-8", "utf-8-sig"])))
    try:
        made = compare_table(file)
    except SublimError as error:
        assert not sound, error
        assert "\n" not in str(error).strip()
        return
    for row in made.rows if sound else ():
        for whose, shares in (("students", row.student_shares), ("controls", row.control_shares)):
            arm = row.arm if whose == "students" else "control"
            for student, share in shares.items():
                theirs = [int(r[4]) / int(r[5]) for r in rows if r[1] == arm and r[2] == str(student)]
                assert np.isclose(share, np.mean(theirs))


def test_a_table_is_read_right_or_refused_in_a_sentence(tmp_path: Path) -> None:
    for seed in range(25):
        try_one(seed, tmp_path)
