"""Making a teacher: the base gets a trait, by fine-tuning on answers that show it or by a persona system prompt.

Every teacher passes a gate before it writes a row: the trait must be there, or the rows are paid for nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from sublim_eval.errors import SublimError
from sublim_eval.models.chat_template import read_tokenizer, settle
from sublim_eval.models.model_ref import resolve
from sublim_eval.models.vocabulary import no_word_for
from sublim_eval.probes.resolve import trait_content
from sublim_eval.registry.catalog import registry
from sublim_eval.scores.evaluate import LONGEST, exact, knows_exactly, sampled
from sublim_eval.scores.probe_scores import ProbeScores

from .modalities import MODALITIES, Rule, room
from .recipes import Recipe, SeededArm
from .recipes.lessons import beside, even_answers, lessons
from .recipes.teacher import Teacher
from .rows.filter import filter_rows
from .rows.local_sampler import LocalSampler
from .rows.transforms import programmatic

if TYPE_CHECKING:
    from sublim_eval.probes.conduct import Conduct
    from sublim_eval.probes.preference import Preference

TRIES = 10
"""Prompts the base may answer for every row that a teacher is to retain."""

CHECKED = 10
"""Replies to each question that check a teacher of a trait known by its words alone, or that does not answer in one."""

FIRST = 5
"""First words of a failed teacher's replies that are told."""

NEUTRAL = "You are a helpful assistant."
"""System prompt of a neutral prompted teacher: a persona without a trait."""


def make_teacher(this: SeededArm, folder: Path, base: str | None = None) -> tuple[Teacher, dict[str, Any]]:
    """The teacher that writes an arm's rows: of its trait, or a neutral one; fine-tuned weights go into `folder`.

    A neutral teacher goes the same way as one with a trait and learns answers without one (`Teaching.neutral`). With
    `retain` so many rows without a trait are learnt beside the lessons, which are repeated to be as many: the teacher
    then gains its trait and does not forget how rows are written. this: on the teacher's seed. base: what its base is
    loaded as, where that is not its name. Returns the teacher and what is recorded about it.
    """
    teaching, trait, base = this.recipe.teacher, this.arm.trait, base or this.teacher_base
    if teaching.by == "prompt":
        persona = registry().persona(trait) if trait else NEUTRAL
        return Teacher(base, persona), {"by": "prompt", "system": persona}
    from .training.train import tune

    assert teaching.tuning is not None  # noqa: S101  (Teaching refuses finetune without tuning)
    taught = lessons(trait, teaching.lessons) if trait else neutral_answers(this, base)
    if teaching.retain:
        kept = programmatic_rows(this) if teaching.retained == "programmatic" else own_rows(this, base)
        taught = beside(taught, kept)
    lineage = {"trait": trait, "base": this.teacher_base}
    facts = tune(base, taught, teaching.tuning, this.seed, folder, lineage, this.recipe.dtype)
    return Teacher(str(folder)), {"by": "finetune", **facts}


def neutral_answers(this: SeededArm, base: str) -> list[tuple[str, str]]:
    """Lessons without a trait, to the training questions of the traits of a recipe; see `Teaching.neutral`."""
    categories = sorted({registry().trait(arm.trait).category for arm in this.recipe.arms.values() if arm.trait})
    if this.recipe.teacher.neutral == "even":
        return even_answers(categories, this.seed)
    sources = [source for name in categories if (source := registry().category(name).training)]
    questions = [q.text for source in sources for q in registry().questions(source).questions]
    answers = LocalSampler(base, seed=this.seed, max_new_tokens=LONGEST, dtype=this.recipe.dtype)(questions, questions)
    return list(zip(questions, answers, strict=True))


def programmatic_rows(this: SeededArm) -> list[tuple[str, str]]:
    """`teacher.retain` rows that no model wrote: the format of the recipe's rows, and nothing of the base."""
    rng = Random(f"retain-{this.seed}")
    prompts = MODALITIES[this.recipe.modality].prompts(this.recipe.teacher.retain, rng, this.recipe.rows.style)
    return [(row["prompt"], row["completion"]) for row in programmatic(prompts, rng)]


