"""What a fine-tuned teacher learns its trait from: rows of questions and answers that show it."""

from __future__ import annotations

from pathlib import Path

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
