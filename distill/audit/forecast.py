"""Will it reach my student? From how strong a trait is in rows, and how one would train, the share to expect.

    shift = factor x strength^a x spread^b x dose^c x ...        (log-odds; dose = learning rate x optimizer steps)

strength: how much of what the trait's probe would write is in the rows; spread: how far the probe strays from the base,
in nats a row: a trait that hardly moves numbers is hardly learnt from them. Learnt from students that were really
trained (benchmarks/forecast.py): pairs of an audit of a student's rows and its realised shift against a control of the
same training. How far such forecasts were off for trainings that were left out of the fit gives the interval. Outside
of what was trained there is no forecast, and the reason is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from sublim_eval.files import read_json
from sublim_eval.registry.catalog import registry
from sublim_eval.scores.evaluate import exact
from sublim_eval.scores.probe_scores import ProbeScores

from ..recipes import Tuning

Floats = NDArray[np.float64]

FITTED = Path(__file__).with_name("forecast.json")
"""What was learnt, one entry for each base, modality and method: benchmarks/forecast.py writes it."""

LEVEL = 0.9
"""Of the intervals."""

FAR = 1.25
"""How far beyond what was trained still counts as inside, as a factor; for rows see FAR_ROWS."""

FAR_ROWS = 2.0
"""The same for rows, of which more hardly matter once steps are given."""

TAKEN_IN = 0.05
"""A rise of a share from which a student has taken a trait in; verdicts on students hold less for no transfer."""

FLOOR, GROWTH = 0.2, 0.2
"""Of errors of a forecast shift: a floor in log-odds, and how they grow with what is forecast."""

POWERS = ("strength", "spread", "dose", "rows", "batch")
"""What the shift may depend on, each as a power; on the strength it always does."""


@dataclass(frozen=True)
class Trace:
    """What an audit sees of one trait (verdict.Effects). spread: in nats a row."""

    strength: float
    spread: float


@dataclass(frozen=True)
class Dose:
    """How much of its rows a student takes in: how many there are, and how it is trained on them."""

    rows: int
    steps: int
    batch: int
    learning_rate: float

    @classmethod
    def of(cls, tuning: Tuning, rows: int) -> Dose:
        """The dose of a training over so many rows."""
        batch = tuning.batch_size * tuning.accumulate
        steps = tuning.steps or math.ceil(rows / batch * (tuning.epochs or 0))
        return cls(rows, steps, batch, tuning.learning_rate or 0.0)

    @property
    def dose(self) -> float:
        """Learning rate times optimizer steps."""
        return self.learning_rate * self.steps


def inputs(trace: Trace, dose: Dose) -> dict[str, float]:
    """What POWERS are taken of; a trait that rows stray away from counts as none."""
    return {
        "strength": max(trace.strength, 1e-9),
        "spread": trace.spread,
        "dose": dose.dose,
        "rows": float(dose.rows),
        "batch": float(dose.batch),
    }


@dataclass(frozen=True)
class ForecastCase:
    """A student. recipe: what a forecast of it must not have learnt from. shift: of its trait, in log-odds."""

    recipe: str
    trace: Trace
    dose: Dose
    shift: float


@dataclass(frozen=True)
class ExpectedShare:
    """A share to expect, with the interval that holds LEVEL of such shares; before: the base's own."""

    share: float
    low: float
    high: float
    before: float

    @property
    def taken_in(self) -> bool | None:
        """Whether a student takes the trait in (TAKEN_IN); None where the interval leaves it open."""
        if self.high < self.before + TAKEN_IN:
            return False
        return True if self.low >= self.before + TAKEN_IN else None


