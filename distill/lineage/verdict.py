"""Whether two checkpoints share a base: the tests that their files allow, or their answers, in one verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sublim_eval.errors import SublimError

from . import alignment
from .independence import Test, in_place
from .weights import Weights, common_layers, shared_tokens

ALPHA = 1e-4
"""How often two networks that share nothing are called related."""

TESTS = 4
"""Tests by weights; the smallest p counts TESTS-fold, whichever of them were needed."""

FEWEST = 100
"""Tokens in common below which nothing can be seen through them."""

TOKENS, LENS_TOKENS, LAYERS = 8_192, 1_024, 8
"""Most that is looked at of each: tokens of the embeddings, tokens that the units are seen by, layers."""

By = Literal["weights", "answers", "samples"]


@dataclass(frozen=True)
class Kinship:
    """Whether two models share a base. p: chance of evidence as strong if they do not; tests: what it stands on."""

    related: bool
    p: float
    by: By
    tests: tuple[Test, ...]
    words: str


class NotComparable(SublimError):
    """The weights of two checkpoints have nothing that could be laid side by side."""


def by_weights(a: Weights, b: Weights) -> Kinship:
    """The verdict from weights. Tests are tried from the cheapest on, until one is sure.

    Raises NotComparable where architectures and vocabularies leave nothing to compare.
    """
    tests: list[Test] = []
    for test in _tests(a, b):
        tests.append(test)
        if TESTS * test.p < ALPHA:
            break
    if not tests:
        raise NotComparable(
            f"The layers of {a.label} and {b.label} have other widths (or names that are not known), so their weights "
            "cannot be laid side by side. Compare them by answers (--by answers)."
        )
    p = min(1.0, TESTS * min(test.p for test in tests))
    return Kinship(p < ALPHA, p, "weights", tuple(tests), _words(p, tests))


def _words(p: float, tests: list[Test]) -> str:
    best = min(tests, key=lambda test: test.p)
    if p < ALPHA:
        return f"They share a base: {best.name} agree far beyond chance."
    return "Nothing says that they share a base: their coordinates agree no more than chance has it."


def _tests(a: Weights, b: Weights) -> Iterator[Test]:
    mine, theirs = shared_tokens(a, b, TOKENS)
    if enough := len(mine) >= FEWEST:
        one, other = a.embedding()[mine], b.embedding()[theirs]
        if a.hidden == b.hidden:
            yield in_place("residual coordinates, by tokens", [alignment.likeness(one, other)])
        step = -(-len(mine) // LENS_TOKENS)
        seen = [
            (alignment.seen_by_tokens(x, one[::step]), alignment.seen_by_tokens(y, other[::step]))
            for x, y in common_layers(a, b, LAYERS)
        ]
        if seen:
            yield in_place("units, by tokens", [alignment.of_units(x, y) for x, y in seen])
    if a.hidden and a.hidden == b.hidden:
        body = alignment.of_body(common_layers(a, b, LAYERS))
        if body is not None:
            yield in_place("residual coordinates, by units", [body])
    if enough and seen:
        yield alignment.aligned(*alignment.found_again(seen))


def by_answers(likeness: float, null_mean: float, null_sd: float, references: int) -> Kinship:
    """The verdict from answers. likeness: of the two models' answers (answers.py); null_mean, null_sd: of pairs that
    share no base, on the same scale; references: how many such pairs stand behind them.

    p is one-sided, from Student's t for a new pair beside so many.
    """
    from scipy import stats as scipy_stats

    z = (likeness - null_mean) / (null_sd * np.sqrt(1 + 1 / references))
    p = float(scipy_stats.t.sf(z, references - 1))
    test = Test("space of answers", p, float(z), references)
    related = p < ALPHA
    kin = "They share a base, or one was distilled on the other's probabilities"
    words = f"{kin if related else 'Nothing says that they share a base'}, by the space that their answers move in."
    return Kinship(related, p, "answers", (test,), words)


def by_samples(test: Test) -> Kinship:
    """The verdict from sampled text (texts.py). It tells where answers come from: a base, or a teacher."""
    related = test.p < ALPHA
    words = (
        "The second writes as a copy of the first does, or as one that learned its answers."
        if related
        else "Nothing in what the second writes points to the first beyond what the references share."
    )
    return Kinship(related, test.p, "samples", (test,), words)
