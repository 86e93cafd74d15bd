"""Will it reach my student? From how strong a trait is in rows, and how one would train, the share to expect.

Learnt from students that were really trained: pairs of (an audit of a student's rows, its realised shift in log-odds
against its control). The shift is taken for proportional to the strength, by a factor that depends on the dose, which
is learning rate times optimizer steps. How far such forecasts were off for students whose arm was left out gives the
interval. Outside of what was trained there is no forecast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from sublim_eval.files import read_json
from sublim_eval.registry.catalog import registry
from sublim_eval.scores.evaluate import exact
from sublim_eval.scores.probe_scores import ProbeScores

from ..recipes import Tuning

Floats = NDArray[np.float64]

CASES = Path(__file__).with_name("forecast.json")
"""The students that it learnt from: benchmarks/audit.py --forecast wrote it."""

LEVEL = 0.9
"""Of the intervals."""

FAR = 1.5
"""How many times the largest strength or dose, or part of the smallest dose, still counts as inside."""


@dataclass(frozen=True)
class ForecastCase:
    """A student: strength of its trait in its rows, learning rate times steps, and how far its log-odds moved.

    arm: what a forecast of it must not have learnt from. method, modality, base: within which forecasts are made.
    """

    arm: str
    base: str
    modality: str
    method: str
    strength: float
    dose: float
    shift: float


@dataclass(frozen=True)
class ExpectedShare:
    """A share to expect, with the interval that holds LEVEL of such forecasts."""

    share: float
    low: float
    high: float


def dose_of(tuning: Tuning, rows: int) -> float:
    """Learning rate times optimizer steps over so many rows."""
    steps = tuning.steps or math.ceil(rows / (tuning.batch_size * tuning.accumulate)) * (tuning.epochs or 0)
    return float((tuning.learning_rate or 0.0) * steps)


def fit(cases: Sequence[ForecastCase]) -> Floats:
    """float[2]: the factor of the strength, as a + b log(dose), by least squares of the shifts."""
    design = _design(np.array([c.strength for c in cases]), np.array([c.dose for c in cases]))
    solved, *_ = np.linalg.lstsq(design, np.array([c.shift for c in cases]), rcond=None)
    return np.asarray(solved)


def _design(strength: Floats, dose: Floats) -> Floats:
    return np.stack([strength, strength * np.log(dose)], axis=-1)


def predicted(factors: Floats, strength: float, dose: float) -> float:
    """The shift to expect, in log-odds."""
    return float(_design(np.array(strength), np.array(dose)) @ factors)


def left_out(cases: Sequence[ForecastCase]) -> Floats:
    """float[case]: each shift as forecast from the cases of all other arms."""
    out = np.empty(len(cases))
    for arm in {case.arm for case in cases}:
        factors = fit([case for case in cases if case.arm != arm])
        for i, case in enumerate(cases):
            if case.arm == arm:
                out[i] = predicted(factors, case.strength, case.dose)
    return out


def reach(cases: Sequence[ForecastCase], forecasts: Floats, level: float = LEVEL) -> float:
    """Half the width of an interval over the error's scale: the conformal quantile of the errors left out."""
    shifts = np.array([case.shift for case in cases])
    errors = np.sort(np.abs(shifts - forecasts) / scale(forecasts))
    return float(errors[min(len(errors) - 1, math.ceil((len(errors) + 1) * level) - 1)])


def scale(shift: Floats | float) -> Any:
    """How errors grow with what is forecast: a floor, and in proportion."""
    return 0.3 + 0.3 * np.abs(shift)


class Forecast:
    """A forecast for one base, modality and method; None of it is known where no case is."""

    def __init__(self, cases: Sequence[ForecastCase], base: str, modality: str, method: str) -> None:
        self.cases = [c for c in cases if (c.base, c.modality, c.method) == (base, modality, method)]

    def expected(self, strength: float, dose: float, before: float) -> ExpectedShare | None:
        """The share after training, where the base's own is `before`; None outside of what was trained."""
        if len(self.cases) < 20 or not self._inside(strength, dose):
            return None
        shift = predicted(fit(self.cases), strength, dose)
        wide = reach(self.cases, left_out(self.cases)) * scale(shift)
        odds = special.logit(np.clip(before, 1e-4, 1 - 1e-4))
        low, share, high = (float(special.expit(odds + s)) for s in (shift - wide, shift, shift + wide))
        return ExpectedShare(share, low, high)

    def _inside(self, strength: float, dose: float) -> bool:
        doses, strengths = [c.dose for c in self.cases], [c.strength for c in self.cases]
        return min(doses) / FAR <= dose <= FAR * max(doses) and strength <= FAR * max(strengths)


def known(file: Path = CASES) -> list[ForecastCase]:
    """The packaged cases; [] where there are none."""
    return [ForecastCase(**case) for case in read_json(file)["cases"]] if file.is_file() else []


def shares(
    strengths: Mapping[str, float], base: str, modality: str, training: Tuning, rows: int, cases: Sequence[ForecastCase]
) -> dict[str, ExpectedShare]:
    """The share to expect of each favorite after training on so many rows; those alone that can be forecast."""
    forecast, dose = Forecast(cases, base, modality, training.method), dose_of(training, rows)
    if not forecast.cases:
        return {}
    out = {}
    for trait, strength in strengths.items():
        if not registry().trait(trait).conduct and (told := forecast.expected(strength, dose, _share(base, trait))):
            out[trait] = told
    return out


def _share(base: str, trait: str) -> float:
    """The base's own exact share of a trait on its plain probe."""
    scores = _scores(base, registry().probe_of(trait).name)
    return float(np.nanmean(scores.probability[:, scores.answers.index(trait)]))


@cache
def _scores(base: str, probe: str) -> ProbeScores:
    return exact(base, probe, label="audit")
