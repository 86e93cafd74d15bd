"""Boards for the pages: rows without files, and a run with hostile names beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sublim_eval.board.collect import Board
from sublim_eval.board.columns import Row
from sublim_eval.scores.probe_scores import ProbeScores
from tests.helpers.rows import row

HOSTILE = (
    "<script>window.ran = 1</script>",
    '"><img src=x onerror="window.ran = 1">',
    "' onmouseover='window.ran = 1",
    "javascript:window.ran=1",
    "{{ 7 * 7 }}{% raw %}${7*7}#{7*7}",
    "</script><script>window.ran = 1</script><!--",
    "</title></textarea></style><svg onload=window.ran=1>",
    "\u202egnp.owl\u2066 \u200bhidden",
    "=HYPERLINK(1)+cmd|' /C calc'!A0",
    "🦉👩‍👩‍👧 ünïcode \u2028 line",
    "../../etc/passwd\\..\\x",
    "CON",
    "x" * 3000,
)


def board_of(rows: Iterable[Row], left_out: Sequence[Any] = ()) -> Board:
    """A board behind whose rows there are no files."""
    return Board(tuple(rows), tuple(left_out), {}, ())


def gap(arm: str, value: float | None = 0.2, **given: Any) -> Row:
    """What `compare` says of an arm against its control."""
    usual = {"model": f"quick/{arm}", "arm": arm, "seed": None, "measure": "gap", "value": value, "n": 3, "p": 0.01}
    reach = {} if value is None else {"low": value - 0.1, "high": value + 0.1, "interval": "seeds"}
    return row(**{**usual, **reach, "verdict": "transferred", "harness": "compare", **given})


def arm(name: str, shares: Sequence[float], **given: Any) -> list[Row]:
    """An arm over its seeds: its gap, its share, and every student."""
    mean = float(np.mean(shares))
    over = {"measure": "share", "low": mean - 0.1, "high": mean + 0.1, "verdict": "", "p": None}
    students = [
        row(
            **{"model": f"quick/{name}-s{seed}", "arm": name, "seed": seed, "value": share, "harness": "run"},
            **{"source": f"quick/{name}-s{seed}.json", **given},
        )
        for seed, share in enumerate(shares, start=1)
    ]
    return [gap(name, mean - 0.1, **given), gap(name, mean, **{**over, **given}), *students]


def scores(shares: Sequence[float], answers: Sequence[str] = ("owl", "cat"), replies: int = 200) -> ProbeScores:
    """One model whose first answer has these shares, a question each; the second has the rest."""
    share = np.array([[s, 1 - s] for s in shares])
    count = len(shares)
    zeros = np.zeros(count, dtype=np.int64)
    return ProbeScores(
        **{"model": "m", "probe": "animal_pref", "version": "1-B", "category": "animal"},
        questions=tuple(f"q{i}" for i in range(count)),
        answers=tuple(answers),
        probability=np.full((count, 2), np.nan),
        coverage=np.full(count, np.nan),
        share=share,
        replies=np.full(count, replies, dtype=np.int64),
        **{"non_answers": zeros, "other": zeros, "unreadable": zeros},
        **{"questions_hash": "asked", "prompt_hash": "", "source": "here"},
    )


def hostile_rows() -> list[Row]:
    """Models, arms, traits, notes and verdicts of hostile names; numbers that are none."""
    rows = []
    for index, text in enumerate(HOSTILE):
        rows.append(
            row(
                **{
                    "model": text,
                    "base": text[:60],
                    "role": "other",
                    "run": "",
                    "arm": "",
                    "control": "",
                    "seed": None,
                },
                **{"trait": "", "note": text, "source": text, "log": text, "command": text, "sampling": text},
                **{"settled": text, "version": text[:40], "date": text[:40], "value": 0.25 + index / 100},
            )
        )
        rows.append(
            gap(
                text,
                value=0.1,
                base=text[:60],
                trait=text[:30],
                answer=text[:30],
                verdict=text,
                note=text,
                control=text,
            )
        )
    odd = {"value": float("nan"), "low": float("-inf"), "high": float("inf"), "n": None}
    rows.append(row(model="numbers that are none", run="", arm="", control="", role="other", seed=None, **odd))
    return rows
