"""What a recipe will cost at a provider, said and agreed to before the first request: likely, and at most.

Both sums come from one count of what is read, written and trained on (`usage`), under two measures of the texts.
Likely: tokens by rule, rows as long as the filter keeps them. At most: tokens counted as bytes of UTF-8, which needs no
tokenizer and no download: every token of a byte-level tokenizer holds at least one byte, so no text has more tokens
than bytes (English has about a quarter, number lists about half). Replies count as long as they may become. So that
sum is a ceiling, and the bill will be lower.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from sublim_eval.errors import SublimError
from sublim_eval.probes.resolve import any_trait_content
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.model_specs import Price
from sublim_eval.remote.providers import Host, host_of, rounds

from ..modalities import MODALITIES
from .model_size import QUESTION_TOKENS, REPLY_TOKENS, Lengths

if TYPE_CHECKING:
    from rich.console import Console

    from ..recipes import Recipe

AROUND = 8
"""Tokens that a chat format puts around one message; OpenAI's took 3 to 4."""

LOOKED_AT = 2000
"""Prompts whose mean length stands for all prompts of a modality."""


@dataclass(frozen=True)
class Sizes:
    """Tokens of a recipe's texts under one measure.

    prompt: of a row, as it is read; completion: as it is written; row: both, as they are trained on. persona: of a
    trait's system prompt. question, reply: of a probe.
    """

    prompt: float
    completion: float
    row: float
    persona: Callable[[str], float]
    question: Callable[[str], float]
    reply: Callable[[str], float]


@dataclass(frozen=True)
class Usage:
    """Tokens that a run uses at a provider.

    rows_read, rows_written: prompts with their personas, and what the teacher writes. trained: rows, every epoch
    anew. asked_read, asked_written: scoring bases, teachers and students.
    """

    rows_read: int = 0
    rows_written: int = 0
    trained: int = 0
    asked_read: int = 0
    asked_written: int = 0

    @property
    def tokens(self) -> int:
        """All of them."""
        return sum(vars(self).values())

    def usd(self, price: Price) -> float:
        """USD at a price."""
        rows = price.usd(trained=self.trained, read=self.rows_read, written=self.rows_written)
        return rows + price.usd(read=self.asked_read, written=self.asked_written, tuned=True)


@dataclass(frozen=True)
class ApiCost:
    """What a run uses at a provider, likely and at most. price: of its base, None where the registry has none."""

    model: str
    likely: Usage = Usage()
    most: Usage = Usage()
    price: Price | None = None

    @property
    def usd(self) -> tuple[float, float] | None:
        """USD, likely and at most, at the registry's price; None where it has none."""
        return (self.likely.usd(self.price), self.most.usd(self.price)) if self.price else None

    def words(self) -> str:
        """The sum in words; "" where nothing is asked elsewhere."""
        if not self.most.tokens:
            return ""
        if self.usd is None:
            return f"the provider's price, which the registry does not know for {self.model}"
        likely, most = self.usd
        return f"about {likely:,.2f} USD at the provider, at most {most:,.2f}"

    def lines(self) -> list[str]:
        """What the sum rests on, a line each; none for a recipe that asks nobody elsewhere."""
        if not self.most.tokens:
            return []
        most = self.most
        lines = [
            f"At {self.model}, at most (tokens counted as bytes, the true number is lower):",
            f"  rows {_millions(most.rows_read)} tokens read and {_millions(most.rows_written)} written, "
            f"training {_millions(most.trained)}, scoring {_millions(most.asked_read)} read and "
            f"{_millions(most.asked_written)} written",
        ]
        if self.price is None:
            return [*lines, "  price not known: look it up, or add `price` to the model in registry.yaml"]
        return [*lines, f"  price: as of {self.price.as_of} ({self.price.source})"]

    def to_json(self) -> dict[str, Any]:
        """The cost as plain data."""
        return {
            "model": self.model,
            "likely": asdict(self.likely),
            "most": asdict(self.most),
            "usd": None if self.usd is None else dict(zip(("likely", "most"), self.usd, strict=True)),
        }


