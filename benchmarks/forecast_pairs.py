"""What an audit saw of a student's rows beside what became of the student, and the forecast that is learnt from it.

Of benchmarks/forecast.py, which trains the students and audits their rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import special

from sublim_eval.distill.audit import forecast
from sublim_eval.distill.audit.forecast import Dose, Forecast, ForecastCase, Trace
from sublim_eval.files import write_json

KINDS = (("reference-a", "ln_tuning"), ("reference-a", "lora"), ("reference-b", "ln_tuning"))
"""(base, method) within which a forecast is made."""

CLEAN_SHARE = {"half": 0.5, "quarter": 0.75, "tenth": 0.9}
"""Change -> share of the rows that clean ones take the place of."""


@dataclass(frozen=True)
class Pair:
    """An audit and what became of a student. case: of one trait of its. carried: whether its rows are that trait's."""

    name: str
    part: str
    base: str
    method: str
    change: str
    trait: str
    carried: bool
    case: ForecastCase
    before: float
    share: float
    found: bool

    @property
    def kind(self) -> tuple[str, str]:
        """Within which a forecast is made."""
        return self.base, self.method


def pairs(known: dict[str, Any]) -> list[Pair]:
    """Every trait that a student was asked for and its control too, where its rows were audited."""
    out = []
    for name, one in known["students"].items():
        seen, controls = known["audits"].get(name), _controls(known, one)
        if seen is None or not controls or one["role"] == "control":
            continue
        traces = {trait: Trace(strength, seen["spread"][trait]) for trait, strength in seen["strength"].items()}
        dose = Dose(one["rows"], one["steps"], one["batch_size"], one["learning_rate"])
        for trait in one["log_odds"]:
            shift = one["log_odds"][trait] - float(np.mean([control["log_odds"][trait] for control in controls]))
            before = known["bases"][one["base"]][trait]
            out.append(
                Pair(
                    *(name, one["part"], one["base"], one["method"], one["change"], trait, trait == one["writer"]),
                    ForecastCase(one["training"], traces[trait], dose, round(shift, 4)),
                    *(float(special.expit(before)), float(special.expit(before + shift))),
                    bool(seen["carries"] and seen["first"] == trait),
                )
            )
    return out


def _controls(known: dict[str, Any], one: dict[str, Any]) -> list[dict[str, Any]]:
    """The controls of a student's training."""
    change = "" if one["change"] in CLEAN_SHARE else one["change"]
    wanted = (one["training"], change, "control")
    return [s for s in known["students"].values() if (s["training"], s["change"], s["role"]) == wanted]


# ---------------------------------------------------------------- fitting

FORMS: tuple[tuple[str, ...], ...] = (("dose",), ("spread", "dose"), ("strength", "spread", "dose"))
"""Powers that were tried; the one that errs least on the trainings of "choice", fitted on those of "fit", is taken."""

FEWEST = 5
"""Trainings of a kind below which nothing is fitted."""

SOFT = "soft"
"""Students on a teacher's probabilities: no audit of rows speaks of them, and they take in three times as much."""


def cases(known: Sequence[Pair], *parts: str) -> list[ForecastCase]:
    """The cases of some parts: of the traits that rows carry, and of clean rows' all; rows alone (SOFT)."""
    mine = [one for one in known if one.part in parts and one.change != SOFT]
    return [one.case for one in mine if one.carried or "/clean-" in one.name]


def chosen(known: Sequence[Pair]) -> tuple[tuple[str, ...], dict[str, float]]:
    """(the form that errs least on "choice", form in words -> its mean error there over the error's scale)."""
    errors: dict[tuple[str, ...], float] = {}
    for names in FORMS:
        factor, powers = forecast.fit(cases(known, "fit"), names)
        bare = Forecast("", "", "", factor, powers, 0.0, {})
        off = [abs(bare.shift(c.trace, c.dose) - c.shift) / forecast.scale(c.shift) for c in cases(known, "choice")]
        errors[names] = float(np.mean(off)) if off else np.inf
    best = min(errors, key=lambda names: errors[names])
    return best, {" ".join(names) or "strength alone": round(error, 4) for names, error in errors.items()}


def fitted(known: Sequence[Pair]) -> tuple[list[Forecast], dict[str, Any]]:
    """(a forecast for every kind that has trainings enough, learnt from "fit" and "choice"; what was tried)."""
    out: list[Forecast] = []
    tried: dict[str, Any] = {}
    for base, method in KINDS:
        mine = [one for one in known if one.kind == (base, method)]
        learnt_from = cases(mine, "fit", "choice")
        if len({case.recipe for case in learnt_from}) < FEWEST:
            continue
        names, errors = chosen(mine) if method == "ln_tuning" else ((), {})
        out.append(forecast.learnt(learnt_from, base, "numbers", method, names))
        tried[f"{base}, {method}"] = errors
    return out, tried


def write_fitted(forecasts: Sequence[Forecast]) -> None:
    """Write distill/audit/forecast.json, which the audit forecasts from."""
    write_json(
        forecast.FITTED,
        {"source": "benchmarks/forecast.py", "level": forecast.LEVEL, "forecasts": [_rounded(f) for f in forecasts]},
    )


def _rounded(one: Forecast) -> dict[str, Any]:
    return {
        **asdict(one),
        "factor": float(f"{one.factor:.6g}"),
        "powers": {name: round(power, 4) for name, power in one.powers.items()},
        "reach": round(one.reach, 4),
    }
