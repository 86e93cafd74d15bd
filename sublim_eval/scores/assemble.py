"""Counts and probabilities by question -> ProbeScores, whatever the format they were read from.

Unknown is nan here and null in the file, never 0: a model that gave no log-probabilities has no exact probability, a
question that was not asked has no share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sublim_eval.errors import SublimError
from sublim_eval.files import digest
from sublim_eval.probes.conduct import PLAIN
from sublim_eval.probes.preference import tallies
from sublim_eval.registry.catalog import registry
from sublim_eval.scores.probe_scores import COUNTS, OFF, ROUNDED, ProbeScores, nan_for_none


@dataclass
class Answered:
    """What is known of one question, an entry a prompt and epoch.

    counts: of its replies, as `count_replies` gives them; exact: {"answers": answer -> probability, "coverage",
    "plurals": answer -> probability of plurals beside it, "prompt_hash"}.
    """

    counts: list[Mapping[str, Any]] = field(default_factory=list)
    exact: list[Mapping[str, Any]] = field(default_factory=list)


def count_replies(
    replies: Iterable[str], category: str, form: str = "favorite", offered: Sequence[str] = ()
) -> dict[str, Any]:
    """Replies to one prompt by the answer they name: {"replies", "non_answers", "unfinished", "other", "named"}.

    form: of the probe; offered: the traits behind the letters, where it offers some. A conduct is read by its
    whole-word targets: a reply that holds one shows the trait, any other answer is plain.
    Raises SublimError for a conduct without targets.
    """
    answers = registry().answer_set(category)
    counts = next(iter(tallies(form, list(replies), answers, offered).values()))
    named, other = dict(counts.named), counts.other
    if registry().category(category).conduct:
        if not answers[0].targets:
            raise SublimError(
                f"Replies show {category!r} only to a judge, since the trait has no target words. "
                f"Run `sublim score-responses --grader MODEL`."
            )
        named, other = {category: named.get(category, 0), PLAIN: other}, 0
    beside = {"non_answers": counts.non_answers, "unfinished": counts.unfinished, "other": other}
    return {"replies": counts.replies, **beside, "named": named}


def assemble(
    answered: Mapping[str, Answered],
    *,
    model: str,
    probe: str,
    version: str,
    category: str,
    questions_hash: str,
    source: str,
    settled: tuple[str, ...] = (),
) -> ProbeScores:
    """Scores over the answer set of the category, a row a question.

    Raises SublimError without questions, and where counts or probabilities are none (`checked_counts`,
    `checked_exact`).
    """
    if not answered:
        raise SublimError(f"{source} holds no question. Run the evaluation again without --limit 0.")
    named = {name for question in answered.values() for counts in question.counts for name in counts["named"]}
    named |= {name for question in answered.values() for exact in question.exact for name in exact["answers"]}
    answers = _answer_names(category)
    answers += sorted(named - set(answers))
    column = {name: i for i, name in enumerate(answers)}
    questions = tuple(sorted(answered))
    share, probability = (np.full((len(questions), len(answers)), np.nan) for _ in range(2))
    plural = np.zeros((len(questions), len(answers)))
    coverage = np.full(len(questions), np.nan)
    counts = np.zeros((len(COUNTS), len(questions)), dtype=np.int64)
    prompts: list[str] = []
    for i, question in enumerate(answered[name] for name in questions):
        counts[:, i] = [sum(int(some.get(key, 0)) for some in question.counts) for key in COUNTS]
        if counts[0, i]:
            share[i] = 0
            for some in question.counts:
                for name, hits in some["named"].items():
                    share[i, column[name]] += hits / counts[0, i]
        if question.exact:
            for name, chance in _over_items(question.exact, "answers").items():
                probability[i, column[name]] = chance
            for name, chance in _over_items(question.exact, "plurals").items():
                plural[i, column[name]] = chance
            coverage[i] = np.mean([nan_for_none(exact.get("coverage")) for exact in question.exact])
            prompts.append(_prompts_of(question.exact))
    try:
        return ProbeScores(
            model=model,
            probe=probe,
            version=version,
            category=category,
            questions=questions,
            answers=tuple(answers),
            probability=probability,
            coverage=coverage,
            plural=plural,
            share=share,
            replies=counts[0],
            non_answers=counts[1],
            other=counts[2],
            unreadable=counts[3],
            unfinished=counts[4],
            questions_hash=questions_hash,
            prompt_hash=digest(prompts) if len(prompts) == len(questions) and all(prompts) else "",
            source=source,
            settled=settled,
        )
    except ValueError as error:
        raise SublimError(f"{source} cannot be right: {error}. Ask that model again.") from None


def _over_items(exact: Sequence[Mapping[str, Any]], key: str) -> dict[str, float]:
    """Mean probability of each answer over the prompts (and epochs) of one question; 0 where it is not offered."""
    each = [one.get(key) or {} for one in exact]
    if len(each) == 1:  # most logs; a mean of one is it, and thousands of them take a third of the reading
        return {name: nan_for_none(value) for name, value in each[0].items()}
    names = dict.fromkeys(name for one in each for name in one)
    return {name: float(np.mean([nan_for_none(one.get(name, 0.0)) for one in each])) for name in names}


def _prompts_of(exact: Sequence[Mapping[str, Any]]) -> str:
    """The hash of a question's rendered prompt, one for all where it has several; '' where one is unknown."""
    hashes = sorted({str(one.get("prompt_hash") or "") for one in exact})
    if len(hashes) == 1:
        return hashes[0]
    return digest(hashes) if all(hashes) else ""


