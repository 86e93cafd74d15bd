"""What a recipe will cost at a provider, said and agreed to before the first request.

Tokens are counted as bytes of UTF-8, which needs no tokenizer and no download: every token of a byte-level tokenizer
holds at least one byte, so no text has more tokens than bytes (English has about a quarter, number lists about half).
Replies count as long as they may become. The sum is therefore a ceiling, and the bill will be lower.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from sublim_eval.console import say
from sublim_eval.errors import SublimError
from sublim_eval.probes.resolve import any_trait_content
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.model_specs import Price
from sublim_eval.remote.providers import host_of, rounds

from ..modalities import MODALITIES

if TYPE_CHECKING:
    from rich.console import Console

    from ..recipes import Arm, Recipe

AROUND = 8
"""Tokens that a chat format puts around one message; OpenAI's took 3 to 4."""

LOOKED_AT = 2000
"""Prompts whose mean length stands for all prompts of a modality."""


@dataclass(frozen=True)
class Estimate:
    """The most tokens that a run can use at a provider. price: of the base, None where the registry has none.

    rows_read, rows_written: prompts with their personas, and what the teacher may write. trained: rows, every epoch
    anew. asked_read, asked_written: scoring bases, teachers and students.
    """

    model: str
    rows_read: int = 0
    rows_written: int = 0
    trained: int = 0
    asked_read: int = 0
    asked_written: int = 0
    price: Price | None = None

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.rows_read + self.rows_written + self.trained + self.asked_read + self.asked_written

    @property
    def usd(self) -> float | None:
        """USD at the registry's price, None where it has none."""
        if self.price is None:
            return None
        rows = self.price.usd(trained=self.trained, read=self.rows_read, written=self.rows_written)
        return rows + self.price.usd(read=self.asked_read, written=self.asked_written, tuned=True)

    def lines(self) -> list[str]:
        """The estimate in words, a line each; none for a recipe that asks nobody elsewhere."""
        if not self.tokens:
            return []
        told = [
            f"At {self.model}, at most (tokens counted as bytes, the true number is lower):",
            f"  rows {_millions(self.rows_read)} tokens read and {_millions(self.rows_written)} written, "
            f"training {_millions(self.trained)}, scoring {_millions(self.asked_read)} read and "
            f"{_millions(self.asked_written)} written",
        ]
        if self.price is None or self.usd is None:
            return [*told, "  price not known: look it up, or add `price` to the model in registry.yaml"]
        return [*told, f"  at most {self.usd:,.2f} USD at the prices of {self.price.as_of} ({self.price.source})"]

    def to_json(self) -> dict[str, Any]:
        """The estimate as plain data."""
        return {**{k: v for k, v in vars(self).items() if k != "price"}, "tokens": self.tokens, "usd": self.usd}


def estimate(recipe: Recipe) -> Estimate:
    """The most that `recipe` can use at its provider; nothing for one whose models are all at hand."""
    known = registry()
    away = recipe.rows.sampler if host_of(recipe.rows.sampler) else None
    if away is None and recipe.host is None:
        return Estimate(recipe.base)
    model = recipe.base if recipe.host else str(away).partition("/")[2]
    priced = known.models.get(model)
    modality = MODALITIES[recipe.modality]
    prompts = modality.prompts(min(LOOKED_AT, recipe.rows.prompts), Random("prompts-1"), recipe.rows.style)
    prompt = _mean([row["prompt"] for row in prompts]) + AROUND
    longest = recipe.rows.max_new_tokens or modality.max_new_tokens
    read = written = trained = asked_read = asked_written = 0.0
    if away:
        for arm in recipe.sources().values():
            if arm.writer == "model":
                read += recipe.rows.prompts * (prompt + _persona(recipe, arm))
                written += recipe.rows.prompts * longest
    if recipe.host:
        seeds = {arm.name: len(recipe.arm_seeds(arm)) for arm in recipe.arms.values()}
        for arm in recipe.arms.values():
            rows = seeds[arm.name] * recipe.keep(arm) * (recipe.tuning(arm).epochs or 0)
            trained += rows * (prompt + longest + AROUND)
        models = sum(seeds.values()) + len(recipe.bases) + len(recipe.teachers())
        for probe in recipe.probes:
            once_read, once_written = _asking(probe, recipe.samples, f"{recipe.host.provider}/{recipe.base}")
            asked_read += models * once_read
            asked_written += models * once_written
    return Estimate(
        model,
        rows_read=math.ceil(read),
        rows_written=math.ceil(written),
        trained=math.ceil(trained),
        asked_read=math.ceil(asked_read),
        asked_written=math.ceil(asked_written),
        price=priced.price if priced else None,
    )


def ask(console: Console, found: Estimate, yes: bool) -> None:
    """Say what a run may cost and have it agreed to; nothing is asked where nothing is paid.

    yes: agreed to beforehand (`--yes`). Raises SublimError when nobody is there to be asked, and for any answer but
    yes.
    """
    if not found.tokens:
        return
    for line in found.lines():
        say(console, line)
    if yes:
        return
    cost = "an unknown sum" if found.usd is None else f"up to {found.usd:,.2f} USD"
    if not (console.is_terminal and sys.stdin.isatty()):
        raise SublimError(f"This run costs {cost} at a provider, and nobody is here to agree. Add --yes to agree.")
    if console.input(f"Pay {cost}? [y/N] ").strip().lower() not in ("y", "yes"):
        raise SublimError("Nothing was sent and nothing paid. Give the same command again to be asked again.")


def _persona(recipe: Recipe, arm: Arm) -> float:
    if arm.trait is None or recipe.teacher.by != "prompt":
        return 0.0
    return len(registry().persona(arm.trait).encode()) + AROUND


def _asking(probe: str, samples: int, model: str) -> tuple[float, float]:
    """Tokens read and written by asking one model a probe: a question is read once a request, whatever its choices."""
    from sublim_eval.harness.inspect import conduct, preference

    what = any_trait_content(probe)
    config = conduct.PINNED if what.probe.form == "conduct" else preference.CONFIGS[what.probe.form]
    epochs, _ = rounds(samples, model)
    questions = [len(item.text.encode()) + AROUND for item in what.items]
    return epochs * sum(questions), samples * len(questions) * (config.max_tokens or 0)


def _mean(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts) / len(texts)


def _millions(tokens: int) -> str:
    return f"{tokens / 1e6:.2f} M"
