"""One prompt of a probe, as both harnesses ask it. Knows neither of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sublim_eval.files import digest
from sublim_eval.registry.catalog import Question


@dataclass(frozen=True)
class Item:
    """One prompt.

    id: unique within a probe; it names the sample in a log.
    question: id of the question that the item counts for; several items may count for one (the essay windows).
    strings: continuations whose log-probability the exact measure needs; empty where there is none.
    offered: the traits behind the letters A, B, C, where the prompt offers a choice.
    """

    id: str
    text: str
    question: str
    strings: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()


def questions_hash(asked: Iterable[Item | Question]) -> str:
    """SHA-256 of ids and texts in order; results with different hashes do not compare."""
    return digest([[one.id, one.text] for one in asked])
