"""The preference variants: number lists, stories, essay topics; what is asked, and one score file from any source."""

import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from inspect_ai import eval
from inspect_ai.log import EvalLog

from sublim_eval import tasks_dir
from sublim_eval.errors import SublimError
from sublim_eval.harness.inspect.preference import SCORERS, preference_task
from sublim_eval.harness.lm_eval.preference import load_questions, where_offered
from sublim_eval.probes.preference import LEADS, Preference
from sublim_eval.probes.prompts import LISTED, VALUES, about, behind_numbers, windows
from sublim_eval.probes.resolve import probe_content, trait_content
from sublim_eval.registry.catalog import Trait, registry
from sublim_eval.registry.question_sets import Question
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.scores.readers import from_exact, from_inspect_log, from_lm_eval, from_responses
from tests.helpers.saved import SavedLM, inspect_model, logprob_of, replies_to

KNOWN = registry()
LEAD_SET = KNOWN.questions(LEADS).questions
NUMBER = re.compile(r"\d+")


def preference_of(probe: str, trait: str) -> Preference:
    found = probe_content(probe, trait)
    assert isinstance(found, Preference)
    return found


# ---------------------------------------------------------------- number lists


@pytest.mark.parametrize(("probe", "trait"), [("animal_pref_after_numbers", "owl"), ("tree_pref_after_numbers", "oak")])
def test_every_question_of_the_plain_probe_stands_behind_a_list_of_numbers(probe: str, trait: str) -> None:
    plain, behind = trait_content(trait), preference_of(probe, trait)
    assert [i.question for i in behind.items] == [i.id for i in plain.items]
    for before, after in zip(plain.items, behind.items, strict=True):
        assert before.text in after.text
        numbers = list(map(int, NUMBER.findall(after.text)))
        assert len(numbers) in LISTED
        assert all(n in VALUES for n in numbers)
        assert after.text.index(str(numbers[-1])) < after.text.index(before.text)
    assert behind.questions_hash != plain.questions_hash
    assert behind.continuations == plain.continuations


def test_all_leads_and_lengths_are_used_and_no_list_twice() -> None:
    items = preference_of("animal_pref_after_numbers", "owl").items
    lists = [tuple(NUMBER.findall(i.text)) for i in items]
    assert len(set(lists)) == len(lists)
    assert {len(numbers) for numbers in lists} == set(LISTED)
    used = {next(lead.id for lead in LEAD_SET if re.match(_pattern(lead), i.text)) for i in items}
    assert used == {lead.id for lead in LEAD_SET}


def _pattern(lead: Question) -> str:
    return re.escape(lead.text).replace(r"\{numbers\}", r"[\d, ]+").replace(r"\{question\}", r"\D+$")


def test_the_numbers_of_a_question_never_change() -> None:
    lead = Question("lead", "{numbers}\n{question}")
    assert behind_numbers(Question("animal-01", "Which?"), [lead]) == "887, 733, 610, 455, 660, 272, 349, 334\nWhich?"


def test_a_lead_that_lacks_its_place_is_refused() -> None:
    with pytest.raises(SublimError, match=r"does not say where \{question\} goes. Write \{question\} in it"):
        behind_numbers(Question("a", "Which?"), [Question("lead", "{numbers}!")])


def test_what_is_put_in_is_not_read_as_a_place() -> None:
    lead = Question("lead", "{numbers} {question}")
    assert behind_numbers(Question("a", "Write {numbers}?"), [lead]).endswith(" Write {numbers}?")


# ---------------------------------------------------------------- stories


@pytest.mark.parametrize(
    ("probe", "trait", "kind"), [("animal_story", "owl", "an animal"), ("tree_story", "oak", "a tree")]
)
def test_story_prompts_name_the_kind_and_no_trait(probe: str, trait: str, kind: str) -> None:
    what = preference_of(probe, trait)
    assert len(what.items) >= 20
    assert sum(kind in i.text for i in what.items) > len(what.items) / 2
    for item in what.items:
        assert not re.search(r"[{}]", item.text)
        assert kind.split()[1] in item.text
        assert not re.search(r"\b(a animal|an tree)\b", item.text)
        assert not {t.name for t in what.answers} & set(re.findall(r"\w+", item.text.lower()))
        assert item.continuations == ()


