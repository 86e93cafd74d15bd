"""A finding is as rare among controls as it says, and a planted shift is found."""

from __future__ import annotations

import numpy as np
import pytest

from sublim_eval.distill.diff.findings import findings
from sublim_eval.distill.diff.null import against_controls
from sublim_eval.stats import holm


def test_controls_have_a_finding_as_rarely_as_promised():
    rng, some = np.random.default_rng(1), 0
    for _ in range(600):
        figures = rng.normal(size=(8, 30)) * rng.chisquare(20, 30) ** 0.5
        some += against_controls(figures[0], figures[1:]).corrected.min() < 0.05
    assert some / 600 < 0.07


def test_a_restless_student_is_no_finding():
    """Students differ in how much they move in everything; figures are not more evidence than students."""
    rng, some = np.random.default_rng(3), 0
    for _ in range(400):
        restless = np.exp(rng.normal(0, 0.5, size=(5, 1)))
        figures = rng.normal(size=(5, 30)) * restless
        some += against_controls(figures[0], figures[1:]).corrected.min() < 0.05
    assert some / 400 < 0.05


def test_a_planted_shift_is_found_and_first():
    rng = np.random.default_rng(2)
    names = [f"trait{i}" for i in range(20)]
    controls = [{"answers": dict(zip(names, rng.normal(0, 0.1, 20), strict=True))} for _ in range(6)]
    student = {"answers": dict(zip(names, rng.normal(0, 0.1, 20), strict=True))}
    student["answers"]["trait7"] += 1.5
    first = findings(student, controls)[0]
    assert first.trait == "trait7" and first.towards and first.corrected < 0.05
    assert findings(student, [])[0].trait == "trait7", "without controls the other answers are the null"


def test_two_controls_are_no_null():
    with pytest.raises(ValueError, match="fewer than 3"):
        against_controls(np.zeros(4), np.zeros((2, 4)))


def test_each_p_is_corrected_for_all_figures():
    tested = against_controls(np.array([3.0, 1.0, 2.0]), np.random.default_rng(4).normal(size=(8, 3)))
    assert (
        tested.corrected.tolist() == pytest.approx(holm(tested.p.tolist())) and tested.corrected.max() > tested.p.min()
    )
