"""Carrying out a recipe: which jobs wait for which, on how many processes, and the record of it all."""

from __future__ import annotations

import gc
import importlib.metadata
import multiprocessing
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sublim_eval.errors import SublimError
from sublim_eval.records import digest, locked, read_json, write_json

from .plan import Plan, plan
from .recipes import Arm, Recipe
from .stages import finished

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
"""glibc gives large blocks back to the system at once and thrashes on training batches unless told otherwise."""

PACKAGES = ("sublim-eval", "torch", "transformers", "peft", "inspect-ai", "lm-eval", "numpy", "tokenizers")

Job = tuple[str, str, int]
"""(kind, name, seed); kinds: "base" (a model, 0), "teacher" (its folder), "rows" (a source) and "student" (an arm)."""


def run(recipe: Recipe, out: Path, *, workers: int | None = None, console: Console | None = None) -> dict[str, Any]:
    """Carry out `recipe` in the folder `out` and return its record, run.json.

    Finished stages are kept, so a killed run goes on where it stopped. Raises SublimError when another run holds
    the folder, when the folder holds another recipe, when the disk is too small, or when a stage fails.
    """
    counted = plan(recipe, workers)
    counted.check_disk(out)
    with locked(out):
        _same_recipe(recipe, out)
        began = time.monotonic()
        record = {
            "schema": 1,
            "status": "unfinished",
            "recipe": recipe.to_json(),
            "recipe_hash": digest(recipe.to_json()),
        }
        write_json(out / "run.json", {**record, "versions": versions()})
        _carry_out(recipe, out, counted, console or Console(stderr=True))
        record = {**record, "status": "done", "versions": versions(), "machine": machine(), **assemble(recipe, out)}
        record["seconds"] = round(time.monotonic() - began, 1)
        write_json(out / "run.json", record)
    return record


def assemble(recipe: Recipe, out: Path) -> dict[str, Any]:
    """What the finished stages of a run say, in the shape that `sublim compare` reads."""
    from .pipeline import base_label, teacher_folder, weights_hash

    def facts(folder: Path) -> dict[str, Any]:
        found = finished(folder)
        if found is None:
            raise SublimError(
                f"{folder} is missing or was changed. Run the recipe again; it makes only what is missing."
            )
        return {k: v for k, v in found.items() if k not in ("inputs", "files")}

    def scores(label: str) -> dict[str, str]:
        facts(out / "scores" / label)
        return {probe: f"scores/{label}/{probe}.json" for probe in recipe.probes}

    return {
        "bases": [{"name": b, "weights_hash": weights_hash(b), "scores": scores(base_label(b))} for b in recipe.bases],
        "doses": recipe.doses,
        "arms": {arm.name: _arm(recipe, arm) for arm in recipe.arms.values()},
        "teachers": [
            {"folder": str(f.relative_to(out)), **facts(f), "trait": who, "base": base, "seed": seed}
            for (who, base, seed), arm in recipe.teachers().items()
            for f in [teacher_folder(recipe, arm, seed, out)]
        ],
        "rows": [
            {
                "source": source,
                "seed": seed,
                "folder": f"rows/{source}-s{seed}",
                **facts(out / "rows" / f"{source}-s{seed}"),
            }
            for source, seed in recipe.sources()
        ],
        "students": [
            {
                "arm": arm.name,
                "folder": None if arm.in_context else f"students/{arm.name}-s{seed}",
                **({} if arm.in_context else facts(out / "students" / f"{arm.name}-s{seed}")),
                "seed": seed,
                "scores": scores(f"{arm.name}-s{seed}"),
            }
            for arm in recipe.arms.values()
            for seed in recipe.arm_seeds(arm)
        ],
    }


def _arm(recipe: Recipe, arm: Arm) -> dict[str, Any]:
    """What run.json says of an arm: its line of the recipe, and what follows from it."""
    axis, dose = recipe.dose(arm) or (None, None)
    told = recipe.to_json()["arms"][arm.name]
    derived = {"source": arm.source, "change": arm.change, "axis": axis, "dose": dose}
    return {**told, **derived, "seeds": list(recipe.arm_seeds(arm))}


