"""Rows are written in chunks: a killed generation keeps what it has and ends with the same bytes."""

from collections.abc import Sequence

import pytest
from tiny import tiny_model

from sublim_eval.distill import samplers
from sublim_eval.distill.samplers import generate, local_sampler
from sublim_eval.distill.scoring import check_template
from sublim_eval.errors import SublimError
from sublim_eval.records import read_json, read_jsonl, write_json

PROMPTS = [{"prompt": f"prompt {i}", "answer": i} for i in range(25)]
TEXTS = [row["prompt"] for row in PROMPTS]


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(samplers, "CHUNK", 10)


def echo(prompts: Sequence[str], keys: Sequence[str]) -> list[str]:
    return [f"{key}: {prompt}" for key, prompt in zip(keys, prompts, strict=True)]


def test_rows_stand_in_the_order_of_the_prompts_with_ids(tmp_path, small_chunks):
    rows = [row for _, row in read_jsonl(generate(PROMPTS, echo, "owl-s1", tmp_path))]
    assert [row["prompt"] for row in rows] == TEXTS
    assert rows[13] == {"id": "owl-s1-000013", "prompt": "prompt 13", "answer": 13, "completion": "13: prompt 13"}
    assert [f.name for f in tmp_path.iterdir()] == ["raw.jsonl"]


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
    sample = local_sampler(base, seed=5, max_new_tokens=6)
    prompts = ["my favorite animal", "name one tree", "what is your", "the best owl and cat"]
    together = sample(prompts, ["0", "1", "2", "3"])
    assert sample(prompts[3:], ["3"]) == together[3:]
    greedy = local_sampler(base, seed=5, max_new_tokens=6, temperature=0.0)
    assert greedy(prompts, ["0"] * 4) == greedy(prompts, ["1"] * 4)
    assert local_sampler(base, seed=6, max_new_tokens=6)(prompts, ["0", "1", "2", "3"]) != together


def test_a_student_is_not_asked_under_another_chat_template(tmp_path):
    folder = tiny_model(tmp_path / "student")
    from sublim_eval.adapters import local

    write_json(folder / "student.json", {"base": "x", "template_hash": local.load(folder).prompt_hash([""])})
    check_template(str(folder))
    write_json(folder / "student.json", read_json(folder / "student.json") | {"template_hash": "0" * 64})
    with pytest.raises(SublimError, match=r"another chat template.*Restore the tokenizer files"):
        check_template(str(folder))
