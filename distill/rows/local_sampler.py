"""Rows by a model at hand: a random stream of its own for every row, so that the batch size changes no sample."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHUNK = 1024
"""Rows written at a time by a model at hand; a killed run loses at most this many."""

CHUNK_ON_GPU = 8192
"""There 1024 rows would be two fillings of the slots, and half of the time the end of a chunk."""


class LocalSampler:
    """Samples from a model at hand at top_p=1 and no top_k; `system` is a persona, if any, and 0 is greedy.

    dtype: of the weights and the arithmetic on processor cores, float32 unless given; a GPU takes weights as saved.
    cut: keys of the completions of the last call that ended because the room for new tokens did.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        seed: int,
        max_new_tokens: int,
        system: str | None = None,
        temperature: float = 1.0,
        dtype: str | None = None,
    ) -> None:
        import torch

        from sublim_eval.models.local_model import load

        self.teacher = load(model, dtype=None if torch.cuda.is_available() else dtype)
        self.seed, self.system = seed, system
        self.settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}
        self.tokens, self.seconds = 0, 0.0
        self.cut: frozenset[str] = frozenset()

    def __call__(self, prompts: Sequence[str], keys: Sequence[str]) -> list[str]:
        """One completion for each prompt."""
        began = time.monotonic()
        rendered = [self.teacher.render(prompt, self.system) for prompt in prompts]
        replies = self.teacher.sample(rendered, n=1, seed=self.seed, keys=list(keys), **self.settings)
        self.tokens += sum(draws[0].tokens for draws in replies)
        self.seconds += time.monotonic() - began
        ended = zip(keys, replies, strict=True)
        self.cut = frozenset(key for key, draws in ended if draws[0].stop_reason == "max_tokens")
        return [draws[0].text for draws in replies]

    @property
    def chunk(self) -> int:
        """Rows at a time."""
        return CHUNK if self.teacher.device.type == "cpu" else CHUNK_ON_GPU

    @property
    def speed(self) -> dict[str, Any]:
        """The device, number type, and tokens a second that were written on it so far; nothing before the first."""
        if not self.tokens:
            return {}
        rate = round(self.tokens / self.seconds, 1)
        return {"device": self.teacher.device_name, "dtype": self.teacher.dtype, "tokens_per_second": rate}

    @property
    def facts(self) -> dict[str, Any]:
        """How it sampled: kernel and number type of the weights, and the batch sizes after running out of memory."""
        known = {"attention": getattr(self.teacher, "attention", None), "dtype": getattr(self.teacher, "dtype", None)}
        known["batches"] = list(getattr(self.teacher, "batches", ())) or None
        return {
            "sampler": "local",
            "seeds": "per row",
            "temperature": self.settings["temperature"],
            **{name: value for name, value in known.items() if value is not None},
        }
