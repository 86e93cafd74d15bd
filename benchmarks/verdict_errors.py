"""Where a verdict could err: simulated students at the margin, unequal arms, families, looks, and what is detectable.

    nice -n 15 python benchmarks/verdict_errors.py            # every part, about 15 minutes on an idle core
    nice -n 15 python benchmarks/verdict_errors.py grid       # one part; what is not measured anew stays as it was

Writes benchmarks/results/verdict_errors.json; `benchmarks/calibration.py --page` puts its tables into the page. Every
comparison is read by sublim_eval.gap_error, the code that people run, for many comparisons at once. Seeds are fixed,
nothing is chosen after looking.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from sublim_eval import stats
from sublim_eval.compare.interim_looks import spent
from sublim_eval.files import read_json, whole_file
from sublim_eval.gap_error import GapError, Scatter

Floats = NDArray[np.float64]

RESULT = Path(__file__).resolve().parent / "results" / "verdict_errors.json"
RUNS = 10_000
AGAIN = 100_000
"""Comparisons of a cell that came out above SUSPECT, drawn anew."""

SUSPECT = 0.054
BASES, SPREADS, SEEDS = (0.02, 0.05, 0.1, 0.2, 0.5), (0.1, 0.3, 1.0), (2, 3, 5, 10, 20)
REPLIES = (5, 20, 100, 400, 0)
"""Replies a student, 0 for exact probabilities."""

NODES = special.ndtri((np.arange(200) + 0.5) / 200)


@functools.cache
def middle(mean: float, spread: float) -> float:
    """The mean log-odds of students whose mean share this is."""
    low, high = -14.0, 14.0
    for _ in range(60):
        half = (low + high) / 2
        low, high = (half, high) if special.expit(half + spread * NODES).mean() < mean else (low, half)
    return low


def middles(means: Floats, spread: float) -> Floats:
    """`middle` of many means, by interpolation."""
    odds = np.linspace(-9, 9, 1500)
    return np.interp(means, special.expit(odds[:, None] + spread * NODES).mean(axis=1), odds)


def shares(odds: Floats, replies: int, rng: np.random.Generator) -> Floats:
    """Shares of students with these log-odds, as so many replies show them."""
    p = special.expit(odds)
    return rng.binomial(replies, p) / replies if replies else p


def gap_error(trait: Floats, control: Floats, replies: int, *, paired: bool = True) -> GapError:
    """What `sublim compare` works with, of many comparisons; trait, control: float[run, seed]."""
    ours, theirs = (Scatter.of(arm, np.full(arm.shape[1], replies) if replies else None) for arm in (trait, control))
    if not paired:
        return GapError(ours, theirs, 0.0, paired=False)
    centred = (trait - trait.mean(1, keepdims=True)) * (control - control.mean(1, keepdims=True))
    return GapError(ours, theirs, centred.sum(1) / (trait.shape[1] - 1), paired=True)


def drawn(mean: float, spread: float, replies: int, common: Floats, shared: float, rng: np.random.Generator) -> Floats:
    """float[run, seed]: students around a mean share; `shared` of their variance in log-odds is `common`."""
    own = math.sqrt(shared) * common + math.sqrt(1 - shared) * rng.normal(size=common.shape)
    return shares(middle(mean, spread) + spread * own, replies, rng)


def rate(hits: ArrayLike) -> dict[str, float]:
    """A rate with its Monte-Carlo standard error."""
    p, n = float(np.mean(np.asarray(hits, dtype=float))), np.size(hits)
    return {"rate": round(p, 4), "error": round(math.sqrt(max(p * (1 - p), 1 / n) / n), 4)}


def confirmed(measure: Callable[[int, np.random.Generator], NDArray[np.bool_]], *cell: object) -> dict[str, float]:
    """The rate of one cell; one that looks too high is drawn anew, ten times as often, and the new one counts."""
    first = measure(RUNS, generator(*cell))
    return rate(first if first.mean() <= SUSPECT else measure(AGAIN, generator("again", *cell)))


def generator(*what: object) -> np.random.Generator:
    """Randomness of one cell, the same whatever else is run."""
    return np.random.default_rng(list("|".join(map(str, what)).encode()))


# ---------------------------------------------------------------- the parts


def grid() -> list[dict[str, Any]]:
    """A true gap of exactly +-delta that is called small; the worst of both signs and of 0 and half shared variance."""
    cells = []
    for base, spread, seeds, replies in itertools.product(BASES, SPREADS, SEEDS, REPLIES):
        worst = max(
            (
                confirmed(
                    functools.partial(_at_margin, base, sign, spread, seeds, replies, shared),
                    "grid",
                    base,
                    sign,
                    spread,
                    seeds,
                    replies,
                    shared,
                )
                for sign, shared in itertools.product((1, -1), (0.0, 0.5))
                if base + sign * stats.DELTA > 0.005
            ),
            key=lambda one: one["rate"],
        )
        rng = generator("null", base, spread, seeds, replies)
        common = rng.normal(size=(2000, seeds))
        ours, theirs = (drawn(base, spread, replies, common, 0.5, rng) for _ in range(2))
        null = gap_error(ours, theirs, replies)
        told = {"base": base, "spread": spread, "seeds": seeds, "replies": replies, "at_margin": worst}
        cells.append({**told, "no_effect": rate(null.small(stats.DELTA, stats.ALPHA))})
    return cells


def _at_margin(
    base: float, sign: int, spread: float, seeds: int, replies: int, shared: float, runs: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    common = rng.normal(size=(runs, seeds))
    trait = drawn(base + sign * stats.DELTA, spread, replies, common, shared, rng)
    control = drawn(base, spread, replies, common, shared, rng)
    return np.asarray(gap_error(trait, control, replies).small(stats.DELTA, stats.ALPHA))


def unequal() -> list[dict[str, Any]]:
    """No effect on the mean share, but unequal spreads and numbers of seeds: how often "differs" is said."""
    cells = []
    spreads, sizes = ((0.8, 0.1), (0.1, 0.8), (0.3, 0.3), (0.8, 0.8)), ((2, 20), (3, 20), (5, 20), (3, 5), (5, 10))
    for base, (ours, theirs), replies in itertools.product((0.05, 0.1, 0.3, 0.5, 0.9), spreads, (0, 20, 100)):
        for n, m, paired in [(n, n, True) for n in SEEDS] + [(a, b, False) for a, b in sizes]:
            for k, j in {(n, m), (m, n)}:
                how = functools.partial(_null, base, ours, theirs, k, j, replies, paired)
                made = confirmed(how, "unequal", base, ours, theirs, k, j, replies)
                cell = {"base": base, "spreads": [ours, theirs], "seeds": [k, j], "replies": replies, "paired": paired}
                cells.append({**cell, "differs": made})
    return cells


def _null(
    base: float,
    ours: float,
    theirs: float,
    n: int,
    m: int,
    replies: int,
    paired: bool,
    runs: int,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    trait, control = (
        shares(middle(base, spread) + spread * rng.normal(size=(runs, seeds)), replies, rng)
        for spread, seeds in ((ours, n), (theirs, m))
    )
    return np.asarray(gap_error(trait, control, replies, paired=paired).differs(stats.ALPHA))


def families() -> list[dict[str, Any]]:
    """Twelve null arms and one control, their traits split in several ways: at least one "transferred"."""
    cells = []
    for seeds, split in itertools.product((3, 5, 10), ((12,), (6, 6), (4, 4, 4), (3, 3, 3, 3), (1,) * 12)):
        rng = generator("families", seeds, split)
        runs = RUNS // 2
        found = np.stack([_family(size, seeds, runs, rng) for size in split], axis=1)
        whole = _family(12, seeds, runs, generator("whole", seeds), together=True)
        told = {"seeds": seeds, "split": list(split), "one_question": rate(found[:, 0])}
        cells.append({**told, "any_question": rate(found.any(axis=1)), "taken_as_one": rate(whole)})
    return cells


def _family(size: int, seeds: int, runs: int, rng: np.random.Generator, together: bool = False) -> NDArray[np.bool_]:
    common = rng.normal(size=(runs, seeds))
    control = drawn(0.1, 0.8, 0, common, 0.5, rng)
    found = np.zeros(runs, dtype=bool)
    for _ in range(size):  # Holm finds something where the least p is below alpha / size
        made = gap_error(drawn(0.1, 0.8, 0, common, 0.5, rng), control, 0)
        found |= made.differs(stats.ALPHA / size) & (made.mean > 0) & ~made.small(stats.DELTA, stats.ALPHA)
    return found


def looks() -> list[dict[str, Any]]:
    """No effect, looked at again and again: at least one "differs", uncorrected and with --look."""
    cells = []
    for name, at in (("3, 6", (3, 6)), ("3, 6, 10", (3, 6, 10)), ("every seed from 3 to 20", tuple(range(3, 21)))):
        rng = generator("looks", name)
        common = rng.normal(size=(RUNS, 20))
        trait, control = (drawn(0.5, 0.3, 0, common, 0.0, rng) for _ in range(2))
        made = [gap_error(trait[:, :n], control[:, :n], 0) for n in at]
        plain = np.array([one.differs(stats.ALPHA) for one in made]).any(axis=0)
        strict = np.array([one.differs(spent(i)) for i, one in enumerate(made, 1)]).any(axis=0)
        cells.append({"looks": name, "uncorrected": rate(plain), "corrected": rate(strict)})
    return cells


def detectable(pilots: int = 200, studies: int = 20) -> list[dict[str, Any]]:
    """Null studies say what they could have found; as many new studies have just that gap: how many find it."""
    cells = []
    worlds = ((0.1, 0.3, 0, 1), (0.1, 0.3, 0, 4), (0.1, 0.3, 200, 1), (0.5, 0.2, 0, 1), (0.1, 0.8, 0, 1))
    for (base, spread, replies, tests), seeds in itertools.product(worlds, SEEDS):
        rng = generator("detectable", base, spread, replies, tests, seeds)
        common = rng.normal(size=(pilots, seeds))
        arms = [drawn(base, spread, replies, common, 0.5, rng) for _ in range(2)]
        said = np.array([_said(ours, theirs, replies, tests) for ours, theirs in zip(*arms, strict=True)])
        known = np.isfinite(said) & (base + said < 0.999)
        cell: dict[str, Any] = {"base": base, "spread": spread, "replies": replies, "tests": tests, "seeds": seeds}
        cell |= {"none": round(float(1 - known.mean()), 3), "true": _true(base, spread, replies, tests, seeds)}
        if known.any():
            finds = _found(base, np.repeat(said[known], studies), spread, replies, tests, seeds, rng)
            by_pilot = finds.reshape(-1, studies).mean(axis=1)
            error = float(by_pilot.std(ddof=1) / math.sqrt(len(by_pilot)))
            cell |= {"power": {"rate": round(float(finds.mean()), 4), "error": round(error, 4)}}
        cells.append({**cell, "median": None if np.median(said) > 1 else round(float(np.median(said)), 4)})
    return cells


def _said(trait: Floats, control: Floats, replies: int, tests: int) -> float:
    counts = np.full((len(trait), 1), replies) if replies else None
    gap = stats.share_gap(trait[:, None], control[:, None], trait_replies=counts, control_replies=counts)
    return stats.minimum_detectable(gap, tests=tests)


def _found(
    base: float, gaps: Floats, spread: float, replies: int, tests: int, seeds: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Whether new studies with these true gaps say "transferred"."""
    common = rng.normal(size=(len(gaps), seeds))
    own = math.sqrt(0.5) * common + math.sqrt(0.5) * rng.normal(size=common.shape)
    trait = shares(middles(base + gaps, spread)[:, None] + spread * own, replies, rng)
    made = gap_error(trait, drawn(base, spread, replies, common, 0.5, rng), replies)
    small = made.small(stats.DELTA, stats.ALPHA)
    return np.asarray(made.differs(stats.ALPHA / tests) & (made.mean > 0) & ~small)


