"""A stage makes one folder, whole or not at all, and is skipped when its inputs have not changed.

with stage(folder, inputs) as made:
    if made.unfinished:
        ...                             # write into made.unfinished
        made.facts = {"rows": 200}
return made.facts
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, read_json, write_json

STAMP, BEGUN = "stage.json", "begun.json"
"""What a finished folder was made from, and what an unfinished one was begun for."""


@dataclass
class Stage:
    """A stage while it is asked for. unfinished: the folder to make it in, None where it stands already."""

    unfinished: Path | None = None
    facts: dict[str, Any] = field(default_factory=dict)


@contextmanager
def stage(folder: Path, inputs: Mapping[str, Any]) -> Iterator[Stage]:
    """Make `folder` inside the block, out of `unfinished`, unless it already stands, made from the same inputs.

    inputs: JSON-able; settings and the hashes of what the stage reads. What the block leaves in `facts` is kept; after
    it they also hold "made" (digest of the inputs) and "files" (name -> sha256). A folder whose files were changed or
    lost afterwards is made again. An unfinished folder left by a killed run is handed out again when the inputs are
    the same, so that a long stage can go on where it stopped; whenever the kill came, nothing that was kept is made
    twice. Raises SublimError when the folder cannot be written.
    """
    key, unfinished = digest(inputs), folder.with_name(f".{folder.name}.unfinished")
    standing = _made_of(folder, key)
    if standing is None and (standing := _made_of(unfinished, key)) is not None:  # killed on its last steps
        with _writing(folder):
            _into_place(unfinished, folder)
    if standing is not None:
        yield Stage(None, standing)
        return
    made = Stage(unfinished)
    with _writing(folder):
        begun = unfinished / BEGUN
        if not (begun.is_file() and read_json(begun) == key):
            _away(unfinished)
            write_json(begun, key)
        yield made
        files = {str(f.relative_to(unfinished)): file_digest(f) for f in _products(unfinished)}
        made.facts = {**made.facts, "made": key, "inputs": dict(inputs), "files": files}
        write_json(unfinished / STAMP, made.facts)
        _into_place(unfinished, folder)


def once(folder: Path, inputs: Mapping[str, Any], make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """A stage that is one function: make(unfinished folder) -> facts. Returns them as `stage` completes them."""
    with stage(folder, inputs) as made:
        if made.unfinished:
            made.facts = make(made.unfinished)
    return made.facts


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """What the disk refuses, in one sentence."""
    try:
        yield
    except Exception as error:
        if not _of_the_system(error):
            raise
        raise SublimError(
            f"Could not write {folder} ({error}). Free some space or choose another folder with --out (audit, diff: "
            "--keep); the same command then goes on where it stopped."
        ) from error


def _of_the_system(error: Exception) -> bool:
    """Whether the system refused: an OSError with its number, or what libraries written in Rust make of one."""
    numbered = isinstance(error, OSError) and error.errno is not None
    return numbered or isinstance(error, SafetensorError) or "(os error " in str(error)


def _into_place(unfinished: Path, folder: Path) -> None:
    _away(folder)
    unfinished.replace(folder)
    (folder / BEGUN).unlink(missing_ok=True)  # last: whoever is killed before finds the work by it


def _made_of(folder: Path, key: str) -> dict[str, Any] | None:
    """The facts of a finished stage that was made from these inputs, else None."""
    facts = finished(folder)
    return facts if facts and facts["made"] == key else None


def finished(folder: Path) -> dict[str, Any] | None:
    """The facts of a stage that stands complete and untouched, else None."""
    facts = recorded(folder)
    if facts is None:
        return None
    whole = all((folder / f).is_file() and file_digest(folder / f) == h for f, h in facts["files"].items())
    return facts if whole else None


def recorded(folder: Path) -> dict[str, Any] | None:
    """What stage.json of a folder says; None where it is missing, torn or edited, or lists no files."""
    try:
        facts = read_json(folder / STAMP) if (folder / STAMP).is_file() else None
    except SublimError:
        return None
    if not isinstance(facts, dict):
        return None
    files, inputs = facts.get("files"), facts.get("inputs")
    sound = isinstance(files, dict) and bool(files) and isinstance(inputs, dict)
    return facts if sound and facts.get("made") == digest(inputs) else None


def _products(folder: Path) -> list[Path]:
    """What a stage made: every file but the two that stages.py itself keeps there."""
    return sorted(f for f in folder.rglob("*") if f.is_file() and f not in (folder / BEGUN, folder / STAMP))


def _away(place: Path) -> None:
    """Take away a folder, or a file in a folder's place; nothing is no error."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
