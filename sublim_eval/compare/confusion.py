"""What only several arms together show: which answer rises in whose students, and how a gap goes with a dose."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sublim_eval import stats
from sublim_eval.compare.pairing import Case
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.stats import Floats, Interval


@dataclass(frozen=True, eq=False)
class Confusion:
    """The trait arms of one run on one probe against all its answers: does each trait lift its own answer most?

    shifts: float[trait, seed, answer], log-odds against the control of that seed (against the mean control where
    the seeds differ), nan where a student is missing. `traits` are the rows in order, `arms` their names, `seeds`
    the columns. diagonal_first: in how many of `runs` students the own trait has the largest shift of all answers.
    p: exact, by dealing the traits out among the arms of each seed; nan with one trait.
    """

    run: str
    probe: str
    arms: tuple[str, ...]
    traits: tuple[str, ...]
    seeds: tuple[int, ...]
    answers: tuple[str, ...]
    shifts: Floats
    diagonal_first: int
    runs: int
    p: float

    def to_json(self) -> dict[str, Any]:
        """Plain data; null where unknown."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain |= {name: list(plain[name]) for name in ("arms", "traits", "seeds", "answers")}
        shifts = [
            [[None if math.isnan(x) else round(x, 6) for x in seed] for seed in arm] for arm in self.shifts.tolist()
        ]
        return {**plain, "shifts": shifts, "p": None if math.isnan(self.p) else self.p}


@dataclass(frozen=True)
class Dose:
    """How the gap of one trait goes with how much of one thing: (dose, gap against the control), in order of dose."""

    run: str
    axis: str
    trait: str
    probe: str
    points: tuple[tuple[float, Interval], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data; null where there is no interval."""

        def known(value: float) -> float | None:
            return value if math.isfinite(value) else None

        points = [
            {"dose": dose, "gap": gap.mean, "low": known(gap.low), "high": known(gap.high), "seeds": gap.n}
            for dose, gap in self.points
        ]
        return {"run": self.run, "axis": self.axis, "trait": self.trait, "probe": self.probe, "points": points}


def confusions(lined_up: Iterable[Case], measure: str) -> Iterator[Confusion]:
    """One matrix a run and probe, of its trait arms; conducts have one trait and nothing to be confused with."""
    groups: dict[tuple[str, str], list[Case]] = {}
    for case in lined_up:
        sample = _any(case)
        if case.arm.role == "trait" and not sample.conduct and len(sample.answers) > 1:
            groups.setdefault((case.run.name, sample.probe), []).append(case)
    for (run, probe), cases in groups.items():
        seeds = tuple(sorted({seed for case in cases for seed in case.students}))
        answers = _any(cases[0]).answers
        shifts = np.full((len(cases), len(seeds), len(answers)), math.nan)
        for row, case in enumerate(cases):
            for seed, shift in zip(case.students, shifts_of(case, measure), strict=True):
                shifts[row, seeds.index(seed)] = shift
        own = [answers.index(case.trait) for case in cases]
        first, runs, p = stats.first_places(shifts, own)
        names, traits = tuple(c.arm.name for c in cases), tuple(c.trait for c in cases)
        yield Confusion(run, probe, names, traits, seeds, answers, shifts, first, runs, p)


def shifts_of(case: Case, measure: str) -> Floats:
    """float[seed, answer]: log-odds of every answer, student against the control of its seed.

    Against the mean control where the two arms do not hold the same seeds.
    """
    mean, partner = means(case.students.values(), measure), means(case.controls.values(), measure)
    if list(case.students) != list(case.controls):
        partner = partner.mean(axis=0, keepdims=True)
    clip = clip_of(case, measure)
    return np.asarray(stats.log_odds(mean, clip) - stats.log_odds(partner, clip))


def means(scores: Iterable[ProbeScores], measure: str) -> Floats:
    """float[seed, answer], means over the questions."""
    return np.stack([np.nanmean(getattr(s, measure), axis=0) for s in scores])


def clip_of(case: Case, measure: str) -> float:
    """Half a reply of the least asked model (a quarter where it was asked once), or the clip of exact probabilities."""
    fewest = min(int(s.replies.sum()) for s in case.compared)
    return 1 / (2 * max(fewest, 2)) if measure == "share" else stats.CLIP


def doses(points: Sequence[tuple[Case, Interval]]) -> Iterator[Dose]:
    """The dose curves: variants of one trait along one axis, and their intact arm where it has a place there."""
    curves: dict[tuple[str, str, str, str], dict[float, Interval]] = {}
    plain = {(c.run.name, c.arm.name, _any(c).probe): gap for c, gap in points if c.arm.role == "trait"}
    for case, gap in points:
        arm, probe = case.arm, _any(case).probe
        if arm.axis is None or arm.dose is None:
            continue
        curve = curves.setdefault((case.run.name, arm.axis, case.trait, probe), {})
        curve[float(arm.dose)] = gap
        intact = plain.get((case.run.name, arm.of or "", probe))
        if intact is not None and arm.axis in case.run.doses:
            curve.setdefault(float(case.run.doses[arm.axis]), intact)
    for (run, axis, trait, probe), curve in curves.items():
        yield Dose(run, axis, trait, probe, tuple(sorted(curve.items())))


def _any(case: Case) -> ProbeScores:
    return next(iter(case.students.values()))
