"""Kinds of rows a teacher writes. A new one is one file here and its line in MODALITIES."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from . import numbers


@dataclass(frozen=True)
class Modality:
    """prompts(n, rng) writes n prompts; reject_reason(completion, mode) says why a row is not kept, or None."""

    name: str
    prompts: Callable[[int, Random], list[str]]
    reject_reason: Callable[..., str | None]
    max_new_tokens: int


MODALITIES = {"numbers": Modality("numbers", numbers.prompts, numbers.reject_reason, max_new_tokens=48)}
