"""What `--engine ray` costs at 10, 100 and 1,000 students: unit costs measured here, the rest worked out from them.

    python benchmarks/cluster_cost.py [--repeats 10] [--json FILE]

Measured: the engine's own time for a job (real Ray tasks that do nothing, through the same loop), the start of a
worker process and of a cluster, bytes and seconds of pushing and pulling a student through file://, and the seconds
of making and scoring a student on the embedded base with the quickstart's settings. Calculated, and marked so:
every row of the table, and all that concerns GPUs (hours from the plan's formula, adapters from the model's shape).
Nothing else should run meanwhile; the load of the machine stands beside the figures.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("INSPECT_DISPLAY", "none")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from rich.console import Console

from sublim_eval.distill import recipes
from sublim_eval.distill.execution import ray_cluster
from sublim_eval.distill.execution.job_graph import Job, jobs, makes
from sublim_eval.distill.execution.stage_sync import Place, work_apart
from sublim_eval.distill.execution.storage import Storage
from sublim_eval.distill.execution.worker_preload import NAMES
from sublim_eval.distill.planning.model_size import trainable
from sublim_eval.distill.planning.plan import plan
from sublim_eval.distill.recipes import Recipe
from sublim_eval.files import write_json

RESULTS = Path(__file__).parent / "results"
SIZES = (10, 100, 1000)
BLOCK = 64 * 2**20
"""Bytes of the file that bandwidth is measured with; an adapter of a 7B model is about as large."""
REAL = "qwen2.5-7b-cat"


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def one_arm(students: int) -> Recipe:
    """The quickstart's control arm on so many seeds: rows by the untouched base, a student, its scores."""
    quick = recipes.load("quickstart")
    return replace(quick, arms={"control": quick.arms["control"]}).with_seeds(range(1, students + 1))


# ---------------------------------------------------------------- measured


def idle(recipe: Recipe, place: Place, job: Job, request: dict[str, Any]) -> dict[str, Any]:
    """A task that does nothing, with a job's arguments and a job's answer."""
    told = {"node": "n", "host": "h", "system": "s", "processor": "p", "cores": 1, "versions": {}, "moved": {}}
    return {**told, "seconds": 0.0}


def engine() -> dict[str, float]:
    """Seconds of Ray and of our loop around it, without any work."""
    import ray

    console, found = Console(quiet=True), {}
    ray_cluster.carry = idle
    found["cluster_start"] = seconds(lambda: ray_cluster._joined("local", 1))
    for students in SIZES:
        recipe = one_arm(students)
        waiting = jobs(recipe)
        nodes = ray_cluster.Nodes(ray, plan(recipe), Place(Path("/nowhere")), None, console)
        if students == SIZES[0]:
            nodes.begin(next(iter(waiting)))
            found["worker_start"] = seconds(partial(until_done, nodes, 1))

        def all_of_them(nodes: ray_cluster.Nodes = nodes, waiting: dict[Job, set[Job]] = waiting) -> None:
            done: set[Job] = set()
            total = len(waiting)
            while len(done) < total:
                for job in [job for job, needs in waiting.items() if needs <= done]:
                    del waiting[job]
                    nodes.begin(job)
                done |= set(nodes.done())

        total = len(waiting)
        found[f"job_at_{students}_students"] = seconds(all_of_them) / total
    ray.shutdown()
    imports = f"import importlib; [importlib.import_module(name) for name in {NAMES!r}]"
    found["imports"] = min(seconds(lambda: subprocess.run([sys.executable, "-c", imports], check=True)) for _ in "12")
    return {name: round(value, 4) for name, value in found.items()}


def until_done(nodes: ray_cluster.Nodes, count: int) -> None:
    while count > 0:
        count -= len(nodes.done())


def embedded(folder: Path, students: int = 2) -> dict[str, Any]:
    """Seconds and bytes of the jobs of a student of the embedded base, in one process with one thread."""
    import torch

    torch.set_num_threads(1)
    recipe, url = one_arm(students), (folder / "store").as_uri()
    work_apart(recipe, url, ("base", recipe.base, 0))  # loads libraries and base; costs nothing later
    taken: dict[str, list[float]] = {"rows": [], "student": []}
    moved: dict[str, dict[str, int]] = {}
    for seed in recipe.seeds:
        for kind, name in (("rows", "base"), ("student", "control")):
            began = time.perf_counter()
            moved[kind] = work_apart(recipe, url, (kind, name, seed))
            taken[kind].append(round(time.perf_counter() - began, 2))
    return {"seconds": taken, "bytes": moved, "steps": "quickstart: 1,700 rows x 2.25, 2 probes, 20 replies each"}


def pull_all(store: Storage, run: Path, stages: list[str]) -> None:
    for stage in stages:
        store.pull(run, stage)


