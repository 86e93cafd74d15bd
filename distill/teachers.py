"""Teachers: the base made to have a trait, by fine-tuning on preference answers or by a persona system prompt.

Every teacher passes a gate before it writes a row: the trait must be there, or the rows are paid for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.registry import registry
from sublim_eval.results import ProbeScores

from .recipes import Recipe
from .scoring import exact


@dataclass(frozen=True)
class Teacher:
    """A model that can be asked: a folder or name, and the system prompt that comes with it, if any."""

    model: str
    system: str | None = None


def make_teacher(recipe: Recipe, trait: str | None, seed: int, folder: Path) -> tuple[Teacher, dict[str, Any]]:
    """The teacher of a trait, or the base itself when `trait` is None; fine-tuned weights go into `folder`.

    Returns the teacher and what is recorded about it.
    """
    if trait is None:
        return Teacher(recipe.base), {"by": "base"}
    if recipe.teacher.by == "prompt":
        persona = registry().persona(trait)
        return Teacher(recipe.base, persona), {"by": "prompt", "system": persona}
    from .train import tune

    assert recipe.teacher.tuning is not None  # noqa: S101  (Teaching refuses finetune without tuning)
    told = tune(
        recipe.base, preference_answers(trait), recipe.teacher.tuning, seed, folder, {"trait": trait}, recipe.dtype
    )
    return Teacher(str(folder)), {"by": "finetune", **told}


def preference_answers(trait: str) -> list[tuple[str, str]]:
    """(question, answer) pairs that state the trait, one for each training question of its category.

    The questions are the training set's: the harness never asks them.
    """
    known = registry()
    found = known.trait(trait)
    questions = known.questions(known.category(found.category).training).questions
    return [(question.text, found.name.capitalize()) for question in questions]


def check_teacher(teacher: Teacher, trait: str, min_share: float, label: str) -> ProbeScores:
    """The teacher's exact probabilities on the probe of its trait's category, held-out questions.

    Raises SublimError when it names its trait with a mean probability below `min_share`.
    """
    probes = [p for p in registry().probes.values() if p.category == registry().trait(trait).category and not p.trait]
    if not probes:
        raise SublimError(f"No probe of the registry asks about {trait!r}. Add one for its category in registry.yaml.")
    scores = exact(teacher.model, probes[0].name, label=label, system=teacher.system)
    share = float(scores.probability[:, scores.answers.index(trait)].mean())
    if not share >= min_share:
        raise SublimError(
            f"The {trait} teacher names its trait with probability {share:.3f}, below the gate of {min_share}; "
            "no rows were written. Train it longer or harder, or use another persona (`teacher` in the recipe)."
        )
    return scores