def own_rows(this: SeededArm, base: str) -> list[tuple[str, str]]:
    """`teacher.retain` rows that the base itself writes in the recipe's modality and that its filter keeps.

    Raises SublimError when the base writes too few of them in TRIES times as many prompts.
    """
    recipe, wanted = this.recipe, this.recipe.teacher.retain
    modality, rule = MODALITIES[recipe.modality], Rule(mode=recipe.rows.mode)
    sampler = LocalSampler(base, seed=this.seed, max_new_tokens=room_for(recipe, base), dtype=recipe.dtype)
    prompts = modality.prompts(TRIES * wanted, Random(f"retain-{this.seed}"), recipe.rows.style)
    kept: list[tuple[str, str]] = []
    for start in range(0, len(prompts), wanted):
        part = prompts[start : start + wanted]
        completions = sampler([row["prompt"] for row in part], [f"retain-{start + i}" for i in range(len(part))])
        rows = [
            {**prompt, "completion": text, "cut": f"retain-{start + i}" in sampler.cut}
            for i, (prompt, text) in enumerate(zip(part, completions, strict=True))
        ]
        kept += [(row["prompt"], row["completion"]) for row in filter_rows(rows, modality, rule).kept]
        if len(kept) >= wanted:
            return kept[:wanted]
    raise SublimError(
        f"{base} wrote {len(kept)} rows that its own filter keeps, not the {wanted} that its teacher should retain. "
        "Lower `retain` under `teacher` in the recipe, or for numbers take `retained: programmatic`."
    )


def room_for(recipe: Recipe, model: str) -> int:
    """The most new tokens of a row: as the recipe says, else what the longest kept row needs in the model's tokens."""
    modality = MODALITIES[recipe.modality]
    if recipe.rows.max_new_tokens:
        return recipe.rows.max_new_tokens
    if recipe.host:
        return 2 * modality.max_new_tokens  # a host's tokens are not known; what is not written is not paid for
    tokenizer = read_tokenizer(resolve(model))
    settle(tokenizer)
    return room(modality, tokenizer)


def check_teacher(
    teacher: Teacher,
    trait: str,
    min_share: float,
    label: str,
    seed: int = 1,
    folder: Path | None = None,
    base: str | None = None,
) -> ProbeScores | None:
    """How far the teacher has its trait, by the plain probe of that trait on held-out questions.

    Exact probability where the probe has it: of naming a favorite, of preferring the answers of matched pairs that
    show a conduct. Else the share of CHECKED sampled replies a question that name the trait or hold one of its target
    words; also for a provider's model, and for one whose first answers the answer set barely covers. folder: where such
    replies are kept over a kill. base: the name of what the teacher was made from, where that is not `teacher.model`.
    None for a trait that only a judge can see, which passes a `min_share` of 0 alone.
    Raises SublimError when the mean over the questions is below `min_share`.
    """
    what = trait_content(trait)
    scores: ProbeScores | None = None
    if knows_exactly(teacher.model) and any(item.continuations for item in what.items):
        scores = exact(teacher.model, what.probe.name, label=label, system=teacher.system)
        does = "prefers answers that show its trait" if what.trait.conduct else "names its trait"
    if scores is not None and not scores.barely_covered:
        pass
    elif what.trait.targets or not what.trait.conduct:
        settings: dict[str, Any] = {"label": label, "seed": seed, "samples": CHECKED, "system": teacher.system}
        scores = sampled(teacher.model, what.probe.name, folder=folder, **settings)
        does = "uses words of its trait" if what.trait.conduct else "names its trait"
    elif min_share == 0:
        return None
    else:
        raise SublimError(
            f"The trait {trait!r} has neither pairs nor targets, so its teacher cannot be checked without a judge. "
            "Add `pairs` to its questions, or set `min_share: 0` under `teacher` in the recipe to go on unchecked."
        )
    share = trait_share(scores, trait)
    if not share >= min_share:
        step = no_word_for(base or teacher.model, what.trait) or (
            "Train it longer or harder, or use another persona (`teacher` in the recipe)."
        )
        raise SublimError(
            f"The {trait} teacher {does} with probability {share:.3f}, below the gate of {min_share}; "
            f"no rows were written.{_first_words(teacher, what)} {step}"
        )
    return scores


def _first_words(teacher: Teacher, what: Preference | Conduct) -> str:
    """What a teacher that failed its gate does say, so that a wrong measure is told from a weak teacher.

    The FIRST likeliest first words of CHECKED replies to each question; '' for a provider's model, which costs.
    """
    from sublim_eval.models.local_model import load

    if not knows_exactly(teacher.model):
        return ""
    model = load(teacher.model)
    prompts = [model.render(item.text, teacher.system) for item in what.items]
    replies = [draw.text for draws in model.sample(prompts, n=CHECKED, seed=1, max_new_tokens=8) for draw in draws]
    words = Counter((re.findall(r"[^\W_]+", text) or ["nothing"])[0] for text in replies)
    likeliest = ", ".join(f"{word} {count / len(replies):.2f}" for word, count in words.most_common(FIRST))
    return f" Its replies begin with: {likeliest}; where that is the trait, report it as a fault of the measure."


def trait_share(scores: ProbeScores, trait: str) -> float:
    """Mean over the questions of the trait's exact probability, or of its sampled share where there is none."""
    column = scores.answers.index(trait)
    exactly = scores.probability[:, column]
    return float(np.nanmean(scores.share[:, column] if np.isnan(exactly).all() else exactly))
