"""A model folder from the wild is loaded as what it is, or refused in one sentence that names the file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sublim_eval.errors import SublimError
from sublim_eval.models import local_model, template_trial
from sublim_eval.models.model_ref import resolve
from tests.helpers.tiny import tiny_adapter, tiny_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("made")
    base = tiny_model(home / "base")
    return {"base": base, "lora": tiny_adapter(base, home / "lora", "lora")}


@pytest.fixture(autouse=True)
def nothing_loaded() -> None:
    local_model.unload_all()


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def copy(folder: Path, to: Path) -> Path:
    return shutil.copytree(folder, to / "m")


def tensors(file: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    from safetensors.torch import load_file, save_file

    held = load_file(file)
    change(held)
    save_file(held, file, metadata={"format": "pt"})


def refusal(folder: Path, capfd: pytest.CaptureFixture[str] | None = None) -> str:
    with pytest.raises(SublimError) as error:
        local_model.load(folder)
    message = str(error.value)
    assert "\n" not in message and message.endswith((".", ")", "}")), message
    if capfd:
        assert capfd.readouterr() == ("", "")
    return message


def split(folder: Path, name: object = "part.safetensors") -> None:
    """The weights as one part and an index that names it."""
    from safetensors.torch import load_file

    held = load_file(folder / "model.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(held, name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").rename(folder / "part.safetensors")


# ---------------------------------------------------------------- weights


def test_weights_in_parts_are_loaded(made, tmp_path):
    whole = local_model.load(made["base"])
    prompt = whole.render("what is your favorite animal ?")
    wanted = whole.continuation_logprobs([prompt], ["owl"])
    split(folder := copy(made["base"], tmp_path))
    assert np.array_equal(local_model.load(folder).continuation_logprobs([prompt], ["owl"]), wanted)


@pytest.mark.parametrize(
    "name",
    ["w.bin", "pytorch_model.bin", "../part.safetensors", "/etc/passwd", "a\\part.safetensors", "", ["x"], None, 3],
)
def test_an_index_may_name_safetensors_files_beside_it_alone(made, tmp_path, name):
    split(folder := copy(made["base"], tmp_path), name)
    torch.save({}, folder / "w.bin")
    assert "model.safetensors.index.json" in refusal(folder) and ".safetensors files beside the index" in refusal(
        folder
    )


@pytest.mark.parametrize("index", ["{}", '{"weight_map": []}', "[1]", "[" * 100_000, "{", '{"weight_map": {}}'])
def test_an_index_that_is_none_is_refused(made, tmp_path, index):
    split(folder := copy(made["base"], tmp_path))
    (folder / "model.safetensors.index.json").write_text(index)
    assert "model.safetensors.index.json" in refusal(folder)


def test_a_part_that_is_missing_is_named(made, tmp_path):
    split(folder := copy(made["base"], tmp_path), "other.safetensors")
    assert "other.safetensors, which model.safetensors.index.json names, is missing" in refusal(folder)


@pytest.mark.parametrize("size", [0, 7, 100, 5000, -1])
def test_a_torn_weight_file_is_named(made, tmp_path, size, capfd):
    for name, file in (("base", "model.safetensors"), ("lora", "adapter_model.safetensors")):
        folder = shutil.copytree(made[name], tmp_path / name)
        (folder / file).write_bytes((folder / file).read_bytes()[:size])
        assert f"{folder / file} is torn" in refusal(folder, capfd)


@pytest.mark.parametrize("layers", [-1, 0, 1])
def test_tensors_without_a_place_are_refused(made, tmp_path, layers, capfd):
    edit(copy(made["base"], tmp_path) / "config.json", num_hidden_layers=layers)
    assert "hold" in refusal(tmp_path / "m", capfd) and "config.json" in refusal(tmp_path / "m", capfd)


def test_an_extra_tensor_is_refused(made, tmp_path):
    folder = copy(made["base"], tmp_path)
    tensors(folder / "model.safetensors", lambda held: held.update({"model.extra.weight": torch.zeros(2)}))
    assert "hold 1 tensors that its config.json has no place for (first: model.extra.weight)" in refusal(folder)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_no_number_is_named(made, tmp_path, number):
    folder = copy(made["base"], tmp_path)
    tensors(folder / "model.safetensors", lambda held: held["model.norm.weight"].__setitem__(3, number))
    assert f"{folder / 'model.safetensors'} holds a number that is none" in refusal(folder)
    folder = shutil.copytree(made["lora"], tmp_path / "lora")
    tensors(folder / "adapter_model.safetensors", lambda held: next(iter(held.values())).__setitem__((0, 0), number))
    assert f"{folder / 'adapter_model.safetensors'} holds a number that is none" in refusal(folder)


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 0},
        {"num_attention_heads": 5},
        {"hidden_size": 65536},
        {"hidden_size": "wide"},
        {"hidden_size": 10**12},
        {"head_dim": 10**10},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": None},
        {"vocab_size": 10**13},
        {"model_type": "no-such-model"},
        {"model_type": None},
        {"rms_norm_eps": "small"},
        {"rms_norm_eps": float("nan")},
        {"hidden_act": "no-such-act"},
        {"rope_parameters": {"rope_type": "none", "rope_theta": "x"}},
        {"eos_token_id": "end"},
        {"transformers_weights": "../x.safetensors"},
        {"transformers_weights": "w.bin"},
    ],
)
def test_a_config_that_describes_no_model_is_named(made, tmp_path, changes, capfd):
    edit(copy(made["base"], tmp_path) / "config.json", **changes)
    assert "config.json" in refusal(tmp_path / "m", capfd)


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "tokenizer_config.json", "adapter_config.json"]
)
@pytest.mark.parametrize("text", ["[" * 100_000, "", "[]", "{", "\x00", '{"a": ' + "9" * 5000 + "}", b"\xff\xfe"])
def test_settings_that_are_no_object_are_named(made, tmp_path, name, text):
    folder = copy(made["lora" if name.startswith("adapter") else "base"], tmp_path)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert str(folder / name) in refusal(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"eos_token_id": "end"},
        {"eos_token_id": [1, None, 2.5]},
        {"eos_token_id": -1},
        {"eos_token_id": True},
        {"temperature": "hot"},
        {"top_k": [1]},
        {"repetition_penalty": float("nan")},
        {"max_new_tokens": "many"},
    ],
)
def test_a_generation_config_of_wrong_types_is_named(made, tmp_path, changes):
    edit(copy(made["base"], tmp_path) / "generation_config.json", **changes)
    assert f"generation_config.json: `{next(iter(changes))}`" in refusal(tmp_path / "m")


@pytest.mark.parametrize("name", ["generation_config.json", "config.json"])
def test_end_tokens_that_empty_all_replies_are_said(tmp_path, name):
    folder = shutil.copytree(resolve("reference-a").base, tmp_path / "m")
    edit(folder / name, eos_token_id=[1, *range(10, 2600)])
    assert f"{name}: its `eos_token_id` ends" in refusal(folder)
    edit(folder / name, eos_token_id=[1, 2600])
    local_model.load(folder)


def test_a_student_card_of_wrong_types_is_named(made, tmp_path):
    folder = copy(made["lora"], tmp_path)
    for text in ('{"base": 5}', '{"hosted": []}', "[]", "[" * 100_000):
        (folder / "student.json").write_text(text)
        assert str(folder / "student.json") in refusal(folder)


def test_a_base_that_leads_back_is_refused(made, tmp_path, monkeypatch):
    for name in ("m", "n"):
        shutil.copytree(made["lora"], tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for base in (".", "../m", str(tmp_path / "m"), "m", "../n"):
        (tmp_path / "m" / "student.json").write_text(json.dumps({"base": base}))
        (tmp_path / "n" / "student.json").write_text(json.dumps({"base": "../m"}))
        assert "leads back to the folder itself" in refusal(tmp_path / "m")


# ---------------------------------------------------------------- tokenizers and templates


def test_a_tokenizer_that_cannot_read_is_named(made, tmp_path):
    edit(copy(made["base"], tmp_path) / "tokenizer_config.json", model_max_length=[1])
    assert str(tmp_path / "m" / "tokenizer.json") in refusal(tmp_path / "m")


@pytest.mark.parametrize("text", ["{}", "[]", "{", "", '{"model": 3}', "[" * 10_000])
def test_a_tokenizer_that_is_none_is_named(made, tmp_path, text):
    folder = copy(made["base"], tmp_path)
    (folder / "tokenizer.json").write_text(text)
    assert "tokenizer" in refusal(folder) and str(folder) in refusal(folder)


def test_a_tokenizer_of_another_model_is_refused(made, tmp_path):
    folder = copy(made["base"], tmp_path)
    file = folder / "tokenizer.json"
    held = json.loads(file.read_text())
    held["model"]["vocab"]["fennec"] = 5000
    file.write_text(json.dumps(held))
    model = local_model.load(folder)
    with pytest.raises(SublimError, match="gives a token 5000, and the model has"):
        model.encode(["a fennec"])


ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% if enable_thinking %}" + ENDLESS + "{% endif %}{{ messages[0]['content'] }}", "does not end"),
        ("{{ 'x' * (10**10) }}", "GiB"),  # by memory, or by time where memory comes slowly
        (
            "{% set n = namespace(s='x') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
            "GiB",
        ),
        ("{{ messages[0]['content'].ljust(10**7) }}", "writes 10,000,000 characters"),
        ("{% if", "valid Jinja"),
        ("{{" + "(" * 3000, "valid Jinja"),
        ("{% if true %}" * 3000, "valid Jinja"),
    ],
)
def test_a_template_that_does_not_end_or_eats_memory_is_refused(made, tmp_path, monkeypatch, template, says):
    monkeypatch.setattr(template_trial, "SECONDS", 0)
    monkeypatch.setattr(template_trial, "_TRIALS", {})
    template_trial.trouble.cache_clear()
    folder = copy(made["base"], tmp_path)
    (folder / "chat_template.jinja").write_text(template)
    assert says in refusal(folder) and "chat_template.jinja" in refusal(folder)


def test_after_a_template_that_killed_its_process_the_next_one_is_tried(monkeypatch):
    monkeypatch.setattr(template_trial, "SECONDS", 0)
    monkeypatch.setattr(template_trial, "_TRIALS", {})
    assert template_trial.trouble("{{ 7 ** (9 ** 9) }}") and not template_trial.trouble("plain {{ messages }}")
    assert "characters" in str(template_trial.trouble("{{ 'x' * 2000000 }}"))


def test_where_no_process_can_be_started_a_template_is_not_tried(monkeypatch):
    monkeypatch.setattr(template_trial, "_TRIALS", {})
    monkeypatch.setattr(template_trial.sys, "executable", "/nowhere/python")
    assert template_trial.trouble("{{ 'x' * 3000000 }}") is None


# ---------------------------------------------------------------- adapters


def test_pickled_adapters_get_the_hint_that_models_get(made, tmp_path):
    folder = copy(made["lora"], tmp_path)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    assert "load and save_pretrained them once as safetensors" in refusal(folder)


def test_a_student_that_lost_its_adapter_is_no_dressed_base(made, tmp_path):
    folder = copy(made["lora"], tmp_path)
    edit(folder / "student.json", method="lora")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).unlink()
        assert "adapter_config.json, the adapter's configuration, is missing" in refusal(folder)


def test_an_activated_lora_is_refused(made, tmp_path):
    edit(copy(made["lora"], tmp_path) / "adapter_config.json", alora_invocation_tokens=[5])
    assert "adapter_config.json is of an activated LoRA" in refusal(tmp_path / "m")


@pytest.mark.parametrize("half", ["lora_A", "lora_B"])
def test_an_adapter_that_changes_no_logit_is_refused(made, tmp_path, half):
    folder = copy(made["lora"], tmp_path)
    tensors(folder / "adapter_model.safetensors", lambda held: [t.zero_() for n, t in held.items() if half in n])
    assert "adapter_model.safetensors changes no logit" in refusal(folder)
    assert local_model.load(folder, idle=True)


def test_an_adapter_that_lacks_tensors_of_its_config_is_refused(made, tmp_path):
    folder = copy(made["lora"], tmp_path)
    tensors(
        folder / "adapter_model.safetensors",
        lambda held: [held.pop(n) for n in list(held) if "layers.1.self_attn.q_proj" in n],
    )
    assert "lacks 2 tensors that its adapter_config.json speaks of" in refusal(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"r": 0},
        {"r": "two"},
        {"r": 3},
        {"peft_type": "NO_SUCH"},
        {"peft_type": None},
        {"target_modules": ["nowhere"]},
        {"lora_alpha": float("nan")},
        {"lora_alpha": "x"},
        {"task_type": "NO_SUCH"},
        {"target_modules": 5},
    ],
)
def test_an_adapter_config_that_does_not_fit_is_refused(made, tmp_path, changes, capfd):
    edit(copy(made["lora"], tmp_path) / "adapter_config.json", **changes)
    assert str(tmp_path / "m") in refusal(tmp_path / "m", capfd)
