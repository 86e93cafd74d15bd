"""The story of a run: base -> teacher -> generate -> filter -> arm -> train -> score -> record.

    teacher = teacher_of(recipe, arm, seed)
    raw     = generate(modality.prompts(n, rng), teacher)
    kept    = filter_rows(raw, modality, rule)
    rows    = what the arm does to them (rows/transforms.py)
    student = tune(base, rows)
    scores  = score(student, probes)

Each step is a stage (stages.py): a folder written whole, skipped when its inputs are unchanged. A killed run goes
on where it stopped when the same command is given again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, read_jsonl, write_jsonl
from sublim_eval.probes.resolve import any_trait_content
from sublim_eval.probes.scorers import continuations_of
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.experiment import KEPT, ROWS, SCORES, STUDENTS, TEACHERS, seeded
from sublim_eval.scores.evaluate import exact, score

from .base_templates import asked_base, base_hash, base_label, weights_hash
from .modalities import MODALITIES, Rule
from .recipes import Arm, Recipe
from .recipes.lessons import lessons
from .recipes.teacher import Teacher
from .rows import transforms
from .rows.filter import Filtered, audit, diversity, filter_rows
from .rows.generate import generate, sampler_of
from .rows.judge_filter import screen
from .stages import once
from .teachers import check_teacher, make_teacher, room_for, trait_share

if TYPE_CHECKING:
    from .training.callbacks import Watch

HELD_OUT = 256
"""Fresh teacher rows on which a student's held-out loss is taken: it predicts transfer
(docs/science.md, open models)."""

# ---------------------------------------------------------------- teachers


def teacher_name(recipe: Recipe, arm: Arm, seed: int) -> str:
    """The name of the folder, in teachers/, of the teacher that writes an arm's rows."""
    on = f"-on-{arm.teacher_base.rsplit('/', 1)[-1]}" if arm.teacher_base else ""
    return seeded(f"{arm.trait or arm.writer}{on}", seed)


def teacher_folder(recipe: Recipe, arm: Arm, seed: int, run: Path) -> Path:
    """Where that teacher stands."""
    return run / TEACHERS / teacher_name(recipe, arm, seed)


def teacher_of(recipe: Recipe, arm: Arm, seed: int, run: Path) -> tuple[Teacher, dict[str, Any]]:
    """The stage that makes an arm's teacher and passes it through the gate: teachers/<trait or neutral>-s<seed>."""
    folder, base = teacher_folder(recipe, arm, seed, run), asked_base(recipe, recipe.teacher_base(arm), run)
    tuned = recipe.teacher.by == "finetune"
    taught: Any = arm.writer
    if arm.trait:
        taught = lessons(arm.trait, recipe.teacher.lessons) if tuned else registry().persona(arm.trait)
    inputs = {
        "base": base_hash(recipe, recipe.teacher_base(arm)),
        "teaching": recipe.to_json()["teacher"],
        "trait": [arm.trait, taught],
        "modality": [recipe.modality, registry().modalities[recipe.modality].version, recipe.rows.style],
        "seed": seed if tuned else None,
    }

    def make(unfinished: Path) -> dict[str, Any]:
        teacher, told = make_teacher(recipe, arm, seed, unfinished, base)
        if arm.trait is not None:
            away = recipe.rows.sampler.removeprefix("sublim/") if recipe.rows.remote else None
            writes = Teacher(away or teacher.model, teacher.system)  # the one that writes the rows is the one to check
            share = recipe.teacher.min_share
            scores = check_teacher(writes, arm.trait, share, f"teacher-{folder.name}", seed, unfinished)
            if scores is not None:
                scores.write(unfinished / f"{scores.probe}.json")
                told |= {"share": round(trait_share(scores, arm.trait), 6)}
                told |= {"scores": {scores.probe: f"teachers/{folder.name}/{scores.probe}.json"}}
        return told

    facts = once(folder, inputs, make)
    return Teacher(str(folder) if facts["by"] == "finetune" else base, facts.get("system")), facts


def _writer(recipe: Recipe, arm: Arm, seed: int, run: Path) -> tuple[Teacher, str]:
    """Who writes an arm's rows, and the digest of what it was made from."""
    if arm.taught_by:
        folder = run / STUDENTS / seeded(arm.taught_by, seed)
        return Teacher(str(folder)), weights_hash(str(folder))
    if arm.trait or arm.writer == "neutral":
        teacher, facts = teacher_of(recipe, arm, recipe.teacher_seed(seed), run)
        return teacher, facts["made"]
    base = recipe.teacher_base(arm)
    return Teacher(asked_base(recipe, base, run)), base_hash(recipe, base)


# ---------------------------------------------------------------- rows


