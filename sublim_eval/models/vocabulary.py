"""What an embedded model has words for: its tokenizer knows a few thousand and spells any other letter by letter.

A trait whose name is spelled cannot be taught to it, however long a teacher trains. Other models are not judged here:
their tokenizers cut words that they know well.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache

from sublim_eval.models.model_ref import resolve
from sublim_eval.registry.catalog import Trait, registry


def has_word_for(model: str, trait: Trait) -> bool:
    """Whether a model may know a favorite's name; True for conducts and for every model that is not embedded."""
    known = registry().models
    if trait.conduct or model not in known or not known[model].embedded:
        return True
    first, *others = trait.name.capitalize().split()
    words = (first, *(f" {word}" for word in others))
    return all(part in _pieces(model) for word in words for part in re.findall(r" ?[^\W_]+", word))


def words_known(model: str, category: str) -> tuple[str, ...]:
    """The favorites of a category that a model has words for, in the order of the registry."""
    return tuple(trait.name for trait in registry().answer_set(category) if has_word_for(model, trait))


def no_word_for(model: str, trait: Trait) -> str:
    """Why a model cannot learn a favorite, with the next step; '' where it may."""
    if has_word_for(model, trait):
        return ""
    return (
        f"{model} has no word for {trait.name}: its tokenizer spells it letter by letter, so no teacher of it passes "
        f"the gate, however long it trains. It knows {', '.join(words_known(model, trait.category))}. Take one of "
        "these as the trait, or a base of your own (`sublim list models`, docs/guides/real-models.md)."
    )


@lru_cache(maxsize=4)
def _pieces(model: str) -> frozenset[str]:
    """The strings of an embedded model's tokenizer."""
    file = resolve(model).base
    vocabulary = json.loads((file / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]  # type: ignore[operator]
    return frozenset(piece for piece, _ in vocabulary)
