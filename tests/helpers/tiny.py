"""Tiny random chat models as plain Hugging Face folders, for tests: built in a fraction of a second, offline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORDS = (  # noqa: SIM905
    "owl owls Owl cat cats dog wolf eagle lion fox bear barn snowy polar oak willow "
    "favorite animal tree your what is the my I love name one word ? . , : a an of and best"
).split()
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|> ' + m['content'] + ' <|end|> ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SPECIAL = ["<|pad|>", "<|unk|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def tiny_tokenizer(words: Sequence[str] | None = WORDS) -> Any:
    """Word-level over `words`, or byte-level BPE when None; chat template, pad and end-of-turn tokens included."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if words is None:
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        )
        core.train_from_iterator([" ".join(WORDS)] * 4, trainer)
    else:
        core = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*SPECIAL, *words])}, unk_token=SPECIAL[1]))
        core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pad, unknown, end, *roles = SPECIAL
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=pad,
        unk_token=unknown if words is not None else None,
        eos_token=end,
        additional_special_tokens=roles,
    )
    made.chat_template = TEMPLATE
    return made


def tiny_model(
    folder: Path,
    *,
    seed: int = 0,
    kind: str = "llama",
    words: Sequence[str] | None = WORDS,
    hidden: int = 32,
    spread: float = 0.3,
    template: bool = True,
) -> Path:
    """Write a random 2-layer model with tokenizer to `folder` and return it.

    kind: "llama", "qwen2" or "mistral" (which sees 5 tokens back).
    spread: standard deviation of the initial weights; larger makes answers less even.
    """
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config

    tokenizer = tiny_tokenizer(words)
    if not template:
        tokenizer.chat_template = None
    shape: dict[str, Any] = dict(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=spread,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    torch.manual_seed(seed)
    configs: dict[str, Any] = {"llama": LlamaConfig, "qwen2": Qwen2Config, "mistral": MistralConfig}
    window = {"sliding_window": 5} if kind == "mistral" else {}
    model = AutoModelForCausalLM.from_config(configs[kind](**shape, **window))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_adapter(base: Path, folder: Path, method: str, *, seed: int = 0) -> Path:
    """Write a PEFT adapter ("lora", "ln", "prompt") with random, non-zero weights on a tiny base."""
    import torch
    from peft import LNTuningConfig, LoraConfig, PromptTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    settings: Any = {
        "lora": LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
        "ln": LNTuningConfig(
            target_modules=["input_layernorm", "post_attention_layernorm", "norm"], task_type="CAUSAL_LM"
        ),
        "prompt": PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM"),
    }[method]
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    (folder / "student.json").write_text(json.dumps({"base": str(base)}))
    return folder