def make_rows(recipe: Recipe, arm: Arm, seed: int, run: Path) -> dict[str, Any]:
    """What an arm's writer answers to the prompts of one seed, filtered: rows/<source>-s<seed>."""
    name = seeded(arm.source, seed)
    modality = MODALITIES[recipe.modality]
    programmatic = arm.writer == "programmatic"
    teacher, made = (Teacher(recipe.base), "programmatic") if programmatic else _writer(recipe, arm, seed, run)
    rule = Rule(mode=recipe.rows.mode, traits=_traits(recipe))

    def write(folder: Path) -> dict[str, Any]:
        prompts = modality.prompts(recipe.rows.prompts, Random(f"prompts-{seed}"), recipe.rows.style)
        written: dict[str, Any] = {"sampler": "no model"}
        speed: dict[str, Any] = {}
        if programmatic:
            write_jsonl(folder / "raw.jsonl", _numbered(transforms.programmatic(prompts, Random(f"{name}")), name))
        else:
            sampler = sampler_of(recipe, teacher, seed, room_for(recipe, teacher.model), 0.0 if arm.greedy else 1.0)
            generate(prompts, sampler, name, folder)
            written, speed = dict(sampler.facts), dict(getattr(sampler, "speed", {}))
        raw = [row for _, row in read_jsonl(folder / "raw.jsonl")]
        found = filter_rows(raw, modality, rule)
        screened: dict[str, Any] = {}
        if recipe.rows.judge:
            left = screen(found.kept, recipe.modality, recipe.rows.judge, rule.traits, folder)
            screened = {"screen": dict(left.facts)}
            found = Filtered(left.kept, [*found.rejected, *left.rejected], found.reasons | left.reasons)
        if len(found.kept) < recipe.rows.min_kept:
            raise SublimError(
                f"The filter kept {len(found.kept)} of {len(raw)} rows of {name}, fewer than {recipe.rows.min_kept} "
                f"({_counts(found.reasons)}). Raise `rows.prompts`, use a gentler teacher, or try `mode: strip`."
            )
        write_jsonl(folder / KEPT, found.kept)
        if found.rejected:
            write_jsonl(folder / "rejected.jsonl", found.rejected)
        passed = {
            mode: len(filter_rows(raw, modality, Rule(mode=mode, traits=rule.traits)).kept)
            for mode in ("strict", "strip")
        }
        return {
            "raw": len(raw),
            "written": written,
            "passed": passed,
            "kept": len(found.kept),
            "reject_reasons": found.reasons,
            "diversity": diversity(found.kept),
            "audit": audit(found.kept, rule.traits),
            **screened,
            "base": recipe.teacher_base(arm),
            **speed,
        }

    inputs = {
        "teacher": made,
        "rows": recipe.to_json()["rows"],
        "modality": [modality.name, registry().modalities[modality.name].version, modality.max_new_tokens],
        "traits": rule.traits,
        "greedy": arm.greedy,
        "seed": seed,
    }
    return once(run / ROWS / name, inputs, write)


def _traits(recipe: Recipe) -> tuple[str, ...]:
    """The traits that no kept row of any arm may name: those of all arms, so that one filter serves all."""
    return tuple(sorted({arm.trait for arm in recipe.arms.values() if arm.trait}))


