"""The lease of a storage: who may write a run there. A kernel's lock knows when its holder dies; a lease is watched."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

from sublim_eval.errors import SublimError

from .storage import Storage, facts_in, make_folder

LEASE = "lease.json"
BEAT = 15.0
"""Seconds between two signs of life of the run that holds a storage; four missed ones free it."""


@contextmanager
def held(storage: Storage, beat: float = BEAT, waiting: Callable[[str], None] = lambda words: None) -> Iterator[Lease]:
    """Hold the storage for one run, by a lease file that is renewed every `beat` seconds.

    A lease that is there is watched, not compared with a clock: one renewed meanwhile belongs to a living run and
    raises SublimError; one that stays the same for four beats was left by a dead one and is taken over.
    Creating it is exclusive only where the store can do that (AWS S3); elsewhere it is read again after a moment,
    so two runs that begin within the same moment on a slow store may both go on. Every job would then be done
    twice, to the same result.
    """
    _wait_until_free(storage, beat, waiting)
    lease = Lease(storage, uuid4().hex)
    lease.take(settle=min(1.0, beat / 4))
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(beat):
            lease.renew()

    keeper = threading.Thread(target=renew, daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        ended.set()
        keeper.join(timeout=2 * beat)
        lease.give_up()


def _wait_until_free(storage: Storage, beat: float, waiting: Callable[[str], None]) -> None:
    first = storage.read(LEASE)
    if first is None:
        return
    who = facts_in(first, keys=("owner", "host", "pid")) or {"host": "another machine", "pid": "?"}
    waiting(f"{storage.url} was last held by process {who['pid']} on {who['host']}; waiting to see whether it lives")
    until = time.monotonic() + 4 * beat
    while time.monotonic() < until:
        time.sleep(beat / 4)
        now = storage.read(LEASE)
        if now is None:
            return
        if now != first:
            raise SublimError(
                f"Another run is writing {storage.url} (process {who['pid']} on {who['host']}). "
                "Wait for it, or choose another place with --storage."
            )
    storage.remove(LEASE)


class Lease:
    """One run's hold of a storage. Unlike a kernel's lock it can be lost, and `check` says so."""

    def __init__(self, storage: Storage, owner: str) -> None:
        self.storage, self.owner, self.renewed, self.problem = storage, owner, 0, ""

    def _words(self) -> bytes:
        lease = {"owner": self.owner, "host": socket.gethostname(), "pid": os.getpid(), "renewed": self.renewed}
        return json.dumps(lease).encode()

    def take(self, settle: float) -> None:
        """Create the lease; raises SublimError when another run was first."""
        fs, root = self.storage.place
        refused = SublimError(
            f"Another run has just begun to write {self.storage.url}. Wait for it, or choose another place with "
            "--storage."
        )
        try:
            make_folder(fs, f"{root}/{LEASE}")
            fs.pipe_file(f"{root}/{LEASE}", self._words(), mode="create")
        except FileExistsError:
            raise refused from None
        except Exception:  # a store that knows no exclusive creation, or one that is out of reach: `write` tells which
            self.storage.write(LEASE, self._words())
        time.sleep(settle)
        if not self._mine():
            raise refused

    def _mine(self) -> bool:
        now = facts_in(self.storage.read(LEASE), keys=("owner",))
        return bool(now) and now["owner"] == self.owner  # type: ignore[index]

    def renew(self) -> None:
        """A sign of life. A fault that passes is no reason to stop; another's name in the file is."""
        try:
            if self._mine():
                self.renewed += 1
                self.storage.write(LEASE, self._words())
            else:
                self.problem = (
                    f"Another run has taken over {self.storage.url}, as if this one were dead. "
                    "Wait for it, then give the same command again."
                )
        except SublimError:
            return

    def check(self) -> None:
        """Raise SublimError when another run has taken the storage over."""
        if self.problem:
            raise SublimError(self.problem)

    def give_up(self) -> None:
        """Take the lease away, if it is still this run's."""
        try:
            if self._mine():
                self.storage.remove(LEASE)
        except SublimError:
            return  # it frees itself after four beats
