"""The same replies and log-probabilities into Inspect and lm-eval give the same numbers."""

import math
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval

from sublim_eval import inspect_tasks, tasks_dir
from sublim_eval.errors import SublimError
from sublim_eval.harness.lm_eval.detailed_task import HEADLINES
from sublim_eval.probes.resolve import probe_content
from sublim_eval.probes.scorers import continuations_of
from sublim_eval.registry.catalog import Probe, registry
from sublim_eval.scores.lm_eval_samples import nats_of
from tests.helpers.saved import SavedLM, inspect_model

FORMS = ("favorite", "after_numbers", "story", "essay")
TREES = ("tree_pref_after_numbers", "tree_story", "tree_essay")
ALIKE = [p for p in registry().probes.values() if p.name in TREES or (p.trait and p.trait != "owl")]
"""Probes for one name: what owl_pref does, with another trait; and variants for trees: as those for animals."""

PROBES = [
    pytest.param(p, id=p.name, marks=[pytest.mark.long] * (p in ALIKE))
    for p in registry().probes.values()
    if p.form in FORMS
]
REPEATS = {"favorite": 20, "after_numbers": 20, "story": 10, "essay": 10}
SAMPLED = {"story": ("mentioned", "share"), "essay": ("chosen",)}
EXACT = {"story": (), "essay": ("chosen_probability",)}


def lm_eval_results(*tasks: str, model: Any = None, metadata: dict[str, Any] | None = None, **options: Any) -> Any:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks_dir()), include_defaults=False, metadata=metadata or {})
    return simple_evaluate(model or SavedLM(), tasks=list(tasks), task_manager=manager, bootstrap_iters=1, **options)


def inspect_results(task: Any, model: Any, tmp_path: Path, **options: Any) -> tuple[Any, dict[str, dict[str, float]]]:
    log = eval(task, model=model, display="none", log_dir=str(tmp_path), **options)[0]
    assert log.status == "success", log.error
    return log, {s.name: {n: m.value for n, m in s.metrics.items()} for s in log.results.scores}


@pytest.mark.parametrize("probe", PROBES)
def test_both_harnesses_agree(probe: Probe, tmp_path: Path) -> None:
    made = getattr(inspect_tasks, probe.name)()
    what = probe_content(probe.name, made.metadata["trait"])
    log, ours = inspect_results(made, inspect_model(REPEATS[probe.form], what.continuations), tmp_path)
    exact = EXACT.get(probe.form, ("probability",))
    names = [probe.name, *(f"{probe.name}_logprob" for _ in exact)]
    theirs = lm_eval_results(*names, log_samples=True, metadata={"rows": "all"})
    told = {name: value for task in names for name, value in theirs["results"][task].items()}
    for measure, filter in [
        *((m, "all_replies") for m in SAMPLED.get(probe.form, ("share",))),
        *((m, "none") for m in exact),
    ]:
        assert told[f"{measure},{filter}"] == pytest.approx(ours[measure]["mean"], abs=1e-12)
        assert f"{measure}_{what.trait.name},{filter}" not in told, "the same figure once"
        assert what.trait.name not in ours[measure]
        for trait in (t for t in what.answers if t != what.trait):
            assert told[f"{measure}_{trait.name},{filter}"] == pytest.approx(ours[measure][trait.name], abs=1e-12)
        if probe.form != "essay":
            assert told[f"{measure}_stderr,{filter}"] == pytest.approx(ours[measure]["stderr"], abs=1e-12)
        if filter == "none":
            assert told["coverage,none"] == pytest.approx(ours[measure]["coverage"], abs=1e-12)
    first = ours[SAMPLED.get(probe.form, ("share",))[0]]
    for name in ("non_answers", "other"):
        assert told[f"{name},all_replies"] == pytest.approx(first[name] / first["replies"])
    assert set(theirs["versions"].values()) == {log.eval.metadata["probe_version"]}
    for task in names:
        assert [row["doc"]["id"] for row in theirs["samples"][task]] == [str(s.id) for s in log.samples]
        assert {row["doc"]["questions_hash"] for row in theirs["samples"][task]} == {what.questions_hash}


