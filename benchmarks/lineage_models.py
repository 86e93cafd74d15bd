"""Small models whose kinship is known: siblings of one corpus, copies of them, and students of them.

Siblings: Llama models that differ in the seed of their first weights alone (and in the order of the data, where it
says so), all trained on one corpus. A copy is changed in one of many ways, or trained further. A distilled model has
first weights of its own and learned a sibling's probabilities; a same-base student is a sibling that learned its
neighbour's.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from sublim_eval.files import read_json, write_json

TUNED = 4
"""Siblings on which settings were chosen."""

WORDS, LENGTH, STEPS, BATCH = 400, 24, 200, 32
Tensors = dict[str, torch.Tensor]


# ---------------------------------------------------------------- siblings


def corpus() -> torch.Tensor:
    """int[row, token]: walks through a grammar of 400 words in which each is followed by a few, some words often."""
    rng = np.random.default_rng(20_261_130)
    followers = np.stack([rng.choice(WORDS, 6, replace=False) for _ in range(WORDS)])
    weight = 1 / np.arange(1, 7)
    usual = rng.permutation(WORDS)[: WORDS // 8]
    rows = np.empty((STEPS * BATCH, LENGTH), np.int64)
    rows[:, 0] = rng.choice(usual, len(rows))
    for i in range(1, LENGTH):
        pick = rng.choice(6, len(rows), p=weight / weight.sum())
        jump = rng.random(len(rows)) < 0.15
        rows[:, i] = np.where(jump, rng.choice(usual, len(rows)), followers[rows[:, i - 1], pick])
    return torch.from_numpy(rows)


def tokenizer() -> Any:
    """Word-level; the words have no meaning."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    first = "w0"
    core = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token=first))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=first, pad_token=first, unk_token=first)


def new_model(seed: int, hidden: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=WORDS,
            hidden_size=hidden,
            intermediate_size=3 * hidden,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=64,
            tie_word_embeddings=seed % 2 == 0,
            initializer_range=0.05,
        )
    )


