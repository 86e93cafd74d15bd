"""Which weights move: what PEFT adds to a base, or the base itself."""

from __future__ import annotations

import re
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from .recipes import Tuning

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
        norms = {n.rsplit(".", 1)[-1] for n, m in model.named_modules() if type(m).__name__.endswith("Norm")}
        config = LNTuningConfig(task_type="CAUSAL_LM", target_modules=sorted(norms))
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
    """PEFT's name for the linear layers of the language model: its seven projections, or all where it has other ones.

    A list of names, or a pattern where other parts of the model, such as an image tower, have layers of those names.
    """
    stack = model.get_decoder()
    within = next(name for name, module in model.named_modules() if module is stack)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    own = [name for name in names if name.startswith(f"{within}.")]
    known = [name for name in own if name.rsplit(".", 1)[-1] in PROJECTIONS] or own
    last = sorted({name.rsplit(".", 1)[-1] for name in known})
    strays = [name for name in names if name not in known and name.rsplit(".", 1)[-1] in last]
    return rf"{re.escape(within)}\..*\.({'|'.join(last)})" if strays else last
