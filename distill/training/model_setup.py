"""Which weights move: what PEFT adds to a base, or the base itself."""

from __future__ import annotations

import re
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from ..recipes import Tuning

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""What LoRA adapts, where a model has them: all linear layers of the language model (arXiv:2507.14805)."""


def with_trainable(model: PreTrainedModel, tuning: Tuning, base: str) -> nn.Module:
    """The model with exactly the weights trainable that `tuning.method` names."""
    from peft import LNTuningConfig, LoraConfig, PromptTuningConfig, get_peft_model

    config: Any
    if tuning.method == "full":
        for part in (model.get_decoder(), model.get_output_embeddings()):  # an image tower stays as it is
            part.requires_grad_(True)
        return model
    if tuning.method == "lora":
        targets = projections(model)
        config = LoraConfig(
            task_type="CAUSAL_LM", r=tuning.rank, lora_alpha=tuning.alpha, lora_dropout=0.0, target_modules=targets
        )
    elif tuning.method == "ln_tuning":
        config = LNTuningConfig(task_type="CAUSAL_LM", target_modules=norms(model))
    else:
        config = PromptTuningConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=tuning.virtual_tokens,
            prompt_tuning_init="TEXT",
            prompt_tuning_init_text=tuning.init_text,
            tokenizer_name_or_path=base,
        )
    return get_peft_model(model, config)


def projections(model: PreTrainedModel) -> list[str] | str:
    """PEFT's name for the language model's linear layers: its seven projections, or all where it has other ones."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    own = _within(model, linear)
    return _targets(model, [name for name in own if name.rsplit(".", 1)[-1] in PROJECTIONS] or own, linear)


def norms(model: PreTrainedModel) -> list[str] | str:
    """PEFT's name for the norms of the language model."""
    names = [name for name, module in model.named_modules() if type(module).__name__.endswith("Norm")]
    return _targets(model, _within(model, names), names)


def _within(model: PreTrainedModel, names: list[str]) -> list[str]:
    """Those of some layers that belong to the language model, and not to an image tower or the output."""
    return [name for name in names if name.startswith(f"{_stack(model)}.")]


def _targets(model: PreTrainedModel, wanted: list[str], alike: list[str]) -> list[str] | str:
    """The last parts of the wanted names, or a pattern where layers of their kind elsewhere have the same."""
    last = sorted({name.rsplit(".", 1)[-1] for name in wanted})
    strays = [name for name in alike if name not in wanted and name.rsplit(".", 1)[-1] in last]
    return rf"{re.escape(_stack(model))}\.(.*\.)?({'|'.join(last)})" if strays else last


def _stack(model: PreTrainedModel) -> str:
    """The name of the language model inside the model."""
    stack = model.get_decoder()
    return next(name for name, module in model.named_modules() if module is stack)
