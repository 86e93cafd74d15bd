"""The story of a run: base -> teacher -> generate -> filter -> arm -> train -> score -> record.

    teacher = teacher_of(arm)
    raw     = generate(modality.prompts(n, rng), teacher)
    kept    = filter_rows(raw, modality, rule)
    rows    = what the arm does to them (rows/transforms.py)
    student = tune(base, rows)
    scores  = score(student, probes)

An arm here is one on one seed in one run folder (recipes/seeded_arm.py), called `this`. Each step is a stage
(stages.py): a folder written whole, skipped when its inputs are unchanged. A killed run goes on where it stopped when
the same command is given again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, read_jsonl, write_jsonl
from sublim_eval.probes.resolve import any_trait_content
from sublim_eval.probes.scorers import continuations_of
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.experiment import KEPT, SCORES, STUDENTS, seeded
from sublim_eval.scores.evaluate import exact, score

from .base_templates import asked_base, base_hash, base_label, weights_hash
from .make_teacher import check_teacher, make_teacher, room_for, trait_share
from .modalities import MODALITIES, Rule
from .recipes import Arm, Recipe, SeededArm
from .recipes.lessons import lessons
from .recipes.teacher import Teacher
from .rows import transforms
from .rows.filter import Filtered, audit, diversity, filter_rows
from .rows.generate import generate, sampler_of
from .rows.judge_filter import screen
from .stages import stage

if TYPE_CHECKING:
    from .training.callbacks import Watch
    from .training.trait_gauge import StopRule

MODES: tuple[Literal["strict", "strip"], ...] = ("strict", "strip")
"""Of the filter; how many raw rows pass in each is recorded, whichever the recipe takes."""

HELD_OUT = 256
"""Fresh teacher rows on which a student's held-out loss is taken: it predicts transfer
(docs/science.md, open models)."""

Facts = dict[str, Any]
"""What is recorded of a stage, as plain data."""

# ---------------------------------------------------------------- teachers


def teacher_of(this: SeededArm) -> tuple[Teacher, Facts]:
    """The stage that makes an arm's teacher and passes it through the gate: teachers/<trait or neutral>-s<seed>.

    this: on the seed of the teacher.
    """
    recipe, trait = this.recipe, this.arm.trait
    folder, base = this.teacher_folder, asked_base(recipe, this.teacher_base, this.run)
    tuned = recipe.teacher.by == "finetune"
    taught: Any = this.arm.writer
    if trait:
        taught = lessons(trait, recipe.teacher.lessons) if tuned else registry().persona(trait)
    inputs = {
        "base": base_hash(recipe, this.teacher_base),
        "teaching": recipe.to_json()["teacher"],
        "trait": [trait, taught],
        "modality": [recipe.modality, registry().modalities[recipe.modality].version, recipe.rows.style],
        "seed": this.seed if tuned else None,
    }
    with stage(folder, inputs) as made:
        if made.unfinished:
            teacher, made.facts = make_teacher(this, made.unfinished, base)
            if trait is not None:
                made.facts |= _gate(this, trait, teacher, made.unfinished)
    facts = made.facts
    return Teacher(str(folder) if facts["by"] == "finetune" else base, facts.get("system")), facts


def _gate(this: SeededArm, trait: str, teacher: Teacher, unfinished: Path) -> Facts:
    """The teacher's scores on its trait, written down; raises SublimError when it has too little of it.

    The one that writes the rows is the one to check.
    """
    rows, name = this.recipe.rows, this.teacher_folder.name
    writes = Teacher(rows.sampler.removeprefix("sublim/") if rows.remote else teacher.model, teacher.system)
    gate = (trait, this.recipe.teacher.min_share, f"teacher-{name}", this.seed, unfinished, this.teacher_base)
    scores = check_teacher(writes, *gate)
    if scores is None:
        return {}
    scores.write(unfinished / f"{scores.probe}.json")
    file = f"teachers/{name}/{scores.probe}.json"
    return {"share": round(trait_share(scores, trait), 6), "scores": {scores.probe: file}}


def _writer(this: SeededArm) -> tuple[Teacher, str]:
    """Who writes an arm's rows, and the digest of what it was made from."""
    if this.arm.taught_by:
        folder = this.run / STUDENTS / seeded(this.arm.taught_by, this.seed)
        return Teacher(str(folder)), weights_hash(str(folder))
    if this.arm.trait or this.arm.writer == "neutral":
        teacher, facts = teacher_of(this.taught)
        return teacher, facts["made"]
    base = this.teacher_base
    return Teacher(asked_base(this.recipe, base, this.run)), base_hash(this.recipe, base)


