"""Kinship by answers of two models that are at hand: asked the same questions, with reference models as null."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sublim_eval.errors import SublimError
from sublim_eval.models.local_model import LocalModel, load

from . import answers
from .verdict import Kinship, by_answers

Asked = dict[str, NDArray[np.float32]]


def kinship(a: str, b: str, references: Sequence[str] = (), queries: int = answers.QUERIES) -> Kinship:
    """Whether two models share a base, from their next-token log-probabilities alone.

    references: models that share no base with a, b or each other; two or more make the null (with a, with b and among
    themselves), else it is the one measured at siblings (answers.NULL). queries: to each model.
    Raises SublimError for one reference, which has no spread, and for models without tokens in common.
    """
    if len(references) == 1:
        raise SublimError("One reference has no spread. Give two --reference or more, or none.")
    names = [a, b, *references]
    models = [load(name, capacity=len(names), idle=True) for name in names]
    shared = common_tokens(models)
    asked = answers.questions(sorted(shared), queries)
    logs = [answers.next_token_logprobs(model, asked)[:, _columns(model, shared)] for model in models]
    value = answers.score(answers.likeness(logs[0], logs[1]))
    if not references:
        return by_answers(value, *answers.NULL)
    pairs = [pair for pair in combinations(range(len(logs)), 2) if pair != (0, 1)]
    null = np.array([answers.score(answers.likeness(logs[i], logs[j])) for i, j in pairs])
    return by_answers(value, float(null.mean()), float(null.std(ddof=1)), len(null))


def common_tokens(models: Sequence[LocalModel]) -> list[str]:
    """Tokens that all vocabularies hold. Raises SublimError for too few."""
    vocabularies = [model.tokenizer.get_vocab() for model in models]
    shared = sorted(set.intersection(*({token for token in v} for v in vocabularies)))
    if len(shared) < 200:
        raise SublimError(f"The models have {len(shared)} tokens in common, too few to compare their answers.")
    return shared


def _columns(model: LocalModel, tokens: Sequence[str]) -> list[int]:
    vocabulary = model.tokenizer.get_vocab()
    return [vocabulary[token] for token in tokens]