def _numbered(rows: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [{"id": f"{name}-{i:06d}", **row} for i, row in enumerate(rows)]


def kept_rows(run: Path, source: str, seed: int) -> Path:
    """The file of filtered rows of a source."""
    return run / ROWS / seeded(source, seed) / KEPT


def rows_of(recipe: Recipe, arm: Arm, seed: int, run: Path) -> list[dict[str, Any]]:
    """The rows that an arm's student reads: its source's, after what the arm does to them."""
    rows = [row for _, row in read_jsonl(kept_rows(run, arm.source, seed), ("prompt", "completion"))]
    if arm.banned:
        rows = transforms.leave_out(rows, arm.banned)
    rows = rows[: recipe.keep(arm)]
    if arm.clean:
        source = recipe.clean_source(arm).source
        clean = [row for _, row in read_jsonl(kept_rows(run, source, seed), ("prompt", "completion"))]
        rows = transforms.dilute(rows, clean, arm.clean, Random(f"clean-{seed}"))
    for change in arm.changes:
        rows = transforms.CHANGES[change](rows, Random(f"{change}-{seed}"))
    return rows


# ---------------------------------------------------------------- students


def make_student(recipe: Recipe, arm: Arm, seed: int, run: Path) -> dict[str, Any]:
    """Train one student on its arm's rows and score it: students/<arm>-s<seed>, scores/<arm>-s<seed>.

    An arm with examples in context trains nothing: the base is scored with rows before every question.
    """
    name = seeded(arm.name, seed)
    base = asked_base(recipe, recipe.student_base(arm), run)
    base_made = base_hash(recipe, recipe.student_base(arm))
    reads = [kept_rows(run, arm.source, seed)]
    if arm.clean:
        reads.append(kept_rows(run, recipe.clean_source(arm).source, seed))
    hashes = [file_digest(file) for file in reads]
    told = [arm.banned, recipe.keep(arm), arm.clean, arm.changes]
    if arm.in_context:
        made = digest([base_made, hashes, told, arm.in_context, seed])
        return _score(recipe, name, Teacher(base), made, seed, run, arm, rows_of(recipe, arm, seed, run))
    soft = _writer(recipe, arm, seed, run) if arm.soft else None
    inputs = {
        "base": base_made,
        "rows": hashes[0],
        "arm": [hashes[1:], told],
        "tuning": asdict(recipe.tuning(arm)),
        "host": asdict(recipe.host) if recipe.host else None,
        "soft": soft[1] if soft else None,
        "curve": recipe.curve,
        "seed": seed,
    }

    def make(unfinished: Path) -> dict[str, Any]:
        rows = rows_of(recipe, arm, seed, run)
        examples = [(row["prompt"], row["completion"]) for row in rows]
        lineage = {"arm": arm.name, "trait": arm.trait, "rows": hashes[0], "teacher_base": recipe.teacher_base(arm)}
        lineage |= {"base": recipe.student_base(arm)} | ({"change": arm.change} if arm.change else {})
        if recipe.host:
            from .hosted import finetune

            return finetune.tune(recipe, arm, examples, seed, unfinished, lineage)
        from .training.train import tune

        tuning, taught = recipe.tuning(arm), soft[0] if soft else None
        seen = watched(recipe, arm, _fresh_rows(recipe, arm, seed, run))
        lineage |= {"curve_of": seen.trait} if seen.points else {}
        return tune(base, examples, tuning, seed, unfinished, lineage, recipe.dtype, taught, seen)

    folder = run / STUDENTS / name
    facts = once(folder, inputs, make)
    _score(recipe, name, Teacher(str(folder)), facts["made"], seed, run, arm)
    return facts


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


def _fresh_rows(recipe: Recipe, arm: Arm, seed: int, run: Path) -> list[tuple[str, str]]:
    """Rows of the same source that the student does not read, as the filter left them, HELD_OUT at most."""
    rows = [row for _, row in read_jsonl(kept_rows(run, arm.source, seed), ("prompt", "completion"))]
    beyond = (transforms.leave_out(rows, arm.banned) if arm.banned else rows)[recipe.keep(arm) :]
    return [(row["prompt"], row["completion"]) for row in beyond[:HELD_OUT]]


def score_base(recipe: Recipe, base: str, run: Path) -> dict[str, Any]:
    """Score an untouched base: scores/base-<name>."""
    asked = Teacher(asked_base(recipe, base, run))
    return _score(recipe, base_label(base), asked, base_hash(recipe, base), recipe.seeds[0], run)


def _score(
    recipe: Recipe,
    label: str,
    asked: Teacher,
    made: str,
    seed: int,
    run: Path,
    arm: Arm | None = None,
    examples: Sequence[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The stage that scores one model on every probe of the recipe: scores/<label>/<probe>.json.

    Inspect asks the plain probes that can see the arm's trait (all probes when it has none). On the others, and on
    variants such as a list of numbers first, exact probabilities are enough where the probe has them; so they are for
    arms that the recipe does not sample. A host gives no probabilities: there all is sampled.
    examples: rows that stand before the questions.
    """
    known = registry()
    probes = {name: any_trait_content(name) for name in recipe.probes}
    category = known.trait(arm.trait).category if arm and arm.trait else None
    sampled = arm is None or recipe.sampled(arm)
    seen = [
        name
        for name, what in probes.items()
        if recipe.host is not None
        or (sampled and (category is None or (what.probe.category == category and what.probe.plain)))
        or not any(item.continuations for item in what.items)
    ]
    inputs = {
        "model": made,
        "samples": recipe.samples,
        "seed": seed,
        "sampled": seen,
        "grader": recipe.grader,
        "probes": {
            name: [what.probe.version, [[item.text, item.continuations] for item in what.items]]
            for name, what in probes.items()
        },
        "answers": {what.probe.category: _answers(what.probe.category) for what in probes.values()},
    }

    def make(unfinished: Path) -> dict[str, Any]:
        if seen:
            settings: dict[str, Any] = {"system": asked.system, "grader": recipe.grader}
            score(asked.model, seen, unfinished, label=label, seed=seed, samples=recipe.samples, **settings)
        for probe in probes:
            if probe not in seen:
                before = None
                if arm and arm.in_context and examples is not None:
                    rng = Random(f"context-{probe}-{seed}")
                    before = transforms.contexts(examples, arm.in_context, len(probes[probe].items), rng)
                found = exact(asked.model, probe, label=label, system=asked.system, before=before)
                found.write(unfinished / f"{probe}.json")
        return {"label": label}

    return once(run / SCORES / label, inputs, make)


def _answers(category: str) -> list[Any]:
    """What decides how a reply is read: the words of every answer, and the rubric of a conduct."""
    return [[t.continuations, asdict(t.rubric) if t.rubric else None] for t in registry().answer_set(category)]


def _counts(reasons: dict[str, int]) -> str:
    return ", ".join(f"{reason}: {n}" for reason, n in reasons.items()) or "none rejected"
