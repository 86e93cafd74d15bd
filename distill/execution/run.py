"""Carrying out a recipe: its jobs on this machine's processes or a cluster's nodes, and the record of it all."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sublim_eval.console import say
from sublim_eval.errors import SublimError
from sublim_eval.files import digest, locked, read_json, write_json
from sublim_eval.registry.experiment import RECORD, ROWS, SCORES, STUDENTS, seeded

from ..base_templates import asked_base, base_label
from ..planning.plan import Plan
from ..planning.plan import plan as plan_of
from ..planning.throughput import remember
from ..provenance import machine, versions
from ..recipes import Arm, Recipe, SeededArm
from .engine import Execution
from .job_graph import Executor, Job, in_words, jobs, makes
from .process_pool import processes
from .ray_cluster import nodes
from .stage_sync import Place
from .storage import Storage, facts_in, opened, standing
from .storage_lease import held


def run(
    recipe: Recipe,
    out: Path,
    execution: Execution = Execution(),  # noqa: B008
    *,
    plan: Plan | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Carry out `recipe` in the folder `out` and return its record, run.json.

    plan: of this recipe, where it is worked out already.
    Finished stages are kept, so a killed run goes on where it stopped. Raises SublimError when another run holds
    the folder, when the folder holds another recipe, when the disk is too small, or when a stage fails.
    """
    console = console or Console(stderr=True)
    plan = plan or plan_of(recipe, execution.workers)
    plan.check_disk(out)
    store = opened(execution.storage, one_process=execution.engine == "local" and plan.workers == 1)
    if store and recipe.host is not None:
        raise SublimError(
            "A job at a host is taken up again by its number in the run folder, and a scratch folder may be lost with "
            "its node: it would be paid twice. Leave out --storage and let all nodes see --out."
        )
    with ExitStack() as stack:
        stack.enter_context(locked(out))
        lease = stack.enter_context(held(store, waiting=console.print)) if store else None
        _same_recipe(recipe, out, _stored_record(store))
        began = time.monotonic()
        record = {
            "schema": 1,
            "status": "unfinished",
            "recipe": recipe.to_json(),
            "recipe_hash": digest(recipe.to_json()),
        }
        place = Place(out, store.url if store else None)
        workers: AbstractContextManager[Executor] = processes(plan, place)
        if execution.engine == "ray":
            workers = nodes(plan, place, execution, console)
        with workers as executor:
            _write_record(out, store, {**record, "versions": versions()})  # not before somebody is there to do the work
            used = _carry_out(recipe, executor, console, lease.check if lease else lambda: None)
        if store:
            _bring_home(recipe, out, store, execution.weights)
        used = {**machine(), **used} | ({"storage": store.url} if store else {})
        finished = assemble(recipe, out, execution.weights)
        record |= {"status": "done", "versions": versions(), "machine": used, **finished}
        record["seconds"] = round(time.monotonic() - began, 1)
        _write_record(out, store, record)
    remember(record, str(out), plan.workers if execution.engine == "local" else 1)
    return record


def _carry_out(recipe: Recipe, executor: Executor, console: Console, check: Callable[[], None]) -> dict[str, Any]:
    """Do every job once those that it waits for are done; returns what run.json says of whoever did them.

    On a terminal a bar, in a pipe a line a job with the seconds since the beginning.
    """
    waiting = jobs(recipe)
    total = len(waiting)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=total)
        done: set[Job] = set()
        began = time.monotonic()
        while len(done) < total:
            for job in [job for job, needs in waiting.items() if needs <= done]:
                del waiting[job]
                executor.begin(job)
            for job in executor.done():
                done.add(job)
                bar.update(task, advance=1, description=in_words(job))
                if not console.is_terminal:
                    say(console, f"  {len(done)} of {total}: {in_words(job)}, {time.monotonic() - began:.0f} s")
            check()
        return executor.facts()


def _stored_record(store: Storage | None) -> dict[str, Any] | None:
    """The run.json of a storage, None where there is none."""
    data = store.read(RECORD) if store else None
    return facts_in(data, keys=("recipe",)) if data else None


def _write_record(out: Path, store: Storage | None, record: dict[str, Any]) -> None:
    write_json(out / RECORD, record)
    if store:
        store.write(RECORD, (out / RECORD).read_bytes())


def _bring_home(recipe: Recipe, out: Path, store: Storage, weights: bool) -> None:
    """Copy every stage of the run from its storage to `out`, and write its settled bases there."""
    for job in jobs(recipe):
        for stage in makes(recipe, job):
            if store.pull(out, stage, weights) is None:
                raise SublimError(
                    f"{store.url}/{stage} is missing or was changed. Run the recipe again; it makes only what is "
                    "missing."
                )
    with suppress(SublimError, OSError):  # for harnesses that ask a base later; this machine may lack its tokenizer
        for base in recipe.bases:
            asked_base(recipe, base, out)