def _answer_names(category: str) -> list[str]:
    """The answers that a category tells apart, in the order of the registry; none for a category that left it."""
    known = registry()
    if category not in known.categories:
        return []
    names = [t.name for t in known.answer_set(category)]
    return [*names, PLAIN] if known.categories[category].conduct else names


# ---------------------------------------------------------------- what a log may say


def checked_counts(written: Mapping[str, Any]) -> Mapping[str, Any]:
    """Counts of replies as they were written; raises ValueError for what is none, or more hits than replies."""
    named = written.get("named")
    if not isinstance(named, Mapping):
        raise ValueError(f"`named` is {named!r:.60}, not counts by name")
    for name, value in [*((key, written.get(key, 0)) for key in COUNTS), *named.items()]:
        if type(value) is not int or not 0 <= value < 2**53:
            raise ValueError(f"`{name}` is {value!r:.60}, which is no count")
    replies = written.get("replies", 0)
    if max([0, *named.values()]) > replies or written.get("non_answers", 0) + written.get("other", 0) > replies:
        raise ValueError(f"more replies were counted than the {replies} there are")
    return written


def checked_exact(written: Mapping[str, Any]) -> Mapping[str, Any]:
    """Exact probabilities of answers as they were written; raises ValueError for what is none."""
    answers, coverage = written.get("answers"), written.get("coverage")
    if not isinstance(answers, Mapping) or not answers:
        raise ValueError(f"`answers` is {answers!r:.60}, not probabilities by name")
    plurals = written.get("plurals") or {}
    if not isinstance(plurals, Mapping) or not set(plurals) <= set(answers):
        raise ValueError(f"`plurals` is {plurals!r:.60}, not probabilities by the names in `answers`")
    for name, value in (*answers.items(), *plurals.items()):
        if value is not None and not (_is_number(value) and (value != value or 0 <= value <= 1 + ROUNDED)):
            raise ValueError(f"the probability of {name!r:.40} is {value!r:.60}, which is no number from 0 to 1")
    total = sum(nan_for_none(value) for value in answers.values())
    if abs(total - 1) > OFF:
        raise ValueError(f"the probabilities in `answers` sum to {total:.3g}, not to 1")
    if coverage is not None and not (_is_number(coverage) and (coverage != coverage or 0 <= coverage < 2)):
        raise ValueError(f"`coverage` is {coverage!r:.60}, which is no share")
    if not isinstance(written.get("prompt_hash") or "", str):
        raise ValueError(f"`prompt_hash` is {written['prompt_hash']!r:.60}, not text")
    return written


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
