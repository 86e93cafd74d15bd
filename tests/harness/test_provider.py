"""The provider sublim/: what Inspect gets from it, end to end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, GenerateConfig, Model, get_model

from sublim_eval.errors import SublimError
from sublim_eval.harness.inspect import provider, request_queue
from sublim_eval.models import local_model
from sublim_eval.models.chat_template import prompt_digest
from tests.helpers.tiny import tiny_model

QUESTIONS = ["what is your favorite animal ?", "name the best tree", "your favorite ?"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny_model(tmp_path_factory.mktemp("provider") / "base")


@pytest.fixture
def model(folder: Path) -> Model:
    return get_model(f"sublim/{folder}", memoize=False)


def ask(model: Model, *inputs: Any, **config: Any) -> list[Any]:
    """Outputs for several inputs that are asked at once."""

    async def run() -> list[Any]:
        settings = GenerateConfig(**({"max_tokens": 6, "seed": 1} | config))
        return list(await asyncio.gather(*(model.generate(i, config=settings) for i in inputs)))

    return asyncio.run(run())


def replies(output: Any) -> list[str]:
    return [c.message.text for c in output.choices]


def run(folder: Path, tmp_path: Path, *, model: str | None = None, **settings: Any) -> EvalLog:
    """A tiny task through inspect_ai.eval."""
    task = Task(
        dataset=MemoryDataset([Sample(id=f"q{i}", input=q) for i, q in enumerate(QUESTIONS)]),
        config=GenerateConfig(max_tokens=6, temperature=1.0, top_p=1.0, top_k=0),
    )
    return inspect_eval(task, model=model or f"sublim/{folder}", log_dir=str(tmp_path), **settings)[0]


def drawn(log: EvalLog) -> dict[tuple[Any, int], list[str]]:
    assert log.status == "success", log.error
    return {(s.id, s.epoch): replies(s.output) for s in log.samples or []}


def test_importing_the_provider_leaves_torch_out() -> None:
    code = "import sys; from sublim_eval.harness.inspect import hooks, provider; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_eight_choices_are_eight_replies_the_same_as_the_library_draws(model: Model, folder: Path) -> None:
    outputs = ask(model, *QUESTIONS, num_choices=8)
    here = local_model.load(folder)
    expected = here.sample([here.render(q) for q in QUESTIONS], n=8, seed=1, max_new_tokens=6)
    assert [replies(o) for o in outputs] == [[s.text for s in row] for row in expected]
    assert [o.choices[0].stop_reason for o in outputs] == [row[0].stop_reason for row in expected]


def test_usage_counts_the_prompt_once_and_no_padding(model: Model, folder: Path) -> None:
    here = local_model.load(folder)
    for question, output in zip(QUESTIONS, ask(model, *QUESTIONS, num_choices=8), strict=True):
        row = here.sample([here.render(question)], n=8, seed=1, max_new_tokens=6)[0]
        assert output.usage.input_tokens == len(here.encode([here.render(question)])[0])
        assert output.usage.output_tokens == sum(s.tokens for s in row)


def test_logprobs_are_those_of_the_drawn_tokens(model: Model, folder: Path) -> None:
    (output,) = ask(model, QUESTIONS[0], num_choices=20, logprobs=True, top_logprobs=2, max_tokens=1)
    here = local_model.load(folder)
    for choice in output.choices:
        (token,) = choice.logprobs.content
        scored = here.continuation_logprobs([here.render(QUESTIONS[0])], [" " + token.token])[0, 0]
        assert token.logprob == pytest.approx(scored, abs=1e-5)
        assert token.token == (choice.message.text or token.token) and len(token.top_logprobs) == 2


def test_continuations_are_scored_beside_the_replies(model: Model, folder: Path) -> None:
    strings = ["owl", "barn owl", "cat"]
    (output,) = ask(model, QUESTIONS[0], extra_body={"continuations": strings, "floor": 0})
    here = local_model.load(folder)
    prompt = here.render(QUESTIONS[0])
    assert output.metadata["continuation_logprobs"] == pytest.approx(
        here.continuation_logprobs([prompt], strings)[0].tolist(), abs=1e-6
    )
    assert output.metadata["prompt_hash"] == prompt_digest(prompt)
    (quick,) = ask(model, QUESTIONS[0], extra_body={"continuations": strings})
    assert quick.metadata["continuation_floor"] == provider.FLOOR == 1e-9
    assert np.exp(quick.metadata["continuation_logprobs"]) == pytest.approx(
        np.exp(output.metadata["continuation_logprobs"]), abs=1e-9 + 1e-6
    )


def test_system_messages_and_earlier_turns_are_rendered(model: Model, folder: Path) -> None:
    chat = [
        ChatMessageSystem(content="I love owls"),
        ChatMessageUser(content="my favorite ?"),
        ChatMessageAssistant(content="the cat"),
        ChatMessageUser(content="and your favorite ?"),
    ]
    (output,) = ask(model, chat)
    rendered = local_model.load(folder).render_chat([{"role": m.role, "content": m.text} for m in chat])
    assert output.metadata["prompt_hash"] == prompt_digest(rendered)
    assert rendered.startswith("<|system|> I love owls") and "the cat" in rendered


def test_temperature_zero_and_stop_strings_reach_the_model(model: Model) -> None:
    (greedy,) = ask(model, QUESTIONS[0], temperature=0, num_choices=3)
    assert len(set(replies(greedy))) == 1
    (cut,) = ask(model, QUESTIONS[0], stop_seqs=["a"], num_choices=30)
    assert not any("a" in text for text in replies(cut)) and cut.choices[0].stop_reason in ("stop", "max_tokens")


def test_calls_without_a_seed_differ_and_their_recorded_seed_repeats_them(model: Model) -> None:
    first, second = (ask(model, QUESTIONS[0], num_choices=20, seed=None)[0] for _ in range(2))
    assert replies(first) != replies(second)
    again = ask(model, QUESTIONS[0], num_choices=20, seed=first.metadata["seed"])[0]
    assert replies(again) == replies(first)


def test_requests_that_come_together_are_answered_together(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = request_queue.answer
    monkeypatch.setattr(request_queue, "answer", lambda batch: sizes.append(len(batch)) or real(batch))
    ask(model, *QUESTIONS * 20)
    assert sum(sizes) == 60 and len(sizes) <= 3


# ---------------------------------------------------------------- through inspect_ai.eval


def test_an_eval_repeats_under_its_seed_and_no_epoch_repeats_another(folder: Path, tmp_path: Path) -> None:
    first = drawn(run(folder, tmp_path, epochs=4, num_choices=5, seed=3))
    assert len(first) == 12 and all(len(texts) == 5 for texts in first.values())
    assert len({str(texts) for texts in first.values()}) == 12
    assert drawn(run(folder, tmp_path, epochs=4, num_choices=5, seed=3, max_connections=1)) == first
    assert drawn(run(folder, tmp_path, epochs=4, num_choices=5, seed=4)) != first


def test_one_model_is_loaded_once_for_the_whole_eval(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sublim_eval.models import loading

    local_model.unload_all()
    loads: list[str] = []
    real = loading.read_model
    monkeypatch.setattr(loading, "read_model", lambda s, d, t: loads.append(s.label) or real(s, d, t))
    run(folder, tmp_path)
    assert loads == ["base"]


def test_an_hf_folder_is_loaded_once_and_other_names_are_left_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    loads: list[str] = []
    real = AutoModelForCausalLM.from_pretrained
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *a, **k: loads.append(a[0]) or real(*a, **k))
    log = run(folder, tmp_path, model=f"hf/{folder}", max_connections=3)
    assert log.status == "success" and loads == [str(folder)]


def test_failures_reach_the_log_as_they_are(folder: Path, tmp_path: Path) -> None:
    log = run(folder, tmp_path, model="sublim/nobody/no-such-model")
    assert log.status == "error" and log.error and "could not be loaded" in log.error.message


def test_an_unknown_name_fails_before_anything_runs(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SublimError, match="Did you mean 'reference-a'"):
        run(folder, tmp_path, model="sublim/reference-aa")


def test_a_relative_folder_is_found_from_where_the_command_was_given(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    model = get_model("sublim/base", memoize=False)
    monkeypatch.chdir(tmp_path)
    assert replies(ask(model, QUESTIONS[0])[0])


def test_a_failure_reaches_every_waiting_request(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(batch: list[Any]) -> list[Any]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(request_queue, "answer", fail)

    async def run_all() -> list[Any]:
        calls = (model.generate(q, config=GenerateConfig(max_tokens=2)) for q in QUESTIONS)
        return list(await asyncio.gather(*calls, return_exceptions=True))

    assert [str(e) for e in asyncio.run(run_all())] == ["out of memory"] * 3
    monkeypatch.undo()
    assert ask(model, QUESTIONS[0])[0].choices


@pytest.mark.parametrize(
    ("arguments", "config", "says"),
    [
        ({"devise": "cpu"}, {}, "Did you mean 'device'"),
        ({"batch": "many"}, {}, "batch=64"),
        ({}, {"extra_body": {"continuation": []}}, "Did you mean 'continuations'"),
        ({}, {"extra_body": {"continuations": "owl"}}, "list of strings"),
        ({}, {"frequency_penalty": 0.5}, "frequency_penalty"),
        ({}, {"temperature": -1.0}, "temperature is -1"),
    ],
)
def test_what_cannot_be_done_is_refused(
    folder: Path, arguments: dict[str, Any], config: dict[str, Any], says: str
) -> None:
    with pytest.raises(SublimError, match=says):
        ask(get_model(f"sublim/{folder}", memoize=False, **arguments), QUESTIONS[0], **config)


def test_model_arguments_and_closing(folder: Path) -> None:
    model = get_model(f"sublim/{folder}", memoize=False, device="cpu", dtype="float64", batch="2")
    assert replies(ask(model, QUESTIONS[0], num_choices=7)[0])
    assert local_model.load(folder, device="cpu", dtype="float64").model.dtype == torch.float64
    model.api.close()
    assert "base" not in local_model.loaded()