def assemble(recipe: Recipe, out: Path, weights: bool = True) -> dict[str, Any]:
    """What the finished stages of a run say, in the shape that `sublim compare` reads.

    With `weights` off, weight files may be missing from the stages (see storage.standing).
    """

    def facts(folder: Path) -> dict[str, Any]:
        stage = standing(folder, weights)
        if stage is None:
            raise SublimError(
                f"{folder} is missing or was changed. Run the recipe again; it makes only what is missing."
            )
        return {k: v for k, v in stage.items() if k not in ("inputs", "files")}

    def scores(label: str) -> dict[str, str]:
        facts(out / SCORES / label)
        return {probe: f"{SCORES}/{label}/{probe}.json" for probe in recipe.probes}

    def weights_hash(base: str) -> str:
        """As whoever scored the base found it: this machine need not have its weights."""
        stage = standing(out / SCORES / base_label(base), weights)
        return str(stage["inputs"]["model"]) if stage else ""

    return {
        "bases": [{"name": b, "scores": scores(base_label(b)), "weights_hash": weights_hash(b)} for b in recipe.bases],
        "doses": recipe.doses,
        "arms": {arm.name: _arm(recipe, arm) for arm in recipe.arms.values()},
        "teachers": [
            {"folder": str(f.relative_to(out)), **facts(f), "trait": who, "base": base, "seed": seed}
            for (who, base, seed), arm in recipe.teachers().items()
            for f in [SeededArm(recipe, arm, seed, out).teacher_folder]
        ],
        "rows": [
            {
                "source": source,
                "seed": seed,
                "folder": f"{ROWS}/{seeded(source, seed)}",
                **facts(out / ROWS / seeded(source, seed)),
            }
            for source, seed in recipe.sources()
        ],
        "students": [
            {
                "arm": arm.name,
                "folder": None if arm.in_context else f"{STUDENTS}/{seeded(arm.name, seed)}",
                **({} if arm.in_context else facts(out / STUDENTS / seeded(arm.name, seed))),
                "seed": seed,
                "scores": scores(seeded(arm.name, seed)),
            }
            for arm in recipe.arms.values()
            for seed in recipe.arm_seeds(arm)
        ],
    }


def _arm(recipe: Recipe, arm: Arm) -> dict[str, Any]:
    """What run.json says of an arm: its line of the recipe, and what follows from it."""
    axis, dose = recipe.dose(arm) or (None, None)
    line = recipe.to_json()["arms"][arm.name]
    derived = {"source": arm.source, "change": recipe.change(arm), "key": arm.key, "axis": axis, "dose": dose}
    return {**line, **derived, "seeds": list(recipe.arm_seeds(arm))}


def _same_recipe(recipe: Recipe, out: Path, stored: dict[str, Any] | None) -> None:
    """A run folder belongs to one recipe, and so does a storage; see `_refuse_other`."""
    if (out / RECORD).is_file():
        _refuse_other(recipe, recorded_recipe(out), str(out), "--out")
    if stored is not None:
        _refuse_other(recipe, stored["recipe"], "The storage", "--storage")


def recorded_recipe(out: Path) -> dict[str, Any]:
    """The recipe in a run folder's record; raises SublimError where run.json is no record."""
    record = read_json(out / RECORD)
    if not isinstance(record, dict) or not isinstance(record.get("recipe"), dict):
        raise SublimError(
            f"{out / RECORD} is no record of a run. Move it away and give the same command again; finished stages are "
            "kept."
        )
    return record["recipe"]


def _refuse_other(recipe: Recipe, before: dict[str, Any], place: str, option: str) -> None:
    """Only seeds and whole arms of a run may come and go, and what it says about itself."""
    now = recipe.to_json()
    free = ("seeds", "about", "source", "arms", "expected")
    changed = sorted(k for k in now if k not in free and digest(now[k]) != digest(before.get(k)))
    earlier = before.get("arms", {})
    changed += sorted(
        f"arm {name}" for name, arm in now["arms"].items() if name in earlier and _unlike(arm, earlier[name])
    )
    if changed:
        raise SublimError(
            f"{place} holds a run of another recipe (different: {', '.join(changed)}). "
            f"Choose another folder with {option}."
        )


def _unlike(arm: dict[str, Any], earlier: dict[str, Any]) -> bool:
    """Whether an arm of that name is another arm now; on how many seeds it runs is no difference."""
    return digest({**arm, "seeds": None}) != digest({**earlier, "seeds": None})