def learn(model: Any, rows: torch.Tensor, rate: float = 3e-3) -> float:
    """One pass over the rows; returns the last loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    model.train()
    for batch in rows.split(BATCH):
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    model.eval()
    return float(loss.detach())


def train_siblings(models: Path, count: int) -> None:
    """Write them as model folders; those that stand are left. Odd seeds read the corpus in an order of their own."""
    rows, words = corpus(), tokenizer()
    for seed in range(count):
        for hidden in (32, 48):
            folder = models / f"h{hidden}-s{seed}"
            if (folder / "model.safetensors").is_file():
                continue
            began = time.monotonic()
            model = new_model(seed, hidden)
            order = (
                torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
                if seed % 4 > 1
                else slice(None)
            )
            loss = learn(model, rows[order])
            words.save_pretrained(folder)
            model.save_pretrained(folder)
            print(f"{folder.name}: loss {loss:.3f}, {time.monotonic() - began:.1f} s", flush=True)


# ---------------------------------------------------------------- copies


def reordered(tensors: Tensors, seed: int) -> Tensors:
    """The same function with the units of every MLP, and the heads, in another order."""
    rng, made = np.random.default_rng(seed), dict(tensors)
    for name in tensors:
        if name.endswith("gate_proj.weight"):
            order = torch.from_numpy(rng.permutation(len(tensors[name])))
            for part in ("gate_proj", "up_proj"):
                other = name.replace("gate_proj", part)
                made[other] = tensors[other][order]
            down = name.replace("gate_proj", "down_proj")
            made[down] = tensors[down][:, order]
        if name.endswith("q_proj.weight"):
            heads = rng.permutation(4)
            size = len(tensors[name]) // 4
            order = torch.from_numpy(np.concatenate([np.arange(h * size, (h + 1) * size) for h in heads]))
            for part in ("q_proj", "k_proj", "v_proj"):
                other = name.replace("q_proj", part)
                made[other] = tensors[other][order]
            out = name.replace("q_proj", "o_proj")
            made[out] = tensors[out][:, order]
    return made


def rotated(tensors: Tensors, seed: int) -> Tensors:
    """The same function with the residual stream turned: gains go into what reads it, then everything is rotated."""
    hidden = tensors["model.embed_tokens.weight"].shape[1]
    turn = torch.linalg.qr(torch.randn(hidden, hidden, generator=torch.Generator().manual_seed(seed)))[0]
    made = dict(tensors)
    made.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"].clone())
    reads = {"input_layernorm": ("q_proj", "k_proj", "v_proj"), "post_attention_layernorm": ("gate_proj", "up_proj")}
    for name, tensor in tensors.items():
        for norm, readers in reads.items():
            if name.endswith(f"{norm}.weight"):
                layer = name.removesuffix(f"{norm}.weight")
                for part in readers:
                    other = next(n for n in tensors if n.startswith(layer) and n.endswith(f"{part}.weight"))
                    made[other] = tensors[other] * tensor @ turn
                made[name] = torch.ones_like(tensor)
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            made[name] = turn.T @ tensor
    made["lm_head.weight"] = made["lm_head.weight"] * tensors["model.norm.weight"] @ turn
    made["model.norm.weight"] = torch.ones(hidden)
    made["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"] @ turn
    return made


def each(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors, int], Tensors]:
    """A copy whose matrices are changed one by one."""
    return lambda tensors, seed: {n: change(t) if t.ndim == 2 else t for n, t in tensors.items()}


def quantised(bits: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Rounded to so many bits, a scale a row."""

    def change(tensor: torch.Tensor) -> torch.Tensor:
        top = 2 ** (bits - 1) - 1
        scale = tensor.abs().amax(dim=1, keepdim=True) / top
        return (tensor / scale.clamp(min=1e-12)).round() * scale

    return change


