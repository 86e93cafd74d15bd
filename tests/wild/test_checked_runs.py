"""A run folder with edited files: `check` looks at all the rest and ends in findings or one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

from sublim_eval.errors import SublimError
from sublim_eval.traps import checks
from sublim_eval.traps.finding import LEVELS, TRAPS
from tests.helpers import planted
from tests.helpers.mutations import as_json, edited, torn

SHORT = 3


def try_one(seed: int, folder: Path) -> None:
    """One run with one to three of its files edited or torn; fails on anything but findings and a sentence."""
    rng = Random(seed)
    place = folder / str(seed)
    shutil.copytree(planted.small_run(), place)
    files = sorted(f for f in place.rglob("*") if f.is_file() and f.suffix in (".json", ".jsonl", ".eval", ".csv"))
    for file in rng.sample(files, rng.randrange(1, 4)):
        spoil(file, rng)
    try:
        findings = checks.of_run(place, fast=rng.random() < 0.8, read=planted.read_aloud)
    except SublimError as refused:
        assert "\n" not in str(refused), refused
        return
    finally:
        shutil.rmtree(place)
    assert all(finding.trap in TRAPS and finding.level in LEVELS for finding in findings)
    json.dumps([finding.to_json() for finding in findings])


def spoil(file: Path, rng: Random) -> None:
    """Edit one line or the whole of a file, or tear it."""
    data = file.read_bytes()
    if file.suffix not in (".json", ".jsonl") or rng.random() < 0.2 or not data.strip():
        file.write_bytes(torn(data, rng))
        return
    if file.suffix == ".json":
        file.write_bytes(as_json(edited(json.loads(data), rng, rng.randrange(1, 3))))
        return
    lines = data.splitlines()
    at = rng.randrange(len(lines))
    lines[at] = as_json(edited(json.loads(lines[at]), rng))
    file.write_bytes(b"\n".join(lines) + b"\n")


def test_an_edited_run_is_checked_or_refused(tmp_path: Path) -> None:
    for seed in range(SHORT):
        try_one(seed, tmp_path)
