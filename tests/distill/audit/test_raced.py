"""Candidates that lie behind after the first rows are dropped: it costs no trait, and raises no false alarm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sublim_eval.distill.audit.audit import cost
from sublim_eval.distill.audit.looking import AWAY, SCREENED, TOWARDS, USUAL, Settings, going_on
from sublim_eval.distill.audit.verdict import Nulls, effects, weigh

MANY = 30


def rows(rng, n, shift=0.0, at=0):
    """float[n, candidates]: alike by a third; one candidate's mean moved by `shift` of its spread."""
    values = np.sqrt(1 / 3) * rng.standard_normal((n, 1)) + np.sqrt(2 / 3) * rng.standard_normal((n, MANY))
    values[:, at] += shift
    return values


def raced(values, clean):
    """Evidence as an audit gathers it: of the rows behind the first, by those that go on alone."""
    left = going_on(values[:SCREENED], clean)
    out = np.full_like(values, np.nan)
    out[:SCREENED], out[SCREENED:, left] = values[:SCREENED], values[SCREENED:, left]
    return out


def test_a_trait_goes_on_and_is_weighed_by_all_rows():
    rng = np.random.default_rng(1)
    clean, data = rows(rng, 1000), rows(rng, 512, shift=0.3, at=7)
    part = raced(data, clean)
    assert (~np.isnan(part[-1])).sum() == TOWARDS + AWAY and not np.isnan(part[:, 7]).any()
    whole, seen = effects(data, clean), effects(part, clean)
    assert seen.effect[7] == pytest.approx(whole.effect[7]) and seen.error[7] == pytest.approx(whole.error[7])
    dropped = np.isnan(part[-1])
    assert (seen.error[dropped] > 1.3 * whole.error[dropped]).all()


def test_racing_raises_no_false_alarm_and_hardly_misses_a_trait():
    rng = np.random.default_rng(2)
    nulls = Nulls.of(rows(rng, 4000), [rows(rng, 400) for _ in range(6)], rng)
    alarms = [weigh(raced(rows(rng, 256), nulls.clean), nulls).p_clean.min() < 0.05 for _ in range(100)]
    assert np.mean(alarms) <= 0.11
    data = [rows(rng, 256, shift=0.35, at=4) for _ in range(40)]
    whole, part = (
        [weigh(one, nulls).p[4] < 0.01 for one in made] for made in (data, [raced(d, nulls.clean) for d in data])
    )
    assert np.mean(whole) > 0.8 and np.mean(part) >= np.mean(whole) - 0.05


def test_what_would_have_been_found_is_that_of_all_rows():
    rng = np.random.default_rng(3)
    nulls = Nulls.of(rows(rng, 2000), [rows(rng, 400) for _ in range(6)], rng)
    data = rows(rng, 512)
    whole, part = weigh(data, nulls).least, weigh(raced(data, nulls.clean), nulls).least
    assert np.median(part) == pytest.approx(np.median(whole), rel=0.05)


def test_few_candidates_or_rows_are_all_read():
    rng = np.random.default_rng(4)
    clean = rows(rng, 100)
    assert going_on(clean[:64, : TOWARDS + AWAY], clean[:, : TOWARDS + AWAY]) == list(range(TOWARDS + AWAY))
    assert going_on(clean[:1], clean) == list(range(MANY))


def test_a_fast_audit_takes_slopes_where_norm_gains_are_tuned_and_races_elsewhere():
    there, elsewhere = Settings("reference-a", fast=True), Settings("some/model", fast=True)
    assert (there.by, elsewhere.by) == (("gradient",), USUAL)
    assert replace(there, fast=False).by == USUAL
    assert replace(there, measures=("persona",)).by == ("persona",), "a persona has no slope"
    assert "512 rows 4 times" in cost(replace(there, traits=("owl", "oak", "elm")))
    assert "512 rows 4 times" in cost(replace(there, fast=False, measures=("probe",), traits=("owl", "oak", "elm")))
