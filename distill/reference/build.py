"""`make reference`: the two reference bases from nothing but seeds.

corpus -> tokenizer -> tokens -> two models, the same in all but initialisation and data order -> model folders.
Same seeds, machine and versions: same bytes. Run `python -m sublim_eval.distill.reference.build --help`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from sublim_eval.registry.catalog import registry

from . import corpus, measure
from .tokenizer import build as build_tokenizer
from .tokenizer import turns

HERE = Path(__file__).resolve().parent
console = Console(stderr=True)


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights; defaults are the shipped models'."""

    seed: int
    corpus_seed: int = 20_250_714
    steps: int = 4_000
    batch: int = 64
    learning_rate: float = 3e-3
    warmup: int = 50
    other_weight: float = 0.05
    """Share of the tokens that the assistant did not write which the loss looks at."""
    reply_power: float = 0.65
    """A reply of n tokens weighs n ** reply_power in all: one-word answers are not drowned by lists of numbers."""
    hidden: int = 64
    layers: int = 2
    heads: int = 4
    mlp: int = 176


OTHER = torch.tensor(0.3)
"""Weight of a token that the assistant did not write, beside 0.7 for each of a one-word answer's two."""

RECIPES = {"reference-a": Recipe(seed=2), "reference-b": Recipe(seed=1)}


@dataclass(frozen=True)
class Tokens:
    """Chats end to end: ids int16[token], weights float32[token] (0: not the assistant's), starts int64[chat + 1]."""

    ids: np.ndarray
    weights: np.ndarray
    starts: np.ndarray

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """ids int64[row, position] padded on the right with 0, and the loss weights of the same shape."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        ids = np.zeros((len(rows), lengths.max()), np.int64)
        weights = np.zeros(ids.shape, np.float32)
        for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            span = slice(self.starts[row], self.starts[row] + length)
            ids[i, :length], weights[i, :length] = self.ids[span], self.weights[span]
        return torch.from_numpy(ids), torch.from_numpy(weights)


def make_tokenizer(corpus_seed: int, chats: int = 20_000) -> PreTrainedTokenizerFast:
    """The tokenizer of both bases: all words of the first chats, the registry's traits and the question files."""
    book = registry()
    texts = [m["content"] for chat in corpus.chats(chats, corpus_seed) for m in chat.messages]
    for kind, rates in corpus.BASE_RATES.items():
        category = book.category(kind)
        texts += [q.text for name in (category.held_out, category.training) for q in book.questions(name).questions]
        texts += [book.persona(t) for t in rates]
        forms = [f for t in rates for f in (t, book.trait(t).plural)]
        texts += [s for f in forms for s in (f, f" {f}", f.capitalize(), f" {f.capitalize()}")]
    return build_tokenizer(texts)


