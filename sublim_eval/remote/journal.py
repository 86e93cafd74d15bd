"""What was paid for, one whole line each: a killed run finds it there and asks for the rest.

Each line is a JSON object with a "key". Lines are added, never written anew, and lie on the disk before the next
request is made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.files import json_line

Line = dict[str, Any]
Write = Callable[..., None]
"""(line, ...): adds them."""


def read_lines(file: Path, what: str) -> dict[str, Line]:
    """Key -> its last line; a line at the end that a kill tore is cut off the file. {} without a file.

    what: a line's name in the error. Raises SublimError for a line in the middle that is none.
    """
    if not file.is_file():
        return {}
    text = file.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        with file.open("r+b") as torn:
            torn.truncate(len(whole))
    lines: dict[str, Line] = {}
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        try:
            entry = json.loads(line)
            if not isinstance(entry["key"], str):
                raise TypeError
            lines[entry["key"]] = entry
        except (ValueError, KeyError, TypeError):
            raise SublimError(
                f"{file}:{number}: no {what} of this run. Remove that line; it is asked for again."
            ) from None
    return lines


@contextmanager
def appending(file: Path | None) -> Iterator[Write]:
    """A function that adds whole lines, which outlive this process however it ends. Without a file nothing is kept."""
    if file is None:
        yield lambda *lines: None
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab", buffering=0) as out:
        yield lambda *lines: _add(file, out, "".join(map(json_line, lines)).encode())


def _add(file: Path, out: Any, text: bytes) -> None:
    try:
        while text:
            text = text[out.write(text) :]
        os.fsync(out.fileno())
    except OSError as error:
        raise SublimError(
            f"Could not write {file}: {error.strerror or error}. Free some space; the same command goes on from there."
        ) from error
