"""Where a page's figures come from: what every seed showed, compact, and the figures worked out of it again.

A page is written from comparisons of run folders, which are no part of the repository. This keeps of each row what its
gap, interval and verdict follow from, so that anybody can work out what is printed; the board reads it as results
(board/formats/page_sources.py, where gap and verdict are worked out).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sublim_eval import stats
from sublim_eval.board.formats.page_sources import Entry, Worked, shares_of, worked
from sublim_eval.compare import wording
from sublim_eval.compare.comparison import Comparison, Row
from sublim_eval.stats import Interval

DIGITS = 9
"""Digits of a share that are kept."""


@dataclass(frozen=True)
class Figures:
    """A row as a page prints it, worked out of its entry. against_intact: "" where the row has none, or it is of other
    seeds."""

    arm: str
    trait: str
    probe: str
    seeds: int
    control: str
    students: str
    gap: str
    against_intact: str
    detectable: str
    verdict: str


def of_comparison(part: str, comparison: Comparison) -> dict[str, Any]:
    """The source of every row of a comparison. part: what the page calls it."""
    return {
        "part": part,
        "delta": comparison.delta,
        "alpha": comparison.alpha,
        "rows": [_entry(row) for row in comparison.rows],
    }


def _entry(row: Row) -> dict[str, Any]:
    """replies: how many independent ones the mean of the students and of the controls is worth; None where exact.

    against: the arm or base that it is held against; untrained: the share of the untrained base, None where unknown.
    """
    error = row.gap.error
    sampled = error is not None and not error.exact
    return {
        **{name: getattr(row, name) for name in ("run", "arm", "role", "trait", "probe", "of", "base", "version")},
        "measure": row.measure,
        "against": row.control,
        "untrained": round(row.base_share, DIGITS) if math.isfinite(row.base_share) else None,
        "students": {str(seed): round(share, DIGITS) for seed, share in row.student_shares.items()},
        "controls": {str(seed): round(share, DIGITS) for seed, share in row.control_shares.items()},
        "control": round(row.control_share, DIGITS),
        "replies": [error.trait.replies, error.control.replies] if error is not None and sampled else None,
        "paired": row.gap.paired,
    }


def a_row_a_line(sources: Mapping[str, Any]) -> str:
    """JSON that a person can look through and git can compare: a line for every row of every part."""
    parts = []
    for part in sources["parts"]:
        head = json.dumps({k: v for k, v in part.items() if k != "rows"}, ensure_ascii=False)[:-1]
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in part["rows"])
        parts.append(f'{head}, "rows": [\n{rows}\n]}}')
    rest = json.dumps({k: v for k, v in sources.items() if k != "parts"}, ensure_ascii=False)[:-1]
    return rest + ', "parts": [\n' + ",\n".join(parts) + "\n]}\n"


def worked_out(part: Entry) -> list[Figures]:
    """What a page prints of every row of one part."""
    return [_figures(one, part) for one in worked(part)]


def _figures(one: Worked, part: Entry) -> Figures:
    row, alpha = one.entry, part["alpha"]
    against = _against_intact(row, part["rows"], 1 - alpha)
    return Figures(
        row["arm"],
        row["trait"],
        row["probe"],
        len(row["students"]),
        wording.share(row["control"]),
        wording.share(float(shares_of(row, "students").mean())),
        wording.signed(one.gap),
        wording.signed(against) if against else "",
        wording.detectable(stats.minimum_detectable(one.gap, part["delta"], alpha=alpha, tests=one.tests)),
        one.verdict.words,
    )


def _against_intact(row: Entry, rows: Sequence[Entry], level: float) -> Interval | None:
    """A variant's gap minus that of its intact arm; None without one, and where the four arms are of unlike seeds."""
    same = ("run", "trait", "probe")
    intact = next((r for r in rows if r["arm"] == row["of"] and all(r[n] == row[n] for n in same)), None)
    if intact is None or not all(r["paired"] and r["controls"] for r in (row, intact)):
        return None
    seeds = list(row["students"])
    arms = [(r, name) for r in (row, intact) for name in ("students", "controls")]
    if len(seeds) < 2 or not all(set(seeds) <= set(r[name]) for r, name in arms):
        return None
    ours, controls, theirs, their_controls = (np.array([r[name][s] for s in seeds]) for r, name in arms)
    change = (ours - controls) - (theirs - their_controls)
    floor = float(np.sqrt(sum(_noise(r, name, seeds) for r, name in arms)))
    return stats.mean_difference(change, np.zeros_like(change), floor=floor, level=level)


def _noise(row: Entry, arm: str, seeds: Sequence[str]) -> float:
    """Variance that the replies give the mean share of some seeds of an arm."""
    if row["replies"] is None:
        return 0.0
    each = row["replies"][arm == "controls"] / len(row[arm])
    return stats.reply_noise([[row[arm][seed]] for seed in seeds], np.full((len(seeds), 1), each))
