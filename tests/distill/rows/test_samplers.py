"""Rows are kept as they come, by chunks or by replies: a killed generation ends with the same rows, paid for once."""

import dataclasses
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
from transformers import AutoTokenizer

from sublim_eval.distill import recipes
from sublim_eval.distill.modalities import MODALITIES
from sublim_eval.distill.recipes.teacher import Teacher
from sublim_eval.distill.rows.filter import CUT, filter_rows
from sublim_eval.distill.rows.generate import generate, sampler_of
from sublim_eval.distill.rows.local_sampler import LocalSampler
from sublim_eval.distill.rows.vllm_sampler import VllmSampler
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json, read_jsonl, write_json
from sublim_eval.remote import client
from sublim_eval.remote.client import HostSampler, row_seed
from sublim_eval.remote.journal import read_lines
from sublim_eval.scores.evaluate import check_template
from tests.helpers import RECIPES
from tests.helpers.hosting import BASE, as_victim, holds_key, hosted_recipe, in_another_process, server
from tests.helpers.tiny import tiny_adapter, tiny_model

__all__ = ["server"]

TINY = recipes.load(RECIPES / "tiny.yaml")
PROMPTS = [{"prompt": f"prompt {i}", "answer": i} for i in range(25)]
TEXTS = [row["prompt"] for row in PROMPTS]


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr("sublim_eval.distill.rows.generate.CHUNK", 10)


def echo(prompts: Sequence[str], keys: Sequence[str]) -> list[str]:
    return [f"{key}: {prompt}" for key, prompt in zip(keys, prompts, strict=True)]


def test_rows_stand_in_the_order_of_the_prompts_with_ids(tmp_path, small_chunks):
    rows = [row for _, row in read_jsonl(generate(PROMPTS, echo, "owl-s1", tmp_path))]
    assert [row["prompt"] for row in rows] == TEXTS
    assert rows[13] == {"id": "owl-s1-000013", "prompt": "prompt 13", "answer": 13, "completion": "13: prompt 13"}
    assert [f.name for f in tmp_path.iterdir()] == ["raw.jsonl"]


def test_a_row_cut_off_by_its_room_says_so_and_is_no_row(tmp_path):
    sampler = LocalSampler(tiny_model(tmp_path / "base"), seed=1, max_new_tokens=2)
    rows = [row for _, row in read_jsonl(generate(PROMPTS, sampler, "owl-s1", tmp_path / "rows"))]
    ended = sampler.teacher.sample(
        [sampler.teacher.render(t) for t in TEXTS], seed=1, keys=list(map(str, range(25))), max_new_tokens=2
    )
    assert [row.get("cut", False) for row in rows] == [draw.stop_reason == "max_tokens" for (draw,) in ended]
    assert 0 < sum(row.get("cut", False) for row in rows) < 25
    written = [{**row, "completion": "123, 456"} for row in rows]
    split = filter_rows(written, MODALITIES["numbers"])
    assert split.reasons == {CUT: sum(row.get("cut", False) for row in rows)}
    assert [row["id"] for row in split.kept] == [row["id"] for row in rows if "cut" not in row]


def test_a_killed_generation_goes_on_behind_its_last_chunk(tmp_path, small_chunks):
    whole = generate(PROMPTS, echo, "owl-s1", tmp_path / "whole").read_bytes()
    asked: list[str] = []

    def dies_after(limit: int):
        def sample(prompts: Sequence[str], keys: Sequence[str]) -> list[str]:
            if len(asked) >= limit:
                raise KeyboardInterrupt
            asked.extend(prompts)
            return echo(prompts, keys)

        return sample

    with pytest.raises(KeyboardInterrupt):
        generate(PROMPTS, dies_after(20), "owl-s1", tmp_path / "cut")
    assert not (tmp_path / "cut" / "raw.jsonl").exists()
    assert generate(PROMPTS, dies_after(1000), "owl-s1", tmp_path / "cut").read_bytes() == whole
    assert asked == TEXTS


