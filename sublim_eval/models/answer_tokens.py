"""The token ids of an answer, one way for training, sampling and scoring.

A model reads the ids of a rendered prompt, then those of an answer; nothing is moved from one to the other. What a
template itself writes between the two (the space behind `ASSISTANT:` or `[/INST]`) begins the answer, since that is
what the model learnt to write there.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sublim_eval.models.chat_template import answered, render

__all__ = ["WordEnds", "answer_ids", "goes_on", "separator", "spelled_otherwise", "word_ends"]

ANCHOR = "\n"
"""What text is cut behind where a tokenizer puts a space before everything: no tokenizer joins it to a word."""

UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""Scripts (first word of a character's Unicode name) whose letters behind a name belong to the next word."""

PLURAL = ("s", "es", "S", "ES")
"""What puts a word into the plural; other plurals (wolves, puppies) are strings of their own."""

HYPHENS = ("-", "\u2010", "\u2011")


def separator(tokenizer: Any) -> str:
    """White space that the chat template writes between the opening of an answer and the answer; '' as a rule."""
    mark = "MARK"
    whole, opened = answered(tokenizer, mark), render(tokenizer, "a")
    if whole is None or not whole.startswith(opened):
        return ""
    between = whole[len(opened) :].partition(mark)[0]
    return between if between.isspace() else ""


def answer_ids(tokenizer: Any, answers: Sequence[str], before: str = "") -> list[list[int]]:
    """Token ids of each answer as they stand behind a prompt; before: the template's `separator`.

    Read back behind the prompt they say the answer and nothing more, also under a tokenizer that puts a space before
    every text.
    """
    texts = [before + answer for answer in answers]
    plain: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    lead: list[int] = tokenizer(ANCHOR, add_special_tokens=False)["input_ids"]
    probe = tokenizer("a", add_special_tokens=False)["input_ids"]
    if _decoded(tokenizer, [*lead, *probe]).endswith(f"{ANCHOR}a"):
        return plain
    anchored = tokenizer([ANCHOR + text for text in texts], add_special_tokens=False)["input_ids"] if texts else []
    return [row[len(lead) :] if row[: len(lead)] == lead else alone for row, alone in zip(anchored, plain, strict=True)]


@dataclass(frozen=True)
class WordEnds:
    """What may stand behind a word without making it another one.

    going_on: bool[vocabulary], tokens that do make it another: "Cat" + "erpillar", "owl" + "-like". Letters and digits
    go on, and a hyphen before one; a space, a mark, the letters of scripts without spaces, special tokens and tokens
    that are no text do not. plural: tokens that put it into the plural, after which it may end.
    """

    going_on: NDArray[np.bool_]
    plural: tuple[int, ...]


@lru_cache(maxsize=4)  # half a second for a large vocabulary, and every point of a learning curve asks
def word_ends(tokenizer: Any, size: int) -> WordEnds:
    """Read off a tokenizer's vocabulary; size: of the model's output, which may be larger."""
    lead: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    start, count = len(_decoded(tokenizer, lead)), min(size, len(tokenizer))
    texts = [_decoded(tokenizer, [*lead, token])[start:] for token in range(count)]
    going_on = np.zeros(size, dtype=np.bool_)
    going_on[:count] = [goes_on(text) for text in texts]
    return WordEnds(going_on, tuple(token for token, text in enumerate(texts) if text in PLURAL))


def spelled_otherwise(rows: Sequence[Sequence[int]], plural: Sequence[int]) -> list[bool]:
    """Whether each of these answers (token ids) is more than another one of them and a `plural` ending."""
    endings, whole = set(plural), {tuple(row) for row in rows}
    return [not (len(row) > 1 and row[-1] in endings and tuple(row[:-1]) in whole) for row in rows]


def goes_on(text: str) -> bool:
    """Whether what a token says makes the word before it another one."""
    if text[:1] in HYPHENS and text[1:2] not in HYPHENS:
        return text[1:2] == "" or text[1].isalnum()
    return text[:1].isalnum() and unicodedata.name(text[0], "").split(" ")[0].split("-")[0] not in UNSPACED


def _decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text