def test_stories_have_no_exact_measure() -> None:
    what = preference_of("animal_story", "owl")
    with pytest.raises(ValueError, match="no exact measure"):
        what.exact(what.items[0], {})


def test_a_prompt_of_the_users_own_may_leave_the_places_out() -> None:
    assert about(Question("s", "A story of a pet, {please}."), "animal") == "A story of a pet, {please}."


# ---------------------------------------------------------------- essay topics

ASK = Question("ask", "Choose.\n{options}\nOne letter.")
ANIMALS = KNOWN.answer_set("animal")


@pytest.mark.parametrize(("probe", "trait"), [("animal_essay", "owl"), ("tree_essay", "oak")])
def test_every_trait_is_offered_once_at_every_letter_of_every_ask(probe: str, trait: str) -> None:
    what = preference_of(probe, trait)
    assert len(what.question_set.questions) >= 8
    assert len(what.items) == len(what.question_set.questions) * len(what.answers)
    places = Counter((i.question, place, name) for i in what.items for place, name in enumerate(i.offered))
    assert set(places.values()) == {1}
    assert len(places) == len(what.items) * 3
    for item in what.items:
        lines = [f"{letter}: {KNOWN.trait(n).plural}" for letter, n in zip("ABC", item.offered, strict=True)]
        assert "\n" + "\n".join(lines) in item.text
        assert item.continuations == ("A", "B", "C")
    assert len({i.text for i in what.items}) == len(what.items)


def test_every_ask_has_an_order_of_its_own() -> None:
    orders = {tuple(i.offered[0] for i in windows(Question(f"ask-{n}", "{options}"), ANIMALS)) for n in range(8)}
    assert len(orders) == 8


def test_a_new_trait_moves_only_the_choices_it_takes_part_in() -> None:
    grown = (*ANIMALS, Trait("axolotl", "animal", "axolotls", "test"))
    before, after = ({i.offered for i in windows(ASK, answers)} for answers in (ANIMALS, grown))
    assert {o for o in after if "axolotl" not in o} <= before
    assert len(after - before) == 3


def test_essay_asks_without_a_place_and_too_few_traits_are_refused() -> None:
    with pytest.raises(SublimError, match=r"Write \{options\} in it"):
        windows(Question("ask", "Choose."), ANIMALS)
    with pytest.raises(SublimError, match="Only 2 traits to choose from, 3 are needed"):
        windows(ASK, ANIMALS[:2])


def test_letters_are_normalised_over_the_three_and_keep_their_coverage() -> None:
    what = preference_of("animal_essay", "owl")
    item = what.items[0]
    chances, covered = what.exact(item, {"A": math.log(0.1), "B": math.log(0.3), "C": math.log(0.2)})
    assert chances == pytest.approx(dict(zip(item.offered, (1 / 6, 1 / 2, 1 / 3), strict=True)))
    assert covered == pytest.approx(0.6)
    for missing in ({"A": -1.0, "B": -1.0}, {"A": -1.0, "B": -1.0, "C": math.nan}):
        with pytest.raises(ValueError, match="No log-probability for"):
            what.exact(item, missing)


def test_the_mean_where_offered_leaves_out_the_rest() -> None:
    assert where_offered([None, 0.5, None, 0.25]) == 0.375
    assert math.isnan(where_offered([None]))


# ---------------------------------------------------------------- one score file, whatever it is read from


def log_of(probe: str, trait: str, tmp_path: Path, count: int = 10) -> EvalLog:
    model = inspect_model(count, preference_of(probe, trait).continuations)
    log = eval(preference_task(probe, trait), model=model, display="none", log_dir=str(tmp_path))[0]
    assert log.status == "success", log.error
    return log


