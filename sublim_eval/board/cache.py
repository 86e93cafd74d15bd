"""What was read of a file before, kept by the file's path, size and time: a second reading opens nothing.

One SQLite file that can be deleted at any time. A cache that cannot be read or written is no error: the files are read.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

VERSION = 2
"""Raise it whenever a reading comes out otherwise, so that nothing old is believed."""

TABLE = "CREATE TABLE IF NOT EXISTS read (place TEXT PRIMARY KEY, stamp TEXT NOT NULL, value TEXT NOT NULL)"


def default_file() -> Path:
    """Where the command line keeps it: in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "sublim-eval" / "board.sqlite"


def stamp(files: Iterable[Path], *further: object) -> str:
    """Changes when one of the files does (name, size, time), when one goes or comes, or when something further does.

    Raises OSError for a file that is not there.
    """
    marks = [(str(file), (about := file.stat()).st_size, about.st_mtime_ns) for file in files]
    return json.dumps([VERSION, marks, *map(str, further)])


class Cache:
    """Place -> plain data under a stamp. file: None keeps nothing."""

    def __init__(self, file: Path | None) -> None:
        self._base: sqlite3.Connection | None = None
        if file is None:
            return
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._base = self._open(file)
        except (OSError, sqlite3.Error):
            self._base = None

    @staticmethod
    def _open(file: Path) -> sqlite3.Connection:
        """The data base; one that is torn is made anew."""
        try:
            base = sqlite3.connect(file, timeout=1)
            base.execute(TABLE)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            file.unlink(missing_ok=True)
            base = sqlite3.connect(file, timeout=1)
            base.execute(TABLE)
        return base

    def get(self, place: str, mark: str) -> Any:
        """What was kept under this stamp, None for nothing."""
        for text in self._ask("SELECT value FROM read WHERE place = ? AND stamp = ?", (place, mark)):
            with contextlib.suppress(ValueError):
                return json.loads(text)
        return None

    def put(self, place: str, mark: str, value: Any) -> None:
        """Keep plain data; what was kept of the place before is gone."""
        list(self._ask("INSERT OR REPLACE INTO read VALUES (?, ?, ?)", (place, mark, json.dumps(value))))

    def _ask(self, question: str, values: tuple[str, ...]) -> Iterator[str]:
        if self._base is None:
            return
        try:
            for text, *_ in self._base.execute(question, values).fetchall():
                yield text
        except (sqlite3.Error, UnicodeError):
            return

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write down what was kept, also when the reading was stopped halfway."""
        if self._base is not None:
            with contextlib.suppress(sqlite3.Error):
                self._base.commit()
            self._base.close()