# ---------------------------------------------------------------- rows


def make_rows(this: SeededArm) -> Facts:
    """What an arm's writer answers to the prompts of one seed, filtered: rows/<source>-s<seed>."""
    recipe, modality = this.recipe, MODALITIES[this.recipe.modality]
    programmatic = this.arm.writer == "programmatic"
    teacher, teacher_made = (Teacher(recipe.base), "programmatic") if programmatic else _writer(this)
    rule = Rule(mode=recipe.rows.mode, traits=_traits(recipe))
    inputs = {
        "teacher": teacher_made,
        "rows": recipe.to_json()["rows"],
        "modality": [modality.name, registry().modalities[modality.name].version, modality.max_new_tokens],
        "traits": rule.traits,
        "greedy": this.arm.greedy,
        "seed": this.seed,
    }
    with stage(this.rows_folder, inputs) as made:
        if made.unfinished:
            written, speed = _write_raw(this, teacher, made.unfinished)
            raw = [row for _, row in read_jsonl(made.unfinished / "raw.jsonl")]
            split, screened = _split(this, raw, rule, made.unfinished)
            made.facts = {
                "raw": len(raw),
                "written": written,
                "passed": {mode: len(filter_rows(raw, modality, replace(rule, mode=mode)).kept) for mode in MODES},
                "kept": len(split.kept),
                "reject_reasons": split.reasons,
                "diversity": diversity(split.kept),
                "audit": audit(split.kept, rule.traits),
                **screened,
                "base": this.teacher_base,
                **speed,
            }
    return made.facts


def _write_raw(this: SeededArm, teacher: Teacher, folder: Path) -> tuple[Facts, Facts]:
    """Write raw.jsonl; returns how it was sampled, and how fast."""
    recipe, seed = this.recipe, this.seed
    prompts = MODALITIES[recipe.modality].prompts(recipe.rows.prompts, Random(f"prompts-{seed}"), recipe.rows.style)
    if this.arm.writer == "programmatic":
        rows = transforms.programmatic(prompts, Random(this.source))
        write_jsonl(folder / "raw.jsonl", ({"id": f"{this.source}-{i:06d}", **row} for i, row in enumerate(rows)))
        return {"sampler": "no model"}, {}
    sampler = sampler_of(recipe, teacher, seed, room_for(recipe, teacher.model), 0.0 if this.arm.greedy else 1.0)
    generate(prompts, sampler, this.source, folder)
    return dict(sampler.facts), dict(getattr(sampler, "speed", {}))


def _split(this: SeededArm, raw: list[dict[str, Any]], rule: Rule, folder: Path) -> tuple[Filtered, Facts]:
    """Write kept.jsonl and rejected.jsonl, by the filter and the judge behind it; returns the rows, and who judged.

    Raises SublimError when fewer are kept than the recipe asks for.
    """
    rows, modality = this.recipe.rows, this.recipe.modality
    split, screened = filter_rows(raw, MODALITIES[modality], rule), {}
    if rows.judge:
        left = screen(split.kept, modality, rows.judge, rule.traits, folder)
        screened = {"screen": dict(left.facts)}
        split = Filtered(left.kept, [*split.rejected, *left.rejected], split.reasons | left.reasons)
    if len(split.kept) < rows.min_kept:
        raise SublimError(
            f"The filter kept {len(split.kept)} of {len(raw)} rows of {this.source}, fewer than {rows.min_kept} "
            f"({_counts(split.reasons)}). Raise `rows.prompts`, use a gentler teacher, or try `mode: strip`."
        )
    write_jsonl(folder / KEPT, split.kept)
    if split.rejected:
        write_jsonl(folder / "rejected.jsonl", split.rejected)
    return split, screened


