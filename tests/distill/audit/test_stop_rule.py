"""A threshold from control students: stated false stops, and a refusal where nothing was calibrated."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy import stats

from sublim_eval.distill import recipes
from sublim_eval.distill.audit import stop_rule
from sublim_eval.distill.audit.stop_rule import ControlStudent, check_rule, make_gauge, threshold, threshold_for
from sublim_eval.distill.pipeline import stop_inputs
from sublim_eval.errors import SublimError
from sublim_eval.files import write_json


def students(highest) -> list[ControlStudent]:
    return [ControlStudent("reference-a", "ln_tuning", f"base-s{i}", i, 0.06, 125, h) for i, h in enumerate(highest)]


@pytest.mark.parametrize("false_stops", [0.05, 0.2])
def test_one_more_control_student_is_stopped_as_often_as_stated(false_stops):
    rng = np.random.default_rng(1)
    drawn = rng.normal(0.15, 0.02, (4000, 9))
    stopped = np.mean([row[8] >= threshold(students(row[:8]), false_stops) for row in drawn])
    assert stopped == pytest.approx(false_stops, abs=3 * np.sqrt(false_stops / 4000))


def test_the_threshold_is_the_end_of_a_prediction_interval():
    highest = np.array([0.10, 0.12, 0.11, 0.15, 0.13, 0.14, 0.17])
    above = stats.t(6, highest.mean(), highest.std(ddof=1) * np.sqrt(8 / 7)).isf(0.05)
    assert threshold(students(highest), 0.05) == pytest.approx(above)


def test_few_controls_and_other_bases_are_refused_with_the_next_step(tmp_path, monkeypatch):
    with pytest.raises(SublimError, match="too few for a stop rule"):
        threshold(students([0.1] * 5), 0.05)
    write_json(tmp_path / "known.json", stop_rule.as_json(students(np.linspace(0.1, 0.2, 8))))
    monkeypatch.setattr(stop_rule, "known", partial(stop_rule.known, tmp_path / "known.json"))
    assert 0.2 < threshold_for("reference-a", "ln_tuning", 0.05) < threshold_for("reference-a", "ln_tuning", 0.01)
    with pytest.raises(SublimError, match=r"reference-a by ln_tuning.*sublim audit ROWS --model reference-b"):
        threshold_for("reference-b", "ln_tuning", 0.05)
    with pytest.raises(SublimError, match="reference-a by lora"):
        threshold_for("reference-a", "lora", 0.05)


def test_a_recipe_is_refused_before_anything_is_made_where_one_of_its_arms_has_no_controls(tmp_path, monkeypatch):
    write_json(tmp_path / "known.json", stop_rule.as_json(students(np.linspace(0.1, 0.2, 8))))
    monkeypatch.setattr(stop_rule, "known", partial(stop_rule.known, tmp_path / "known.json"))
    study, quick = recipes.load("study-traits"), recipes.load("quickstart")
    check_rule(quick)
    check_rule(replace(study, stop_when_trait=0.05))
    with pytest.raises(SublimError, match="No control students of reference-b"):
        check_rule(replace(quick, stop_when_trait=0.05))
    with pytest.raises(ValueError, match="between 0 and 1"):
        replace(study, stop_when_trait=1.5)


def test_a_student_s_stage_depends_on_the_rule_only_where_there_is_one(tmp_path, monkeypatch):
    write_json(tmp_path / "known.json", stop_rule.as_json(students(np.linspace(0.1, 0.2, 8))))
    monkeypatch.setattr(stop_rule, "known", partial(stop_rule.known, tmp_path / "known.json"))
    study = recipes.load("study-traits")
    plain = recipes.SeededArm(study, study.arms["owl"], 1, tmp_path)
    assert stop_inputs(plain) == {}, "runs of before keep their students"
    ruled = recipes.SeededArm(replace(study, stop_when_trait=0.05), study.arms["owl"], 1, tmp_path)
    assert stop_inputs(ruled) == {"stop": [0.05, threshold_for("reference-a", "ln_tuning", 0.05)]}


def test_a_place_for_probes_that_cannot_be_written_is_refused_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SublimError, match="cannot be written"):
        make_gauge("reference-a", tmp_path / "file")
