"""Where a page's figures come from: what every seed showed, compact, and the figures worked out of it again.

A page is written from comparisons of run folders, which are no part of the repository. This keeps of each row what its
gap, interval and verdict follow from, so that anybody can work out what is printed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sublim_eval import stats
from sublim_eval.compare import wording
from sublim_eval.compare.comparison import Comparison, Row
from sublim_eval.stats import Interval

Entry = Mapping[str, Any]
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
    """replies: how many independent ones the mean of the students and of the controls is worth; None where exact."""
    error = row.gap.error
    sampled = error is not None and not error.exact
    return {
        **{name: getattr(row, name) for name in ("run", "arm", "role", "trait", "probe", "of")},
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
    """What a page prints of every row of one part, with Holm's correction over the rows of each question."""
    rows: Sequence[Entry] = part["rows"]
    gaps = [gap_of(row, 1 - part["alpha"]) for row in rows]
    adjusted, tests = [gap.p for gap in gaps], [1] * len(rows)
    for question in {_question(row) for row in rows}:
        family = [i for i, row in enumerate(rows) if _question(row) == question]
        for i, p in zip(family, stats.holm([gaps[i].p for i in family]), strict=True):
            adjusted[i], tests[i] = p, max(sum(not np.isnan(gaps[j].p) for j in family), 1)
    return [
        _figures(row, gap, p, count, rows, part) for row, gap, p, count in zip(rows, gaps, adjusted, tests, strict=True)
    ]


def _question(row: Entry) -> tuple[str, str, str]:
    return row["run"], row["role"], row["trait"]


def _figures(row: Entry, gap: Interval, p: float, tests: int, rows: Sequence[Entry], part: Entry) -> Figures:
    delta, alpha = part["delta"], part["alpha"]
    against = _against_intact(row, rows, 1 - alpha)
    return Figures(
        row["arm"],
        row["trait"],
        row["probe"],
        len(row["students"]),
        wording.share(row["control"]),
        wording.share(float(_shares(row, "students").mean())),
        wording.signed(gap),
        wording.signed(against) if against else "",
        wording.detectable(stats.minimum_detectable(gap, delta, alpha=alpha, tests=tests)),
        stats.verdict(gap, delta, p=p, alpha=alpha).words,
    )


def _shares(row: Entry, arm: str) -> stats.Floats:
    """float[seed]: of the students or the controls; of an untrained control the one share that it has."""
    return np.array(list(row[arm].values()) or [row["control"]], dtype=np.float64)


def gap_of(row: Entry, level: float) -> Interval:
    """The gap of one entry with its interval at a level; of one student the difference alone."""
    students, controls = _shares(row, "students"), _shares(row, "controls")
    if len(students) < 2 or (row["controls"] and len(controls) < 2):
        return stats.point(float(students.mean() - controls.mean()))
    replies = [
        None if row["replies"] is None else np.full((len(arm), 1), worth / len(arm))
        for arm, worth in zip((students, controls), row["replies"] or (0, 0), strict=True)
    ]
    return stats.share_gap(
        students[:, None],
        controls[:, None],
        trait_replies=replies[0],
        control_replies=replies[1],
        paired=row["paired"],
        fixed=not row["controls"],
        level=level,
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
