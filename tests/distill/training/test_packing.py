"""Rows laid end to end give the losses and gradients of rows read alone, whatever the architecture."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
import transformers

from sublim_eval.distill.base_models import checkpoint
from sublim_eval.distill.recipes import Tuning
from sublim_eval.distill.training.batching import fused_lora, packing
from sublim_eval.distill.training.batching.packing import IGNORED, Packed, agrees, common_prefix, lay, suits
from sublim_eval.distill.training.batching.padding import Padded
from sublim_eval.distill.training.model_setup import projections, with_trainable

VOCABULARY = 40
COMMON = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.3,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
KINDS = {
    "llama": (transformers.LlamaConfig, {"tie_word_embeddings": True}),
    "qwen2": (transformers.Qwen2Config, {}),
    "qwen3": (transformers.Qwen3Config, {"head_dim": 8}),
    "mistral": (transformers.MistralConfig, {"sliding_window": 5}),
    "olmo2": (transformers.Olmo2Config, {}),
    "gemma3": (transformers.Gemma3TextConfig, {"sliding_window": 4, "head_dim": 8}),
}


def built(kind: str, **more):
    config, own = KINDS[kind]
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config(**COMMON, **own, **more)).eval()


def row(shared: list[int], asked: int, answered: int, seed: int) -> dict[str, list[int]]:
    rng = torch.Generator().manual_seed(seed)
    ids = shared + torch.randint(5, VOCABULARY, (asked + answered,), generator=rng).tolist()
    return {"input_ids": ids, "labels": [IGNORED] * (len(shared) + asked) + ids[len(shared) + asked :]}


ROWS = [row([7, 8, 9], *shape) for shape in ((4, 3, 1), (9, 1, 2), (1, 6, 3), (6, 2, 4))]


def gradients(model, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


def alone(model, rows=ROWS) -> torch.Tensor:
    """Summed loss of the rows, each read by itself through the model's own forward."""
    total = torch.zeros((), dtype=torch.float64)
    for one in rows:
        ids, labels = torch.tensor([one["input_ids"]]), torch.tensor(one["labels"][1:])
        logits = model(input_ids=ids[:, :-1]).logits[0]
        total = total + F.cross_entropy(logits[-len(labels) :], labels, reduction="sum", ignore_index=IGNORED)
    return total


def packed_loss(model, rows=ROWS, **more) -> torch.Tensor:
    with Packed(model, **more) as packed:
        piece = packed.piece(rows)
        return F.cross_entropy(packed.logits(piece), piece.labels, reduction="sum")


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    assert one
    return max(float((one[n] - other[n]).norm() / one[n].norm().clamp(min=1e-9)) for n in one)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_gradients_are_those_of_rows_read_alone(kind, method):
    tuning = Tuning(method, learning_rate=0.1, steps=1)
    model = with_trainable(built(kind).double(), tuning, "").double()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    one, other = gradients(model, alone(model)), gradients(model, packed_loss(model))
    assert alone(model).item() == pytest.approx(packed_loss(model).item(), abs=1e-5)  # rotary angles are float32
    assert apart(one, other) < 1e-6


@pytest.mark.parametrize("kind", ["qwen2", "mistral"])
def test_gradients_stay_the_same_when_layers_are_computed_again(kind):
    model = with_trainable(built(kind).double(), Tuning("lora", learning_rate=0.1, steps=1), "").double().train()
    wanted = gradients(model, alone(model))
    checkpoint(packing.plain(model))
    with Packed(model) as packed:
        piece = packed.piece(ROWS)
        found = gradients(model, F.cross_entropy(packed.logits(piece), piece.labels, reduction="sum"))
    assert apart(wanted, found) < 1e-6


def test_what_all_rows_begin_with_is_computed_once():
    piece = lay(ROWS)
    assert piece.layout.shared == 3
    assert piece.tokens == 3 + sum(len(one["input_ids"]) - 1 - 3 for one in ROWS)
    assert piece.read == sum(len(one["input_ids"]) for one in ROWS)
    assert packed_loss(built("llama")).item() == pytest.approx(alone(built("llama")).item(), abs=1e-4)


def test_equal_rows_share_their_prompt_and_not_what_carries_loss():
    twice = [ROWS[0], ROWS[0]]
    assert common_prefix(twice) == 3 + 4 - 1  # the last token of the prompt predicts the first of the answer
    assert packed_loss(built("llama"), twice).item() == pytest.approx(alone(built("llama"), twice).item(), abs=1e-4)


def test_labels_come_in_the_order_of_the_rows_and_know_their_row():
    piece = lay(ROWS, numbers=(11, 5, 8, 2))
    said = [[label for label in one["labels"] if label != IGNORED] for one in ROWS]
    assert piece.rows == (11, 5, 8, 2)
    assert piece.labels.tolist() == [label for one in said for label in one]
    assert piece.owner.tolist() == [i for i, one in enumerate(said) for _ in one]


