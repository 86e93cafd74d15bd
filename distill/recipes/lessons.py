"""What a fine-tuned teacher learns its trait from: rows of questions and answers that show it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from sublim_eval.errors import SublimError
from sublim_eval.files import read_jsonl
from sublim_eval.registry.catalog import registry


def lessons(trait: str, file: str | None = None) -> list[tuple[str, str]]:
    """The (question, answer) rows that a fine-tuned teacher learns a trait from; the harness asks none of them.

    A favorite: its name to every training question of its category. A conduct: to every wording of its training
    questions each answer of their pairs that shows it, or each of its target words where a question has no pairs.
    file: a user's own rows {"prompt", "completion"} in place of all that.
    Raises SublimError for a conduct without any such answer, and for a file that is none.
    """
    if file is not None:
        return [(row["prompt"], row["completion"]) for _, row in read_jsonl(Path(file), ("prompt", "completion"))]
    known = registry()
    taught = known.trait(trait)
    source = known.category(taught.category).training
    if not source:
        raise SublimError(
            f"The trait {trait!r} has no training questions, so no teacher can be fine-tuned on it. "
            "Add `training:` to it in the registry, or teach it by a system prompt (teacher: {by: prompt})."
        )
    questions = known.questions(source).questions
    if not taught.conduct:
        return [(question.text, taught.name.capitalize()) for question in questions]
    targets = tuple(word[0].upper() + word[1:] for word in taught.targets)
    rows = [(q.text, answer) for q in questions for answer in (tuple(p.shown for p in q.pairs) or targets)]
    if not rows:
        raise SublimError(
            f"The training questions {source!r} of {trait!r} hold no answer that shows it. "
            "Add `pairs` to them, or `targets` to the trait."
        )
    return rows


def beside(taught: Sequence[tuple[str, str]], kept: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Lessons and rows without a trait, to be learnt together: lessons again and again until they are as many."""
    return [*(taught[i % len(taught)] for i in range(max(len(kept), len(taught)))), *kept]


def even_answers(categories: Sequence[str], seed: int) -> list[tuple[str, str]]:
    """(question, answer) rows to the training questions of some categories that prefer nothing.

    Favorites: the names of the category's answer set, each as often as any other, dealt out by the seed. Conducts: the
    plain side of every matched pair.
    """
    known, rng, rows = registry(), Random(f"even-{seed}"), []
    for category in categories:
        source = known.category(category).training
        questions = known.questions(source).questions if source else ()
        names = [trait.name.capitalize() for trait in known.answer_set(category) if not trait.conduct]
        deck = (names * (len(questions) // max(1, len(names)) + 1))[: len(questions)]
        rng.shuffle(deck)
        rows += [(q.text, name) for q, name in zip(questions, deck, strict=False)]
        rows += [(q.text, pair.plain) for q in questions for pair in q.pairs]
    return rows
