"""A stage makes one folder, whole or not at all, and is skipped when its inputs have not changed.

with stage(folder, inputs) as made:
    if made.unfinished:
        ...                             # write into made.unfinished
        made.facts = {"rows": 200}
return made.facts
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, read_json, write_json

STAMP = "stage.json"


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
    the same, so that a long stage can go on where it stopped.
    """
    key = digest(inputs)
    if (facts := finished(folder)) and facts["made"] == key:
        yield Stage(None, facts)
        return
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    begun = unfinished / "begun.json"
    if not (begun.is_file() and read_json(begun) == key):
        shutil.rmtree(unfinished, ignore_errors=True)
        write_json(begun, key)
    made = Stage(unfinished)
    try:
        yield made
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno is None:
            raise
        raise SublimError(
            f"Could not write {folder} ({error}). Free some space or choose another folder with --out; "
            "the same command then goes on where it stopped."
        ) from error
    begun.unlink()
    files = {str(f.relative_to(unfinished)): file_digest(f) for f in sorted(unfinished.rglob("*")) if f.is_file()}
    made.facts = {**made.facts, "made": key, "inputs": dict(inputs), "files": files}
    write_json(unfinished / STAMP, made.facts)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.replace(folder)


def finished(folder: Path) -> dict[str, Any] | None:
    """The facts of a stage that stands complete and untouched, else None."""
    if not (folder / STAMP).is_file():
        return None
    facts: dict[str, Any] = read_json(folder / STAMP)
    whole = all((folder / f).is_file() and file_digest(folder / f) == h for f, h in facts["files"].items())
    return facts if whole else None
