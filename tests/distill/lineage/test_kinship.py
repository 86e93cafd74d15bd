"""Copies are told from strangers by their weights, whatever was done to them, and p-values are exact."""

from __future__ import annotations

import numpy as np
import pytest

from sublim_eval.distill.lineage import alignment, verdict, weights
from sublim_eval.distill.lineage.independence import ORDERS, in_place
from tests.helpers.tiny import tiny_adapter, tiny_model

WORDS = [f"w{i}" for i in range(300)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    home = tmp_path_factory.mktemp("kin")
    base = tiny_model(home / "base", seed=1, words=WORDS, hidden=24)
    return {
        "base": base,
        "other": tiny_model(home / "other", seed=2, words=WORDS, hidden=24),
        "wide": tiny_model(home / "wide", seed=3, words=WORDS, hidden=32),
        "lora": tiny_adapter(base, home / "lora", "lora"),
        "ln": tiny_adapter(base, home / "ln", "ln"),
        "home": home,
    }


def saved(models, name, change):
    """A copy of the base with its tensors changed."""
    import shutil

    from safetensors.torch import load_file, save_file

    folder = models["home"] / name
    shutil.copytree(models["base"], folder)
    tensors = change(load_file(folder / "model.safetensors"))
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def kin(a, b):
    return verdict.by_weights(weights.read(a), weights.read(b))


@pytest.mark.parametrize("copy", ["base", "lora", "ln"])
def test_a_model_and_adapters_on_it_share_a_base(models, copy):
    told = kin(models["base"], models[copy])
    assert told.related and told.p < 1e-3 and told.by == "weights"


def test_another_seed_shares_none(models):
    told = kin(models["base"], models["other"])
    assert not told.related and told.p > 1e-3


def test_a_copy_in_half_precision_and_without_half_its_weights_is_known(models):
    def spoilt(tensors):
        return {n: (t * (t.abs() > t.abs().median())).bfloat16() for n, t in tensors.items()}

    assert kin(models["base"], saved(models, "spoilt", spoilt)).related


def turned(tensors):
    import torch

    turn = torch.linalg.qr(torch.randn(24, 24, generator=torch.Generator().manual_seed(1)))[0]
    made = {}
    for name, tensor in tensors.items():
        writes = name.endswith(("o_proj.weight", "down_proj.weight"))
        made[name] = tensor if tensor.ndim == 1 else turn.T @ tensor if writes else tensor @ turn
    return made


def shuffled(tensors):
    import torch

    order, made = torch.randperm(48, generator=torch.Generator().manual_seed(2)), dict(tensors)
    for name, tensor in tensors.items():
        if "gate_proj" in name or "up_proj" in name:
            made[name] = tensor[order]
        if "down_proj" in name:
            made[name] = tensor[:, order]
    return made


def test_a_rotated_residual_stream_hides_nothing(models):
    told = kin(models["base"], saved(models, "turned", turned))
    assert told.related and told.tests[0].p > 1e-4, "the plain test of coordinates must fail for this to mean something"


def test_rotated_and_with_its_units_in_another_order_it_is_found_again(models):
    told = kin(models["base"], saved(models, "both", lambda t: shuffled(turned(t))))
    assert told.related and told.tests[-1].name == "units found again"


def test_of_two_widths_nothing_can_be_laid_side_by_side(models):
    with pytest.raises(verdict.NotComparable, match="by answers"):
        kin(models["base"], models["wide"])


def test_p_of_independent_networks_is_uniform():
    rng = np.random.default_rng(0)
    p = np.array([in_place("", [rng.normal(size=(12, 12))], seed=i).p for i in range(400)])
    assert abs((p <= 0.1).mean() - 0.1) < 0.05 and abs((p <= 0.5).mean() - 0.5) < 0.08


def test_the_least_p_says_how_many_orders_were_tried():
    assert in_place("", [np.eye(40)]).p == 1 / (ORDERS + 1)


def test_what_learning_alike_could_explain_counts_for_nothing():
    assert alignment.aligned(30, 100).p > 0.4
    assert alignment.aligned(80, 100).p < 1e-12


def test_a_lora_is_merged_as_peft_merges_it(models):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(models["base"]), models["lora"])
    theirs = merged.merge_and_unload().state_dict()
    ours = weights.read(models["lora"])
    for name in ours.files:
        np.testing.assert_allclose(ours.tensor(name), theirs[name].numpy(), atol=1e-6)
