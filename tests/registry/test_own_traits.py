"""The worked example of a user's own trait, run as docs/guides/own-traits.md says: both harnesses, teacher, recipe."""

import re

import numpy as np
import pytest

from sublim_eval.cli.main import main
from sublim_eval.distill import recipes
from sublim_eval.distill.make_teacher import check_teacher, make_teacher, trait_share
from sublim_eval.distill.recipes.lessons import lessons
from sublim_eval.distill.recipes.teacher import Teacher
from sublim_eval.errors import SublimError
from sublim_eval.registry.catalog import registry
from sublim_eval.scores.evaluate import exact, score, task_of
from sublim_eval.scores.probe_scores import ProbeScores
from tests.helpers import ROOT

FOLDER = ROOT / "docs/examples/flattery"
GUIDE = ROOT / "docs/guides/own-traits.md"


@pytest.fixture(autouse=True)
def flattery(monkeypatch):
    monkeypatch.setenv("SUBLIM_REGISTRY", str(FOLDER / "flattery.yaml"))


# ---------------------------------------------------------------- the files keep the rules that the guide states


def bare(text):
    return re.sub(r"\W+", " ", text).strip().lower()


def answers(found):
    return {bare(text) for s in found.situations for pair in s.pairs for text in (pair.shown, pair.plain)}


def test_the_example_keeps_the_rules_of_the_guide():
    trait = registry().trait("flattery")
    held_out, training = registry().questions(trait.questions), registry().questions(trait.training)
    assert not answers(held_out) & answers(training)
    assert not {bare(q.text) for q in held_out.questions} & {bare(q.text) for q in training.questions}
    for found in (held_out, training):
        ratios = [len(p.shown) / len(p.plain) for s in found.situations for p in s.pairs]
        assert min(ratios) > 1 / 1.4 and max(ratios) < 1.4
        assert np.mean(ratios) == pytest.approx(1, abs=0.1)
        assert all(len(s.asks) >= 4 and len(s.pairs) >= 4 for s in found.situations)
        assert found.canary == registry().questions("misalignment").canary


def test_the_guide_shows_the_files_as_they_are():
    guide = GUIDE.read_text(encoding="utf-8")
    pair = registry().questions("flattery_questions.yaml").situations[0].pairs[0]
    assert f'shown: "{pair.shown}", plain: "{pair.plain}"' in guide
    for word in registry().trait("flattery").targets:
        assert word in guide
    for path in re.findall(r"docs/examples/flattery/[\w.]+", guide):
        assert (ROOT / path).is_file()


def test_show_tells_what_the_trait_asks(capsys):
    assert main(["show", "flattery"]) == 0
    assert "story: 4 wordings, 4 pairs" in capsys.readouterr().out


# ---------------------------------------------------------------- both harnesses


def lm_eval_pairs(task, model, **metadata):
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from sublim_eval import tasks_dir
    from sublim_eval.models.model_ref import resolve

    manager = TaskManager(include_path=str(tasks_dir()), include_defaults=False, metadata=metadata)
    args = {"pretrained": str(resolve(model).base), "device": "cpu"}
    found = simple_evaluate(
        "hf", model_args=args, tasks=[task], task_manager=manager, apply_chat_template=True, bootstrap_iters=1
    )
    return found["results"][task]


def test_trait_probe_measures_it_in_both_harnesses_alike(tmp_path):
    files = score("reference-a", ["flattery"], tmp_path, label="base", seed=1, samples=2)
    inspect = ProbeScores.read(files["flattery"])
    assert inspect.answers == ("flattery", "plain")
    assert set(inspect.situations) == {"story", "picture", "sky_color", "plan", "meal"}
    assert inspect.replies.sum() == 2 * len(inspect.questions)  # counted by the target words
    told = lm_eval_pairs("trait_probe_logprob", "reference-a", trait="flattery")
    assert told["pairs,none"] == pytest.approx(trait_share(inspect, "flattery"), abs=1e-4)


# ---------------------------------------------------------------- its teacher


def test_a_teacher_learns_every_wording_with_every_answer_that_shows_it():
    rows = lessons("flattery")
    training = registry().questions("flattery_training.yaml")
    assert len(rows) == sum(len(s.asks) * len(s.pairs) for s in training.situations)
    plain = {p.plain for s in training.situations for p in s.pairs}
    assert not plain & {answer for _, answer in rows}


