"""What a student can still do: the same tasks of existing suites for it and for its base, and the difference.

A gap in preference is read beside a loss in ability: a student that lost both has been damaged, not taught.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sublim_eval.files import expanded, read_json, write_json
from sublim_eval.harness.suites import Asker, MetricValue, NotMeasured
from sublim_eval.models.model_ref import Source, resolve
from sublim_eval.registry.catalog import Suite, registry
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.stats import difference_of_items

SCHEMA = 1


@dataclass(frozen=True)
class Abilities:
    """What one model can do: task -> metric -> value; what could not be measured, with the reason."""

    model: str
    suite: str
    limit: int | None
    tasks: Mapping[str, Mapping[str, MetricValue]]
    not_measured: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain data with every item, so that another model can be held against it later; nan becomes null."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "suite": self.suite,
            "limit": self.limit,
            "tasks": {
                task: {
                    name: {"value": _null(m.value), "stderr": _null(m.stderr), "items": dict(m.items)}
                    for name, m in metrics.items()
                }
                for task, metrics in self.tasks.items()
            },
            "not_measured": dict(self.not_measured),
        }


@dataclass(frozen=True)
class Difference:
    """Student minus base on one metric of a task. stderr: over items, matched ones where `matched`."""

    task: str
    metric: str
    base: MetricValue
    student: MetricValue
    mean: float
    stderr: float
    matched: bool

    def to_json(self) -> dict[str, Any]:
        """Plain data; nan becomes null."""
        return {
            "task": self.task,
            "metric": self.metric,
            "base": _null(self.base.value),
            "student": _null(self.student.value),
            "difference": _null(self.mean),
            "stderr": _null(self.stderr),
            "items": len(self.student.items),
            "matched": self.matched,
        }


def measure(model: str, suite: Suite, limit: int | None, folder: Path, *, label: str) -> Abilities:
    """Ask one model every task of a suite; writes folder/abilities/<suite>.json, whole or not at all."""
    asker = Asker(model, limit, folder / "abilities" / "logs")
    tasks: dict[str, Mapping[str, MetricValue]] = {}
    failed: dict[str, str] = {}
    for task in suite.tasks:
        try:
            tasks[task] = asker.ask(located(task))
        except NotMeasured as reason:
            failed[task] = str(reason)
    abilities = Abilities(label, suite.name, limit, tasks, failed)
    write_json(folder / "abilities" / f"{suite.name}.json", abilities.to_json())
    return abilities


def differences(student: Abilities, base: Abilities) -> list[Difference]:
    """Student minus base for every metric that both have, in the order of the suite."""
    rows = []
    for task, metrics in student.tasks.items():
        for name, ours in metrics.items():
            theirs = base.tasks.get(task, {}).get(name)
            if theirs is None:
                continue
            shared = sorted(ours.items.keys() & theirs.items.keys())
            matched = bool(shared) and len(shared) == len(ours.items) == len(theirs.items)
            if matched:
                mean, stderr = difference_of_items([ours.items[i] for i in shared], [theirs.items[i] for i in shared])
            else:
                mean, stderr = ours.value - theirs.value, math.hypot(ours.stderr, theirs.stderr)
            rows.append(Difference(task, name, theirs, ours, mean, stderr, matched))
    return rows


def base_of(model: str) -> str | None:
    """The name or folder of the base a student was made from; None for a model that is nobody's student.

    Raises SublimError when the model or its base is not there.
    """
    source: Source = resolve(model)
    if source.adapter is not None:
        return _as_named(source)
    card = student_card(model)
    return str(card["base"]) if card.get("base") else None


def _as_named(source: Source) -> str:
    """The base of an adapter by the name of an embedded model where it is one, else by folder or hub id."""
    for model in registry().models.values():
        if model.embedded and resolve(model.name).base == source.base:
            return model.name
    return str(source.base)


def student_card(model: str) -> dict[str, Any]:
    """student.json of a student folder; empty for any other model."""
    file = expanded(model) / "student.json"
    return dict(read_json(file)) if file.is_file() else {}


def preferences(folders: list[Path]) -> dict[str, ProbeScores]:
    """Probe -> scores that `sublim score` or `sublim run` left in one of the folders; the first one wins."""
    scores: dict[str, ProbeScores] = {}
    for folder in folders:
        for file in sorted(folder.glob("*.json")):
            if file.stem in registry().probes and file.stem not in scores:
                scores[file.stem] = ProbeScores.read(file)
    return scores


def base_folder(base: str) -> str:
    """Where a run keeps the scores of a base: its last two path parts, as `sublim run` names it."""
    return "base-" + "--".join(Path(base).parts[-2:])


def located(task: str) -> str:
    """A task of a suite with its file, where it names one, as an absolute path.

    The file is looked for from the working folder and beside the registry files in force; raises NotMeasured when it
    is in neither place.
    """
    harness, _, name = task.partition("/")
    file, at, function = name.partition("@")
    if not file.endswith((".yaml", ".yml", ".py")):
        return task
    homes = [Path.cwd(), *(f.parent for f in reversed(registry().files))]
    place = next((home / file for home in homes if (home / file).is_file()), None)
    if place is None:
        raise NotMeasured(
            f"There is no task file {file}, neither here nor beside {registry().files[-1]}. Mend the path."
        )
    return f"{harness}/{place.resolve()}{at}{function}"


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None