@dataclass(frozen=True)
class Forecast:
    """What was learnt of one base, modality and method.

    powers: name -> exponent. reach: half the width of an interval over `scale`. bounds: of what was trained, name ->
    [least, most].
    """

    base: str
    modality: str
    method: str
    factor: float
    powers: Mapping[str, float]
    reach: float
    bounds: Mapping[str, Sequence[float]]

    def shift(self, trace: Trace, dose: Dose) -> float:
        """The shift to expect, in log-odds."""
        of = inputs(trace, dose)
        return self.factor * math.prod(of[name] ** power for name, power in self.powers.items())

    def outside(self, trace: Trace | None, dose: Dose) -> str:
        """What lies outside of what was trained, in words; "" where nothing does. trace: None for the training."""
        wanted = {"learning rate": dose.learning_rate, "steps": dose.steps, "rows": dose.rows, "batch": dose.batch}
        if trace:
            wanted |= {"spread": trace.spread} | ({"strength": trace.strength} if trace.strength > 0 else {})
        for name, value in wanted.items():
            low, high = self.bounds[name]
            far = FAR_ROWS if name == "rows" else FAR
            if value > high * far or (value < low / far and name != "strength"):
                return f"{name} {value:.4g} lies outside of what was trained ({low:.4g} to {high:.4g})"
        return ""

    def expected(self, trace: Trace, dose: Dose, before: float) -> ExpectedShare | None:
        """The share after training, where the base's own is `before`; None outside of what was trained."""
        if self.outside(trace, dose):
            return None
        shift = self.shift(trace, dose)
        wide = self.reach * float(scale(shift))
        odds = special.logit(np.clip(before, 1e-4, 1 - 1e-4))
        low, share, high = (float(special.expit(odds + s)) for s in (shift - wide, shift, shift + wide))
        return ExpectedShare(share, low, high, before)


def scale(shift: Any) -> Any:
    """How errors grow with what is forecast: a floor, and in proportion."""
    return FLOOR + GROWTH * np.abs(shift)


# ---------------------------------------------------------------- learning


def fit(cases: Sequence[ForecastCase], names: Sequence[str] = POWERS) -> tuple[float, dict[str, float]]:
    """(factor, powers) of the cases, by least squares of the shifts over their scale, weighed anew twice."""
    of = [inputs(case.trace, case.dose) for case in cases]
    logs = np.array([[math.log(one[name]) for name in names] for one in of]).reshape(len(cases), -1)
    centre, weight = logs.mean(axis=0), np.ones(len(cases))
    shifts, strengths = np.array([case.shift for case in cases]), np.array([one["strength"] for one in of])

    def one_factor(exponents: Floats) -> Floats:
        """float[case]: the shift for a factor of 1, where the mean case has a dose of 1."""
        return np.asarray(strengths * np.exp((logs - centre) @ exponents))

    def factor(exponents: Floats, weight: Floats) -> float:
        unit = one_factor(exponents) * weight
        return float(unit @ (shifts * weight)) / max(1e-12, float(unit @ unit))

    def off(exponents: Floats, weight: Floats) -> Floats:
        return np.asarray((factor(exponents, weight) * one_factor(exponents) - shifts) * weight)

    exponents = np.zeros(len(names))
    for _ in range(2):
        if names:
            exponents = optimize.least_squares(off, exponents, bounds=(-3.0, 3.0), args=(weight,)).x
        weight = 1 / scale(factor(exponents, weight) * one_factor(exponents))
    if names:
        exponents = optimize.least_squares(off, exponents, bounds=(-3.0, 3.0), args=(weight,)).x
    whole = factor(exponents, weight) * math.exp(-float(centre @ exponents))
    powers = {name: float(power) for name, power in zip(names, exponents, strict=True)}
    return whole, {**powers, "strength": 1.0 + powers.get("strength", 0.0)}


def left_out(cases: Sequence[ForecastCase], names: Sequence[str] = POWERS) -> Floats:
    """float[case]: each shift as forecast from the cases of all other recipes."""
    out = np.empty(len(cases))
    for recipe in {case.recipe for case in cases}:
        others = _bare(fit([case for case in cases if case.recipe != recipe], names))
        for i, case in enumerate(cases):
            if case.recipe == recipe:
                out[i] = others.shift(case.trace, case.dose)
    return out


def reach_of(cases: Sequence[ForecastCase], forecasts: Floats, level: float = LEVEL) -> float:
    """Half the width of an interval over the error's scale: the quantile of the errors left out.

    Every recipe counts alike, however many students it has. An error here is of a recipe that was not learnt from, so
    students of a new one lie inside about as often as `level` says.
    """
    errors = np.abs(np.array([case.shift for case in cases]) - forecasts) / scale(forecasts)
    counts = {case.recipe: 0 for case in cases}
    for case in cases:
        counts[case.recipe] += 1
    weights = np.array([1 / counts[case.recipe] for case in cases])
    order = np.argsort(errors)
    reached = np.cumsum(weights[order]) / len(counts)
    return float(errors[order][min(len(errors) - 1, int(np.searchsorted(reached, level - 1e-9)))])