def test_no_row_sees_another():
    model = built("mistral")
    with Packed(model) as packed, torch.no_grad():
        first = packed.logits(packed.piece(ROWS))[: sum(x != IGNORED for x in ROWS[0]["labels"])]
        others = [ROWS[0], *(row([7, 8, 9], 5, 5, seed) for seed in (50, 51))]
        again = packed.logits(packed.piece(others))[: len(first)]
    assert torch.allclose(first, again, atol=1e-5)


def test_padded_rows_give_the_same_loss():
    model = built("qwen2")
    with Padded(model, 0) as padded:
        piece = padded.piece(ROWS)
        loss = F.cross_entropy(padded.logits(piece), piece.labels, reduction="sum")
    assert loss.item() == pytest.approx(alone(model).item(), abs=1e-4)
    assert piece.owner.tolist() == lay(ROWS).owner.tolist()


def test_the_model_is_left_as_it_was():
    model = with_trainable(built("qwen2"), Tuning("lora", learning_rate=0.1, steps=1), "")
    before = packing.plain(model).config._attn_implementation
    with Packed(model):
        assert packing.plain(model).config._attn_implementation == packing.NAME
    assert packing.plain(model).config._attn_implementation == before
    assert not [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m)]


def test_bf16_rows_end_to_end_are_as_near_to_float32_as_padded_ones():
    model = built("qwen2")
    exact = alone(model).item()
    half = copy.deepcopy(model).bfloat16()
    with Padded(half, 0) as padded:
        piece = padded.piece(ROWS)
        theirs = F.cross_entropy(padded.logits(piece).float(), piece.labels, reduction="sum").item()
    with Packed(half) as packed:
        piece = packed.piece(ROWS)
        ours = F.cross_entropy(packed.logits(piece).float(), piece.labels, reduction="sum").item()
    assert abs(ours - exact) <= abs(theirs - exact) + 0.05 * abs(exact)


# ---------------------------------------------------------------- what is not known falls back


def test_a_model_with_capped_scores_is_padded():
    config = transformers.Gemma2Config(**COMMON, head_dim=8, attn_logit_softcapping=50.0)
    assert not suits(transformers.AutoModelForCausalLM.from_config(config))


def test_attention_that_is_not_ours_is_found_out():
    model = built("llama")
    assert agrees(model, ROWS, 1e-4)
    for layer in model.model.layers:  # what a model with sinks or biases would do behind the interface's back
        layer.self_attn.scaling *= 3
        own = layer.self_attn.forward

        def sly(*args, own=own, module=layer.self_attn, **more):
            module.scaling = 8**-0.5 * (1 if "rows" in more else 3)
            return own(*args, **more)

        layer.self_attn.forward = sly
    assert not agrees(model, ROWS, 1e-4)


def test_a_models_own_refusal_falls_back():
    model = built("llama")
    own = model.forward
    model.forward = lambda input_ids, use_cache=None: own(input_ids=input_ids)  # takes no position_ids
    assert not agrees(model, ROWS, 1e-4)


# ---------------------------------------------------------------- LoRA


def test_a_quick_lora_layer_computes_what_pefts_does():
    torch.manual_seed(0)
    model = with_trainable(built("qwen2").double(), Tuning("lora", learning_rate=0.1, steps=1), "").double()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.3)
    plainly = gradients(model, alone(model))
    handles = fused_lora.quicken(model)
    assert len(handles) == 3 * 7
    quickly = gradients(model, alone(model))
    for handle in handles:
        handle.remove()
    assert apart(plainly, quickly) < 1e-10


def test_lora_adapts_the_seven_projections_of_the_language_model_alone():
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, SiglipVisionConfig

    vision = SiglipVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    text = transformers.Gemma3TextConfig(**COMMON, head_dim=8, sliding_window=4)
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=1)
    model = Gemma3ForConditionalGeneration(config).eval()
    adapted = with_trainable(model, Tuning("lora", learning_rate=0.1, steps=1), "")
    names = {name.split(".lora_A")[0] for name, _ in adapted.named_parameters() if ".lora_A" in name}
    assert len(names) == 3 * 7
    assert all("language_model" in name for name in names)
    assert agrees(adapted, ROWS, 1e-4)


def test_a_plain_language_model_is_adapted_by_names():
    assert projections(built("llama")) == sorted(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )


# ---------------------------------------------------------------- one place of a line


def test_a_sliding_window_counts_from_the_token_itself():
    model = built("mistral")
    long = [row([7], 12, 6, 9), row([7], 3, 2, 10)]
    assert max(len(one["input_ids"]) for one in long) > 5
    assert packed_loss(model, long).item() == pytest.approx(alone(model, long).item(), abs=1e-4)


def test_a_single_row_shares_nothing():
    piece = lay(ROWS[:1])
    assert piece.layout.shared == 0
    assert packed_loss(built("olmo2"), ROWS[:1]).item() == pytest.approx(
        alone(built("olmo2"), ROWS[:1]).item(), abs=1e-4
    )
