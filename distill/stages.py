"""A stage makes one folder, whole or not at all, and is skipped when its inputs have not changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, read_json, write_json

STAMP, BEGUN = "stage.json", "begun.json"
"""What a finished folder was made from, and what an unfinished one was begun for."""


def once(folder: Path, inputs: Mapping[str, Any], make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Make `folder` by `make(unfinished folder) -> facts` unless it already stands, made from the same inputs.

    inputs: JSON-able; settings and the hashes of what the stage reads. Returns the facts, with "made" (digest of
    the inputs) and "files" (name -> sha256). A folder whose files were changed or lost afterwards is made again.
    An unfinished folder left by a killed run is handed to `make` again when the inputs are the same, so that a
    long stage can go on where it stopped; whenever the kill came, nothing that `make` has kept is made twice.
    Raises SublimError when the folder cannot be written.
    """
    key = digest(inputs)
    if (facts := finished(folder)) and facts["made"] == key:
        return facts
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    begun = unfinished / BEGUN
    try:
        facts = finished(unfinished)  # killed on its last steps
        if facts is None or facts["made"] != key:
            if not (begun.is_file() and read_json(begun) == key):
                _away(unfinished)
                write_json(begun, key)
            facts = make(unfinished)
            files = {str(f.relative_to(unfinished)): file_digest(f) for f in _products(unfinished)}
            facts = {**facts, "made": key, "inputs": dict(inputs), "files": files}
            write_json(unfinished / STAMP, facts)
        _away(folder)
        unfinished.replace(folder)
        (folder / BEGUN).unlink(missing_ok=True)  # last: whoever is killed before finds the work by it
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno is None:
            raise
        raise SublimError(
            f"Could not write {folder} ({error}). Free some space or choose another folder with --out; "
            "the same command then goes on where it stopped."
        ) from error
    return facts


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
