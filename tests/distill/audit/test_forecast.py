"""Forecasts: they learn the factor that was planted, cover what they promise, and refuse what was never trained."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from sublim_eval.distill.audit.forecast import Forecast, ForecastCase, dose_of, fit, left_out, predicted, reach, scale
from sublim_eval.distill.recipes import Tuning


def cases(rng, n=240, noise=0.2):
    """Students whose shift is strength times (1 + log dose), with noise as `scale` has it."""
    out = []
    for i in range(n):
        strength, dose = rng.uniform(0, 1), float(np.exp(rng.uniform(0, 3)))
        shift = strength * (1 + np.log(dose))
        out.append(
            ForecastCase(f"a{i % 12}", "b", "numbers", "ln_tuning", strength, dose, shift + noise * rng.normal())
        )
    return out


def test_the_planted_factor_is_learnt_and_forecasts_order_the_students():
    rng = np.random.default_rng(1)
    made = cases(rng)
    assert fit(made) == pytest.approx([1.0, 1.0], abs=0.25)
    forecasts = left_out(made)
    assert np.corrcoef(forecasts, [one.shift for one in made])[0, 1] > 0.9
    assert predicted(fit(made), 0.0, 5.0) == 0.0


def test_intervals_hold_as_many_new_students_as_promised():
    rng = np.random.default_rng(2)
    made, fresh = cases(rng), cases(rng, n=2000)
    factors, wide = fit(made), reach(made, left_out(made))
    forecasts = np.array([predicted(factors, one.strength, one.dose) for one in fresh])
    inside = np.abs(forecasts - [one.shift for one in fresh]) <= wide * scale(forecasts)
    assert 0.84 <= inside.mean() <= 0.96


def test_a_share_is_expected_from_the_base_s_own_and_refused_outside_of_what_was_trained():
    made = cases(np.random.default_rng(3))
    forecast = Forecast(made, "b", "numbers", "ln_tuning")
    told = forecast.expected(0.5, 5.0, before=0.1)
    assert told and told.low < told.share < told.high
    shift = special.logit(told.share) - special.logit(0.1)
    assert shift == pytest.approx(0.5 * (1 + np.log(5)), abs=0.3)
    assert forecast.expected(0.5, 5000.0, 0.1) is None and forecast.expected(0.5, 0.01, 0.1) is None
    assert forecast.expected(9.0, 5.0, 0.1) is None
    assert Forecast(made, "other", "numbers", "ln_tuning").expected(0.5, 5.0, 0.1) is None
    assert Forecast(made, "b", "numbers", "lora").expected(0.5, 5.0, 0.1) is None


def test_a_dose_is_rate_times_steps():
    assert dose_of(Tuning("ln_tuning", learning_rate=0.06, batch_size=16, epochs=2), 100) == pytest.approx(0.06 * 14)
    assert dose_of(Tuning("ln_tuning", learning_rate=0.1, steps=50), 100) == pytest.approx(5.0)
