"""Jobs on the nodes of a Ray cluster: the same graph, each job a task with what it needs.

What crosses the network is the recipe, paths and job names one way, and a few plain facts the other. Rows, weights
and scores go through the shared folder or the storage, never through Ray. A task whose worker or node was lost runs
again elsewhere; one that failed for a reason ends the run with that reason.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from sublim_eval.errors import SublimError
from sublim_eval.files import digest

from ..planning.model_size import WIDTH
from ..planning.plan import Plan, is_embedded
from ..provenance import versions
from ..training import launch
from .engine import Execution
from .job_graph import Job, bases, in_words, jobs, tunes
from .process_pool import MALLOC, TICK
from .ray_task import CLAIMS, carry
from .stage_sync import Place

RETRIES = 3
"""Times that a job whose worker was lost is begun again; a job that kills its workers by itself must end."""

CARRIED = ("SUBLIM_LAUNCH", "SUBLIM_REGISTRY", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "INSPECT_DISPLAY")
"""Settings that tasks get from this process. No keys: Ray would show them to whoever sees the cluster."""


# ---------------------------------------------------------------- what a job needs


@dataclass(frozen=True)
class Need:
    """What a job asks of a node: cores, accelerators, and bytes of main memory where the plan knows them."""

    cpus: int = 1
    gpus: int = 0
    memory: int | None = None

    def options(self) -> dict[str, Any]:
        """As Ray takes it."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus} | ({"memory": self.memory} if self.memory else {})

    def words(self) -> str:
        """In words."""
        memory = f", {self.memory / 1e9:.0f} GB of memory" if self.memory else ""
        return f"{self.cpus} CPU, {self.gpus} GPU{memory}"


def need(plan: Plan, job: Job) -> Need:
    """An accelerator for a base that is not embedded, one a process where the launcher starts several; else a core.

    memory: the weights as the plan knows them, which a node holds once on their way to the device.
    """
    recipe = plan.recipe
    held = bases(recipe, job)
    large = [base for base in held if not is_embedded(base)]
    together = launched() if tunes(recipe, job) else 1
    if not large:
        return Need(cpus=together if held else 1)
    weights = plan.shape.parameters * WIDTH[recipe.dtype] if plan.shape else None
    return Need(cpus=together, gpus=together, memory=weights)


def launched() -> int:
    """Processes that SUBLIM_LAUNCH starts on one machine, 1 without it."""
    return max(1, launch.wanted(launch.line() or "") or 1)


# ---------------------------------------------------------------- the cluster


@contextmanager
def nodes(plan: Plan, place: Place, execution: Execution, console: Console) -> Iterator[Nodes]:
    """The cluster's nodes at work for one run; leaving early, by Ctrl-C too, cancels what they do.

    Raises SublimError when Ray is missing or the address answers nothing.
    """
    address = _address(execution.address)
    ray = _joined(address, plan.workers)
    cluster = Nodes(ray, plan, replace(place, out=place.out.resolve()), execution.workers, console)
    try:
        cluster.refuse_impossible(fresh=address == "local")
        yield cluster
        if not place.storage:
            shutil.rmtree(place.out / CLAIMS, ignore_errors=True)
    finally:
        cluster.cancel()
        ray.shutdown()