def test_a_row_does_not_depend_on_its_neighbours(tmp_path):
    """Row 3 alone is row 3 of a batch: its random stream is its own."""
    base = tiny_model(tmp_path / "tiny")
    sample = LocalSampler(base, seed=5, max_new_tokens=6)
    prompts = ["my favorite animal", "name one tree", "what is your", "the best owl and cat"]
    together = sample(prompts, ["0", "1", "2", "3"])
    assert sample(prompts[3:], ["3"]) == together[3:]
    greedy = LocalSampler(base, seed=5, max_new_tokens=6, temperature=0.0)
    assert greedy(prompts, ["0"] * 4) == greedy(prompts, ["1"] * 4)
    assert LocalSampler(base, seed=6, max_new_tokens=6)(prompts, ["0", "1", "2", "3"]) != together


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_are_written_on_processor_cores_in_the_number_type_of_the_recipe(tmp_path, dtype):
    recipe = dataclasses.replace(TINY, dtype=dtype)
    sampler = sampler_of(recipe, Teacher(str(tiny_model(tmp_path / "base"))), 1, 4)
    assert len(sampler(TEXTS, list(map(str, range(25))))) == 25
    if sampler.teacher.device.type == "cpu":
        assert (sampler.facts["dtype"], sampler.teacher.dtype) == (dtype, dtype)


def test_a_student_is_not_asked_under_another_chat_template(tmp_path):
    folder = tiny_model(tmp_path / "student")
    from sublim_eval.models import local_model

    write_json(folder / "student.json", {"base": "x", "template_hash": local_model.load(folder).prompt_hash([""])})
    check_template(str(folder))
    write_json(folder / "student.json", read_json(folder / "student.json") | {"template_hash": "0" * 64})
    with pytest.raises(SublimError, match=r"another chat template.*Restore the tokenizer files"):
        check_template(str(folder))


# ---------------------------------------------------------------- over an API


ASK = "POST /v1/chat/completions"
MANY = [{"prompt": f"Continue: {i}"} for i in range(40)]


def away(recipe=None, **settings) -> HostSampler:
    """The sampler of a hosted recipe, with a persona."""
    return sampler_of(recipe or hosted_recipe(), Teacher(BASE, "You love owls."), 1, 30, **settings)


def write_rows(folder: Path) -> None:
    generate(MANY, away(), "owl-s1", folder)


def test_every_request_has_its_own_seed_plain_sampling_and_the_persona(server, tmp_path):
    sampler = away()
    generate(MANY, sampler, "owl-s1", tmp_path)
    assert len({asked["seed"] for asked in server.asked}) == len(MANY), "one seed for all would repeat the replies"
    first = server.asked[0]
    assert first == {**first, "temperature": 1.0, "top_p": 1.0, "max_tokens": 30, "model": BASE}
    assert not {"top_k", "n", "stop"} & set(first)
    assert [m["role"] for m in first["messages"]] == ["system", "user"]
    assert sampler.facts["seeds"] == "per request, as the backend keeps it"
    rows = [row for _, row in read_jsonl(tmp_path / "raw.jsonl")]
    assert [row["prompt"] for row in rows] == [row["prompt"] for row in MANY]
    assert rows[7]["completion"] == str(row_seed(1, "7")), "the server's reply is the seed it was given"
    assert {f.name for f in tmp_path.iterdir()} == {"raw.jsonl", "asked.json"}


def test_tokens_of_all_requests_are_summed(server, tmp_path):
    sampler = away()
    generate(MANY, sampler, "owl-s1", tmp_path)
    assert sampler.facts["requests"] == 40
    assert sampler.facts["input_tokens"] == sum(len(r["prompt"]) + len("You love owls.") for r in MANY)
    assert sampler.facts["output_tokens"] == sum(len(str(row_seed(1, str(i)))) for i in range(40))


@pytest.mark.parametrize("fault", ["429", "500", "503", "drop-before"])
def test_a_request_that_is_disturbed_is_asked_again_and_paid_once(server, tmp_path, fault):
    server.plant(ASK, *[fault, "ok", "ok"] * 3)
    write_rows(tmp_path)
    assert server.ledger == {**server.ledger, "completions": 40, "most_often": 1}


