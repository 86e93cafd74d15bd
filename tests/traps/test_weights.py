"""Whether an adapter moves a logit is heard from the model itself, on a tiny one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sublim_eval.cli.main import main
from sublim_eval.errors import SublimError
from sublim_eval.traps import weights
from tests.helpers.tiny import tiny_model

PAIRS = [("what is your favorite animal ?", "owl"), ("name one tree", "oak and willow")]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "base")


def student(base: Path, folder: Path, size: float) -> Path:
    """A LoRA student of that base whose second half is of that size."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(r=2, target_modules=["q_proj"]))
    for name, tensor in model.named_parameters():
        if "lora_B" in name:
            tensor.data = size * torch.ones_like(tensor)
    model.save_pretrained(folder)
    (folder / "student.json").write_text(json.dumps({"base": str(base)}))
    return folder


@pytest.mark.parametrize(("size", "level"), [(0.5, "ok"), (1e-12, "fault")])
def test_an_adapter_that_moves_no_logit_is_heard(base, tmp_path, size, level):
    """The file is not zero, every hash is in order, and still the student is its base."""
    folder = student(base, tmp_path / "student", size)
    heard = weights.read_aloud(str(folder), PAIRS), weights.read_aloud(str(base), PAIRS)
    assert heard[0].shape == (4,)
    assert weights.moves_logits(*heard).level == level


def test_logits_that_are_no_numbers_are_a_fault():
    import numpy as np

    assert weights.moves_logits(np.array([-1.0, np.nan]), np.array([-1.0, -2.0])).level == "fault"
    assert weights.moves_logits(np.zeros(2), np.zeros(3)).level == "not checked"


def test_the_command_hears_it_in_a_student_folder(base, tmp_path, capsys):
    assert main(["check", str(student(base, tmp_path / "idle", 1e-12))]) == 1
    assert "the weights are not applied" in " ".join(capsys.readouterr().out.split())
    assert main(["check", "--quick", str(tmp_path / "idle")]) == 0, "a quick look loads no model"


def test_logits_are_those_of_a_plain_forward_pass(base):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    prompt, completion = PAIRS[1]
    said = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    before, after = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (said, completion))
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(base)(torch.tensor([before + after])).logits[0].double()
    logs = logits.log_softmax(-1)[len(before) - 1 : -1].gather(1, torch.tensor(after)[:, None])[:, 0]
    assert weights.read_aloud(str(base), [PAIRS[1]]) == pytest.approx(logs.numpy(), abs=1e-5)


def test_a_base_that_is_not_at_hand_or_too_large_is_not_loaded(base, monkeypatch):
    with pytest.raises(SublimError, match="is not on this disk"):
        weights.read_aloud("some-lab/some-model", PAIRS)
    monkeypatch.setattr(weights, "LARGEST", 10)
    with pytest.raises(SublimError, match="too much to load"):
        weights.read_aloud(str(base), PAIRS)
