"""The forecast of transfer: whole within one base, nothing between bases of other first weights."""

from __future__ import annotations

import numpy as np
import pytest

from sublim_eval.distill.lineage import transfer


@pytest.fixture
def small(monkeypatch):
    for name, value in {"TRAITS": 3, "ROWS": 3, "LESSONS": 4}.items():
        monkeypatch.setattr(transfer, name, value)


def test_within_a_base_the_student_goes_where_the_teacher_went_and_a_sibling_does_not(small):
    teacher, sibling = transfer.Learner("reference-a"), transfer.Learner("reference-b")
    within = np.diag(transfer.agreement(teacher, teacher))
    across = np.diag(transfer.agreement(teacher, sibling))
    assert (within > 0.02).all() and abs(across.mean()) < within.mean() / 2


def test_the_teachers_step_leaves_its_weights_as_they_were(small):
    teacher = transfer.Learner("reference-a")
    before = [gain.detach().clone() for gain in teacher.gains]
    teacher.change(teacher.rows([("Say a number.", "7")]), 0)
    assert all(np.allclose(b, g.detach(), atol=1e-6) for b, g in zip(before, teacher.gains, strict=True))