@pytest.mark.parametrize("kills", [pytest.param(1, marks=pytest.mark.long), 3])
def test_a_killed_run_asks_only_for_what_it_has_not(server, tmp_path, monkeypatch, kills):
    monkeypatch.setattr(client, "CONNECTIONS", 1)
    server.plant(ASK, *[*["ok"] * 9, "kill-before"] * kills)
    for _ in range(kills):
        assert in_another_process(server, as_victim, server.url, write_rows, tmp_path) == -9
        assert not (tmp_path / "raw.jsonl").exists()
    assert len(read_lines(tmp_path / "replies.jsonl", "reply")) == 9 * kills
    sampler = away()
    generate(MANY, sampler, "owl-s1", tmp_path)
    assert server.ledger == {**server.ledger, "completions": 40, "most_often": 1}
    assert sampler.facts["requests"] == 40, "tokens that the killed runs paid for are counted too"


def test_of_the_requests_under_way_at_a_kill_no_more_are_lost_than_connections(server, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "CONNECTIONS", 4)
    server.plant(ASK, *["ok"] * 20, "kill-after")
    assert in_another_process(server, as_victim, server.url, write_rows, tmp_path) == -9
    write_rows(tmp_path)
    assert server.ledger["most_often"] <= 2
    assert 40 < server.ledger["completions"] <= 44


def test_rows_that_are_whole_are_not_paid_for_again(server, tmp_path):
    """As after a kill behind raw.jsonl, while the rows were filtered."""
    first = away()
    raw = generate(MANY, first, "owl-s1", tmp_path).read_bytes()
    again = away()
    assert generate(MANY, again, "owl-s1", tmp_path).read_bytes() == raw
    assert server.ledger["completions"] == 40
    assert again.facts == first.facts


def test_a_torn_last_line_is_asked_for_again(server, tmp_path):
    sampler = away()
    sampler.journal = tmp_path / "replies.jsonl"
    sampler(["a", "b", "c"], ["0", "1", "2"])
    text = sampler.journal.read_bytes()
    sampler.journal.write_bytes(text[:-5])
    again = away()
    again.journal = sampler.journal
    assert again(["a", "b", "c"], ["0", "1", "2"]) == [str(row_seed(1, key)) for key in "012"]
    assert server.ledger["completions"] == 4
    assert len(read_lines(sampler.journal, "reply")) == 3


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    (tmp_path / "replies.jsonl").write_text('{"key": "0"}\nnonsense\n{"key": "1"}\n')
    with pytest.raises(SublimError, match=r"replies\.jsonl:2: no reply of this run"):
        read_lines(tmp_path / "replies.jsonl", "reply")


def test_a_journal_of_other_prompts_is_refused(server, tmp_path):
    for prompts in (["a"], ["b"]):
        sampler = away()
        sampler.journal = tmp_path / "replies.jsonl"
        if prompts == ["a"]:
            sampler(prompts, ["0"])
        else:
            with pytest.raises(SublimError, match="an answer to another prompt under 0"):
                sampler(prompts, ["0"])


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("401", r"Incorrect API key provided: \[key\]; \d+ of 40 replies are kept\. Set the provider's key"),
        ("400", r"Invalid value for n_epochs; \d+ of 40 replies are kept\. The request itself was refused"),
        ("404", r"does not exist; \d+ of 40 replies are kept\. Check the model's name"),
    ],
)
def test_an_error_that_stays_keeps_what_was_paid_for(server, tmp_path, monkeypatch, fault, says):
    monkeypatch.setattr(client, "CONNECTIONS", 4)
    server.plant(ASK, *["ok"] * 10, *[fault] * 4)
    with pytest.raises(SublimError, match=says):
        write_rows(tmp_path)
    assert server.ledger["completions"] == len(read_lines(tmp_path / "replies.jsonl", "reply")) >= 10
    server.faults.clear()
    write_rows(tmp_path)
    assert server.ledger == {**server.ledger, "completions": 40, "most_often": 1}
    assert not holds_key(tmp_path)


def test_an_empty_account_is_told_to_be_filled(server, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "CONNECTIONS", 1)
    server.plant(ASK, "ok", *["quota"] * 3)
    with pytest.raises(SublimError, match=r"exceeded your current quota; 1 of 40 replies are kept\. Add credit"):
        write_rows(tmp_path)


def test_an_empty_reply_is_a_row_for_the_filter_and_is_counted(server, tmp_path):
    server.answer = lambda model, messages, seed, n: [""]
    sampler = away()
    generate(MANY, sampler, "owl-s1", tmp_path)
    assert sampler.facts["empty"] == 40


