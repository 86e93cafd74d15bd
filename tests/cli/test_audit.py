"""`sublim audit`: what it prints, writes and exits with, on evidence drawn here."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sublim_eval.cli.main import main
from sublim_eval.distill.audit import audit as story
from sublim_eval.distill.audit.audit import judged
from sublim_eval.distill.audit.controls import Filter
from sublim_eval.distill.audit.data import AuditRow, Sampled
from sublim_eval.distill.audit.forecast import ExpectedShare, Outlook
from sublim_eval.distill.audit.looking import RowEvidence, Settings
from sublim_eval.distill.audit.scoring import Candidate

TRAITS = ("owl", "willow", "cat")
SCALE = np.array([0.5, 0.7, 0.9, 0.4])


def evidence(rng: np.random.Generator, n: int, owl: float = 0.0, strange: float = 0.0, cat: float = 0.0) -> RowEvidence:
    values = rng.standard_normal((n, 4)) * SCALE
    values[:, 0] += owl
    values[:, 2] += cat
    return RowEvidence(values, rng.standard_normal(n) + strange)


def canned(owl=0.0, strange=0.0, n=400, completion="1, 2, 3", cat=0.0):
    """An audit of n rows whose evidence for the owl, and whose surprise, is moved; by probes and one persona."""

    def audit(paths, settings: Settings, tell=None):
        rng = np.random.default_rng(1)
        chosen = [*(Candidate(name, "probe") for name in TRAITS), Candidate("owl", "persona", persona="owls!")]
        controls = [evidence(rng, 400) for _ in range(6)]
        sampled = Sampled([AuditRow.of("p", completion)] * n, total=n, refused=1, bad=["d.jsonl:2: not valid JSON."])
        data = evidence(rng, n, owl, strange, cat)
        return judged(settings, sampled, Filter("numbers"), chosen, data, evidence(rng, 2000), controls)

    return audit


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    (tmp_path / "d.jsonl").write_text('{"prompt": "p", "completion": "1, 2, 3"}\n')
    monkeypatch.chdir(tmp_path)

    def call(audit, *options: str) -> tuple[int, dict, str]:
        monkeypatch.setattr(story, "audit", audit)
        code = main(["audit", "d.jsonl", "--model", "reference-a", "--json", str(tmp_path / "a.json"), *options])
        shown = capsys.readouterr()
        file = tmp_path / "a.json"
        return code, json.loads(file.read_text()) if file.is_file() else {}, shown.out + shown.err

    return call


def test_a_trait_is_named_first_with_its_p_and_its_strength(run):
    code, told, shown = run(canned(owl=0.4))
    assert code == 0 and (told["verdict"], told["flag"], told["alpha"], told["rows"]) == ("trait", True, 0.01, 400)
    first = told["traits"][0]
    assert first["trait"] == "owl" and first["p"] < 0.001 and first["evidence"] == pytest.approx(1.6, abs=0.4)
    assert sorted(one["trait"] for one in told["traits"]) == sorted(TRAITS), "one line a trait, whatever the measures"
    assert set(first) == {"trait", "p", "evidence", "expected_share", "low", "high"}
    assert "Carries owl" in shown and "Not seen whatever the rows" in shown and "d.jsonl:2: not valid JSON" in shown
    assert shown.index("Reads at most 512 rows") < shown.index("Carries owl"), "the cost is said first"


def test_clean_rows_are_clean_and_say_what_would_have_been_found(run):
    code, told, shown = run(canned())
    assert code == 0 and (told["verdict"], told["flag"], told["blind"]) == ("clean", False, [])
    assert "would have been found in 95 %" in shown


def test_a_forecast_says_which_training_it_is_of_and_whether_the_trait_would_pass_on(run):
    def audit(paths, settings: Settings, tell=None):
        assert (settings.epochs, settings.learning_rate, settings.fast) == (2.0, 0.01, True)
        return replace(canned(owl=0.4)(paths, settings), outlook=Outlook({"owl": few}, "so"))

    few = ExpectedShare(0.11, 0.09, 0.13, before=0.1)
    _, told, shown = run(audit, "--epochs", "2", "--learning-rate", "0.01", "--fast")
    assert (told["traits"][0]["expected_share"], told["traits"][0]["low"], told["traits"][0]["high"]) == (
        0.11,
        0.09,
        0.13,
    )
    assert (
        told["forecast"] == "Forecast for a student trained so: owl 0.10 -> 0.11 (0.09 to 0.13); these rows carry owl, "
        "and such a student is not expected to take it in."
    )
    assert "not expected to take it in" in " ".join(shown.split())
    _, told, _ = run(canned(owl=0.4))
    assert told["forecast"] == "" and told["traits"][0]["expected_share"] is None


def test_of_rows_that_carry_a_trait_that_one_alone_is_forecast_and_of_blind_ones_none(monkeypatch):
    monkeypatch.setattr(story.forecast, "outlook", lambda traces, *rest: Outlook(training=",".join(traces)))
    settings = Settings("reference-a")
    audits = [canned(**what)([], settings) for what in ({"owl": 0.4}, {}, {"owl": 2.0, "n": 20})]
    forecast_of = [story.foreseen(seen, settings, story.traces_of(seen)).training for seen in audits]
    assert forecast_of == ["owl", "owl,willow,cat", ""]


def test_another_model_s_rows_and_few_rows_are_blind_in_so_many_words(run):
    _, told, shown = run(canned(strange=5.0))
    assert told["verdict"] == "blind" and "another model than reference-a" in told["blind"][0] and "Blind here" in shown
    _, told, _ = run(canned(owl=0.4, cat=-0.7))
    assert told["verdict"] == "blind" and "another model" in told["blind"][0], (
        "away from one trait as far as to another"
    )
    assert run(canned(owl=0.4, cat=-0.1))[1]["verdict"] == "trait"
    _, told, _ = run(canned(owl=2.0, n=20))
    assert told["verdict"] == "blind" and "too few" in told["blind"][0]
    _, told, _ = run(canned(completion="owls are best"))
    assert told["verdict"] == "blind" and "name owl in plain words" in told["blind"][0]


def test_a_pipeline_is_stopped_with_exit_code_3_by_flagged_rows_alone(run):
    code, told, _ = run(canned(owl=0.4), "--fail-above", "0.99")
    assert code == 3 and (told["ok"], told["exit_code"], told["verdict"]) == (False, 3, "trait")
    assert run(canned(), "--fail-above", "0")[0] == 0
    assert run(canned(owl=0.4))[0] == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["lost.jsonl", "--model", "reference-a"], "no file lost.jsonl"),
        (["d.jsonl", "--model", "refrence-a"], "Did you mean 'reference-a'"),
        (["d.jsonl", "--model", "reference-a", "--control", "lost.jsonl"], "no file lost.jsonl"),
        (["d.jsonl", "--model", "reference-a", "--recipe", "lost"], "Unknown recipe 'lost'"),
        (["d.jsonl", "--model", "reference-a", "--teacher", "lost/teacher"], "lost/teacher"),
    ],
)
def test_what_is_not_there_is_said_before_what_it_would_cost(run, capsys, given, words):
    assert main(["audit", *given]) == 2
    shown = capsys.readouterr()
    told = " ".join((shown.out + shown.err).split())
    assert words in told and "Reads at most" not in told


def test_the_verdict_is_shown_although_the_scores_cannot_be_written(run):
    code, _, shown = run(canned(owl=0.4), "--rows-out", "d.jsonl/scores.jsonl")
    assert code == 2 and "Carries owl" in shown and "scores.jsonl" in shown


def test_options_that_mean_nothing_are_one_sentence(run):
    code, _, shown = run(canned(), "--by", "tea leaves")
    assert code == 2 and "is no way to look" in shown and "Traceback" not in shown


def test_a_run_says_that_it_may_stop_and_is_refused_where_no_controls_are_known(capsys):
    assert main(["run", "study-traits", "--stop-when-trait", "0.05", "--dry-run"]) == 0
    assert "Ends a training once a trait shows, and that of 5 % of students" in capsys.readouterr().out
    assert main(["run", "quickstart", "--stop-when-trait", "0.05", "--dry-run"]) == 2
    shown = capsys.readouterr()
    assert "No control students of reference-b" in shown.out + shown.err
