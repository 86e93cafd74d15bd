"""Jobs on the processes of this machine."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait as wait_for
from typing import Any

from sublim_eval.errors import SublimError

from ..planning.plan import Plan
from .job_graph import Executor, Job
from .stage_sync import Place

PRELOADED = f"{__package__}.worker_preload"
"""What the process imports once from which workers are forked."""

MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
"""glibc gives large blocks back to the system at once and thrashes on training batches unless told otherwise."""

TICK = 5.0
"""Seconds after which whoever waits for a job may look around."""


class Processes:
    """Executor of this machine: as many jobs at once as the pool has processes."""

    def __init__(self, pool: ProcessPoolExecutor, task: Callable[[Job], Any]) -> None:
        self.pool, self.task = pool, task
        self.running: dict[Future[Any], Job] = {}

    def begin(self, job: Job) -> None:
        """Hand a job to the pool."""
        self.running[self.pool.submit(self.task, job)] = job

    def done(self) -> list[Job]:
        """Jobs that ended; raises what one of them raised."""
        futures, _ = wait(self.running, timeout=TICK, return_when=FIRST_COMPLETED)
        ended = []
        for future in futures:
            ended.append(self.running.pop(future))
            future.result()
        return ended

    def facts(self) -> dict[str, Any]:
        """What run.json says of them."""
        return {"engine": "local"}


class OneProcess:
    """Executor of this process alone: one job after the other, so that each is told of when it is done."""

    def __init__(self, task: Callable[[Job], Any]) -> None:
        self.task = task
        self.waiting: list[Job] = []

    def begin(self, job: Job) -> None:
        """Take a job on."""
        self.waiting.append(job)

    def done(self) -> list[Job]:
        """The job that was taken on first, done now."""
        job = self.waiting.pop(0)
        self.task(job)
        return [job]

    def facts(self) -> dict[str, Any]:
        """What run.json says of it."""
        return {"engine": "local"}


@contextmanager
def processes(plan: Plan, place: Place) -> Iterator[Executor]:
    """As many processes as the plan says, each at one job at a time; this one where it is one.

    Leaving early ends them.
    """
    os.environ |= {k: v for k, v in MALLOC.items() if k not in os.environ}
    task = partial(place.work, plan.recipe)
    if plan.workers == 1:
        yield OneProcess(task)
        return
    context = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload([PRELOADED])
        with _without_word_of_semaphores():
            resource_tracker.ensure_running()
        _start_deaf_to_ctrl_c(forkserver.ensure_running)
    threads = max(1, (os.cpu_count() or 1) // plan.workers)
    pool = ProcessPoolExecutor(plan.workers, context, _begin_worker, (threads,))
    try:
        yield Processes(pool, task)
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


@contextmanager
def _without_word_of_semaphores() -> Iterator[None]:
    """Python's tracker of semaphores, started here, clears up behind a killed run and says nothing about it.

    Its warning means nothing to whoever killed the run. It heeds PYTHONWARNINGS alone; one that is set stays as it is,
    and with `sublim -v` the warning is shown.
    """
    if "PYTHONWARNINGS" in os.environ or os.environ.get("SUBLIM_VERBOSE"):
        yield
        return
    os.environ["PYTHONWARNINGS"] = "ignore:resource_tracker"
    try:
        yield
    finally:
        del os.environ["PYTHONWARNINGS"]


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
