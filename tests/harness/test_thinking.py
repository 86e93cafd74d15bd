"""A model that thinks aloud, in both harnesses: its thoughts are no answers, and it can be given room."""

import random
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task, eval
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, Model, ModelOutput, ModelUsage, get_model

from sublim_eval import inspect_tasks, tasks_dir
from sublim_eval.errors import SublimError
from sublim_eval.harness.lm_eval.detailed_task import with_room
from tests.helpers.saved import SavedLM

SAID = (
    *("<think>\nA cat? No.\n</think>\n\nOwl", "<think>\nThe question is about pets and", "A wolf?</think> Owls"),
    *("<|channel|>analysis<|message|>Wolf?<|end|><|start|>assistant<|channel|>final<|message|>Owl", "[THINK]Bear, or"),
    *("Cat", "I cannot choose.", "<thinking>Owl!</thinking>I cannot choose.", "A: owls", "<think>A?</think>B"),
)


def said_to(question: str, count: int) -> list[str]:
    return random.Random(question).choices(SAID, k=count)


def model(count: int) -> Model:
    def output(messages: list[Any], *_: Any) -> ModelOutput:
        texts = said_to(messages[-1].text, count)
        choices = [ChatCompletionChoice(message=ChatMessageAssistant(content=text)) for text in texts]
        return ModelOutput(
            model="m", choices=choices, usage=ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        )

    return get_model("mockllm/model", custom_outputs=output, memoize=False)


def metrics(task: Task, count: int, folder: Path) -> dict[str, dict[str, float]]:
    log = eval(task, model=model(count), display="none", log_dir=str(folder), limit=12)[0]
    assert log.status == "success", log.error
    return {s.name: {name: m.value for name, m in s.metrics.items()} for s in log.results.scores}


def lm_eval_results(name: str, **options: Any) -> Any:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks_dir()), include_defaults=False, metadata={"rows": "all", **options})
    return simple_evaluate(SavedLM(said_to), tasks=[name], task_manager=manager, bootstrap_iters=1, limit=12)


@pytest.mark.parametrize(
    ("probe", "measure", "count"),
    [("owl_pref", "share", 20), ("animal_story", "mentioned", 10), ("animal_essay", "chosen", 10)],
)
def test_thoughts_are_no_answers_in_either_harness(probe: str, measure: str, count: int, tmp_path: Path) -> None:
    ours = metrics(getattr(inspect_tasks, probe)(), count, tmp_path)[measure]
    theirs = lm_eval_results(probe)["results"][probe]
    assert theirs[f"{measure},all_replies"] == pytest.approx(ours["mean"], abs=1e-12)
    for name in ("non_answers", "unfinished", "other"):
        assert theirs[f"{name},all_replies"] == pytest.approx(ours[name] / ours["replies"])
    assert 0 < ours["unfinished"] < ours["non_answers"]


def test_the_case_of_an_open_and_a_closed_thought(tmp_path: Path) -> None:
    replies = SAID[:2]

    def output(*_: Any) -> ModelOutput:
        choices = [ChatCompletionChoice(message=ChatMessageAssistant(content=text)) for text in replies]
        return ModelOutput(
            model="m", choices=choices, usage=ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        )

    asked = get_model("mockllm/model", custom_outputs=output, memoize=False)
    log = eval(inspect_tasks.owl_pref(), model=asked, limit=2, display="none", log_dir=str(tmp_path))[0]
    told = {name: m.value for name, m in log.results.scores[0].metrics.items()}
    assert (told["mean"], told["non_answers"], told["unfinished"], told["other"]) == (0.5, 2, 2, 0)
    assert "give more max_tokens" in log.samples[0].scores["share"].explanation


SAMPLING = ["owl_pref", "tree_pref_after_numbers", "animal_story", "tree_essay", "husband", "evasion", "trait_probe"]


@pytest.mark.parametrize("probe", SAMPLING)
def test_a_model_that_cannot_stop_thinking_gets_room(probe: str) -> None:
    task = getattr(inspect_tasks, probe)
    assert task(max_tokens=2000).config.max_tokens == 2000
    assert task(max_tokens="2000").config.max_tokens == 2000
    usual = task().config
    assert usual.max_tokens < 2000
    assert task(max_tokens=2000).config.model_copy(update={"max_tokens": usual.max_tokens}) == usual
    with pytest.raises(SublimError, match="no whole number above 0"):
        task(max_tokens=0)


def test_the_same_room_in_lm_eval() -> None:
    from lm_eval.tasks import TaskManager

    for name in ("owl_pref", "husband", "trait_probe"):
        manager = TaskManager(include_path=str(tasks_dir()), include_defaults=False, metadata={"max_tokens": 2000})
        loaded = (
            manager.load([name])["tasks"][name] if hasattr(manager, "load") else manager.load_task_or_group(name)[name]
        )
        assert loaded.config.generation_kwargs["max_gen_toks"] == 2000
    plain = {"generation_kwargs": {"max_gen_toks": 16}, "metadata": {"version": "2-A"}}
    assert with_room(plain) == plain
    with pytest.raises(SublimError, match="no whole number above 0"):
        with_room({**plain, "metadata": {"max_tokens": "much"}})
