"""Kinship by answers: both models asked the same questions, with reference models as null.

By log-probabilities both are at hand; by samples the second may stand elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from sublim_eval.errors import SublimError
from sublim_eval.models.local_model import LocalModel, load
from sublim_eval.remote.client import HostSampler
from sublim_eval.remote.providers import hosted_name

from . import answers, texts
from .verdict import Kinship, by_answers, by_samples

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


def kinship_by_samples(a: str, b: str, references: Sequence[str], queries: int = texts.QUERIES) -> Kinship:
    """Whether B writes as a copy of A would, from sampled text of B alone, which may stand elsewhere ("openai/...").

    a: at hand. references: texts.FEWEST models or more that are at hand, read A's tokens and share no base with A, with
    B or with each other. queries: to B, and to each of the others for the null.
    Raises SublimError for too few references, and for models that do not read or write what is needed.
    """
    if len(references) < texts.FEWEST:
        raise SublimError(
            f"By samples, {texts.FEWEST} references or more are the null. Give --reference once for each of them."
        )
    names = [a, *references]
    readers = [load(name, capacity=len(names) + 1, idle=True) for name in names]
    questions = answers.questions(sorted(common_tokens(readers)), queries)
    own = [texts.read(readers, questions, written(name, questions)) for name in names]
    return by_samples(texts.score(texts.read(readers, questions, written(b, questions)), own))


def written(model: str, questions: Sequence[str], seed: int = 0) -> list[str]:
    """One sampled answer to each question, temperature 1, texts.TOKENS long at most; through the provider of a hosted
    model."""
    if hosted := hosted_name(model):
        return HostSampler(hosted, seed, texts.TOKENS)(questions, [str(i) for i in range(len(questions))])
    writer = load(model, capacity=12, idle=True)
    prompts = [texts.prompt(writer, question) for question in questions]
    return [draws[0].text for draws in writer.sample(prompts, seed=seed, max_new_tokens=texts.TOKENS)]


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
