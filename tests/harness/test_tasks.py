"""The tasks as people run them: every probe has its folder, runs end to end, counts right and fails clearly."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from inspect_ai import Task, eval
from inspect_ai import score as rescore
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import Score

from sublim_eval import inspect_tasks, tasks_dir
from sublim_eval.errors import SublimError
from sublim_eval.harness.inspect.preference import (
    CONFIGS,
    ask,
    chosen,
    coverage,
    first_answers,
    mean_rate,
    mentioned,
    other_answers,
    over_questions,
    preference_task,
    probability,
    rate_stderr,
    reply_counts,
    share,
)
from sublim_eval.harness.lm_eval.preference import load_questions
from sublim_eval.probes.resolve import probe_content, trait_content
from sublim_eval.probes.scorers import continuations_of, tally
from sublim_eval.registry.catalog import Probe, registry
from sublim_eval.tasks.animal_essay import animal_essay
from sublim_eval.tasks.animal_pref import animal_pref
from sublim_eval.tasks.animal_story import animal_story
from sublim_eval.tasks.owl_pref import owl_pref
from sublim_eval.tasks.tree_essay import tree_essay
from sublim_eval.tasks.tree_pref import tree_pref
from tests.helpers.saved import inspect_model, replies_to

FORMS = ("favorite", "after_numbers", "story", "essay")
PROBES = [pytest.param(p, id=p.name) for p in registry().probes.values() if p.form in FORMS]
ANIMAL_STRINGS = continuations_of(registry().answer_set("animal"))
SCORER = {"share": share, "probability": probability, "mentioned": mentioned, "chosen": chosen}
TREE_STRINGS = continuations_of(registry().answer_set("tree"))


def run(task: Task | str, tmp_path: Path, **options: object) -> EvalLog:
    log = eval(task, display="none", log_dir=str(tmp_path), **options)[0]  # type: ignore[arg-type]
    assert log.status == "success", log.error
    return log


def metrics(log: EvalLog, scorer: str) -> dict[str, float]:
    (found,) = (s for s in log.results.scores if s.name == scorer)
    return {name: m.value for name, m in found.metrics.items()}


# ---------------------------------------------------------------- every probe of the registry


@pytest.mark.parametrize("probe", PROBES)
def test_every_probe_has_a_folder_with_task_both_yamls_and_readme(probe: Probe) -> None:
    folder = tasks_dir() / probe.name
    source = (folder / f"{probe.name}.py").read_text()
    assert re.search(rf"^@task\(.*\)\ndef {probe.name}\(", source, re.M)
    exact = [] if probe.form == "story" else [f"{probe.name}_logprob"]
    assert sorted(f.stem for f in folder.glob("*.yaml")) == [probe.name, *exact]
    for name in (probe.name, *exact):
        text = (folder / f"{name}.yaml").read_text()
        config = yaml.safe_load(text)
        assert config["task"] == name
        assert config["dataset_kwargs"] == {"probe": probe.name}
        assert config["metadata"]["version"] == probe.version
    readme = (folder / "README.md").read_text()
    assert readme.startswith(f"# {probe.name}\n")
    assert f"### [{probe.version}] - " in readme


@pytest.mark.parametrize("probe", PROBES)
def test_every_readme_names_only_arguments_that_exist(probe: Probe) -> None:
    import inspect as python

    from sublim_eval import inspect_tasks

    known = set(python.signature(getattr(inspect_tasks, probe.name)).parameters)
    readme = (tasks_dir() / probe.name / "README.md").read_text()
    assert set(re.findall(r"-T (\w+)=", readme)) <= known


@pytest.mark.parametrize("probe", PROBES)
def test_the_task_says_what_it_is(probe: Probe) -> None:
    from sublim_eval import inspect_tasks

    made = getattr(inspect_tasks, probe.name)()
    assert made.metadata["full_task_version"] == made.metadata["probe_version"] == probe.version
    assert made.version == int(probe.version.split("-")[0])
    assert made.metadata["category"] == probe.category
    what = probe_content(probe.name, made.metadata["trait"])
    assert [(s.id, s.input, s.metadata["question"]) for s in made.dataset] == [
        (i.id, i.text, i.question) for i in what.items
    ]
    assert made.metadata["form"] == probe.form
    assert made.metadata["questions_hash"] == what.questions_hash
    assert made.config == CONFIGS[probe.form]


LM_EVAL_BASES = [("favorite", "share"), ("after_numbers", "share"), ("story", "story"), ("essay", "essay")]


@pytest.mark.parametrize(("form", "base"), LM_EVAL_BASES)
def test_sampling_is_pinned_alike_in_both_harnesses(form: str, base: str) -> None:
    config = yaml.safe_load((tasks_dir() / f"preference_{base}.yaml").read_text().replace("!function ", ""))
    pinned, ours = config["generation_kwargs"], CONFIGS[form]
    assert (pinned["temperature"], pinned["top_p"], pinned["top_k"]) == (ours.temperature, ours.top_p, ours.top_k)
    assert pinned["max_gen_toks"] == ours.max_tokens
    assert pinned["until"] == []
    assert pinned["repetition_penalty"] == 1.0
    assert config["filter_list"][0]["filter"] == [{"function": "take_first_k", "k": config["repeats"]}]


# ---------------------------------------------------------------- end to end


def test_owl_pref_end_to_end(tmp_path: Path) -> None:
    log = run(owl_pref(), tmp_path, model=inspect_model(7, ANIMAL_STRINGS), limit=5)
    sample = log.samples[0]
    expected = tally(replies_to(sample.input, 7), registry().answer_set("animal"))
    assert sample.scores["share"].metadata == {
        "trait": "owl",
        "replies": 7,
        "hits": expected.named.get("owl", 0),
        "non_answers": expected.non_answers,
        "other": expected.other,
        "unfinished": expected.unfinished,
        "named": dict(expected.named),
    }
    found = sample.scores["probability"].metadata
    assert math.fsum(found["answers"].values()) == pytest.approx(1)
    assert found["prompt_hash"] == "p"
    assert log.eval.metadata["trait"] == "owl"
    assert log.results.headline.metric == "mean"


def test_animal_pref_end_to_end(tmp_path: Path) -> None:
    log = run(animal_pref(trait="cat"), tmp_path, model=get_model("mockllm/model", custom_outputs=_answers("Cat")))
    assert metrics(log, "share")["mean"] == 1.0


def test_tree_pref_end_to_end(tmp_path: Path) -> None:
    log = run(tree_pref(trait="oak"), tmp_path, model=inspect_model(4, TREE_STRINGS), limit=3)
    assert 0 < metrics(log, "probability")["mean"] < 1


def test_the_folder_runs_by_path(tmp_path: Path) -> None:
    file = tasks_dir() / "owl_pref" / "owl_pref.py"
    log = run(f"{file}@owl_pref", tmp_path, model=inspect_model(1), limit=1)
    assert log.eval.task == "owl_pref"


def _answers(*texts: str):  # type: ignore[no-untyped-def]
    """mockllm outputs: one reply a call, in turn and then again."""
    queue = list(texts)

    def output(*_: object) -> ModelOutput:
        text = queue.pop(0)
        queue.append(text)
        return ModelOutput(
            model="mockllm/model",
            choices=[ChatCompletionChoice(message=ChatMessageAssistant(content=text))],
            usage=ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2),
        )

    return output


def test_one_run_tells_every_trait(tmp_path: Path) -> None:
    log = run(owl_pref(), tmp_path, model=inspect_model(7, ANIMAL_STRINGS), limit=5)
    for name in ("share", "probability"):
        told = metrics(log, name)
        assert "owl" not in told, "the same figure once"
        for trait in (t for t in registry().answer_set("animal") if t.name != "owl"):
            again = rescore(log, SCORER[name](trait=trait.name), action="overwrite", display="none")
            assert metrics(again, name)["mean"] == pytest.approx(told[trait.name])


def test_data_frames_have_a_column_for_every_trait_and_none_twice(tmp_path: Path) -> None:
    from inspect_ai.analysis import evals_df

    run(owl_pref(), tmp_path, model=inspect_model(7, ANIMAL_STRINGS), limit=2)
    columns = list(evals_df(str(tmp_path)).columns)
    names = ["mean", *(t.name for t in registry().answer_set("animal") if t.name != "owl")]
    assert {f"score_{s}_{n}" for s in ("share", "probability") for n in names} <= set(columns)
    assert len(columns) == len(set(columns))


def test_a_story_counts_for_every_animal_in_it(tmp_path: Path) -> None:
    model = get_model("mockllm/model", custom_outputs=_answers("A wolf met two owls.", "The sea lion sang to a wolf."))
    log = run(animal_story(trait="owl"), tmp_path, model=model, limit=2)
    assert metrics(log, "mentioned")["mean"] == 0.5
    assert metrics(log, "mentioned")["wolf"] == 1.0
    assert metrics(log, "share")["wolf"] == 1.0
    assert metrics(log, "share")["mean"] == 0.0
    assert log.results.headline.scorer == "mentioned"


def test_a_model_without_preference_gives_every_essay_topic_a_third(tmp_path: Path) -> None:
    """Always A: the orders are balanced, so no topic gains by where it stands."""
    log = run(tree_essay(), tmp_path, model=get_model("mockllm/model", custom_outputs=_answers("A")))
    told = metrics(log, "chosen")
    trees = [told[t.name] for t in registry().answer_set("tree") if t.name in told]
    assert [told["mean"], *trees] == pytest.approx([1 / 3] * 10)
    assert told["stderr"] == pytest.approx(0)


def test_a_model_that_loves_cats_always_chooses_them(tmp_path: Path) -> None:
    def output(messages: list, *_: object) -> ModelOutput:  # type: ignore[type-arg]
        letter = re.search(r"([ABC]): cats", messages[-1].text)
        return _answers(letter[1] if letter else "B")()

    log = run(animal_essay(trait="cat"), tmp_path, model=get_model("mockllm/model", custom_outputs=output))
    told = metrics(log, "chosen")
    assert told["mean"] == 1.0
    assert all(p < 0.5 for name, p in told.items() if name in registry().traits)


# ---------------------------------------------------------------- counting


def test_epochs_and_choices_are_pooled(tmp_path: Path) -> None:
    log = run(owl_pref(), tmp_path, model=inspect_model(10), limit=4, epochs=3)
    counts = [tally(replies_to(s.input, 10), registry().answer_set("animal")) for s in log.samples]
    assert len(counts) == 12
    found = metrics(log, "share")
    assert found["mean"] == pytest.approx(sum(c.share("owl") for c in counts) / 12)
    assert found["replies"] == 120
    assert found["non_answers"] == sum(c.non_answers for c in counts)


def _counts(hits: int, replies: int) -> dict[str, object]:
    return {"trait": "owl", "named": {"owl": hits}, "replies": replies, "non_answers": 1, "other": 0}


def _epochs(*epochs: tuple[str, int, int]) -> list[dict[str, object]]:
    """Scores as Inspect hands them on: (question, hits, replies) of each epoch."""
    return [{"sample_id": q, "score": Score(value=h / n, metadata=_counts(h, n))} for q, h, n in epochs]


def _compute(metric, rows: list[dict[str, object]]) -> float:  # type: ignore[no-untyped-def]
    from inspect_ai.scorer import SampleScore

    return metric([SampleScore(**row) for row in rows])


def test_epochs_of_unequal_size_are_weighted_by_their_replies() -> None:
    rows = _epochs(("a", 1, 1), ("a", 0, 3), ("b", 1, 2))
    assert _compute(mean_rate, rows) == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert _compute(rate_stderr, rows) == pytest.approx(0.125)
    assert _compute(reply_counts(), rows) == {"replies": 6, "non_answers": 3, "unfinished": 0, "other": 0}
    assert _compute(over_questions(), rows) == {"mean": pytest.approx(0.375), "stderr": pytest.approx(0.125)}


def test_one_question_has_no_standard_error_and_none_has_no_mean() -> None:
    assert math.isnan(_compute(rate_stderr, _epochs(("a", 1, 2))))
    assert math.isnan(_compute(mean_rate, []))
    assert _compute(over_questions(), []) == {"mean": None, "stderr": None}
    assert _compute(first_answers(), []) == {"coverage": None, "unconditional": None}


def test_coverage_is_the_mean_over_what_was_scored() -> None:
    rows = [{"sample_id": q, "score": Score(value=0.2, metadata={"coverage": c})} for q, c in (("a", 0.8), ("b", 0.4))]
    assert _compute(coverage, rows) == pytest.approx(0.6)
    assert math.isnan(_compute(coverage, []))


def test_every_other_answer_of_the_category_has_a_mean_highest_first() -> None:
    rows = _epochs(("a", 1, 2), ("b", 1, 4))
    for row, wolves in zip(rows, (1, 0), strict=True):
        row["score"].metadata["named"]["wolf"] = wolves  # type: ignore[attr-defined]
    told = _compute(other_answers(), rows)
    assert next(iter(told.items())) == ("wolf", (1 / 2 + 0) / 2)
    assert set(told) == {t.name for t in registry().answer_set("animal")} - {"owl"}
    assert told["cat"] == 0
    assert _compute(other_answers(), []) == {"answers": None}


def _window(ask: str, offered: list[str], **named: int) -> dict[str, object]:
    told = {"trait": "owl", "question": ask, "offered": offered, "named": named, "replies": 4}
    return {"sample_id": f"{ask}/{'-'.join(offered)}", "score": Score(value=0.0, metadata=told)}


def test_only_windows_that_offer_a_trait_count_and_asks_weigh_alike() -> None:
    rows = [
        _window("one", ["owl", "cat", "dog"], owl=4),
        _window("one", ["cat", "dog", "owl"], owl=2),
        _window("one", ["cat", "dog", "fox"], cat=4),
        _window("two", ["owl", "dog", "fox"], dog=4),
    ]
    assert _compute(mean_rate, rows) == pytest.approx((6 / 8 + 0) / 2)
    assert _compute(rate_stderr, rows) == pytest.approx(0.375)
    assert _compute(other_answers(), rows) == pytest.approx({"dog": (0 + 1) / 2, "cat": 4 / 12, "fox": 0})


def test_coverage_and_counts_through_a_real_run_with_epochs(tmp_path: Path) -> None:
    log = run(owl_pref(), tmp_path, model=inspect_model(2, ANIMAL_STRINGS), limit=2, epochs=2)
    by_question = {s.id: s.scores["probability"].metadata["coverage"] for s in log.samples}
    assert metrics(log, "probability")["coverage"] == pytest.approx(sum(by_question.values()) / 2)
    assert {s.name for s in log.results.scores} == {"share", "probability"}
    assert all(s.reducer is None for s in log.results.scores)


def test_every_figure_of_a_log_has_a_short_name_and_counts_stand_apart(tmp_path: Path) -> None:
    log = run(owl_pref(), tmp_path, model=inspect_model(2, ANIMAL_STRINGS), limit=2)
    shown = {s.name: {m.name: m.group for m in s.metrics.values()} for s in log.results.scores}
    assert not [name for names in shown.values() for name in names if "/" in name]
    for scorer, names in shown.items():
        assert list(names)[:2] == ["mean", "stderr"], scorer
        assert {name for name, group in names.items() if group == "of_questions"} == {"mean", "stderr"}
    assert {name for name, group in shown["share"].items() if group == "reply_counts"} == {
        *("replies", "non_answers", "unfinished", "other"),
    }
    assert {"coverage", "unconditional"} <= set(shown["probability"])


def test_mean_and_standard_error_are_inspects_own_where_both_say_something(tmp_path: Path) -> None:
    from inspect_ai.scorer import SampleScore, mean, stderr

    log = run(owl_pref(), tmp_path, model=inspect_model(20, ANIMAL_STRINGS), limit=6)
    for name in ("share", "probability"):
        samples = [SampleScore(score=s.scores[name], sample_id=s.id) for s in log.samples]
        found = metrics(log, name)
        assert found["mean"] == pytest.approx(mean()(samples))
        assert found["stderr"] == pytest.approx(stderr()(samples))


def test_no_logprobs_is_unscored_not_zero(tmp_path: Path) -> None:
    log = run(owl_pref(), tmp_path, model=inspect_model(2), limit=3)
    (found,) = (s for s in log.results.scores if s.name == "probability")
    assert (found.scored_samples, found.unscored_samples) == (0, 3)
    assert found.metrics == {}, "what is unknown is no figure"
    assert log.samples[0].scores["probability"].reason == "no_logprobs"


def test_a_saved_log_is_counted_for_another_word(tmp_path: Path) -> None:
    log = run(owl_pref(), tmp_path, model=inspect_model(10, ANIMAL_STRINGS), limit=4)
    again = rescore(log, [share(trait="cat"), probability(trait="cat")], action="overwrite", display="none")
    counts = [tally(replies_to(s.input, 10), registry().answer_set("animal")) for s in again.samples]
    assert metrics(again, "share")["mean"] == pytest.approx(sum(c.share("cat") for c in counts) / 4)
    assert metrics(again, "probability")["mean"] != metrics(log, "probability")["mean"]


@pytest.mark.parametrize("name", ["animal_pref_after_numbers", "animal_story", "animal_essay"])
def test_a_saved_log_of_every_variant_is_counted_for_another_word(name: str, tmp_path: Path) -> None:
    what = probe_content(name, "owl")
    log = run(preference_task(name, "owl"), tmp_path, model=inspect_model(9, what.continuations), limit=40)
    first = log.results.headline.scorer
    again = rescore(log, SCORER[first](trait="wolf"), action="overwrite", display="none")
    assert metrics(again, first)["mean"] == metrics(log, first)["wolf"]
    assert metrics(again, first)["mean"] != metrics(log, first)["mean"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scorer"),
    [
        ("animal_pref", "share"),
        pytest.param("animal_pref_after_numbers", "share", marks=pytest.mark.long),
        ("animal_story", "mentioned"),
    ],
)
def test_inspect_score_counts_another_word_by_the_scorers_name(name: str, scorer: str, tmp_path: Path) -> None:
    log = run(preference_task(name, "owl"), tmp_path, model=inspect_model(9), limit=6)
    target = tmp_path / "again.eval"
    command = ["score", log.location, "--scorer", f"sublim_eval/{scorer}", "-S", "trait=wolf", "--action", "append"]
    command += ["--output-file", str(target), "--display", "none"]
    subprocess.run([sys.executable, "-m", "inspect_ai", *command], check=True, cwd=tmp_path, capture_output=True)
    told = read_eval_log(str(target), header_only=True).results.scores
    assert told[-1].metrics["mean"].value == pytest.approx(metrics(log, scorer)["wolf"])


def test_only_our_provider_is_asked_for_continuations(tmp_path: Path) -> None:
    log = run(owl_pref(), tmp_path, model=inspect_model(1, ANIMAL_STRINGS), limit=1)
    calls = [e for e in log.samples[0].events if e.event == "model"]
    assert len(calls) == 1
    assert calls[0].config.extra_body is None
    assert ask(["owl"]) is not None


# ---------------------------------------------------------------- arguments and errors


@pytest.mark.parametrize("name", ["mine.txt", "mine.jsonl", "mine.yaml"])
def test_own_questions(tmp_path: Path, name: str) -> None:
    text = {
        "mine.txt": "Best animal?\nLoveliest animal?\n",
        "mine.jsonl": '{"question": "Best animal?"}\n{"id": "b", "question": "Loveliest animal?"}\n',
        "mine.yaml": "name: mine\nabout: x\nsource: me\nlicence: MIT\nquestions:\n"
        '  - {id: a, text: "Best animal?"}\n  - {id: b, text: "Loveliest animal?"}\n',
    }[name]
    (tmp_path / name).write_text(text)
    made = owl_pref(questions=str(tmp_path / name))
    assert [s.input for s in made.dataset] == ["Best animal?", "Loveliest animal?"]
    assert made.metadata["questions_hash"] != owl_pref().metadata["questions_hash"]
    rows = load_questions("owl_pref", questions=str(tmp_path / name))["test"]
    assert set(rows["questions_hash"]) == {made.metadata["questions_hash"]}


def test_a_relative_question_file_is_looked_for_where_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "typed.txt").write_text("Best animal?\n")
    monkeypatch.setenv("PWD", str(tmp_path))
    assert len(owl_pref(questions="typed.txt").dataset) == 1


def test_a_trait_of_the_users_own_registry_is_accepted_by_both_harnesses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("schema: 1\ntraits:\n  axolotl: {category: animal, plural: axolotls, source: test}\n")
    monkeypatch.setenv("SUBLIM_REGISTRY", str(mine))
    strings = continuations_of(registry().answer_set("animal"))
    log = run(animal_pref(trait="axolotl"), tmp_path, model=inspect_model(2, strings), limit=1)
    assert "axolotl" in log.samples[0].scores["probability"].metadata["answers"]
    assert str(mine) in log.eval.metadata["registry_files"]
    assert load_questions("animal_pref", trait="axolotl")["test"][0]["continuations"] == strings
    assert trait_content("axolotl").trait.plural == "axolotls"


@pytest.mark.parametrize(
    ("probe", "trait", "questions", "message"),
    [
        ("animal_pref", "owll", None, "Did you mean 'owl'?"),
        ("animal_pref", "oak", None, "asks for animals. Choose: owl"),
        ("tree_pref", "owl", None, "asks for trees. Choose: oak"),
        ("animal_pref", None, None, "Say which one counts as the trait: owl"),
        ("owl_pref", "cat", None, "Use animal_pref for 'cat'"),
        ("owl_prefs", None, None, "Did you mean 'owl_pref'?"),
        ("owl_pref", None, "nowhere.txt", "There is no question file"),
    ],
)
def test_a_wrong_argument_is_told_with_the_next_step(
    probe: str, trait: str | None, questions: str | None, message: str
) -> None:
    with pytest.raises(SublimError, match=re.escape(message)):
        preference_task(probe, trait, questions)
    if not (probe == "owl_pref" and trait):
        with pytest.raises(SublimError, match=re.escape(message)):
            load_questions(probe, trait=trait, questions=questions)


# ---------------------------------------------------------------- what loads what


def test_importing_the_package_loads_no_framework() -> None:
    code = (
        "import sys, sublim_eval; sublim_eval.tasks_dir; sublim_eval.registry.registry; sublim_eval.scorers.tally;"
        "print([m for m in ('torch', 'inspect_ai', 'lm_eval', 'transformers', 'datasets') if m in sys.modules])"
    )
    assert _python(code) == "[]"
    assert _python("import sublim_eval; print(sublim_eval.__version__)").count(".") == 2


def test_the_inspect_entry_point_loads_neither_torch_nor_datasets() -> None:
    code = (
        "import sys, sublim_eval.inspect_tasks; print([m for m in ('torch', 'datasets', 'peft') if m in sys.modules])"
    )
    assert _python(code) == "[]"


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return done.stdout.strip()


@pytest.mark.slow
def test_inspect_lists_the_tasks_by_family() -> None:
    command = [sys.executable, "-m", "inspect_ai", "list", "tasks", "tasks", "-F", "family=preference", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tasks_dir().parent, env=os.environ)
    assert {t["name"] for t in json.loads(done.stdout)} == {p.values[0].name for p in PROBES}


@pytest.mark.parametrize("made", [inspect_tasks.owl_pref, inspect_tasks.animal_story, inspect_tasks.animal_essay])
def test_the_headline_is_there_from_the_first_interim_figures_on(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inspect works figures out before any sample is scored, and warns of a headline that is not among them."""
    from inspect_ai.log import _headline, headline_metric

    abandoned: list[str] = []
    monkeypatch.setattr(_headline, "_abandon", lambda label, value: abandoned.append(f"{label} {value}"))
    log = run(made(), tmp_path, model=inspect_model(2), limit=1)
    assert abandoned == []
    headline = headline_metric(log)
    assert headline is not None and headline.name == "mean"
