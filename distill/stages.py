"""A stage makes one folder, whole or not at all, and is skipped when its inputs have not changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, read_json, write_json

STAMP = "stage.json"


def once(folder: Path, inputs: Mapping[str, Any], make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Make `folder` by `make(unfinished folder) -> facts` unless it already stands, made from the same inputs.

    inputs: JSON-able; settings and the hashes of what the stage reads. Returns the facts, with "made" (digest of
    the inputs) and "files" (name -> sha256). A folder whose files were changed or lost afterwards is made again.
    An unfinished folder left by a killed run is handed to `make` again when the inputs are the same, so that a
    long stage can go on where it stopped.
    """
    key = digest(inputs)
    if (facts := finished(folder)) and facts["made"] == key:
        return facts
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    begun = unfinished / "begun.json"
    if not (begun.is_file() and read_json(begun) == key):
        shutil.rmtree(unfinished, ignore_errors=True)
        write_json(begun, key)
    try:
        facts = make(unfinished)
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno is None:
            raise
        raise SublimError(
            f"Could not write {folder} ({error}). Free some space or choose another folder with --out; "
            "the same command then goes on where it stopped."
        ) from error
    begun.unlink()
    files = {str(f.relative_to(unfinished)): file_digest(f) for f in sorted(unfinished.rglob("*")) if f.is_file()}
    facts = {**facts, "made": key, "inputs": dict(inputs), "files": files}
    write_json(unfinished / STAMP, facts)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.replace(folder)
    return facts


def finished(folder: Path) -> dict[str, Any] | None:
    """The facts of a stage that stands complete and untouched, else None."""
    if not (folder / STAMP).is_file():
        return None
    facts: dict[str, Any] = read_json(folder / STAMP)
    whole = all((folder / f).is_file() and file_digest(folder / f) == h for f, h in facts["files"].items())
    return facts if whole else None