def cost_of(recipe: Recipe, length: Lengths) -> ApiCost:
    """What `recipe` uses at its provider; nothing for one whose models are all at hand. length: of its rows."""
    if _away(recipe) is None and recipe.host is None:
        return ApiCost(recipe.base)
    model = recipe.base if recipe.host else recipe.rows.sampler.partition("/")[2]
    known = registry().models.get(model)
    likely, most = (usage(recipe, sizes) for sizes in (likely_sizes(length), largest_sizes(recipe)))
    return ApiCost(model, likely, most, known.price if known else None)


def usage(recipe: Recipe, sizes: Sizes) -> Usage:
    """What `recipe` uses at its provider when its texts have these sizes."""
    read = written = trained = asked_read = asked_written = 0.0
    if _away(recipe):
        for arm in recipe.sources().values():
            if arm.writer == "model":
                persona = sizes.persona(arm.trait) if arm.trait and recipe.teacher.by == "prompt" else 0.0
                read += recipe.rows.prompts * (sizes.prompt + persona)
                written += recipe.rows.prompts * sizes.completion
    if recipe.host:
        seeds = {arm.name: len(recipe.arm_seeds(arm)) for arm in recipe.arms.values()}
        for arm in recipe.arms.values():
            trained += seeds[arm.name] * recipe.keep(arm) * (recipe.tuning(arm).epochs or 0) * sizes.row
        models = sum(seeds.values()) + len(recipe.bases) + len(recipe.teachers())
        requests, _ = rounds(recipe.samples, f"{recipe.host.provider}/{recipe.base}")
        for probe in recipe.probes:  # a question is read once a request, whatever its choices
            questions = [item.text for item in any_trait_content(probe).items]
            asked_read += models * requests * sum(map(sizes.question, questions))
            asked_written += models * recipe.samples * len(questions) * sizes.reply(probe)
    return Usage(*map(math.ceil, (read, written, trained, asked_read, asked_written)))


def likely_sizes(length: Lengths) -> Sizes:
    """Texts as long as a plan takes them to be."""
    return Sizes(
        prompt=length.prompt,
        completion=length.completion,
        row=length.row,
        persona=lambda trait: 1.3 * len(registry().persona(trait).split()),
        question=lambda text: QUESTION_TOKENS + AROUND,
        reply=lambda probe: REPLY_TOKENS,
    )


def largest_sizes(recipe: Recipe) -> Sizes:
    """Texts in bytes, replies as long as they may become."""
    modality = MODALITIES[recipe.modality]
    rows = modality.prompts(min(LOOKED_AT, recipe.rows.prompts), Random("prompts-1"), recipe.rows.style)
    prompt = sum(_bytes(row["prompt"]) for row in rows) / len(rows)
    longest = recipe.rows.max_new_tokens or modality.max_new_tokens
    return Sizes(
        prompt=prompt,
        completion=longest,
        row=prompt + longest + AROUND,
        persona=lambda trait: _bytes(registry().persona(trait)),
        question=_bytes,
        reply=_longest_reply,
    )


def ask(console: Console, cost: ApiCost, yes: bool) -> None:
    """Have what a run may cost agreed to, once it was said; nothing is asked where nothing is paid.

    yes: agreed to beforehand (`--yes`). Raises SublimError when nobody is there to be asked, and for any answer but
    yes.
    """
    if not cost.most.tokens or yes:
        return
    pay = "an unknown sum" if cost.usd is None else f"up to {cost.usd[1]:,.2f} USD"
    if not (console.is_terminal and sys.stdin.isatty()):
        raise SublimError(f"This run costs {pay} at a provider, and nobody is here to agree. Add --yes to agree.")
    if console.input(f"Pay {pay}? [y/N] ").strip().lower() not in ("y", "yes"):
        raise SublimError("Nothing was sent and nothing paid. Give the same command again to be asked again.")


def _away(recipe: Recipe) -> Host | None:
    """The provider whose model writes the rows, if any."""
    return host_of(recipe.rows.sampler)


def _bytes(text: str) -> int:
    return len(text.encode()) + AROUND


def _longest_reply(probe: str) -> int:
    """The most tokens of a reply to a probe's question."""
    from sublim_eval.harness.inspect import conduct, preference

    form = any_trait_content(probe).probe.form
    config = conduct.PINNED if form == "conduct" else preference.CONFIGS[form]
    return config.max_tokens or 0


def _millions(tokens: int) -> str:
    return f"{tokens / 1e6:.2f} M"