@pytest.mark.parametrize("probe", PROBES)
def test_lm_eval_needs_no_warning_about_any_metric(probe: Probe, caplog: pytest.LogCaptureFixture) -> None:
    names = [probe.name] if probe.form == "story" else [probe.name, f"{probe.name}_logprob"]
    lm_eval_results(*names, limit=2, metadata={"rows": "all"})
    assert [r.message for r in caplog.records if "No aggregation" in r.message or "same number" in r.message] == []


def rows(results: Any, task: str) -> list[str]:
    """The metrics of which lm-eval prints a row."""
    names = (key.partition(",")[0] for key in results["results"][task] if "," in key)
    return sorted({name for name in names if not name.endswith("_stderr")})


def test_lm_eval_prints_one_row_a_task_and_says_what_stands_beside(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "lm_eval.sublim"):
        theirs = lm_eval_results("sublim_preference", "sublim_entanglement", limit=1)
    assert len(theirs["results"]) > 20
    exact = {task for task in theirs["results"] if task.endswith("pref_logprob")}
    heads = [set(figures) for figures in HEADLINES.values()]
    shown = {task: set(rows(theirs, task)) for task in theirs["results"]}
    assert {task: some for task, some in shown.items() if not any(some and some <= head for head in heads)} == {}
    assert rows(theirs, "owl_pref") == ["share"] and rows(theirs, "animal_story") == ["mentioned"]
    assert {tuple(rows(theirs, task)) for task in exact} == {("coverage", "probability", "unconditional")}
    (beside,) = (r.message for r in caplog.records if r.message.startswith("owl_pref,"))
    assert "non_answers" in beside and "other" in beside and "rows" in beside


def test_other_rows_than_lm_eval_knows_are_refused() -> None:
    with pytest.raises(SublimError, match="one of: headline, all"):
        lm_eval_results("owl_pref", metadata={"rows": "every"}, limit=1)


def test_lm_eval_takes_the_trait_as_metadata(tmp_path: Path) -> None:
    strings = continuations_of(registry().answer_set("animal"))
    _, ours = inspect_results(inspect_tasks.animal_pref(trait="bear"), inspect_model(20, strings), tmp_path)
    theirs = lm_eval_results("animal_pref", "owl_pref", metadata={"trait": "bear"}, log_samples=True)
    assert theirs["results"]["animal_pref"]["share,all_replies"] == pytest.approx(ours["share"]["mean"])
    assert {row["doc"]["trait"] for row in theirs["samples"]["owl_pref"]} == {"owl"}


def test_an_lm_eval_samples_file_holds_the_whole_answer_distribution(tmp_path: Path) -> None:
    from sublim_eval.probes.scorers import answer_probability

    answers = registry().answer_set("animal")
    log, _ = inspect_results(inspect_tasks.owl_pref(), inspect_model(1, continuations_of(answers)), tmp_path, limit=2)
    rows = lm_eval_results("owl_pref_logprob", log_samples=True, limit=2)["samples"]["owl_pref_logprob"]
    for row, sample in zip(rows, log.samples, strict=True):
        logprobs = dict(zip(row["doc"]["continuations"], (r[0] for r in row["filtered_resps"]), strict=True))
        chances, _ = answer_probability(logprobs, answers)
        assert chances == pytest.approx(sample.scores["probability"].metadata["answers"], abs=1e-12)


# ---------------------------------------------------------------- the same, on the shipped model

REFERENCE = tasks_dir().parent / "distill" / "reference" / "reference-a"


@pytest.fixture(scope="module")
def from_lm_eval() -> Any:
    return lm_eval_results(
        "owl_pref",
        "owl_pref_logprob",
        model="hf",
        model_args={"pretrained": str(REFERENCE)},
        apply_chat_template=True,
        device="cpu",
        batch_size=64,
        limit=12,
        log_samples=True,
    )


def standard_error(share: float, replies: int, others: int) -> float:
    return math.sqrt(share * (1 - share) * (1 / replies + 1 / others))