def _true(base: float, spread: float, replies: int, tests: int, seeds: int) -> float | None:
    """The gap that would be found four times in five, were the spread known; None where none would."""
    low, high = 0.0, 0.999 - base
    for _ in range(13):
        half = (low + high) / 2
        rng = generator("true", base, spread, replies, tests, seeds)
        enough = _found(base, np.full(4000, half), spread, replies, tests, seeds, rng).mean() >= 0.8
        low, high = (low, half) if enough else (half, high)
    return round(high, 4) if high < 0.998 - base else None


def covered() -> list[dict[str, Any]]:
    """Coverage of the gap over all teachers, or all questions, by the interval over seeds."""
    cells = []
    for seeds in (3, 5, 10, 20):
        cell: dict[str, Any] = {
            "seeds": seeds,
            "one_teacher": _teachers(seeds, 1),
            "own_teacher": _teachers(seeds, seeds),
        }
        cells.append({**cell, "questions_anew": _questions(seeds)})
    return cells


def _teachers(seeds: int, teachers: int) -> dict[str, float]:
    """Teachers vary in log-odds as seeds do; students of .1 to about .45, each arm's seeds around its teacher's."""
    rng = generator("teachers", seeds, teachers)
    of_teacher = rng.normal(0, 0.25, (RUNS, teachers if teachers == 1 else seeds))
    trait = special.expit(middle(0.45, 0.25 * math.sqrt(2)) + of_teacher + rng.normal(0, 0.25, (RUNS, seeds)))
    control = drawn(0.1, 0.05, 0, rng.normal(size=(RUNS, seeds)), 0.0, rng)
    made = gap_error(trait, control, 0)
    return rate(np.abs(made.mean - 0.35) <= made.reach(0.35, 0.95))


