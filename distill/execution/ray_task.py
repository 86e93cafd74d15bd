"""One job on a node of a cluster: what a task runs there, and how it keeps others from the same folder."""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.files import locked, read_json, write_json
from sublim_eval.registry.experiment import RECORD

from ..planning.plan import plan
from ..provenance import machine, versions
from ..recipes import Recipe
from .job_graph import Job
from .stage_sync import Place

CLAIMS = ".claims"
"""In a shared run folder: who does which job. A node may be taken for dead while its worker still writes."""

PATIENCE = 600.0
"""Seconds that a task waits for a lost worker's hold of the same job to end, on a shared folder."""


def carry(recipe: Recipe, place: Place, job: Job, request: dict[str, Any]) -> dict[str, Any]:
    """Do one job on this node; what a task runs. Returns plain facts, "error" among them when the job cannot be done.

    request: "home", the working directory that relative paths mean; "gpus"; "threads" of torch, None to leave them;
    "version" of sublim-eval; "recipe_hash".
    """
    began = time.monotonic()
    here = {"node": _node(), "host": socket.gethostname(), "pid": os.getpid(), **machine(), "versions": versions()}
    if request["version"] != here["versions"]["sublim-eval"]:
        return {
            **here,
            "error": f"{here['host']} has sublim-eval {here['versions']['sublim-eval']} and the run was begun with "
            f"{request['version']}. Install one version on all nodes.",
        }
    _settle(request)
    try:
        if request["gpus"]:
            plan(recipe).check_device()
        moved = place.work(recipe, job) if place.storage else _work_there(recipe, place, job, request["recipe_hash"])
    except SublimError as error:
        return {**here, "error": str(error)}
    return {**here, "moved": moved, "seconds": round(time.monotonic() - began, 2)}


def _work_there(recipe: Recipe, place: Place, job: Job, recipe_hash: str) -> dict[str, int]:
    """One job in the shared run folder, under a claim that the kernel frees when this process ends."""
    out = place.out
    record = read_json(out / RECORD) if (out / RECORD).is_file() else {}
    if record.get("recipe_hash") != recipe_hash:
        raise SublimError(
            f"{socket.gethostname()} does not see the run folder {out}. Put --out on a disk that all nodes share, or "
            "give --storage."
        )
    claim = out / CLAIMS / "-".join(map(str, job)).replace("/", "--")
    with _claimed(claim):
        write_json(claim / "node.json", {"node": _node(), "host": socket.gethostname(), "pid": os.getpid()})
        return place.work(recipe, job)


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Hold a job's claim, once the worker that was taken for dead has let go of it."""
    until = time.monotonic() + PATIENCE
    while True:
        claim = locked(folder)
        try:
            claim.__enter__()
            break
        except SublimError:
            if time.monotonic() > until:
                raise SublimError(
                    f"A worker that was taken for lost still holds {folder}. End it, then give the same command again."
                ) from None
            time.sleep(0.5)
    try:
        yield
    finally:
        claim.__exit__(None, None, None)


def _settle(request: dict[str, Any]) -> None:
    import torch

    if Path(request["home"]).is_dir():
        os.chdir(request["home"])
    if request["threads"]:
        torch.set_num_threads(request["threads"])
    gc.freeze()


def _node() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())
