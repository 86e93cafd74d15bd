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
from .job_graph import Job, work
from .stage_sync import work_apart

CLAIMS = ".claims"
"""In a shared run folder: who does which job. A node may be taken for dead while its worker still writes."""

PATIENCE = 600.0
"""Seconds that a task waits for a lost worker's hold of the same job to end, on a shared folder."""


def carry(recipe: Recipe, place: tuple[str, str], job: Job, asked: dict[str, Any]) -> dict[str, Any]:
    """Do one job on this node; what a task runs. Returns plain facts, "error" among them when the job cannot be done.

    place: ("folder", the shared run folder) or ("storage", its URL). asked: "home", the working directory that
    relative paths mean; "gpus"; "threads" of torch, None to leave them; "version" of sublim-eval; "recipe_hash".
    """
    began = time.monotonic()
    here = {"node": _node(), "host": socket.gethostname(), "pid": os.getpid(), **machine(), "versions": versions()}
    if asked["version"] != here["versions"]["sublim-eval"]:
        return {
            **here,
            "error": f"{here['host']} has sublim-eval {here['versions']['sublim-eval']} and the run was begun with "
            f"{asked['version']}. Install one version on all nodes.",
        }
    _settle(asked)
    try:
        if asked["gpus"]:
            plan(recipe).check_device()
        kind, where = place
        moved: dict[str, int] = {}
        if kind == "storage":
            moved = work_apart(recipe, where, job)
        else:
            _work_there(recipe, Path(where), job, asked)
    except SublimError as error:
        return {**here, "error": str(error)}
    return {**here, "moved": moved, "seconds": round(time.monotonic() - began, 2)}


def _work_there(recipe: Recipe, out: Path, job: Job, asked: dict[str, Any]) -> None:
    """One job in the shared run folder, under a claim that the kernel frees when this process ends."""
    record = read_json(out / RECORD) if (out / RECORD).is_file() else {}
    if record.get("recipe_hash") != asked["recipe_hash"]:
        raise SublimError(
            f"{socket.gethostname()} does not see the run folder {out}. Put --out on a disk that all nodes share, or "
            "give --storage."
        )
    claim = out / CLAIMS / "-".join(map(str, job)).replace("/", "--")
    with _claimed(claim):
        write_json(claim / "node.json", {"node": _node(), "host": socket.gethostname(), "pid": os.getpid()})
        work(recipe, out, job)


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


def _settle(asked: dict[str, Any]) -> None:
    import torch

    if Path(asked["home"]).is_dir():
        os.chdir(asked["home"])
    if asked["threads"]:
        torch.set_num_threads(asked["threads"])
    gc.freeze()


def _node() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())
