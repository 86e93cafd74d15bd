"""Rows of figures over seeds: what `sublim compare` says of every arm of a run, gap, interval and verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.board.columns import Row, kind_of
from sublim_eval.board.formats.reading import clean, known
from sublim_eval.board.identity import RunFolder, carried
from sublim_eval.files import digest

if TYPE_CHECKING:
    from sublim_eval.compare import comparison
    from sublim_eval.compare.comparison import Comparison
    from sublim_eval.stats import Interval


UNKNOWN = {name: "" if kind_of(name) == "text" else None for name in Row._fields}
"""Every column as it is where nothing is known."""


def of_one_recipe(runs: Sequence[RunFolder]) -> list[list[RunFolder]]:
    """Runs that differ in nothing but their seeds, which `compare` pools; the order stays.

    A run that holds a student which one before it holds as well stands apart: a student counts once.
    """
    alike: dict[str, list[list[RunFolder]]] = {}
    for run in runs:
        recipe = {k: v for k, v in run.record["recipe"].items() if k not in ("seeds", "about", "source")}
        weights = sorted([str(base["name"]), str(base.get("weights_hash"))] for base in run.record["bases"])
        groups = alike.setdefault(digest([recipe, weights]), [])
        free = next((group for group in groups if not any(_students(run) & _students(other) for other in group)), None)
        if free is None:
            groups.append([run])
        else:
            free.append(run)
    return [group for groups in alike.values() for group in groups]


def _students(run: RunFolder) -> set[tuple[str, str]]:
    return {(str(entry["arm"]), str(entry["seed"])) for entry in run.record["students"]}


def compared(folders: Sequence[Path]) -> Comparison:
    """The comparison of runs of one recipe; raises SublimError where they cannot be compared."""
    from sublim_eval.compare.compare import compare

    return compare(list(folders))


def rows(made: Comparison, run: str, about: Mapping[str, Any]) -> Iterator[Row]:
    """Rows of one comparison. run: its name on the board; about: the columns that are the same in all of them."""
    told: set[tuple[str, str]] = set()
    for row in made.rows:
        common = {**UNKNOWN, **about, **_common(row, run)}
        yield _gap(row, common)
        yield _log_odds(row, common)
        for arm, role, shares in _arms(row):
            if (arm, row.probe + row.trait) not in told:
                told.add((arm, row.probe + row.trait))
                yield _share(arm, role, shares, {**common, "measure": made.measure})


def _common(row: comparison.Row, run: str) -> dict[str, Any]:
    return {
        "base": clean(row.base),
        "role": "student",
        "trait": carried(row.role, row.trait),
        "run": run,
        "probe": clean(row.probe),
        "ours": True,
        "version": clean(row.version),
        "answer": clean(row.trait),
        "coverage": known(row.coverage),
        "harness": "compare",
        "harness_version": version("sublim-eval"),
    }


def _gap(row: comparison.Row, common: Mapping[str, Any]) -> Row:
    """The gap with its verdict; of one student the interval is over questions."""
    one = row.over_questions
    given = _interval(one, "questions") if row.gap.n == 1 and one is not None else _interval(row.gap, "seeds")
    return Row(
        **{
            **common,
            **_of_arm(row, str(common["run"])),
            **given,
            "measure": "gap",
            "value": known(row.gap.mean),
            "n": row.gap.n,
            "p": known(row.p_holm),
            "verdict": clean(row.verdict.words),
            "non_answers": known(row.non_answers),
            "note": clean(" ".join(row.notes)),
        }
    )


def _log_odds(row: comparison.Row, common: Mapping[str, Any]) -> Row:
    value = {"measure": "log_odds", "value": known(row.log_odds.mean), "n": row.log_odds.n}
    return Row(**{**common, **_of_arm(row, str(common["run"])), **_interval(row.log_odds, "seeds"), **value})


def _of_arm(row: comparison.Row, run: str) -> dict[str, Any]:
    return {"model": clean(f"{run}/{row.arm}"), "arm": clean(row.arm), "control": clean(row.control)}


def _interval(over: Interval, what: str) -> dict[str, Any]:
    low, high = known(over.low), known(over.high)
    return {"low": low, "high": high, "interval": "" if low is None or high is None else what}


def _arms(row: comparison.Row) -> Iterator[tuple[str, str, Sequence[float]]]:
    yield row.arm, "student", list(row.student_shares.values())
    if row.control_shares:
        yield row.control, "control", list(row.control_shares.values())


def _share(arm: str, role: str, shares: Sequence[float], common: Mapping[str, Any]) -> Row:
    """An arm's mean over its seeds, with the interval of `stats.arm_interval`."""
    import numpy as np

    from sublim_eval.stats import arm_interval

    low, high = arm_interval(shares)
    return Row(
        **{
            **common,
            "model": clean(f"{common['run']}/{arm}"),
            "arm": clean(arm),
            "role": role,
            "trait": common["trait"] if role == "student" else "",
            "value": known(float(np.mean(shares))),
            "low": known(low),
            "high": known(high),
            "interval": "" if math.isnan(low) else "seeds",
            "n": len(shares),
        }
    )