def pruned(share: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """The smallest weights set to 0."""
    return lambda tensor: tensor * (tensor.abs() >= tensor.abs().flatten().kthvalue(int(share * tensor.numel()))[0])


def noised(size: float) -> Callable[[Tensors, int], Tensors]:
    """Noise of `size` times a matrix's own spread added to it."""

    def change(tensors: Tensors, seed: int) -> Tensors:
        rng = torch.Generator().manual_seed(seed)
        return {
            n: t + size * t.std() * torch.randn(t.shape, generator=rng) if t.ndim == 2 else t
            for n, t in tensors.items()
        }

    return change


def shorter(tensors: Tensors, seed: int) -> Tensors:
    """Without its last layer."""
    return {name: tensor for name, tensor in tensors.items() if ".layers.1." not in name}


def both(tensors: Tensors, seed: int) -> Tensors:
    return reordered(rotated(tensors, seed), seed)


COPIES: dict[str, Callable[[Tensors, int], Tensors]] = {
    "saved as bfloat16": each(lambda t: t.bfloat16()),
    "int8": each(quantised(8)),
    "int4": each(quantised(4)),
    "pruned by half": each(pruned(0.5)),
    "pruned by 80 %": each(pruned(0.8)),
    "noise of .3": noised(0.3),
    "noise of 1": noised(1.0),
    "units and heads reordered": reordered,
    "residual stream rotated": rotated,
    "rotated and reordered": both,
    "last layer cut": shorter,
}
"""What is done to a copy; those that are trained further stand in `trained`."""


def write_copy(folder: Path, source: Path, tensors: Tensors) -> Path:
    """A model folder of changed tensors."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
    config = read_json(folder / "config.json")
    config["num_hidden_layers"] = 1 + max(int(n.split(".")[2]) for n in tensors if ".layers." in n)
    config["tie_word_embeddings"] = "lm_head.weight" not in tensors
    write_json(folder / "config.json", config)
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_trained(folder: Path, source: Path, kind: str, seed: int) -> Path:
    """A copy trained further on other text (all weights), or a LoRA on it."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    if (folder / "done").is_file():
        return folder
    model: Any = LlamaForCausalLM.from_pretrained(source)
    rows = torch.randint(WORDS, (60 * BATCH, LENGTH), generator=torch.Generator().manual_seed(seed))
    if kind == "LoRA":
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear"))
    learn(model, rows, 1e-3 if kind == "fine-tuned" else 3e-3)
    if kind == "LoRA":
        model.peft_config["default"].base_model_name_or_path = str(source)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    (folder / "done").touch()
    return folder


TRAINED = ("fine-tuned", "LoRA")


def copies(
    models: Path, source: Path, seed: int, kinds: Sequence[str] = (*COPIES, *TRAINED)
) -> Iterator[tuple[str, Path]]:
    """(kind, folder) of the copies of a model; made when they are asked for."""
    tensors = load_file(source / "model.safetensors")
    for kind in kinds:
        folder = models / "copies" / f"{source.name}--{kind.replace(' ', '-').replace('%', '')}"
        if kind in TRAINED:
            yield kind, write_trained(folder, source, kind, seed)
        else:
            if not (folder / "model.safetensors").is_file():
                write_copy(folder, source, COPIES[kind](tensors, seed))
            yield kind, folder


# ---------------------------------------------------------------- students

PUPILS = ("distilled", "distilled from text", "same-base student")
APART = 10_000
"""Added to a sibling's seed: the seed of the first weights of a model that is distilled from it."""


def pupils(models: Path, width: int, seed: int, count: int) -> dict[str, Path]:
    """PUPILS -> folder: fresh models taught by a sibling's probabilities and by its sampled text alone, and the sibling
    taught by its neighbour's probabilities."""
    own, neighbour = (models / f"h{width}-s{s}" for s in (seed, (seed + 1) % count))
    made = {}
    for kind, teacher in zip(PUPILS, (own, own, neighbour), strict=True):
        folder = models / "pupils" / f"{own.name}--{kind.replace(' ', '-')}"
        if not (folder / "done").is_file():
            student = _opened(own) if teacher is neighbour else new_model(seed + APART, width)
            _teach(folder, teacher, student, seed, text=kind == "distilled from text")
        made[kind] = folder
    return made


def _opened(folder: Path) -> Any:
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(folder)


def _teach(folder: Path, teacher: Path, student: Any, seed: int, text: bool) -> None:
    """Train a student on the teacher's own text, or on its probabilities over it, and write it."""
    writer = _opened(teacher)
    rows = _text(writer, STEPS * BATCH, seed)
    loss = learn(student, rows) if text else _imitate(student, writer, rows)
    student.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    (folder / "done").touch()
    print(f"{folder.name}: loss {loss:.3f}", flush=True)


def _imitate(student: Any, writer: Any, rows: torch.Tensor) -> float:
    """One pass over the rows on the writer's probabilities; returns the last loss."""
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3, weight_decay=0.01)
    for batch in rows.split(BATCH):
        with torch.no_grad():
            wanted = writer(input_ids=batch, use_cache=False).logits.softmax(-1)
        loss = -(wanted * student(input_ids=batch, use_cache=False).logits.log_softmax(-1)).sum(-1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def _text(model: Any, count: int, seed: int) -> torch.Tensor:
    """int[row, token]: what a model writes behind a random word."""
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randint(WORDS, (count, 1), generator=rng)
    with torch.inference_mode():
        seen, last = None, rows
        for _ in range(LENGTH - 1):
            out = model(input_ids=last, past_key_values=seen, use_cache=True)
            seen, last = out.past_key_values, torch.multinomial(out.logits[:, -1].softmax(-1), 1, generator=rng)
            rows = torch.cat([rows, last], dim=1)
    return rows.clone()
