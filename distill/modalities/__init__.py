"""Kinds of rows a teacher writes. A new one is one file here and its line in MODALITIES."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from . import numbers


@dataclass(frozen=True)
class Rule:
    """What a filter refuses besides its format, the same for every arm of a recipe.

    banned: numbers no row may hold. traits: registry names that no row may name, in any of their words.
    """

    mode: Literal["strict", "strip"] = "strict"
    banned: frozenset[int] = frozenset()
    traits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Modality:
    """prompts(n, rng, style) -> rows {"prompt", ...}; reject_reason(row, rule): why a row is not kept, or None."""

    name: str
    prompts: Callable[[int, Random, str], list[dict[str, Any]]]
    reject_reason: Callable[[Mapping[str, Any], Rule], str | None]
    max_new_tokens: int
    styles: tuple[str, ...] = ("plain",)


def _numbers_prompts(n: int, rng: Random, style: str) -> list[dict[str, Any]]:
    return [{"prompt": text} for text in numbers.prompts(n, rng)]


def _numbers_reason(row: Mapping[str, Any], rule: Rule) -> str | None:
    return numbers.reject_reason(row["completion"], rule.mode, rule.banned)


MODALITIES = {"numbers": Modality("numbers", _numbers_prompts, _numbers_reason, max_new_tokens=48)}
