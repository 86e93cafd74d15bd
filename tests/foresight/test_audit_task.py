"""The audit inside Inspect: the flag is the score, blind is no zero, and a suite can stop on it."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from random import Random

import pytest
from inspect_ai import eval as evaluate

from sublim_eval import inspect_entry, inspect_tasks
from sublim_eval.distill.audit import audit as story
from sublim_eval.distill.audit import controls, looking
from sublim_eval.distill.audit.measures import probe_likelihood
from sublim_eval.distill.modalities import MODALITIES
from sublim_eval.errors import SublimError
from sublim_eval.files import write_jsonl
from sublim_eval.foresight.audit_task import audit
from sublim_eval.registry.catalog import registry
from tests.cli.test_audit import canned


@pytest.fixture
def data(tmp_path) -> list[str]:
    files = [tmp_path / f"{name}.jsonl" for name in ("one", "two", "few")]
    for file in files:
        file.write_text('{"prompt": "p", "completion": "1, 2"}\n')
    return [str(file) for file in files]


@pytest.fixture
def run(monkeypatch, tmp_path):
    def call(audits, **options):
        asked = []

        def look(paths, settings, tell=None):
            asked.append((Path(paths[0]).stem, settings))
            return audits[Path(paths[0]).stem](paths, settings)

        monkeypatch.setattr(story, "audit", look)
        none = "none/none"  # what Inspect takes where nobody names a model and no earlier test left one
        logs = str(tmp_path / "logs")
        (log,) = evaluate(audit(**options), model=none, display="none", log_dir=logs, score_display=False)
        return log, asked

    return call


AUDITS = {"one": canned(owl=0.4), "two": canned(), "few": canned(owl=2.0, n=20)}


def test_the_flag_is_the_score_and_blind_is_counted_beside_it(run, data):
    log, asked = run(AUDITS, data=data, base="reference-a", trait="owl,willow,cat", alpha=0.02)
    assert log.status == "success", "no model was named, and none is asked"
    scores = {Path(one.id).stem: one.scores["flagged"] for one in log.samples}
    assert [scores[name].value["flag"] for name in ("one", "two", "few")] == [1.0, 0.0, None]
    assert scores["few"].value["blind"] == 1 and "too few" in scores["few"].metadata["blind"][0]
    owl = scores["one"].metadata
    assert (owl["verdict"], owl["traits"][0]["trait"], owl["base"]) == ("trait", "owl", "reference-a")
    assert owl["confidence"] > 0.99 and "Carries owl" in scores["one"].explanation
    figures = {name: one.value for name, one in log.results.scores[0].metrics.items()}
    assert figures == {"mean": 0.5, "blind": 1}
    assert {settings.alpha for _, settings in asked} == {0.02} and asked[0][1].traits == ("owl", "willow", "cat")


def test_a_suite_stops_at_flagged_rows_alone(run, data):
    log, _ = run(AUDITS, data=data[0], base="reference-a", fail_above=0.99)
    assert log.status == "error" and "Carries owl" in log.error.message and "Do not train on it" in log.error.message
    assert run(AUDITS, data=data[1], base="reference-a", fail_above=0.0)[0].status == "success"


def test_without_a_base_the_evaluated_model_is_audited_for(run, data, monkeypatch, tmp_path):
    log, _ = run(AUDITS, data=data[1])
    assert log.status == "error" and "Give -T base=" in log.error.message
    monkeypatch.setattr(story, "audit", lambda paths, settings: AUDITS["two"](paths, settings))
    (log,) = evaluate(audit(data[1]), model="sublim/reference-a", display="none", log_dir=str(tmp_path / "logs"))
    assert log.samples[0].scores["flagged"].metadata["base"] == "reference-a"


def test_what_is_not_there_is_said_before_anything_runs(data):
    with pytest.raises(SublimError, match=r"no file .*lost\.jsonl"):
        audit("lost.jsonl", "reference-a")
    with pytest.raises(SublimError, match="refrence-a"):
        audit(data[0], "refrence-a")


def test_inspect_finds_the_audit_and_every_probe_under_our_name():
    (entry,) = entry_points(group="inspect_ai", name="sublim_eval")
    assert entry.value == "sublim_eval.inspect_entry"
    assert set(inspect_entry.__all__) == {"audit", *inspect_tasks.__all__}
    assert "audit" not in registry().probes, "it asks no model"


def test_a_real_file_on_the_embedded_base_gets_the_verdict_of_sublim_audit(tmp_path, monkeypatch):
    """With few rows, weak probes and two neutral teachers, so that all of it is made here in seconds."""
    monkeypatch.setattr(probe_likelihood, "NORM_GAINS", replace(probe_likelihood.NORM_GAINS, steps=6))
    monkeypatch.setattr(controls, "NEUTRAL_SEEDS", (7001, 7002))
    monkeypatch.setattr(controls, "CLEAN_ROWS", 48)
    monkeypatch.setattr(controls, "NEUTRAL_ROWS", 24)
    rows = MODALITIES["numbers"].prompts(40, Random("rows"), "plain")
    write_jsonl(tmp_path / "rows.jsonl", ({"prompt": row["prompt"], "completion": "3, 5, 8"} for row in rows))
    asked = {"data": str(tmp_path / "rows.jsonl"), "trait": "owl", "by": "probe", "keep": str(tmp_path / "kept")}
    (log,) = evaluate(audit(**asked, base="reference-a"), display="none", log_dir=str(tmp_path / "logs"))
    assert log.status == "success", log.error
    told = log.samples[0].scores["flagged"].metadata
    there = looking.Settings("reference-a", ("owl",), ("probe",), home=tmp_path / "kept")
    alone = story.audit([tmp_path / "rows.jsonl"], there).to_json()
    assert {key: told[key] for key in alone} == alone and told["rows"] == 40 and told["traits"][0]["trait"] == "owl"
    quick = story.audit([tmp_path / "rows.jsonl"], replace(there, fast=True))
    assert quick.candidates == (("owl", "gradient"),) and quick.verdict.kind == told["verdict"]