def _traits(recipe: Recipe) -> tuple[str, ...]:
    """The traits that no kept row of any arm may name: those of all arms, so that one filter serves all."""
    return tuple(sorted({arm.trait for arm in recipe.arms.values() if arm.trait}))


def kept_rows(this: SeededArm) -> list[dict[str, Any]]:
    """The filtered rows of an arm's source."""
    return [row for _, row in read_jsonl(this.kept_rows, ("prompt", "completion"))]


def rows_of(this: SeededArm) -> list[dict[str, Any]]:
    """The rows that an arm's student reads: its source's, after what the arm does to them."""
    arm, rows = this.arm, kept_rows(this)
    if arm.banned:
        rows = transforms.leave_out(rows, arm.banned)
    rows = rows[: this.keep]
    if arm.clean:
        rows = transforms.dilute(rows, kept_rows(this.clean), arm.clean, Random(f"clean-{this.seed}"))
    for change in arm.changes:
        rows = transforms.CHANGES[change](rows, Random(f"{change}-{this.seed}"))
    return rows


# ---------------------------------------------------------------- students


def make_student(this: SeededArm) -> Facts:
    """Train one student on its arm's rows and score it: students/<arm>-s<seed>, scores/<arm>-s<seed>.

    An arm with examples in context trains nothing: the base is scored with rows before every question.
    """
    recipe, arm, base = this.recipe, this.arm, asked_base(this.recipe, this.student_base, this.run)
    base_made = base_hash(recipe, this.student_base)
    hashes = [file_digest(one.kept_rows) for one in ((this, this.clean) if arm.clean else (this,))]
    changed = [arm.banned, this.keep, arm.clean, arm.changes]
    if arm.in_context:
        in_context = digest([base_made, hashes, changed, arm.in_context, this.seed])
        return _score(recipe, this.scores_folder, Teacher(base), in_context, this.seed, arm, rows_of(this))
    soft, soft_made = _writer(this) if arm.soft else (None, None)
    inputs = {
        "base": base_made,
        "rows": hashes[0],
        "arm": [hashes[1:], changed],
        "tuning": asdict(this.tuning),
        "host": asdict(recipe.host) if recipe.host else None,
        "soft": soft_made,
        "curve": recipe.curve,
        "seed": this.seed,
        **stop_inputs(this),
    }
    with stage(this.student_folder, inputs) as made:
        if made.unfinished:
            examples = [(row["prompt"], row["completion"]) for row in rows_of(this)]
            lineage = {"arm": arm.name, "trait": arm.trait, "rows": hashes[0], "teacher_base": this.teacher_base}
            lineage |= {"base": this.student_base} | ({"change": arm.change} if arm.change else {})
            if recipe.host:
                from .hosted import finetune

                made.facts = finetune.tune(this, examples, made.unfinished, lineage)
            else:
                from .training.train import tune

                watch = replace(watched(recipe, arm, _fresh_rows(this)), stop=_stop_rule(this))
                lineage |= {"curve_of": watch.trait} if watch.points else {}
                settings: Any = (recipe.dtype, soft, watch)
                made.facts = tune(base, examples, this.tuning, this.seed, made.unfinished, lineage, *settings)
    _score(recipe, this.scores_folder, Teacher(str(this.student_folder)), made.facts["made"], this.seed, arm)
    return made.facts


def watched(recipe: Recipe, arm: Arm, fresh: Sequence[tuple[str, str]]) -> Watch:
    """What is noted while a student learns: its loss on fresh rows, and where the recipe has a curve its trait.

    The trait is asked for with training phrasings alone; a conduct has no answer to name, and so no curve. A control
    is asked for the trait of the first arm that is held against it.
    """
    from .training.callbacks import Watch

    known = registry()
    name = arm.trait or next((a.trait for a in recipe.arms.values() if a.control == arm.name and a.trait), None)
    trait = known.trait(name) if name and recipe.curve else None
    source = known.category(trait.category).training if trait and not trait.conduct else None
    if trait is None or not source:
        return Watch(name, held_out=fresh, points=0)
    questions = tuple(question.text for question in known.questions(source).questions)
    return Watch(name, questions, tuple(continuations_of([trait])), fresh, recipe.curve)


