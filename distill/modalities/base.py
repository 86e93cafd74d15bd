"""What every kind of rows has in common: its prompts, its filter, and the rule that one run filters by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from sublim_eval.probes import thinking, trait_leak
from sublim_eval.registry.catalog import registry


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
        """A row's completion as the mode reads it, without the closed thought that a reasoning model put first."""
        completion: str = row["completion"]
        answer = thinking.strip_thinking(completion)
        if answer is None:
            return completion  # for the filter to see what is wrong with it
        return answer.strip() if self.mode == "strip" else answer

    def named(self, text: str) -> bool:
        """Whether a text names one of the traits; raises SublimError for one that no registry knows."""
        return bool(self.traits and trait_leak.named(text, [registry().trait(name) for name in self.traits]))


@dataclass(frozen=True)
class Modality:
    """A kind of rows.

    prompts(n, rng, style) -> rows {"prompt", and each of `facts`}; the rng decides all.
    reject_reason(row, rule) -> why a row {"prompt", "completion", and each of `facts`} is not kept, or None.
    max_new_tokens: room for a completion that the filter can keep. longest: about the longest one that models write.
    styles: the first is the default.
    """

    name: str
    prompts: Callable[[int, Random, str], list[dict[str, Any]]]
    reject_reason: Callable[[Mapping[str, Any], Rule], str | None]
    max_new_tokens: int
    longest: str
    styles: tuple[str, ...] = ("plain",)
    facts: tuple[str, ...] = ()


def room(modality: Modality, tokenizer: Any) -> int:
    """How many tokens a teacher may write: the modality's own number, or more where its tokenizer needs more.

    A tokenizer that cuts numbers into digits spends 52 tokens on ten of them, where one with a token for each number
    needs 20. The end of the turn is counted.
    """
    from sublim_eval.models.chat_template import turn_end

    needed = len(tokenizer(modality.longest, add_special_tokens=False)["input_ids"]) + len(turn_end(tokenizer))
    return max(modality.max_new_tokens, needed)