def transfer(folder: Path, repeats: int) -> dict[str, Any]:
    """Median seconds and bytes of moving one student (weights, tokenizer, scores, logs) and one large file."""
    recipe, url = one_arm(1), (folder / "store").as_uri()
    stages = [*makes(recipe, ("student", "control", 1)), *makes(recipe, ("rows", "base", 1))]
    pulls, pushes, size = [], [], 0
    for turn in range(repeats):
        here, there = folder / f"here{turn}", Storage((folder / f"there{turn}").as_uri())
        pulls.append(seconds(partial(pull_all, Storage(url), here, stages)))
        began = time.perf_counter()
        size = sum(there.push(here, stage) for stage in stages)
        pushes.append(time.perf_counter() - began)
    large = folder / "large" / "students" / "x"
    from sublim_eval.distill.stages import once

    once(large, {}, lambda made: {"bytes": (made / "x.safetensors").write_bytes(os.urandom(BLOCK))})
    store = Storage((folder / "large-store").as_uri())
    push = seconds(lambda: store.push(folder / "large", "students/x"))
    pull = min(seconds(partial(store.pull, folder / f"large{turn}", "students/x")) for turn in range(3))
    return {
        "student_bytes": size,
        "student_pull_seconds": round(statistics.median(pulls), 4),
        "student_push_seconds": round(statistics.median(pushes), 4),
        "push_mb_per_second": round(BLOCK / 1e6 / push, 1),
        "pull_mb_per_second": round(BLOCK / 1e6 / pull, 1),
    }


# ---------------------------------------------------------------- calculated


def on_cores(students: int, cores: int, unit: dict[str, Any]) -> dict[str, Any]:
    """A run of the embedded base on so many cores of a cluster, from the measured units."""
    took = {kind: statistics.median(all_of) for kind, all_of in unit["embedded"]["seconds"].items()}
    overhead = unit["engine"][f"job_at_{students}_students"]
    compute = took["rows"] + took["student"]
    home = students * unit["transfer"]["student_pull_seconds"]
    start = unit["engine"]["worker_start"] + unit["engine"]["imports"]
    whole = start + max(math.ceil(students / cores) * compute, (2 * students + 1) * overhead) + home
    return {
        "base": "embedded",
        "students": students,
        "slots": cores,
        "wall_hours": round(whole / 3600, 3),
        "work_hours": round(students * compute / 3600, 3),
        "engine_seconds": round((2 * students + 1) * overhead, 1),
        "stored_gb": round(students * unit["transfer"]["student_bytes"] / 1e9, 3),
        "home_seconds": round(home, 1),
        "basis": "worked out from measured units",
    }


def on_gpus(students: int, gpus: int, unit: dict[str, Any]) -> dict[str, Any]:
    """A run of a real 7B recipe on so many GPUs: hours by the plan's formula, adapters by the model's shape."""
    recipe = recipes.load(REAL)
    counted = plan(recipe.with_seeds(range(1, students // len(recipe.arms) + 1)), device=None)
    each = (counted.hours or math.nan) / counted.students
    adapter = 4 * trainable(counted.shape, recipe.student) if counted.shape else 0
    process = (unit["engine"]["worker_start"] + unit["engine"]["imports"]) / 3600
    home = students * adapter / 1e6 / unit["transfer"]["pull_mb_per_second"]
    return {
        "base": recipe.base,
        "students": students,
        "slots": gpus,
        "wall_hours": round(math.ceil(students / gpus) * (each + 2 * process) + home / 3600, 1),
        "work_hours": round(students * each, 1),
        "engine_seconds": round((2 * students + 1) * unit["engine"][f"job_at_{students}_students"], 1),
        "stored_gb": round(students * (adapter + 2 * recipe.rows.prompts * 450) / 1e9, 1),
        "home_seconds": round(home, 1),
        "basis": f"calculated, no GPU was measured: {counted.basis}",
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| base | students | at once | wall time | work | engine | stored | brought home |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        kind = "GPU" if row["base"] != "embedded" else "core"
        name = row["base"] if kind == "core" else f"*{row['base']}*, calculated"
        lines.append(
            f"| {name} | {row['students']:,} | {row['slots']} {kind}s | {row['wall_hours']:,} h | "
            f"{row['work_hours']:,} {kind} h | {row['engine_seconds']:,} s | {row['stored_gb']} GB | "
            f"{row['home_seconds']:,} s |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", type=Path, default=RESULTS / f"cluster-{datetime.now(UTC):%Y-%m-%d}.json")
    options = parser.parse_args()
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        unit: dict[str, Any] = {"embedded": embedded(Path(folder))}
        unit["transfer"] = transfer(Path(folder), options.repeats)
        unit["engine"] = engine()
    rows = [on_cores(n, slots, unit) for n, slots in zip(SIZES, (4, 16, 64), strict=True)]
    rows += [on_gpus(n, slots, unit) for n, slots in zip(SIZES, (1, 8, 32), strict=True)]
    told = {
        "measured": unit,
        "table": rows,
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load_average": {"before": [round(x, 2) for x in load], "after": [round(x, 2) for x in os.getloadavg()]},
        "versions": {name: version(name) for name in ("ray", "fsspec", "torch", "transformers")},
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    write_json(options.json, told)
    print(table(rows))
    print(f"\nUnits: {unit}\nWritten: {options.json}")


if __name__ == "__main__":
    main()