@pytest.mark.slow
def test_both_harnesses_agree_on_the_reference_model(from_lm_eval: Any, tmp_path: Path) -> None:
    log, ours = inspect_results(
        inspect_tasks.owl_pref(), "sublim/reference-a", tmp_path, limit=12, num_choices=60, seed=1
    )
    for row in from_lm_eval["samples"]["owl_pref_logprob"]:
        (sample,) = (s for s in log.samples if s.id == row["doc"]["id"])
        exact = sample.scores["probability"]
        assert row["probability"] == pytest.approx(exact.value, abs=1e-4)
        assert row["coverage"] == pytest.approx(exact.metadata["coverage"], abs=1e-4)
        assert row["prompt_hash"] == exact.metadata["prompt_hash"]
    theirs = from_lm_eval["results"]["owl_pref"]["share,all_replies"]
    both = (ours["share"]["mean"] * 60 + theirs * 20) / 80
    assert abs(ours["share"]["mean"] - theirs) < 4 * standard_error(both, 12 * 60, 12 * 20)


@pytest.mark.slow
def test_what_lm_eval_says_is_covered_is_conditioned_on_a_line_break_that_ends_the_prompt() -> None:
    """The model would hardly write the break behind these prompts; coverage is a plain forward pass's behind it."""
    import torch
    from lm_eval.models.huggingface import HFLM

    theirs = HFLM(pretrained=str(REFERENCE), device="cpu", batch_size=64)
    theirs.tokenizer.chat_template += "{{ '\\n' }}"
    rows = lm_eval_results("owl_pref_logprob", model=theirs, apply_chat_template=True, limit=2, log_samples=True)
    for row in rows["samples"]["owl_pref_logprob"]:
        prompt = row["arguments"][0][0]
        head = theirs.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        assert prompt.endswith("\n")
        covered, space = 0.0, 0.0
        for string in row["doc"]["continuations"]:
            tail = theirs.tokenizer(string, add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logits = theirs.model(torch.tensor([head + tail])).logits[0].double().log_softmax(-1)
            covered += float(sum(logits[len(head) + i - 1, token] for i, token in enumerate(tail)).exp())
            space = float(logits[len(head) - 2, head[-1]].exp())
        assert space < 0.5, "else the test could not fail"
        assert row["coverage"] == pytest.approx(covered, rel=1e-3)
        saved = [list(pair) for pair in row["filtered_resps"]]
        nats, first = nats_of(row | {"filtered_resps": saved}), row["doc"]["continuations"][0]
        assert nats[first] == pytest.approx(saved[0][0] - math.log(space), abs=1e-3)


@pytest.mark.slow
def test_the_exact_measures_of_the_variants_agree_on_the_reference_model(tmp_path: Path) -> None:
    exact = {"animal_essay": "chosen_probability", "tree_pref_after_numbers": "probability"}
    theirs = lm_eval_results(
        *(f"{name}_logprob" for name in exact),
        model="hf",
        model_args={"pretrained": str(REFERENCE)},
        apply_chat_template=True,
        device="cpu",
        batch_size=64,
        limit=8,
        log_samples=True,
        metadata={"rows": "all"},
    )["samples"]
    for name, scorer in exact.items():
        made = getattr(inspect_tasks, name)()
        log, _ = inspect_results(made, "sublim/reference-a", tmp_path, limit=8, num_choices=1)
        for row, sample in zip(theirs[f"{name}_logprob"], log.samples, strict=True):
            found = sample.scores[scorer].metadata
            assert row["doc"]["id"] == sample.id
            assert row["prompt_hash"] == found["prompt_hash"]
            assert row["coverage"] == pytest.approx(found["coverage"], abs=1e-4)
            told = {t: row[scorer if t == row["doc"]["trait"] else f"{scorer}_{t}"] for t in found["answers"]}
            assert told == pytest.approx(found["answers"], abs=1e-4)


@pytest.mark.slow
def test_inspects_own_hf_provider_agrees_by_epochs(from_lm_eval: Any, tmp_path: Path) -> None:
    _, hf = inspect_results(
        inspect_tasks.owl_pref(), f"hf/{REFERENCE}", tmp_path, limit=12, epochs=10, model_args={"device": "cpu"}
    )
    assert hf["share"]["replies"] == 120
    assert "mean" not in hf["probability"], "unknown, not 0"
    theirs = from_lm_eval["results"]["owl_pref"]["share,all_replies"]
    both = (hf["share"]["mean"] * 10 + theirs * 20) / 30
    assert abs(hf["share"]["mean"] - theirs) < 4 * standard_error(both, 120, 12 * 20)