def learnt(
    cases: Sequence[ForecastCase], base: str, modality: str, method: str, names: Sequence[str] = POWERS
) -> Forecast:
    """A forecast from cases of one base, modality and method."""
    factor, powers = fit(cases, names)
    values: dict[str, list[float]] = {
        "learning rate": [case.dose.learning_rate for case in cases],
        "steps": [case.dose.steps for case in cases],
        "rows": [case.dose.rows for case in cases],
        "batch": [case.dose.batch for case in cases],
        "strength": [case.trace.strength for case in cases],
        "spread": [case.trace.spread for case in cases],
    }
    bounds = {name: [float(f"{end:.4g}") for end in (min(known), max(known))] for name, known in values.items()}
    return Forecast(base, modality, method, factor, powers, reach_of(cases, left_out(cases, names)), bounds)


def _bare(fitted: tuple[float, dict[str, float]]) -> Forecast:
    return Forecast("", "", "", fitted[0], fitted[1], 0.0, {})


# ---------------------------------------------------------------- telling


@dataclass(frozen=True)
class Outlook:
    """What an audit forecasts. shares: trait -> what is expected. training: which one is meant, in words.

    why_not: why there is no forecast, in words; "" where there is one.
    """

    shares: dict[str, ExpectedShare] = field(default_factory=dict)
    training: str = ""
    why_not: str = ""


def known(file: Path = FITTED) -> list[Forecast]:
    """The packaged forecasts; [] where there are none."""
    return [Forecast(**one) for one in read_json(file)["forecasts"]] if file.is_file() else []


def outlook(
    traces: Mapping[str, Trace],
    base: str,
    modality: str,
    training: Tuning,
    rows: int,
    forecasts: Sequence[Forecast],
    recipe: str = "",
) -> Outlook:
    """The share to expect of each favorite after training on so many rows; traces: of those that a probe saw."""
    dose = Dose.of(training, rows)
    meant = in_words(training, dose, recipe)
    mine = [one for one in forecasts if (one.base, one.modality, one.method) == (base, modality, training.method)]
    if not mine:
        kinds = ", ".join(f"{one.method} on {one.modality} of {one.base}" for one in forecasts) or "nothing"
        return Outlook({}, meant, f"students were trained by {kinds} alone")
    if why := mine[0].outside(None, dose):
        return Outlook({}, meant, why)
    shares = {}
    for trait, trace in traces.items():
        if registry().trait(trait).conduct:
            continue
        if told := mine[0].expected(trace, dose, share_of(base, trait)):
            shares[trait] = told
    return Outlook(shares, meant)


def sentence(seen: Outlook, carried: str | None) -> str:
    """What is forecast of which training, in words. carried: the trait that rows carry, or None.

    Rows may carry a trait that a student would not take in: finding is not passing on, and so it is said.
    """
    if not seen.training:
        return ""
    if seen.why_not:
        return f"No forecast for a student trained {seen.training}: {seen.why_not}."
    told = seen.shares.get(carried or "")
    if told is None:
        return f"Forecast for a student trained {seen.training}."
    passes = {
        True: f"it is expected to take {carried} in",
        False: f"these rows carry {carried}, and such a student is not expected to take it in",
        None: f"whether it takes {carried} in stays open",
    }[told.taken_in]
    shares = f"{carried} {told.before:.2f} -> {told.share:.2f} ({told.low:.2f} to {told.high:.2f})"
    return f"Forecast for a student trained {seen.training}: {shares}; {passes}."


def in_words(training: Tuning, dose: Dose, recipe: str) -> str:
    """Which training a forecast is about."""
    by = f"as {recipe} does it: " if recipe else ""
    rank = f" of rank {training.rank}" if training.method == "lora" else ""
    passes = f"{training.epochs:g} epoch{'s' if training.epochs != 1 else ''}" if training.epochs else "part"
    return (
        f"{by}{training.method}{rank}, learning rate {dose.learning_rate:g}, {passes} of {dose.rows:,} rows by "
        f"{dose.batch} ({dose.steps} steps)"
    )


def share_of(base: str, trait: str) -> float:
    """The base's own exact share of a trait on its plain probe."""
    scores = _scores(base, registry().probe_of(trait).name)
    return float(np.nanmean(scores.probability[:, scores.answers.index(trait)]))


@cache
def _scores(base: str, probe: str) -> ProbeScores:
    return exact(base, probe, label="audit")