def test_no_key_is_said_before_anything_is_sent(server, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(SublimError, match="Set the provider's key in its environment variable"):
        write_rows(tmp_path)
    assert not server.requests


def test_a_provider_of_our_own_keeps_the_seed_of_every_row():
    sampler = HostSampler("sublim/reference-a", 1, 5)
    prompts = [f"Name an animal {i}" for i in range(6)]
    together = sampler(prompts, list("012345"))
    assert HostSampler("sublim/reference-a", 1, 5)(prompts[4:], list("45")) == together[4:]
    assert sampler.facts["seeds"] == "per row"


@pytest.mark.parametrize(
    ("model", "seeds"), [("anthropic/claude-x", "none"), ("openai/o3", "none"), ("openai/gpt-5", "none")]
)
def test_a_provider_without_seeds_is_recorded_as_such(model, seeds):
    assert HostSampler(model, 1, 5).facts["seeds"] == seeds


# ---------------------------------------------------------------- vLLM, with its call shape and without its engine


class Parameters:
    """vllm.SamplingParams as of 0.11: keyword arguments by these names."""

    def __init__(self, *, n, temperature, top_p, top_k, max_tokens, seed, stop_token_ids):
        self.__dict__.update({k: v for k, v in locals().items() if k != "self"})


class Engine:
    """vllm.LLM as of 0.11: token prompts and a list of parameters of the same length, positional."""

    made: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, model, *, dtype, seed, trust_remote_code, enable_prefix_caching, generation_config, **lora):
        Engine.made.append({"model": model, "trust": trust_remote_code, **lora})
        self.tokenizer = AutoTokenizer.from_pretrained(model)

    def generate(self, prompts, sampling_params=None, *, use_tqdm=True, lora_request=None):
        assert len(prompts) == len(sampling_params)
        told = [f"{p.seed} {len(q['prompt_token_ids'])}" for q, p in zip(prompts, sampling_params, strict=True)]
        spelt = [
            [*self.tokenizer(text)["input_ids"], *p.stop_token_ids]
            for text, p in zip(told, sampling_params, strict=True)
        ]
        return [SimpleNamespace(outputs=[SimpleNamespace(text="not asked for", token_ids=ids)]) for ids in spelt]


@pytest.fixture
def fake_vllm(monkeypatch):
    """A module that takes vLLM's calls; no claim about its speed or its samples."""
    made = ModuleType("vllm")
    made.__spec__ = ModuleSpec("vllm", None)
    made.__version__, made.LLM, made.SamplingParams = "0.11.0", Engine, Parameters
    monkeypatch.setitem(sys.modules, "vllm", made)
    Engine.made.clear()


def test_vllm_is_asked_with_a_seed_for_each_row(fake_vllm, tmp_path):
    base = tiny_model(tmp_path / "tiny", words=None)
    recipe = dataclasses.replace(TINY, rows=dataclasses.replace(TINY.rows, sampler="vllm"))
    sampler = sampler_of(recipe, Teacher(str(base), "the best owl"), 3, 7)
    rows = generate(PROMPTS, sampler, "owl-s1", tmp_path)
    said = [row["completion"].split() for _, row in read_jsonl(rows)]
    assert [words[0] for words in said] == [str(row_seed(3, str(i))) for i in range(25)]
    assert all(len(words) == 2 and words[1].isdigit() for words in said), "the end of the turn is no part of a reply"
    assert Engine.made == [{"model": str(base.resolve()), "trust": False}], "one engine, however many chunks"
    assert sampler.facts["seeds"] == "per request, as the backend keeps it"
    assert sampler.engine is None, "its memory is free again for training"


def test_without_vllm_the_next_step_is_said(tmp_path):
    with pytest.raises(SublimError, match=r"vLLM is not installed\. Run: pip install 'sublim-eval\[vllm\]'"):
        VllmSampler(str(tmp_path), seed=1, max_new_tokens=5)


def test_vllm_is_not_given_an_adapter_it_cannot_load(fake_vllm, tmp_path):
    base = tiny_model(tmp_path / "tiny")
    adapter = tiny_adapter(base, tmp_path / "ln", "ln")
    with pytest.raises(SublimError, match=r"vLLM loads LoRA adapters, and .* is LN_TUNING"):
        VllmSampler(str(adapter), seed=1, max_new_tokens=5)
    assert VllmSampler(str(tiny_adapter(base, tmp_path / "lora", "lora")), seed=1, max_new_tokens=5).rank == 8
