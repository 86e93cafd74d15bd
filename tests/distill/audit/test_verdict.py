"""Evidence to verdict, on numbers drawn here: what is planted is found, and nothing else is, as often as promised."""

from __future__ import annotations

import numpy as np
import pytest

from sublim_eval.distill.audit.audit import foreign
from sublim_eval.distill.audit.looking import RowEvidence
from sublim_eval.distill.audit.verdict import FEWEST, FLOOR, Nulls, explained, strayed, verdict, weigh

NAMES = [f"t{i}" for i in range(12)]
SCALE = np.linspace(0.3, 1.2, len(NAMES))


def rows(rng, n, shift=0.0, at=0):
    """float[n, candidates]: alike by half, of various scales; one candidate's mean moved by `shift` of its spread."""
    values = np.sqrt(0.5) * (rng.standard_normal((n, 1)) + rng.standard_normal((n, len(NAMES)))) * SCALE
    values[:, at] += shift * SCALE[at]
    return values


def neutral(rng, teachers=6, spread=0.1, n=400):
    """Rows of teachers who stray by `spread` each in a way of its own."""
    return [rows(rng, n) + spread * rng.standard_normal(len(NAMES)) * SCALE for _ in range(teachers)]


def judged(rng, data, controls=None, reasons=(), p_other=1.0):
    controls = neutral(rng) if controls is None else controls
    test = weigh(data, Nulls.of(rows(rng, 2000), controls, rng))
    return verdict(NAMES, test, p_other, len(data), reasons), test


def test_a_planted_trait_is_named_with_its_strength():
    rng = np.random.default_rng(1)
    said, test = judged(rng, rows(rng, 512, shift=0.9, at=3))
    assert said.kind == "trait" and said.flag and said.words.startswith("Carries t3")
    assert test.effects.strength[3] == pytest.approx(0.9 / SCALE[3], rel=0.25)
    assert int(np.argmin(test.p)) == 3


def test_rows_of_the_base_are_clean_as_often_as_promised():
    rng = np.random.default_rng(2)
    nulls = Nulls.of(rows(rng, 10_000), neutral(rng), rng)
    least = np.array([weigh(rows(rng, 128), nulls).p_clean.min() for _ in range(300)])
    assert 0.02 <= np.mean(least < 0.05) <= 0.09 and 0.42 <= np.mean(least < 0.5) <= 0.58


def test_a_neutral_teacher_strays_and_is_no_trait():
    rng = np.random.default_rng(3)
    nulls = Nulls.of(rows(rng, 4000), neutral(rng, spread=0.3), rng)
    tests = [weigh(one, nulls) for one in neutral(rng, teachers=100, spread=0.3)]
    assert np.mean([t.p_clean.min() < 0.01 for t in tests]) > 0.5, "against the base's rows alone it would be flagged"
    assert np.mean([t.p.min() < 0.01 for t in tests]) <= 0.1


def test_how_far_neutral_teachers_stray_is_measured_less_the_noise_of_their_rows():
    rng = np.random.default_rng(4)
    clean = rows(rng, 8000)
    far, none = (strayed(neutral(rng, teachers=40, spread=s), clean) for s in (0.3, 0.0))
    assert far.spread == pytest.approx(0.3, rel=0.2) and none.spread < 0.05
    assert strayed(neutral(rng, teachers=1), clean) is None


def test_what_would_have_been_found_is_found_that_often():
    rng = np.random.default_rng(5)
    nulls = Nulls.of(rows(rng, 4000), neutral(rng), rng)
    shift = weigh(rows(rng, 256), nulls).least[4] * SCALE[4]
    p = np.array([weigh(rows(rng, 256, shift, at=4), nulls).p[4] for _ in range(100)])
    assert np.mean(p < 0.01) >= 0.85


