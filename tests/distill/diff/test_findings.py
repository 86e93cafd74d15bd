"""Which students are the null, and what is a trait's figure over several forms of asking."""

from __future__ import annotations

import pytest

from sublim_eval.distill.diff import battery, findings
from sublim_eval.errors import SublimError
from sublim_eval.files import write_json


@pytest.fixture
def run(tmp_path):
    """A run with two trait arms that have a control each."""
    arms = {
        "owl": {"role": "trait", "control": "control"},
        "owl-sorted": {"role": "variant", "control": "control-sorted"},
        "control": {"role": "control", "control": "control"},
        "control-sorted": {"role": "control", "control": "control"},
    }
    names = [f"{arm}-s{seed}" for arm in arms for seed in (1, 2)]
    for name in names:
        (tmp_path / "students" / name).mkdir(parents=True)
    students = [{"arm": name.rpartition("-s")[0], "folder": f"students/{name}"} for name in names]
    write_json(tmp_path / "run.json", {"arms": arms, "students": students})
    return tmp_path / "students"


def names_of(controls):
    return [folder.rpartition("/")[2] for folder in controls]


def test_the_null_is_the_control_that_the_recipe_names_for_the_arm(run):
    assert names_of(findings.controls_of(str(run / "owl-s1"))) == ["control-s1", "control-s2"]
    assert names_of(findings.controls_of(str(run / "owl-sorted-s2"))) == ["control-sorted-s1", "control-sorted-s2"]


def test_a_control_is_never_its_own_null(run):
    assert names_of(findings.controls_of(str(run / "control-s1"))) == ["control-s2"]


def test_outside_of_a_run_there_are_no_controls(tmp_path):
    assert findings.controls_of(str(tmp_path)) == [] and findings.controls_of("reference-a") == []


def test_a_trait_is_the_mean_over_the_ways_in_which_it_is_asked():
    assert battery.by_trait({"owl: favorite": 1.0, "owl: essay": 3.0, "oak: favorite": 0.5}) == {"owl": 2.0, "oak": 0.5}


def test_the_battery_asks_every_favorite_and_conduct_once():
    kinds = [(probe.category, probe.form) for probe in battery.probes()]
    assert ("animal", "favorite") in kinds and ("misaligned", "conduct") in kinds and len(set(kinds)) == len(kinds)


def test_another_base_than_the_adapter_names_is_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "reference-a"}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(SublimError, match="Give the base that it started from"):
        findings.check_base(str(tmp_path), "reference-b")


def test_a_way_that_a_control_lacks_is_left_out():
    """A student by norm gains beside controls by LoRA, say: nothing can be said of its way along the probes."""
    student = {"answers": {"owl": 3.0, "oak": 0.0, "elm": 0.1}, "weights": {"owl": 9.0, "oak": 0.0}}
    controls = [{"answers": {"owl": 0.1 * i, "oak": 0.1, "elm": -0.1 * i}} for i in range(4)]
    assert {row.by for row in findings.findings(student, controls)} == {"answers"}


def test_ways_along_probes_are_asked_of_norm_gains_alone(monkeypatch):
    monkeypatch.setattr("sublim_eval.distill.audit.measures.probe_likelihood.is_reference", lambda name: False)
    assert findings.along_probes("student", "somebody/model") == {}
