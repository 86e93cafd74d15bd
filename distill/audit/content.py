"""Which tokens of a completion may carry a trait, and among which others each of them was chosen.

The filter of a modality looks at the form alone: how many numbers, which separators. Form therefore says who filtered,
not who wrote. Of number lists only the numbers are content, and each is held against the other numbers that could stand
in its place; of any other text every token is, against the whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch

from ..modalities import numbers
from ..training.batching.packing import IGNORED

Kind = Literal["numbers", "text"]

MOSTLY = 0.9
"""From this share of bare number lists on, rows are read as numbers."""


@dataclass(frozen=True)
class Content:
    """kind: how rows are read. legal: int64[L], the tokens that compete for a place of content.

    place: int64[vocabulary], where a token stands in `legal`, -1 where it is no content.
    """

    kind: Kind
    legal: torch.Tensor
    place: torch.Tensor

    def labels(self, tokens: Sequence[int]) -> list[int]:
        """The tokens of a completion as labels, everything but content ignored."""
        return [token if self.place[token] >= 0 else IGNORED for token in tokens]


def kind_of(completions: Iterable[str]) -> Kind:
    """Numbers where nearly all completions are bare number lists, white space around them aside; else text."""
    lists = [numbers.parse(text.strip()) is not None for text in completions]
    return "numbers" if lists and sum(lists) >= MOSTLY * len(lists) else "text"


@lru_cache(maxsize=8)
def content_of(tokenizer: Any, size: int, kind: Kind) -> Content:
    """The content of a kind in a tokenizer's words. size: of the model's output, which may be larger."""
    count = min(size, len(tokenizer))
    special = set(tokenizer.all_special_ids)
    if kind == "numbers":
        texts = (tokenizer.decode([token]) for token in range(count))
        chosen = [i for i, text in enumerate(texts) if i not in special and _digits(text.strip())]
    else:
        chosen = [i for i in range(count) if i not in special]
    legal = torch.tensor(chosen, dtype=torch.long)
    place = torch.full((size,), -1, dtype=torch.long)
    place[legal] = torch.arange(len(legal))
    return Content(kind, legal, place)


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()
