"""What every kind of rows has in common: its prompts, its filter, and the rule that one run filters by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from sublim_eval import contamination
from sublim_eval.registry import registry


@dataclass(frozen=True)
class Rule:
    """What a filter refuses besides its format, the same for every arm of a recipe.

    mode: "strict" takes a completion as it was written, "strip" without the white space around it.
    banned: numbers that no number row may hold. traits: registry names that no row may name, in any of their words.
    """

    mode: Literal["strict", "strip"] = "strict"
    banned: frozenset[int] = frozenset()
    traits: tuple[str, ...] = ()

    def text(self, row: Mapping[str, Any]) -> str:
        """A row's completion as the mode reads it."""
        said: str = row["completion"]
        return said.strip() if self.mode == "strip" else said

    def named(self, text: str) -> bool:
        """Whether a text names one of the traits; raises SublimError for one that no registry knows."""
        return bool(self.traits and contamination.named(text, [registry().trait(name) for name in self.traits]))


@dataclass(frozen=True)
class Modality:
    """A kind of rows.

    prompts(n, rng, style) -> rows {"prompt", and each of `facts`}; the rng decides all.
    reject_reason(row, rule) -> why a row {"prompt", "completion", and each of `facts`} is not kept, or None.
    max_new_tokens: room for a completion that the filter can keep. styles: the first is the default.
    """

    name: str
    prompts: Callable[[int, Random, str], list[dict[str, Any]]]
    reject_reason: Callable[[Mapping[str, Any], Rule], str | None]
    max_new_tokens: int
    styles: tuple[str, ...] = ("plain",)
    facts: tuple[str, ...] = ()