class Nodes:
    """Executor of a cluster. Ray places the tasks; what was lost is begun again here, so that it is counted and told.

    workers: jobs at once; all that the nodes have room for when None. Ray's own retries are off (max_retries=0):
    nobody would hear of them, and run.json could not say what was lost.
    """

    def __init__(self, ray: Any, plan: Plan, place: Place, workers: int | None, console: Console) -> None:
        self.ray, self.plan, self.place, self.console = ray, plan, place, console
        self.workers = workers or len(jobs(plan.recipe))
        self.ready: list[Job] = []
        self.running: dict[Any, Job] = {}
        self.lost: list[dict[str, Any]] = []
        self.seen: dict[str, dict[str, Any]] = {}
        self.tasks: dict[Need, Any] = {}
        self.alive: set[str] = set()

    def begin(self, job: Job) -> None:
        """Put a job in line."""
        self.ready.append(job)

    def done(self) -> list[Job]:
        """Jobs that ended; raises SublimError with the sentence of one that could not be done."""
        while self.ready and len(self.running) < self.workers:
            job = self.ready.pop(0)
            self.running[self._submit(job)] = job
        ended, _ = self.ray.wait(list(self.running), num_returns=1, timeout=TICK)
        self._tell_of_nodes()
        return [over for ref in ended if (over := self._ended(ref)) is not None]

    def _submit(self, job: Job) -> Any:
        needs = need(self.plan, job)
        if needs not in self.tasks:
            # A worker keeps its hold of a device until it ends, so one with an accelerator does one job (max_calls).
            calls = {"max_calls": 1} if needs.gpus else {}
            carried = {name: os.environ[name] for name in CARRIED if name in os.environ}
            unseen = {} if needs.gpus else {"CUDA_VISIBLE_DEVICES": ""}
            self.tasks[needs] = self.ray.remote(
                **needs.options(),
                **calls,
                max_retries=0,
                scheduling_strategy="SPREAD",
                runtime_env={"env_vars": {**MALLOC, **carried, **unseen}},
            )(carry)
        request = {
            "home": str(Path.cwd()),
            "gpus": needs.gpus,
            "threads": None if needs.gpus else needs.cpus,
            "version": versions()["sublim-eval"],
            "recipe_hash": digest(self.plan.recipe.to_json()),
        }
        return self.tasks[needs].options(name=in_words(job)).remote(self.plan.recipe, self.place, job, request)

    def _ended(self, ref: Any) -> Job | None:
        """The job of a task that ended, None when it was lost and waits to be begun again."""
        errors = self.ray.exceptions
        lost = (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError, errors.ObjectLostError)
        job = self.running.pop(ref)
        try:
            facts = self.ray.get(ref)
        except lost as error:
            self._again(job, error)
            return None
        except errors.RuntimeEnvSetupError as error:
            raise SublimError(
                f"A node could not prepare a worker ({_first(error)}). See its logs in /tmp/ray."
            ) from None
        except errors.RayError as error:
            if "No module named 'sublim_eval" in str(error):
                raise SublimError(
                    "A node has no sublim-eval. Install the same version on all nodes: pip install 'sublim-eval[ray]'."
                ) from None
            raise
        if "error" in facts:
            raise SublimError(facts["error"])
        node = self.seen.setdefault(facts["node"], _place_of(facts))
        node["jobs"] += 1
        node["seconds"] = round(node["seconds"] + facts["seconds"], 2)
        for what, count in facts["moved"].items():
            node[what] = node.get(what, 0) + count
        return job

    def _again(self, job: Job, error: Exception) -> None:
        times = 1 + sum(one["job"] == list(job) for one in self.lost)
        self.lost.append({"job": list(job), "why": type(error).__name__})
        if times > RETRIES:
            raise SublimError(
                f"The worker of {in_words(job)} was lost {times} times ({_first(error)}), most likely for lack of "
                "memory. Give the nodes more, or fewer jobs at once with --workers; finished stages are kept."
            ) from None
        self.console.print(f"The worker of {in_words(job)} was lost ({type(error).__name__}); it is begun again.")
        self.ready.insert(0, job)

    def _tell_of_nodes(self) -> None:
        """Say when a node joins or is lost."""
        alive = {node["NodeID"] for node in self.ray.nodes() if node["Alive"]}
        if self.alive and alive != self.alive:
            self.console.print(f"The cluster has {len(alive)} nodes now; it had {len(self.alive)}.")
        self.alive = alive

    def refuse_impossible(self, fresh: bool) -> None:
        """Say which job no node has room for; SublimError on a fresh cluster, which will not grow."""
        here = [n["Resources"] for n in self.ray.nodes() if n["Alive"]]
        wanted = {need(self.plan, job): job for job in jobs(self.plan.recipe)}
        for needs, job in wanted.items():
            options = needs.options()
            asks = {"CPU": options["num_cpus"], "GPU": options["num_gpus"], "memory": options.get("memory", 0)}
            if not any(all(node.get(k, 0) >= v for k, v in asks.items()) for node in here):
                words = (
                    f"{in_words(job).capitalize()} needs a node with {needs.words()}, and none of the cluster's has it."
                )
                if fresh:
                    raise SublimError(f"{words} Give --address of a cluster that has one, or --engine local.")
                self.console.print(f"{words} Waiting for one to join; Ctrl-C ends the run.")

    def facts(self) -> dict[str, Any]:
        """What run.json says of the cluster: which nodes did how many jobs, and what was lost."""
        own = versions()
        nodes = []
        for node in self.seen.values():
            differ = {k: v for k, v in node["versions"].items() if own.get(k) != v}
            nodes.append({k: v for k, v in node.items() if k != "versions"} | ({"versions": differ} if differ else {}))
        return {"engine": "ray", "ray": self.ray.__version__, "nodes": nodes, "lost": self.lost}

    def cancel(self) -> None:
        """End what still runs."""
        for ref in self.running:
            with _quietly():
                self.ray.cancel(ref, force=True)
        self.running.clear()


