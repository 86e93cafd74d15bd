"""Facts about the picture of how far students went towards a trait while they trained."""

from __future__ import annotations

import pytest

from sublim_eval.report.plots import trait_evidence
from tests.report.test_learning_curves import run_with


def weighed(*pairs: tuple[int, float]) -> list[dict]:
    return [{"step": step, "evidence": {"owl": value, "oak": -value}} for step, value in pairs]


def test_a_line_is_a_student_and_a_stopped_one_ends_where_it_was_stopped(tmp_path):
    stop = {"step": 20, "of": 100, "trait": "owl", "evidence": 0.3, "threshold": 0.2}
    students = [
        {"arm": "owl", "seed": 1, "steps": 20, "evidence": weighed((10, 0.1), (20, 0.3)), "stopped": stop},
        {"arm": "control", "seed": 1, "steps": 100, "evidence": weighed((50, -0.1), (100, 0.05)), "stopped": None},
        {"arm": "owl", "seed": 2, "steps": 100},
    ]
    owl, control = trait_evidence.curves([run_with(tmp_path, students)])
    assert (owl.points, owl.stopped, owl.threshold, owl.control) == ([(0.1, 0.1), (0.2, 0.3)], True, 0.2, False)
    assert (control.points, control.stopped, control.control) == ([(0.5, 0.1), (1.0, 0.05)], False, True)
    picture = trait_evidence.draw([owl, control], tmp_path / trait_evidence.FILE)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_run_without_a_stop_rule_has_no_picture(tmp_path):
    assert trait_evidence.curves([run_with(tmp_path, [{"arm": "owl", "seed": 1, "steps": 5}])]) == []
    with pytest.raises(ValueError, match="no curve of evidence"):
        trait_evidence.draw([], tmp_path / trait_evidence.FILE)