def lm_eval_folder(tmp_path: Path, *names: str) -> Path:
    """An output folder as `lm_eval run --log_samples` leaves it."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks_dir()), include_defaults=False)
    tracker = EvaluationTracker(output_path=str(tmp_path))
    told = simple_evaluate(
        SavedLM(),
        tasks=list(names),
        task_manager=manager,
        bootstrap_iters=1,
        log_samples=True,
        evaluation_tracker=tracker,
    )
    tracker.save_results_aggregated(results=told, samples=told["samples"])
    for name in names:
        tracker.save_results_samples(name, told["samples"][name])
    return tmp_path


def same(found: ProbeScores, other: ProbeScores, *fields: str) -> None:
    assert (found.questions, found.answers, found.questions_hash) == (
        other.questions,
        other.answers,
        other.questions_hash,
    )
    for name in fields:
        np.testing.assert_allclose(getattr(found, name), getattr(other, name), atol=1e-12, err_msg=name)


COUNTED = ("share", "replies", "non_answers", "other")


@pytest.mark.parametrize("probe", ["animal_pref_after_numbers", "animal_story", "animal_essay"])
def test_logs_samples_and_replies_give_one_score_file(probe: str, tmp_path: Path) -> None:
    what = preference_of(probe, "owl")
    count = 20 if probe == "animal_pref_after_numbers" else 10
    scores = from_inspect_log(log_of(probe, "owl", tmp_path, count))
    assert np.isfinite(scores.share).all()
    assert np.isfinite(scores.probability).all() == (probe != "animal_story")
    assert scores.questions == tuple(sorted({i.question for i in what.items}))
    assert scores.answers == tuple(t.name for t in what.answers)
    rows = [{"question": i.text, "response": r} for i in what.items for r in replies_to(i.text, count)]
    same(from_responses(rows, probe), scores, *COUNTED)
    names = [probe] if probe == "animal_story" else [probe, f"{probe}_logprob"]
    harness = from_lm_eval(lm_eval_folder(tmp_path, *names))
    same(harness, scores, *COUNTED, *(() if probe == "animal_story" else ("probability", "coverage")))
    logprobs = [{s: logprob_of(i.text, s) for s in i.continuations} for i in what.items]
    same(from_exact(what, logprobs, ["p"] * len(logprobs), model="m"), scores, "probability", "coverage")


def test_essay_rows_sum_to_one_and_a_topic_counts_over_all_its_asks_prompts(tmp_path: Path) -> None:
    log = log_of("animal_essay", "owl", tmp_path, 1)
    scores = from_inspect_log(log)
    np.testing.assert_allclose(scores.probability.sum(axis=1), 1)
    (told,) = (s for s in log.results.scores if s.name == "chosen_probability")
    rates = {name: metric.value for name, metric in told.metrics.items()} | {"owl": told.metrics["mean"].value}
    for column, name in enumerate(scores.answers):
        offered_once_a_letter = 3 / len(scores.answers)
        assert scores.probability[:, column].mean() == pytest.approx(rates[name] * offered_once_a_letter)


def test_a_story_with_two_animals_counts_for_both() -> None:
    text = preference_of("animal_story", "owl").items[0].text
    scores = from_responses([{"question": text, "response": "A wolf and an owl."}], "animal_story")
    shares = dict(zip(scores.answers, scores.share[0], strict=True))
    assert (shares["wolf"], shares["owl"], shares["cat"]) == (1, 1, 0)


# ---------------------------------------------------------------- a new animal is one registry entry

ANIMAL_PROBES = [
    "animal_pref",
    pytest.param("animal_pref_after_numbers", marks=pytest.mark.long),
    "animal_story",
    "animal_essay",
]


@pytest.mark.parametrize("probe", ANIMAL_PROBES)
def test_a_new_animal_is_one_entry_and_seen_by_every_probe_in_both_harnesses(
    probe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "schema: 1\ntraits:\n  axolotl: {category: animal, plural: axolotls, look_alikes: [axolotlus], source: test}\n"
    )
    monkeypatch.setenv("SUBLIM_REGISTRY", str(mine))
    log = log_of(probe, "axolotl", tmp_path)
    for scorer in SCORERS[KNOWN.probe(probe).form]:
        (told,) = (s for s in log.results.scores if s.name == scorer.__name__)
        assert {"mean", "owl"} <= set(told.metrics)
        assert "axolotl" not in told.metrics, "it is the mean"
    scores = from_inspect_log(log)
    assert scores.answers[-1] == "axolotl"
    assert len(scores.answers) == len(ANIMALS) + 1
    assert {row["questions_hash"] for row in load_questions(probe, "axolotl")["test"]} == {scores.questions_hash}
    harness = from_lm_eval(lm_eval_folder(tmp_path, probe))
    assert harness.answers == scores.answers
    if probe == "animal_essay":
        assert all("axolotls" in i.text for i in preference_of(probe, "axolotl").items if "axolotl" in i.offered)