@contextmanager
def _quietly() -> Iterator[None]:
    try:
        yield
    except Exception:
        return  # the cluster is being left; what cannot be cancelled ends with the connection


def _joined(address: str, cores: int) -> Any:
    """Ray, connected; a fresh cluster on this machine ("local") has as many cores as jobs are wanted at once."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns of a change to come
    try:
        import ray
    except ImportError:
        raise SublimError("--engine ray needs the package ray. Install it: pip install 'sublim-eval[ray]'.") from None
    if ray.is_initialized():
        raise SublimError("This process is connected to a Ray cluster already. Leave it first: ray.shutdown().")
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        settings |= {"num_cpus": cores, "include_dashboard": False, "object_store_memory": 128 * 2**20}
    else:
        _refuse_silent(address)
    try:
        ray.init(address=address, **settings)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError, ImportError) as error:
        if "ray[client]" in str(error):
            raise SublimError(
                f"{address!r} needs Ray's client. Install it, in the version of the cluster: pip install 'ray[client]'."
            ) from None
        raise SublimError(
            f"No Ray cluster answers at {address!r} ({_first(error)}). Start one with `ray start --head`, check "
            "--address and Ray's version there, or leave --address out for one on this machine."
        ) from None
    return ray


def _address(address: str | None) -> str:
    """What is asked for, else where a job of the cluster finds itself (RAY_ADDRESS), else a fresh local one."""
    return address or os.environ.get("RAY_ADDRESS") or "local"


def _refuse_silent(address: str) -> None:
    """Raise SublimError when nothing listens at host:port; Ray itself would try for minutes."""
    parts = re.fullmatch(r"(?:ray://)?([^/:]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})", address)
    if not parts:
        if address == "auto":
            return
        raise SublimError(f"{address!r} is no address of a Ray cluster. Write auto, host:6379 or ray://host:10001.")
    try:
        with socket.create_connection((parts[1].strip("[]"), int(parts[2])), timeout=10):
            return
    except (OSError, OverflowError) as error:
        raise SublimError(
            f"No Ray cluster answers at {address!r} ({error}). Start one with `ray start --head`, or check --address."
        ) from None


def _place_of(facts: dict[str, Any]) -> dict[str, Any]:
    kept = ("host", "system", "processor", "cores", "versions")
    return {**{k: facts[k] for k in kept}, "jobs": 0, "seconds": 0.0}


def _first(error: Exception) -> str:
    """The first sentence of an error."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
