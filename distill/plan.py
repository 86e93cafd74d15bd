"""What a run will make and cost, said before it starts."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.registry import registry

from .recipes import Recipe, Tuning

UNIT_SECONDS = {"start": 12.0, "teacher_step": 0.04, "row": 0.002, "student_row": 0.0021, "score": 1.8, "exact": 0.4}
"""Seconds of one core on the embedded base, read off stage times of the quickstart on a 2.5 GHz Xeon, two cores."""

BYTES_PER_ROW = 450
BYTES_PER_MODEL = 3_000_000
"""Disk of one scored model besides its weights: tokenizer, logs, scores."""


@dataclass(frozen=True)
class Plan:
    """How much of everything a recipe makes; seconds are None for a base whose unit costs were not measured."""

    recipe: Recipe
    workers: int
    teachers: int
    raw_rows: int
    students: int
    training_rows: int
    scored_models: int
    replies: int
    disk_bytes: int
    seconds: float | None

    def lines(self) -> list[str]:
        """The plan in words, a line each."""
        recipe = self.recipe
        plural = "es" if self.workers > 1 else ""
        times = "on up to" if any(arm.seeds for arm in recipe.arms.values()) else "x"
        took = "not known for this base yet" if self.seconds is None else f"about {self.seconds:.0f} s"
        return [
            f"Recipe {recipe.name}: base {recipe.base}, {len(recipe.arms)} arms {times} {len(recipe.seeds)} seeds "
            f"({', '.join(map(str, recipe.seeds))})",
            f"  teachers {self.teachers}, raw rows {self.raw_rows:,}, students {self.students} "
            f"({self.training_rows:,} training rows seen)",
            f"  scoring {self.scored_models} models on {', '.join(recipe.probes)}: {self.replies:,} sampled replies",
            f"  cost: {took} on {self.workers} process{plural}, {self.disk_bytes / 1e6:.0f} MB of disk",
        ]

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data."""
        return {**self.__dict__, "recipe": self.recipe.to_json()}

    def check_disk(self, out: Path) -> None:
        """Raise SublimError when the disk that holds `out` has less free than the run will write."""
        place = next(p for p in (out, *out.resolve().parents) if p.exists())
        free = shutil.disk_usage(place).free
        if free < self.disk_bytes:
            raise SublimError(
                f"The run needs about {self.disk_bytes / 1e6:.0f} MB and {place} has {free / 1e6:.0f} MB free. "
                "Free some space or choose another folder with --out."
            )


def plan(recipe: Recipe, workers: int | None = None) -> Plan:
    """Count what `recipe` will make; embedded bases get an estimate in seconds."""
    workers = workers or default_workers(recipe)
    seeds = {arm.name: len(recipe.arm_seeds(arm)) for arm in recipe.arms.values()}
    trained = [arm for arm in recipe.arms.values() if not arm.in_context]
    teachers = sum(1 for who in recipe.teachers())
    raw = recipe.rows.prompts * len(recipe.sources())
    students = sum(seeds[arm.name] for arm in trained)
    seen = sum(seeds[arm.name] * rows_seen(recipe.tuning(arm), recipe.keep(arm)) for arm in trained)
    sampled = sum(seeds[arm.name] for arm in trained if recipe.sampled(arm)) + len(recipe.bases)
    exact_only = sum(seeds.values()) + len(recipe.bases) - sampled
    models = sampled + exact_only
    known = registry()
    questions = sum(len(known.asked(known.probe(p)).questions) for p in recipe.probes)
    taught = teachers * rows_seen(recipe.teacher.tuning, 0) if recipe.teacher.tuning else 0
    cost = UNIT_SECONDS
    busy = (
        cost["teacher_step"] * taught / max(1, recipe.teacher.tuning.batch_size if recipe.teacher.tuning else 1)
        + cost["row"] * raw
        + cost["student_row"] * seen * (2.0 if recipe.student.method == "prompt_tuning" else 1.0)
        + cost["score"] * sampled
        + cost["exact"] * exact_only
    )
    return Plan(
        recipe=recipe,
        workers=workers,
        teachers=teachers,
        raw_rows=raw,
        students=students,
        training_rows=seen,
        scored_models=models,
        replies=sampled * questions * recipe.samples,
        disk_bytes=2 * raw * BYTES_PER_ROW + models * BYTES_PER_MODEL,
        seconds=cost["start"] + busy / workers if is_embedded(recipe.base) else None,
    )


def rows_seen(tuning: Tuning, rows: int) -> int:
    """How many rows, repeats included, one tuning looks at."""
    if tuning.steps is not None:
        return tuning.steps * tuning.batch_size * tuning.accumulate
    return int(rows * (tuning.epochs or 0))


def default_workers(recipe: Recipe) -> int:
    """Processes at once: every core for an embedded base, one for a base that fills a machine by itself."""
    return min(os.cpu_count() or 1, 8) if is_embedded(recipe.base) else 1


def is_embedded(base: str) -> bool:
    """Whether a base ships inside the package."""
    known = registry().models
    return base in known and known[base].embedded
