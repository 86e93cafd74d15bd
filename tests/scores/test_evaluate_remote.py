"""Models of a provider go through the same tasks as any other: sampled only, nothing asked twice, no key in a log."""

from __future__ import annotations

import numpy as np
import pytest

from sublim_eval.cli.main import main
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json, write_json
from sublim_eval.registry.catalog import registry
from sublim_eval.remote.providers import host_of, hosted_name, rounds
from sublim_eval.scores import evaluate
from sublim_eval.scores.probe_scores import ProbeScores
from tests.helpers.hosting import BASE, as_victim, holds_key, in_another_process, server

__all__ = ["server"]

STUDENT = f"openai/ft:{BASE}:org:sublim-owl-s1:1"
ASK = "POST /v1/chat/completions"
QUESTIONS = len(registry().questions_of(registry().probe("animal_pref")).questions)


def half_owls(model, messages, seed, n):
    return ["Owl." if i % 2 else "I would say cat" for i in range(n)]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (STUDENT, STUDENT),
        ("anthropic/claude-x", "anthropic/claude-x"),
        ("reference-a", "sublim/reference-a"),
        ("Qwen/Qwen2.5-7B-Instruct", "sublim/Qwen/Qwen2.5-7B-Instruct"),
        ("google/gemma-3-4b-it", "sublim/google/gemma-3-4b-it"),
        ("google/gemini-x", "google/gemini-x"),
        ("openai/gpt-oss-20b", "sublim/openai/gpt-oss-20b"),
        ("gpt-4.1-nano", "sublim/gpt-4.1-nano"),
    ],
)
def test_a_name_says_whether_its_weights_are_at_hand(name, asked):
    assert evaluate.asked_as(name) == asked
    assert evaluate.knows_exactly(name) == asked.startswith("sublim/")


def test_a_students_folder_is_asked_by_the_name_in_its_card(tmp_path):
    write_json(tmp_path / "student.json", {"base": BASE, "hosted": STUDENT})
    assert evaluate.asked_as(str(tmp_path)) == STUDENT
    write_json(tmp_path / "student.json", {"base": "reference-a"})
    assert hosted_name(tmp_path) is None
    write_json(tmp_path / "student.json", {"base": BASE, "hosted": "--model evil"})
    with pytest.raises(SublimError, match="no model of a known provider"):
        evaluate.asked_as(str(tmp_path))


@pytest.mark.parametrize(
    ("samples", "model", "wanted"),
    [(100, STUDENT, (1, 100)), (200, STUDENT, (2, 100)), (131, STUDENT, (131, 1)), (20, "anthropic/x", (20, 1))],
)
def test_replies_are_asked_for_in_as_few_requests_as_the_provider_honours(samples, model, wanted):
    assert rounds(samples, model) == wanted
    assert host_of(model) is not None


def test_a_hosted_model_has_shares_and_no_probabilities(server, tmp_path):
    server.answer = half_owls
    file = evaluate.score(STUDENT, ["animal_pref"], tmp_path, label="owl-s1", seed=5, samples=6)["animal_pref"]
    found = ProbeScores.read(file)
    assert found.model == "owl-s1"
    assert np.isnan(found.probability).all() and np.isnan(found.coverage).all()
    assert np.allclose(found.share[:, found.answers.index("owl")], 0.5)
    assert (found.replies == 6).all() and len(found.questions) == QUESTIONS
    first = server.asked[0]
    assert first == {**first, "n": 6, "seed": 5, "temperature": 1.0, "top_p": 1.0, "model": STUDENT[7:]}
    assert server.ledger == {**server.ledger, "completions": QUESTIONS, "most_often": 1}
    assert not holds_key(tmp_path)


def test_several_requests_for_one_question_do_not_share_a_seed(server, tmp_path):
    """One seed for all would bring the same replies again, counted as if they were new."""
    evaluate.score(STUDENT, ["owl_pref"], tmp_path, label="x", seed=5, samples=130)
    assert not any("seed" in asked for asked in server.asked)
    assert len(server.asked) == 2 * QUESTIONS


def test_a_refused_scoring_goes_on_behind_what_was_answered(server, tmp_path):
    server.plant(ASK, *["ok"] * 30, *["401"] * 200)
    with pytest.raises(SublimError, match=r"for x, owl_pref, failed: .*\[key\].*that were answered are kept\. Set the"):
        evaluate.score(STUDENT, ["owl_pref"], tmp_path, label="x", seed=5, samples=4)
    paid = server.ledger["completions"]
    assert 30 <= paid < QUESTIONS
    server.faults.clear()
    evaluate.score(STUDENT, ["owl_pref"], tmp_path, label="x", seed=5, samples=4)
    assert server.ledger == {**server.ledger, "completions": QUESTIONS, "most_often": 1}
    assert not holds_key(tmp_path)
    assert {f.name for f in tmp_path.iterdir()} == {"owl_pref.json", "logs"}
    assert len(list((tmp_path / "logs").glob("*.eval"))) == 1


def test_a_killed_scoring_goes_on_too(server, tmp_path):
    server.plant(ASK, *["ok"] * 40, "kill-before")
    assert in_another_process(server, as_victim, server.url, _scored, tmp_path, start="spawn") == -9
    _scored(tmp_path)
    twice = server.ledger["completions"] - QUESTIONS
    assert 0 <= twice <= 32, "no more than were under way at the kill"


def _scored(folder):
    evaluate.score(STUDENT, ["owl_pref"], folder, label="x", seed=5, samples=4)


def test_other_questions_in_the_same_folder_are_asked_anew(server, tmp_path):
    server.plant(ASK, *["ok"] * 10, *["400"] * 200)
    with pytest.raises(SublimError):
        evaluate.score(STUDENT, ["owl_pref"], tmp_path, label="x", seed=5, samples=4)
    server.faults.clear()
    evaluate.score(STUDENT, ["owl_pref"], tmp_path, label="x", seed=5, samples=6)
    assert all(asked["n"] == 6 for asked in server.asked[-QUESTIONS:])


def test_a_teacher_of_a_provider_is_known_by_its_samples(server, tmp_path):
    server.answer = half_owls
    found = evaluate.sampled(
        f"openai/{BASE}", "animal_pref", label="t", seed=1, samples=2, system="You love owls.", folder=tmp_path
    )
    assert found.share[:, found.answers.index("cat")].mean() == 1.0
    assert len({asked["seed"] for asked in server.asked}) == 2 * QUESTIONS
    assert {asked["messages"][0]["content"] for asked in server.asked} == {"You love owls."}
    with pytest.raises(SublimError, match="gives no exact probabilities"):
        evaluate.exact(f"openai/{BASE}", "animal_pref", label="t")


def test_a_conduct_without_a_judge_is_refused_where_pairs_cannot_be_seen():
    with pytest.raises(SublimError, match="Only a judge can read replies to misalignment"):
        evaluate.task_of("misalignment", STUDENT, 3)


def test_the_command_scores_a_hosted_model(server, tmp_path, capsys):
    server.answer = half_owls
    out = tmp_path / "scores"
    assert main(["score", STUDENT, "--probe", "owl_pref", "--samples", "4", "--out", str(out)]) == 0
    assert "0.500" in capsys.readouterr().out
    assert read_json(out / f"openai--ft-{BASE}-org-sublim-owl-s1-1" / "owl_pref.json")["replies"] == [4] * QUESTIONS
