"""Where a student's activations moved, along what personas do."""

from __future__ import annotations

import numpy as np
import pytest

from sublim_eval.distill.diff.activations import along


def test_a_shift_along_one_persona_names_it_and_the_embedding_does_not_count():
    directions = np.random.default_rng(0).normal(size=(3, 4, 50))
    shift = directions[1] * np.array([[0.0], [1.0], [5.0], [0.1]])
    cosines = along(shift, directions, ("owl", "oak", "cat"))
    assert cosines["oak"] == pytest.approx(1) and max(cosines["owl"], cosines["cat"]) < 0.5


def test_a_student_that_did_not_move_goes_along_nothing():
    assert along(np.zeros((3, 8)), np.ones((2, 3, 8)), ("owl", "oak")) == {"owl": 0.0, "oak": 0.0}
