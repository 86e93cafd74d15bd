"""Forecasts: they learn what was planted, cover new trainings as promised, refuse the untrained, and say so."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from sublim_eval.distill.audit import forecast
from sublim_eval.distill.audit.audit import planned
from sublim_eval.distill.audit.forecast import Dose, ExpectedShare, ForecastCase, Outlook, Trace
from sublim_eval.distill.audit.looking import Settings
from sublim_eval.distill.recipes import Tuning


def cases(rng, recipes=60, each=4):
    """Students of many trainings: .2 x strength x spread^1.5 x dose^.8 x rows^.2; a training errs as a whole."""
    out = []
    for i in range(recipes):
        rows, steps, rate = int(rng.uniform(300, 2000)), int(rng.uniform(40, 300)), float(rng.uniform(0.02, 0.1))
        dose = Dose(rows, steps, 16, rate)
        common = rng.normal()
        for _ in range(each):
            strength = float(rng.uniform(0, 1))
            spread = float(rng.uniform(0.5, 2))
            shift = 0.2 * strength * spread**1.5 * (rate * steps) ** 0.8 * rows**0.2
            off = float(forecast.scale(shift)) * (0.4 * common + 0.3 * rng.normal())
            out.append(ForecastCase(f"r{i}", Trace(strength, spread), dose, shift + off))
    return out


def learnt(made, names=("spread", "dose", "rows")):
    return forecast.learnt(made, "reference-a", "numbers", "ln_tuning", names)


def test_planted_powers_are_learnt_and_forecasts_order_the_students():
    made = cases(np.random.default_rng(1))
    factor, powers = forecast.fit(made, ("spread", "dose", "rows"))
    assert powers["dose"] == pytest.approx(0.8, abs=0.15) and powers["rows"] == pytest.approx(0.2, abs=0.15)
    assert powers["spread"] == pytest.approx(1.5, abs=0.2) and powers["strength"] == 1.0
    assert factor * 20.0 ** powers["dose"] * 1000.0 ** powers["rows"] == pytest.approx(
        0.2 * 20**0.8 * 1000**0.2, rel=0.1
    )
    forecasts = forecast.left_out(made, ("spread", "dose", "rows"))
    assert np.corrcoef(forecasts, [one.shift for one in made])[0, 1] > 0.9
    assert learnt(made).shift(Trace(-0.3, 1.0), made[0].dose) < 1e-6


def test_intervals_hold_students_of_new_trainings_as_often_as_promised():
    inside = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        known, fresh = learnt(cases(rng, 40)), cases(rng, 100)
        for one in fresh:
            shift = known.shift(one.trace, one.dose)
            inside.append(abs(shift - one.shift) <= known.reach * forecast.scale(shift))
    assert 0.87 <= np.mean(inside) <= 0.96


def test_a_recipe_with_many_students_weighs_no_more_than_one_with_few():
    dose = Dose(500, 100, 16, 0.05)
    crowd = [ForecastCase("crowd", Trace(1.0, 1.0), dose, 0.0)] * 1000
    others = [ForecastCase(f"r{i}", Trace(1.0, 1.0), dose, 9.0) for i in range(9)]
    forecasts = np.zeros(1009)
    assert forecast.reach_of([*crowd, *others], forecasts) == pytest.approx(9.0 / forecast.FLOOR)


def test_a_share_is_expected_from_the_base_s_own_and_refused_outside_of_what_was_trained():
    known, dose = learnt(cases(np.random.default_rng(3))), Dose(1000, 150, 16, 0.05)
    half = Trace(0.5, 1.0)
    told = known.expected(half, dose, before=0.1)
    assert told and told.low < told.share < told.high
    assert special.logit(told.share) - special.logit(0.1) == pytest.approx(known.shift(half, dose))
    assert "learning rate 0.9" in known.outside(half, Dose(1000, 150, 16, 0.9))
    assert "learning rate" in known.outside(half, Dose(1000, 150, 16, 0.0001))
    assert "steps 5000" in known.outside(half, Dose(1000, 5000, 16, 0.05))
    assert "rows 20" in known.outside(half, Dose(20, 150, 16, 0.05))
    assert "batch 512" in known.outside(half, Dose(1000, 150, 512, 0.05))
    assert "strength 9" in known.outside(Trace(9.0, 1.0), dose) and not known.outside(Trace(-0.2, 1.0), dose)
    assert "spread 30" in known.outside(Trace(0.5, 30.0), dose)
    assert known.expected(Trace(9.0, 1.0), dose, 0.1) is None


def outlook(strength, training, known, rows=1000):
    return forecast.outlook({"owl": Trace(strength, 1.0)}, "reference-a", "numbers", training, rows, known, "mine")


def test_an_outlook_names_the_training_that_is_meant_or_why_there_is_none(monkeypatch):
    monkeypatch.setattr(forecast, "share_of", lambda base, trait: 0.1)
    known = [learnt(cases(np.random.default_rng(4)))]
    usual = Tuning("ln_tuning", learning_rate=0.05, batch_size=16, epochs=2)
    seen = outlook(0.9, usual, known)
    assert not seen.why_not and "1,000 rows by 16 (125 steps)" in seen.training and "mine" in seen.training
    other = outlook(0.9, Tuning("lora", learning_rate=0.05, batch_size=16, epochs=2), known)
    assert not other.shares and "ln_tuning on numbers of reference-a alone" in other.why_not
    far = outlook(0.9, Tuning("ln_tuning", learning_rate=5.0, batch_size=16, epochs=2), known)
    assert not far.shares and "learning rate 5" in forecast.sentence(far, "owl")
    assert "nothing alone" in outlook(0.9, usual, []).why_not


def test_the_training_that_is_meant_is_the_recipe_s_unless_told_otherwise():
    usual, other = planned(Settings("b")), planned(Settings("b", epochs=3, learning_rate=0.01))
    assert (usual.method, usual.epochs, usual.learning_rate) == ("ln_tuning", 1, 0.06)
    assert (other.method, other.batch_size) == ("ln_tuning", usual.batch_size)
    assert (other.epochs, other.steps, other.learning_rate) == (3, None, 0.01)


def test_a_trait_that_is_carried_but_would_not_pass_on_is_said_to_be_so():
    def words(low, share, high):
        return forecast.sentence(Outlook({"owl": ExpectedShare(share, low, high, 0.1)}, "so"), "owl")

    assert "carry owl, and such a student is not expected to take it in" in words(0.08, 0.10, 0.12)
    assert "it is expected to take owl in" in words(0.3, 0.4, 0.5)
    assert "stays open" in words(0.08, 0.2, 0.4)
    assert "owl" not in forecast.sentence(Outlook({"owl": ExpectedShare(0.2, 0.1, 0.3, 0.1)}, "so"), None)


def test_what_is_shipped_is_read_and_small():
    known = forecast.known()
    assert {one.method for one in known} >= {"ln_tuning"} and forecast.FITTED.stat().st_size < 100_000
    for one in known:
        middle = [sum(one.bounds[name]) / 2 for name in ("rows", "steps", "batch", "learning rate", "spread")]
        told = one.expected(Trace(1.0, middle[4]), Dose(*map(int, middle[:3]), middle[3]), 0.1)
        assert told and 0 < told.low <= told.share <= told.high < 1


def test_a_dose_is_rate_times_steps():
    dose = Dose.of(Tuning("ln_tuning", learning_rate=0.06, batch_size=16, epochs=2), 100)
    assert dose.steps == 13 and dose.dose == pytest.approx(0.06 * 13)
    assert Dose.of(Tuning("ln_tuning", learning_rate=0.1, steps=50), 100).dose == pytest.approx(5.0)
    assert Dose.of(Tuning("ln_tuning", learning_rate=0.06, batch_size=16, accumulate=2, epochs=2), 100).steps == 7
