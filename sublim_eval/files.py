"""Files that are written whole or not at all: JSON, JSONL, hashes, and the lock of a run folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from sublim_eval.errors import SublimError

PACKAGE = Path(__file__).resolve().parent
"""Folder of the package."""

ROOT = PACKAGE if (PACKAGE / "registry.yaml").exists() else PACKAGE.parent
"""Folder of registry.yaml: the package once installed, the repository in a checkout."""


def expanded(path: str | Path) -> Path:
    """The path with the home folder in the place of ~ or ~user; as it is, where nobody has such a home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


@contextlib.contextmanager
def whole_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary neighbour of `path` for writing; it takes the name only when the block ends well.

    Raises SublimError when the disk is full or the folder cannot be written; the old file then stays.
    """
    text = "b" not in mode
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        part = Path(name)
        with os.fdopen(handle, mode, encoding="utf-8" if text else None, newline="\n" if text else None) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise SublimError(
            f"Could not write {path}: {error.strerror or error}. Free some space or choose another folder with --out "
            "(audit, diff: --keep); what was finished before is kept."
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with whole_file(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; raises SublimError that names the file and line when it is missing, malformed or unreadable."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SublimError(f"There is no file {path}. Check the path.") from None
    except OSError as error:
        raise SublimError(f"{path} cannot be read ({error.strerror or error}). Check the path.") from None
    except (ValueError, RecursionError) as error:  # endless digits and endless nesting too
        line = getattr(error, "lineno", 1)
        raise SublimError(f"{path}:{line}: not valid JSON ({error}). Mend or remove the file.") from None


_WRITTEN = json.JSONEncoder(ensure_ascii=False)


def is_there(file: Path) -> bool:
    """Whether a file lies there; a name that no disk takes, as an edited record may hold, is none."""
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False


def files_in(folder: Path, *patterns: str) -> list[Path]:
    """The files of a folder that a pattern names, sorted; none of a folder whose name no disk takes."""
    try:
        return sorted(file for pattern in patterns for file in folder.glob(pattern) if file.is_file())
    except (OSError, ValueError):
        return []


def json_line(row: Mapping[str, Any]) -> str:
    """One line of a JSONL file; text stays readable unless it holds half a surrogate pair, which UTF-8 cannot."""
    line = _WRITTEN.encode(row)
    return (json.dumps(row) if not line.isascii() and re.search("[\ud800-\udfff]", line) else line) + "\n"


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one JSON object a line, whole or not at all; returns how many."""
    count = 0
    with whole_file(path) as file:
        for row in rows:
            file.write(json_line(row))
            count += 1
    return count


def read_jsonl(path: Path, required: tuple[str, ...] = ()) -> list[tuple[int, dict[str, Any]]]:
    """(line number, object) for every line of a file; as `parse_jsonl`, and raises when it is missing or not UTF-8."""
    if not path.is_file():
        raise SublimError(f"There is no file {path}. Give a JSONL file, one object a line.")
    return parse_jsonl(read_text(path), str(path), required)


def read_text(path: Path) -> str:
    """A file as text, without a byte order mark; raises SublimError when it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SublimError(f"{path}: not UTF-8 text. Save it as UTF-8.") from None


def parse_jsonl(text: str, name: str, required: tuple[str, ...] = ()) -> list[tuple[int, dict[str, Any]]]:
    """(line number, object) for every line; `required` keys must be there and hold text.

    name: of the file, for errors. Raises SublimError naming file and line for an empty text, a line that is no JSON
    object or lacks a key.
    """
    return list(_rows(text.split("\n"), name, required, json.loads))


def each_row(path: Path, required: tuple[str, ...] = ()) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same from a file, a row in memory at a time, for rows that are written again: NaN is no JSON.

    Raises SublimError as `parse_jsonl` does, when the file is missing, and for bytes that are not UTF-8.
    """
    if not path.is_file():
        raise SublimError(f"There is no file {path}. Give a JSONL file, one object a line.")
    with path.open("rb") as file:
        yield from _rows(_utf8(file, path), str(path), required, _FINITE.decode)


def _utf8(lines: Iterable[bytes], path: Path) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise SublimError(f"{path}:{number}: not UTF-8 text. Save it as UTF-8.") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


_FINITE = json.JSONDecoder(parse_constant=_refuse_constant)


def _rows(
    lines: Iterable[str], name: str, required: tuple[str, ...], decode: Callable[[str], Any]
) -> Iterator[tuple[int, dict[str, Any]]]:
    number, empty = 1, True
    for number, line in enumerate(lines, 1):
        if not line or line.isspace():
            continue
        try:
            row = decode(line)
        except (ValueError, RecursionError) as error:  # endless digits and endless nesting too
            what = getattr(error, "msg", error)
            raise SublimError(f"{name}:{number}: not valid JSON ({what}). Mend or remove that line.") from None
        if not isinstance(row, dict):
            raise SublimError(f"{name}:{number}: not a JSON object. Write one {{...}} a line.")
        for key in required:
            if not isinstance(row.get(key), str):
                raise SublimError(f"{name}:{number}: no text under {key!r}. Each row needs {', '.join(required)}.")
        empty = False
        yield number, row
    if empty:
        raise SublimError(f"{name}:1: the file is empty. Give at least one row.")


def digest(value: Any) -> str:
    """SHA-256 of a JSON-able value, independent of key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold the folder's lock; the system frees it when the process ends, however it ends.

    Raises SublimError when another process holds it, unless it may `wait`, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", blocking=wait, thread_local=False)  # whichever thread lets go, it is free
        lock.acquire()
    except Timeout:
        raise SublimError(
            f"Another run is writing {folder}. Wait for it, or choose another folder with --out."
        ) from None
    except OSError as error:
        raise SublimError(
            f"{folder} cannot be written ({error.strerror or error}). "
            "Choose another folder with --out (audit, diff: --keep)."
        ) from None
    try:
        yield
    finally:
        lock.release()