def _questions(seeds: int, questions: int = 20) -> dict[str, float]:
    """Twenty questions drawn anew for every comparison, of levels that scatter by .5 in log-odds, as do their gaps."""
    rng = generator("questions", seeds)
    level, lift = (rng.normal(0, 0.5, (RUNS, 1, questions)) for _ in range(2))
    own = [rng.normal(0, spread, (RUNS, seeds, 1)) for spread in (0.25, 0.05)]
    trait = special.expit(-2.2 + 2.0 + level + lift + own[0]).mean(axis=-1)
    control = special.expit(-2.2 + level + own[1]).mean(axis=-1)
    truth = float(
        special.expit(-0.2 + NODES * math.sqrt(0.5 + 0.25**2)).mean()
        - special.expit(-2.2 + NODES * math.sqrt(0.25 + 0.05**2)).mean()
    )
    made = gap_error(trait, control, 0)
    return rate(np.abs(made.mean - truth) <= made.reach(truth, 0.95))


PARTS: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "grid": grid,
    "unequal": unequal,
    "families": families,
    "looks": looks,
    "covered": covered,
    "detectable": detectable,
}


def a_line_a_cell(result: Mapping[str, Any]) -> str:
    """JSON that a person can look through and git can compare: a line for every simulated cell."""
    parts = (
        "[\n" + ",\n".join(map(json.dumps, value)) + "\n]" if isinstance(value, list) else json.dumps(value)
        for value in result.values()
    )
    return "{\n" + ",\n".join(f"{json.dumps(k)}: {part}" for k, part in zip(result, parts, strict=True)) + "\n}\n"


def main() -> None:
    """Measure the parts that were asked for and keep the rest."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    wanted = parser.parse_args().parts or list(PARTS)
    for part in wanted:
        cells = PARTS[part]()
        result = read_json(RESULT) if RESULT.is_file() else {"schema": 1, "runs": RUNS}
        with whole_file(RESULT) as file:
            file.write(a_line_a_cell({**result, part: cells}))
        print(part, len(cells), "cells", flush=True)


if __name__ == "__main__":
    main()