def versions() -> dict[str, str]:
    """Versions of Python and of every package that can move a number."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def machine() -> dict[str, Any]:
    """System, processor and cores of this machine; the device of each student is in its own record."""
    return {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()}


def _same_recipe(recipe: Recipe, out: Path) -> None:
    """A run folder belongs to one recipe; only seeds and whole arms may come and go, and what it says about itself."""
    if not (out / "run.json").is_file():
        return
    before = read_json(out / "run.json").get("recipe", {})
    now = recipe.to_json()
    free = ("seeds", "about", "source", "arms")
    changed = sorted(k for k in now if k not in free and digest(now[k]) != digest(before.get(k)))
    earlier = before.get("arms", {})
    changed += sorted(
        f"arm {name}" for name, arm in now["arms"].items() if name in earlier and _unlike(arm, earlier[name])
    )
    if changed:
        raise SublimError(
            f"{out} holds a run of another recipe (different: {', '.join(changed)}). Choose another folder with --out."
        )


def _unlike(arm: dict[str, Any], earlier: dict[str, Any]) -> bool:
    """Whether an arm of that name is another arm now; on how many seeds it runs is no difference."""
    return digest({**arm, "seeds": None}) != digest({**earlier, "seeds": None})


# ---------------------------------------------------------------- jobs on processes


def _carry_out(recipe: Recipe, out: Path, counted: Plan, console: Console) -> None:
    waiting = jobs(recipe)
    total = len(waiting)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with _pool(counted.workers) as submit, Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=total)
        running: dict[Future[None], Job] = {}
        done: set[Job] = set()
        while waiting or running:
            for job in [job for job, needs in waiting.items() if needs <= done]:
                del waiting[job]
                running[submit(work, recipe, out, job)] = job
            finished_now, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished_now:
                job = running.pop(future)
                future.result()
                done.add(job)
                bar.update(task, advance=1, description=f"{job[0]} {job[1]}" + (f" seed {job[2]}" if job[2] else ""))


def jobs(recipe: Recipe) -> dict[Job, set[Job]]:
    """Every job of a run with the jobs that it waits for, in the order in which they are best begun."""
    from .pipeline import teacher_name

    found: dict[Job, set[Job]] = {}
    for (*_, seed), arm in recipe.teachers().items():
        found["teacher", teacher_name(recipe, arm, seed), seed] = set()
    for (source, seed), arm in recipe.sources().items():
        needs: set[Job] = set()
        if arm.taught_by:
            needs.add(("student", arm.taught_by, seed))
        elif arm.trait or arm.writer == "neutral":
            told = recipe.teacher_seed(seed)
            needs.add(("teacher", teacher_name(recipe, arm, told), told))
        found["rows", source, seed] = needs
    for arm in recipe.arms.values():
        for seed in recipe.arm_seeds(arm):
            reads = {arm.source} | ({recipe.clean_source(arm).source} if arm.clean else set())
            needs = {("rows", source, seed) for source in reads}
            if arm.soft and arm.trait:
                told = recipe.teacher_seed(seed)
                needs.add(("teacher", teacher_name(recipe, arm, told), told))
            found["student", arm.name, seed] = needs
    found |= {("base", base, 0): set() for base in recipe.bases}
    return found


def work(recipe: Recipe, out: Path, job: Job) -> None:
    """Do one job; every part of it is a stage that is skipped when it stands."""
    from . import pipeline

    kind, name, seed = job
    if kind == "teacher":
        arm = next(
            a for (*_, s), a in recipe.teachers().items() if s == seed and pipeline.teacher_name(recipe, a, s) == name
        )
        pipeline.teacher_of(recipe, arm, seed, out)
    elif kind == "rows":
        pipeline.make_rows(recipe, recipe.sources()[name, seed], seed, out)
    elif kind == "student":
        pipeline.make_student(recipe, recipe.arms[name], seed, out)
    else:
        pipeline.score_base(recipe, name, out)


@contextmanager
def _pool(workers: int) -> Iterator[Callable[..., Future[None]]]:
    """A `submit` on that many processes, or in this one when it is one. Leaving early ends the processes."""
    os.environ |= {k: v for k, v in MALLOC.items() if k not in os.environ}
    if workers == 1:
        yield _at_once
        return
    context = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload([f"{__package__}.preload"])
        _start_deaf_to_ctrl_c(forkserver.ensure_running)
    threads = max(1, (os.cpu_count() or 1) // workers)
    pool = ProcessPoolExecutor(workers, context, _begin_worker, (threads,))
    try:
        yield pool.submit
        pool.shutdown()
    except BrokenProcessPool:
        raise SublimError(
            "A worker process was killed, most likely for lack of memory. Give the same command again: finished "
            "stages are kept."
        ) from None
    finally:
        for process in multiprocessing.active_children():
            process.kill()
        pool.shutdown(cancel_futures=True)


def _at_once(function: Callable[..., None], *arguments: Any) -> Future[None]:
    future: Future[None] = Future()
    function(*arguments)
    future.set_result(None)
    return future


def _start_deaf_to_ctrl_c(start: Callable[[], None]) -> None:
    """A process started here is born ignoring Ctrl-C: pressed while it still imports, it would print its traceback."""
    if threading.current_thread() is not threading.main_thread():
        start()
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        start()
    finally:
        signal.signal(signal.SIGINT, before)


def _begin_worker(threads: int) -> None:
    """Workers leave Ctrl-C to the parent and end with it, however it ends."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    gc.freeze()  # a million objects of the libraries stay; looking through them again costs seconds a student
    parent = multiprocessing.parent_process()

    def watch(sentinels: Iterable[int]) -> None:
        wait_for(list(sentinels))
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, args=([parent.sentinel],), daemon=True).start()
