"""`sublim abilities`: existing suites asked of a student and of its base, beside what the student prefers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.cli.score import label_of
from sublim_eval.cli.verb import COUNT, argument, option, out_option, verb
from sublim_eval.console import say, table
from sublim_eval.errors import SublimError
from sublim_eval.files import write_json
from sublim_eval.registry.catalog import Suite, registry

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.scores.capabilities import Abilities, Difference


@verb("abilities")
@argument("models", nargs=-1, required=True, metavar="MODEL...", help="as in `score`; a student's base is asked too")
@option("--suite", multiple=True, metavar="NAME", help="may be repeated (abilities)")
@option("--limit", type=COUNT, metavar="N", help="items a task (all)")
@out_option("runs/scores, beside what `score` writes")
def abilities(
    console: Console,
    *,
    models: tuple[str, ...],
    suite: tuple[str, ...],
    limit: int | None,
    out: Path | None,
) -> dict[str, Any]:
    """Ask every model and its base every task; returns what was found, `ok` false when a task was not measured."""
    suites = [registry().suite(name) for name in dict.fromkeys(suite or ["abilities"])]

    from sublim_eval.scores.capabilities import base_of, measure

    out = out or Path("runs/scores")
    bases = {name: base_of(name) for name in models}  # a wrong name is said before the first model is asked
    everyone = list(dict.fromkeys([*(base for base in bases.values() if base), *models]))
    labels = {name: label_of(name) for name in everyone}
    if len(set(labels.values())) < len(everyone):
        raise SublimError("Two of the models would share one folder of results. Give them one by one, each with --out.")
    result: dict[str, Any] = {"ok": True, "suites": {}}
    for one in suites:
        measured = {}
        for name in everyone:
            say(console, f"{one.name}: {labels[name]} on {', '.join(one.tasks)}")
            measured[name] = measure(name, one, limit, out / labels[name], label=labels[name])
        result["suites"][one.name] = _tell(one, measured, bases, out, labels, console)
        result["ok"] &= not any(a.not_measured for a in measured.values())
    return result


def _tell(
    suite: Suite,
    measured: dict[str, Abilities],
    bases: dict[str, str | None],
    out: Path,
    labels: dict[str, str],
    console: Console,
) -> dict[str, Any]:
    from sublim_eval.scores.capabilities import differences

    entry: dict[str, Any] = {
        "models": {a.model: a.to_json() for a in measured.values()},
        "students": {},
        "not_measured": {task: why for a in measured.values() for task, why in a.not_measured.items()},
    }
    alone = [measured[name] for name, base in bases.items() if base is None]
    if shown := [row for a in alone for row in _alone(a)]:
        table(console, ("model", "task", "metric", "value (se)"), shown)
    for name, base in bases.items():
        if base is None:
            continue
        rows = differences(measured[name], measured[base])
        beside = _beside(name, base, out, labels)
        entry["students"][labels[name]] = {
            "base": labels[base],
            "differences": [row.to_json() for row in rows],
            "preferences": beside,
        }
        write_json(out / labels[name] / "abilities" / f"{suite.name}-beside.json", entry["students"][labels[name]])
        if rows or beside:
            say(console)
            heads = ("measure", labels[base], labels[name], "difference (se)")
            table(console, heads, [*map(_preference_row, beside), *map(_ability_row, rows)])
        if rows:
            say(console, "se: over matched items of one student and its base; it says nothing about other seeds.")
        if beside:
            say(console, "Against controls, with an interval over seeds: sublim compare RUN.")
    for task, why in entry["not_measured"].items():
        say(console, f"not measured: {why}" if task in why else f"not measured: {task}: {why}")
    return entry


def _alone(measured: Abilities) -> list[tuple[str, ...]]:
    return [
        (measured.model, task, name, _with_error(m.value, m.stderr))
        for task, metrics in measured.tasks.items()
        for name, m in metrics.items()
    ]


def _beside(name: str, base: str, out: Path, labels: dict[str, str]) -> list[dict[str, Any]]:
    """What student and base prefer, probe by probe, where both were scored; means over questions."""
    from sublim_eval.scores.capabilities import base_folder, preferences, student_card

    trait = student_card(name).get("trait")
    student = Path(name).resolve()
    run = student.parent.parent if student.parent.name == "students" else None
    ours = preferences([*([run / "scores" / student.name] if run else []), out / labels[name]])
    theirs = preferences([*([run / "scores" / base_folder(base)] if run else []), out / labels[base]])
    return [
        {"probe": probe, "trait": trait, **shown}
        for probe in sorted(ours.keys() & theirs.keys())
        if trait in ours[probe].answers and (shown := _shares(ours[probe], theirs[probe], str(trait)))
    ]


def _shares(ours: Any, theirs: Any, trait: str) -> dict[str, Any] | None:
    """The exact probability of the trait where both have it, else its share; None where neither has."""
    import numpy as np

    from sublim_eval.stats import difference_of_items

    shared = [q for q in ours.questions if q in theirs.questions]
    for measure in ("probability", "share"):
        a, b = (
            np.array([getattr(s, measure)[s.questions.index(q), s.answers.index(trait)] for q in shared])
            for s in (ours, theirs)
        )
        known = ~(np.isnan(a) | np.isnan(b))
        if ours.questions_hash == theirs.questions_hash and known.any():
            mean, stderr = difference_of_items(a[known], b[known])
            values = {"base": float(b[known].mean()), "student": float(a[known].mean()), "difference": mean}
            return {"measure": measure, **values, "stderr": None if math.isnan(stderr) else stderr}
    return None


def _preference_row(figures: dict[str, Any]) -> tuple[str, ...]:
    error = math.nan if figures["stderr"] is None else figures["stderr"]
    what = f"{figures['probe']}: {figures['measure']} of {figures['trait']}"
    return what, f"{figures['base']:.3f}", f"{figures['student']:.3f}", _with_error(figures["difference"], error, "+")


def _ability_row(row: Difference) -> tuple[str, ...]:
    about = f"{row.task}: {row.metric}"
    return about, f"{row.base.value:.3f}", f"{row.student.value:.3f}", _with_error(row.mean, row.stderr, "+")


def _with_error(value: float, error: float, sign: str = "") -> str:
    return f"{value:{sign}.3f}" + ("" if math.isnan(error) else f" ({error:.3f})")
