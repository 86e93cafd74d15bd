"""One job away from the others: in a scratch folder, between a storage that is pulled from and pushed to."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sublim_eval.errors import SublimError

from ..recipes import Recipe
from ..stages import STAMP
from .job_graph import Job, makes, reads, work
from .storage import Storage

EVERY = 2.0
"""Seconds between two looks for stages that were finished meanwhile."""


@dataclass(frozen=True)
class Place:
    """Where the stages of a run live: its folder `out`, which all who work see, or a storage (its URL) in between."""

    out: Path
    storage: str | None = None

    def work(self, recipe: Recipe, job: Job) -> dict[str, int]:
        """Do one job; returns bytes pulled and pushed, nothing where all see the folder."""
        if self.storage:
            return work_apart(recipe, self.storage, job)
        work(recipe, self.out, job)
        return {}


def work_apart(recipe: Recipe, url: str, job: Job) -> dict[str, int]:
    """Do one job in a scratch folder (under TMPDIR) and store what it made; returns bytes pulled and pushed.

    Half-made stages go with the scratch folder, so a job that was cut short starts again from its finished stages.
    """
    storage = Storage(url)
    with tempfile.TemporaryDirectory(prefix="sublim-") as scratch:
        run = Path(scratch)
        pulled = sum(_needed(storage, run, stage) for stage in reads(recipe, job))
        broken: dict[str, bytes | None] = {}
        for stage in makes(recipe, job):
            stamp = storage.read(f"{stage}/{STAMP}")
            got = storage.pull(run, stage)
            pulled += got or 0
            broken[stage] = None if got is not None else stamp
        with _pushing(storage, run, broken) as sent:
            work(recipe, run, job)
        return {"pulled": pulled, "pushed": sum(sent.values())}


def _needed(storage: Storage, run: Path, stage: str) -> int:
    """Pull a stage that another job made; looks again, for one that is just being stored anew looks torn."""
    for pause in (1.0, 4.0, 0.0):
        got = storage.pull(run, stage)
        if got is not None:
            return got
        time.sleep(pause)
    raise SublimError(
        f"{storage.url}/{stage} is missing or was changed. Run the recipe again; it makes only what is missing."
    )


@contextmanager
def _pushing(storage: Storage, run: Path, stages: Mapping[str, bytes | None]) -> Iterator[dict[str, int]]:
    """Store every stage as soon as it stands: a student is safe while its scores are still being made.

    stages: each with the stamp of a broken one in its place, else None. Yields stage -> bytes sent. On the way out,
    after a failure too, what is finished by then is stored.
    """
    sent: dict[str, int] = {}
    stored: dict[str, bytes] = {}
    ended = threading.Event()

    def push_finished() -> None:
        for stage, broken in stages.items():
            stamp = run / stage / STAMP
            if stamp.is_file() and stored.get(stage) != (now := stamp.read_bytes()):
                sent[stage] = sent.get(stage, 0) + storage.push(run, stage, broken)
                stored[stage] = now

    def watch() -> None:
        while not ended.wait(EVERY):
            try:
                push_finished()
            except (SublimError, OSError):
                continue  # a stage is being made anew, or a fault of the storage: the last push tells

    def stop() -> None:
        ended.set()
        watcher.join()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield sent
    except BaseException:
        stop()
        with suppress(SublimError):  # the reason why the job failed is the one to tell
            push_finished()
        raise
    stop()
    push_finished()