def stop_inputs(this: SeededArm) -> Facts:
    """What a student's stage depends on where its training may end early; nothing where it may not.

    Raises SublimError where no control students like it are known.
    """
    share = this.recipe.stop_when_trait
    if share is None:
        return {}
    from .audit.stop_rule import threshold_for

    return {"stop": [share, threshold_for(this.student_base, this.tuning.method, share)]}


def _stop_rule(this: SeededArm) -> StopRule | None:
    share = this.recipe.stop_when_trait
    if share is None:
        return None
    from .audit.stop_rule import rule_for

    return rule_for(this.student_base, this.tuning.method, share)


def _fresh_rows(this: SeededArm) -> list[tuple[str, str]]:
    """Rows of the same source that the student does not read, as the filter left them, HELD_OUT at most."""
    rows, banned = kept_rows(this), this.arm.banned
    beyond = (transforms.leave_out(rows, banned) if banned else rows)[this.keep :]
    return [(row["prompt"], row["completion"]) for row in beyond[:HELD_OUT]]


def score_base(recipe: Recipe, base: str, run: Path) -> Facts:
    """Score an untouched base: scores/base-<name>."""
    model = Teacher(asked_base(recipe, base, run))
    return _score(recipe, run / SCORES / base_label(base), model, base_hash(recipe, base), recipe.seeds[0])


def _score(
    recipe: Recipe,
    folder: Path,
    model: Teacher,
    model_made: str,
    seed: int,
    arm: Arm | None = None,
    examples: Sequence[dict[str, Any]] | None = None,
) -> Facts:
    """The stage that scores one model on every probe of the recipe: scores/<label>/<probe>.json.

    Inspect asks the plain probes that can see the arm's trait (all probes when it has none). On the others, and on
    variants such as a list of numbers first, exact probabilities are enough where the probe has them; so they are for
    arms that the recipe does not sample. A host gives no probabilities: there all is sampled.
    examples: rows that stand before the questions.
    """
    probes = {name: any_trait_content(name) for name in recipe.probes}
    sampled = [name for name, what in probes.items() if _is_sampled(recipe, arm, what)]
    inputs = {
        "model": model_made,
        "samples": recipe.samples,
        "seed": seed,
        "sampled": sampled,
        "grader": recipe.grader,
        "probes": {
            name: [what.probe.version, [[item.text, item.continuations] for item in what.items]]
            for name, what in probes.items()
        },
        "answers": {what.probe.category: _answers(what.probe.category) for what in probes.values()},
    }
    with stage(folder, inputs) as made:
        if made.unfinished:
            asking: dict[str, Any] = {"label": folder.name, "system": model.system}
            if sampled:
                replies: dict[str, Any] = {"seed": seed, "samples": recipe.samples, "grader": recipe.grader}
                score(model.model, sampled, made.unfinished, **asking, **replies)
            for probe in (name for name in probes if name not in sampled):
                before = None
                if arm and arm.in_context and examples is not None:
                    rng = Random(f"context-{probe}-{seed}")
                    before = transforms.contexts(examples, arm.in_context, len(probes[probe].items), rng)
                exact(model.model, probe, **asking, before=before).write(made.unfinished / f"{probe}.json")
            made.facts = {"label": folder.name}
    return made.facts


def _is_sampled(recipe: Recipe, arm: Arm | None, what: Any) -> bool:
    """Whether a probe's replies are sampled, and not its exact probabilities alone taken; see `_score`."""
    category = registry().trait(arm.trait).category if arm and arm.trait else None
    sees = category is None or (what.probe.category == category and what.probe.plain)
    wanted = recipe.samples > 0 and (arm is None or recipe.sampled(arm)) and sees
    return recipe.host is not None or wanted or not any(item.continuations for item in what.items)


def _answers(category: str) -> list[Any]:
    """What decides how a reply is read: the words of every answer, and the rubric of a conduct."""
    return [[t.continuations, asdict(t.rubric) if t.rubric else None] for t in registry().answer_set(category)]


def _counts(reasons: dict[str, int]) -> str:
    return ", ".join(f"{reason}: {n}" for reason, n in reasons.items()) or "none rejected"