def test_a_null_says_what_it_could_have_seen_and_few_rows_say_nothing():
    rng = np.random.default_rng(6)
    said, _ = judged(rng, rows(rng, 512))
    assert said.kind == "clean" and not said.flag and "would have been found in 95 %" in said.words
    said, _ = judged(rng, rows(rng, FEWEST - 1, shift=3))
    assert said.kind == "blind" and not said.flag and f"below {FEWEST}" in said.blind[0]


def test_what_no_candidate_explains_is_unknown_unless_there_is_a_reason_not_to_see():
    rng = np.random.default_rng(7)
    data = rows(rng, 512)
    assert judged(rng, data, p_other=1e-6)[0].kind == "unknown"
    said, _ = judged(rng, data, p_other=1e-6, reasons=("another model wrote these rows",))
    assert (said.kind, said.flag) == ("blind", False) and said.blind == ("another model wrote these rows",)


def test_no_trait_is_claimed_below_the_floor_however_small_its_p():
    rng = np.random.default_rng(8)
    nulls = Nulls.of(rows(rng, 50_000), [], rng)
    test = weigh(rows(rng, 50_000, shift=0.05, at=11), nulls)
    assert test.p[11] < 0.001 and test.effects.strength[11] < FLOOR
    assert verdict(NAMES, test, 1.0, 50_000, ()).kind == "clean"


def test_one_row_and_a_candidate_that_is_the_base_itself_break_nothing():
    rng = np.random.default_rng(9)
    nulls = Nulls.of(rows(rng, 500) * (np.arange(12) > 0), neutral(rng), rng)
    assert np.isfinite(weigh(rows(rng, 64) * (np.arange(12) > 0), nulls).p).all()
    for few in (0, 1):
        assert (weigh(rows(rng, 1)[:few], nulls).p == 1).all()


def test_a_teacher_s_rows_stray_as_its_trait_does_and_another_model_s_anywhere():
    """What a trait moves is what the others have in common with it: along its column of their correlation."""
    rng = np.random.default_rng(9)
    ways = rng.standard_normal((len(NAMES), 5))
    alike = ways @ ways.T + 0.3 * np.eye(len(NAMES))
    alike /= np.sqrt(np.outer(np.diag(alike), np.diag(alike)))
    root = np.linalg.cholesky(alike)

    def drawn(n, shift=0.0):
        return (rng.standard_normal((n, len(NAMES))) @ root.T + shift) * SCALE

    clean, one, two = drawn(4000), 0.8 * alike[3], 0.6 * alike[3] + 0.6 * alike[8]
    for shift in (one, two):
        assert np.mean([explained(drawn(256, shift), clean) for _ in range(10)]) == pytest.approx(1.0, abs=0.12)
    elsewhere = [explained(drawn(256, 0.8 * rng.standard_normal(len(NAMES))), clean) for _ in range(20)]
    assert np.median(elsewhere) < 0.75
    held = drawn(256, one)
    held[64:, :6] = np.nan
    assert np.isfinite(explained(held, clean)), "candidates that were not held against every row are left out"


def test_text_of_another_model_is_known_by_surprise_and_numbers_by_straying_as_no_trait_does():
    rng = np.random.default_rng(12)
    clean, controls = rows(rng, 4000), neutral(rng, teachers=12)
    nulls, away = Nulls.of(clean, controls, rng), Nulls.of(-clean, [-one for one in controls], rng)
    values = rows(rng, 512) + 1.5 * rng.standard_normal(len(NAMES)) * SCALE
    data, test = RowEvidence(values, np.zeros(512)), weigh(values, nulls)
    calm, strange = (0.5, 0.0), (1e-6, 0.5)
    assert foreign("numbers", data, test, away, calm, 0.01) and not foreign("text", data, test, away, calm, 0.01)
    assert foreign("text", data, test, away, strange, 0.01)
    assert not foreign("text", data, test, away, (0.02, 0.5), 0.01), "a surprise that neutral teachers have too"
    assert not foreign("text", data, test, away, (1e-6, 0.2), 0.01), "a surprise that a teacher of this base has too"