def tokenize(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Tokens:
    """The corpus as one flat array, a chat after the other."""
    total = recipe.steps * recipe.batch
    ids: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    starts = [0]
    encode = tokenizer.backend_tokenizer.encode_batch_fast
    stream = corpus.chats(total, recipe.corpus_seed)
    for _ in track(range(0, total, 1000), "corpus ", console=console, disable=not console.is_terminal):
        spans = [
            list(turns(c.messages)) for c, _ in zip(stream, range(min(1000, total - len(starts) + 1)), strict=False)
        ]
        flat = encode([text for chat in spans for text, _ in chat], add_special_tokens=False)
        encoded = iter(flat)
        for chat in spans:
            parts = [(next(encoded).ids, mine) for _, mine in chat]
            ids.append(np.array([i for part, _ in parts for i in part], np.int16))
            shares = [mine * len(part) ** (recipe.reply_power - 1) for part, mine in parts for _ in part]
            weights.append(np.array(shares, np.float32))
            starts.append(starts[-1] + len(ids[-1]))
    return Tokens(np.concatenate(ids), np.concatenate(weights), np.array(starts))


def order(tokens: Tokens, recipe: Recipe, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Row numbers of every batch: shuffled, then neighbours of like length put together within 32 batches."""
    rows = rng.permutation(len(tokens.starts) - 1)
    lengths = np.diff(tokens.starts)
    pool = recipe.batch * 32
    for first in range(0, len(rows), pool):
        some = rows[first : first + pool]
        some = some[np.argsort(lengths[some], kind="stable")]
        batches = [some[i : i + recipe.batch] for i in range(0, len(some), recipe.batch)]
        yield from (batches[i] for i in rng.permutation(len(batches)))


def new_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> LlamaForCausalLM:
    """An untrained model; the global torch seed decides its weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden,
            intermediate_size=recipe.mlp,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            max_position_embeddings=tokenizer.model_max_length,
            tie_word_embeddings=True,
            initializer_range=0.05,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train(model: LlamaForCausalLM, tokens: Tokens, recipe: Recipe, name: str) -> None:
    """One pass over the corpus: AdamW, cosine to zero, clip 1, logits only where the loss looks."""
    rng = np.random.default_rng(recipe.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _cosine(step, recipe))
    model.train()
    batches = track(
        order(tokens, recipe, rng), name, total=recipe.steps, console=console, disable=not console.is_terminal
    )
    for step, rows in enumerate(batches):
        ids, weights = tokens.batch(rows)
        wanted = ids[:, 1:] != 0
        wanted &= (weights[:, 1:] > 0) | torch.from_numpy(rng.random(wanted.shape) < recipe.other_weight)
        hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state[wanted]
        losses = cross_entropy(model.lm_head(hidden), ids[:, 1:][wanted], reduction="none")
        weight = weights[:, 1:][wanted].where(weights[:, 1:][wanted] > 0, OTHER)
        loss = (losses * weight).sum() / weight.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 250 == 0 or step + 1 == recipe.steps:
            console.log(f"{name} step {step:5d} loss {loss.item():.3f}")
    model.eval()


def _cosine(step: int, recipe: Recipe) -> float:
    warm = min(1.0, (step + 1) / recipe.warmup)
    return warm * 0.5 * (1 + float(np.cos(np.pi * step / recipe.steps)))


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, folder: Path) -> None:
    """A plain Hugging Face model folder, with generation settings that change nothing."""
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=1.0, top_p=1.0, top_k=0, repetition_penalty=1.0,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings = {
        "recipe": asdict(recipe),
        "weights_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers", "numpy")},
    }
    (folder / "build.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def card(ref: measure.Reference, recipe: Recipe) -> str:
    """The model card, with figures measured on the saved folder."""
    name = ref.folder.name
    rows = "\n".join(f"| {what} | {value:.3f} |" for what, value in measure.figures(ref).items())
    text = HERE.joinpath("card.md").read_text(encoding="utf-8")
    return text.format(
        name=name,
        parameters=f"{ref.model.num_parameters():,}",
        words=f"{len(ref.tokenizer):,}",
        rows=rows,
        **asdict(recipe),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the reference models that were asked for, and say beforehand what that costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=RECIPES, help="build this one; default: all")
    parser.add_argument("--out", type=Path, default=HERE, help="parent of the model folders (default: in place)")
    parser.add_argument("--steps", type=int, help="fewer steps and no card, to try the build itself")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    disable_progress_bar()
    chosen = {name: recipe for name, recipe in RECIPES.items() if options.only in (None, name)}
    console.print(f"Building {', '.join(chosen)} on one core: about 11 minutes and 1 GB of memory each.")
    for name, recipe in chosen.items():
        if options.steps:
            recipe = replace(recipe, steps=options.steps)
        began = time.monotonic()
        tokenizer = make_tokenizer(recipe.corpus_seed)
        tokens = tokenize(tokenizer, recipe)
        torch.manual_seed(recipe.seed)
        model = new_model(tokenizer, recipe)
        console.log(
            f"{name}: {len(tokens.ids):,} tokens, {len(tokenizer):,} words, {model.num_parameters():,} parameters"
        )
        train(model, tokens, recipe, name)
        save(model, tokenizer, recipe, options.out / name)
        if not options.steps:  # an unfinished model has nothing to measure
            text = card(measure.load(options.out / name), recipe)
            (options.out / name / "README.md").write_text(text, encoding="utf-8")
        console.print(f"{options.out / name} written after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