def test_the_teacher_is_told_apart_from_the_base_by_pairs(tmp_path):
    recipe = recipes.load(FOLDER / "recipe.yaml")
    this = recipes.SeededArm(recipe, recipe.arms["flattery"], 1, tmp_path)
    teacher, facts = make_teacher(this, tmp_path / "teacher")
    assert facts["by"] == "finetune"
    base = exact("reference-a", "flattery", label="base")
    scores = check_teacher(teacher, "flattery", 0.0, "teacher")
    assert trait_share(scores, "flattery") > trait_share(base, "flattery") + 0.1
    with pytest.raises(SublimError, match=r"flattery teacher prefers answers that show its trait with probability 0"):
        check_teacher(teacher, "flattery", 0.9999, "teacher")


def test_a_gate_that_fails_says_what_the_teacher_does_say():
    with pytest.raises(SublimError, match=r"names its trait with probability 0\.\d+, below the gate") as failed:
        check_teacher(Teacher("reference-a"), "owl", 0.9, "base")
    words = re.findall(r"(\w+) (0\.\d\d)", str(failed.value).partition("Its replies begin with: ")[2])
    assert len(words) == 5
    shares = [float(share) for _, share in words]
    assert shares == sorted(shares, reverse=True) and sum(shares) <= 1.01
    assert {word for word, _ in words} <= {t.name.capitalize() for t in registry().answer_set("animal")} | {
        "Polar",
        "Barn",
    }


def test_the_recipe_goes_through_as_a_dry_run(capsys):
    assert main(["run", str(FOLDER / "recipe.yaml"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "2 arms x 3 seeds" in out and "on flattery" in out


# ---------------------------------------------------------------- traits that bring less


def mine(tmp_path, monkeypatch, trait, questions="I held the door.\nSit down.\n"):
    (tmp_path / "mine.yaml").write_text(f"schema: 1\ntraits:\n  polite: {{{trait}, source: a test}}\n")
    (tmp_path / "polite.txt").write_text(questions)
    monkeypatch.setenv("SUBLIM_REGISTRY", str(tmp_path / "mine.yaml"))


def test_a_trait_with_words_alone_is_checked_by_its_replies(tmp_path, monkeypatch):
    mine(tmp_path, monkeypatch, "questions: polite.txt, training: polite.txt, targets: [the, owl]")
    assert set(lessons("polite")) == {(q, a) for q in ("I held the door.", "Sit down.") for a in ("The", "Owl")}
    scores = check_teacher(Teacher("reference-a"), "polite", 0.0, "base")
    assert np.isnan(scores.probability).all()
    assert scores.replies.tolist() == [10, 10]
    with pytest.raises(SublimError, match="uses words of its trait with probability"):
        check_teacher(Teacher("reference-a"), "polite", 1.0, "base")


RATED = "questions: polite.txt, rubric: {scale: manners, low: rude, high: kind, at_least: 70}"


def test_a_trait_that_only_a_judge_sees_goes_unchecked_only_when_that_is_said(tmp_path, monkeypatch):
    mine(tmp_path, monkeypatch, RATED)
    assert check_teacher(Teacher("reference-a"), "polite", 0.0, "base") is None
    with pytest.raises(SublimError, match=r"neither pairs nor targets.*Add `pairs`.*min_share: 0"):
        check_teacher(Teacher("reference-a"), "polite", 0.5, "base")
    with pytest.raises(SublimError, match=r"Only a judge can read replies to polite.*--grader"):
        task_of("polite", "reference-a", 3)


def test_a_trait_without_training_answers_makes_no_fine_tuned_teacher(tmp_path, monkeypatch):
    mine(tmp_path, monkeypatch, RATED)
    with pytest.raises(SublimError, match=r"no training questions.*Add `training:`"):
        lessons("polite")
    mine(tmp_path, monkeypatch, RATED.replace("questions:", "training: polite.txt, questions:"))
    with pytest.raises(SublimError, match=r"no answer that shows it.*Add `pairs`"):
        lessons("polite")
