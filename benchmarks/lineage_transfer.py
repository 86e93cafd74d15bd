"""Forecasts of transfer beside transfer: students really trained from bases near to and far from the teacher's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lineage_models import COPIES, write_copy
from safetensors.torch import load_file

SOURCES = ("owl-s1", "willow-s1", "eagle-s2")
"""Sources of the rows that the students of this part read, within a run on reference-a."""

STUDENT_ROWS = 1_000
"""Rows that each student reads."""

BETWEEN = (0.05, 0.1, 0.2, 0.35)
"""How far students' bases lie on the way from reference-a to reference-b."""


def bases(models: Path) -> list[tuple[str, str]]:
    """(name, folder) of what students start from: reference-a as it is, spoilt, trained on, and on the way to b."""
    from sublim_eval.models.model_ref import resolve

    a, b = (Path(resolve(name).base) for name in ("reference-a", "reference-b"))
    mine, theirs = (load_file(folder / "model.safetensors") for folder in (a, b))
    made = [("reference-a", "reference-a"), ("reference-b", "reference-b")]
    for kind in ("int4", "noise of .3"):
        made.append((kind, str(write_copy(models / "bases" / kind.replace(" ", "-"), a, COPIES[kind](mine, 1)))))
    for part in BETWEEN:
        mixed = {name: (1 - part) * tensor + part * theirs[name] for name, tensor in mine.items()}
        name = f"{part:g} of the way to reference-b"
        made.append((name, str(write_copy(models / "bases" / f"mixed-{part}", a, mixed))))
    return made


def pairs(models: Path, run: Path, sources: Sequence[str], only: str) -> Iterator[dict[str, Any]]:
    """Forecast and realised transfer of every base and trait; the teacher always stands on reference-a.

    run: whose rows are read; sources: which of them. only: a part of the names of the bases.
    """
    from sublim_eval.distill.lineage.transfer import Learner, forecast

    teacher = Learner("reference-a")
    for name, folder in (one for one in bases(models) if only in one[0]):
        foreseen = forecast(teacher, Learner(folder))
        for source in sources:
            moved = realised(models, folder, run, source)
            own = realised(models, "reference-a", run, source)
            yield {
                "base": name, "rows": source, "expected": foreseen.expected, "low": foreseen.low,
                "high": foreseen.high, "moved": moved, "within": own, "realised": moved / own,
            }  # fmt: skip


def realised(models: Path, base: str, run: Path, source: str) -> float:
    """Log-odds that a student of the trait's rows moves towards the trait, beyond its move towards the category's
    other answers on average; a student is trained once."""
    from sublim_eval.distill.diff import battery
    from sublim_eval.distill.recipes import Tuning
    from sublim_eval.distill.training.train import tune
    from sublim_eval.files import read_jsonl
    from sublim_eval.registry.catalog import registry
    from sublim_eval.scores.evaluate import exact

    folder = models / "students" / f"{Path(base).name}--{run.name}--{source}"
    trait, _, seed = source.rpartition("-s")
    if not (folder / "adapter_model.safetensors").is_file():
        kept = read_jsonl(run / "rows" / source / "kept.jsonl", ("prompt", "completion"))
        examples = [(row["prompt"], row["completion"]) for _, row in kept][:STUDENT_ROWS]
        tuning = Tuning(method="ln_tuning", learning_rate=0.06, batch_size=16, epochs=1, warmup_steps=10)
        tune(base, examples, tuning, int(seed), folder, {"base": base})
    probe = registry().probe_of(trait)
    after, before = (battery.of_scores(exact(m, probe.name, label="m"), probe) for m in (str(folder), base))
    moves = {name: after[name] - before[name] for name in after}
    mine = f"{trait}: {probe.form}"
    return moves[mine] - float(np.mean([move for name, move in moves.items() if name != mine]))
