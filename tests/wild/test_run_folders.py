"""A run folder of which one file is not what it should be: compare and check say so in a sentence, or are right."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from sublim_eval.compare.compare import compare
from sublim_eval.errors import SublimError
from sublim_eval.traps import checks
from tests.helpers import planted

ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        10**400,
        1e308,
        float("nan"),
        0.5,
        "",
        "x",
        "../..",
        "\x1b[31m",
        [],
        {},
        [[]],
        [None],
        {"": None},
    ),
    *("owl", "animal_pref", "a" * 5000, {"made": {}}, [1, "1"], 2**63),
)
TORN: tuple[bytes, ...] = (b"", b"{", b"null", b"[]", b"{}", b'"x"', b"\xff\xfe", b"[" * 50_000, b"1" * 5000, b"{} {}")


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in plain data, as the keys that lead there."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, one in inside for place in places(one, (*here, key)))]


def changed(value: Any, rng: random.Random) -> Any:
    """Plain data with another thing, or nothing, in one place."""
    *way, last = rng.choice([place for place in places(value) if place] or [(0,)])
    at = value
    for key in way:
        at = at[key]
    if rng.random() < 0.3:
        del at[last]
    elif rng.random() < 0.3 and isinstance(at[last], (str, int, float)):
        at[last] = type(at[last])(at[last] * 2) if not isinstance(at[last], bool) else not at[last]
    else:
        at[last] = rng.choice(ODD)
    return value


def spoil(file: Path, rng: random.Random) -> None:
    """Write one wrong thing into a file, or put something else in its place."""
    kind = rng.random()
    if kind < 0.75 and file.suffix == ".json":
        file.write_text(json.dumps(changed(json.loads(file.read_text()), rng)))
    elif kind < 0.8:
        file.unlink()
        file.mkdir()
    elif kind < 0.9:
        file.write_bytes(rng.choice(TORN))
    else:
        whole = file.read_bytes()
        file.write_bytes(whole[: rng.randrange(len(whole) or 1)])


def try_one(seed: int, folder: Path) -> None:
    """One file of a sound run spoilt: no traceback from compare or check, and no share out of range."""
    sound, spoilt = planted.small_run(), folder / "spoilt"
    rng = random.Random(seed)
    shutil.copytree(sound, spoilt)
    files = sorted(f.relative_to(sound) for f in sound.rglob("*") if f.is_file())
    named = [f for f in files if f.name in ("run.json", "looks.json")]
    spoil(spoilt / rng.choice(rng.choice([files, named])), rng)
    try:
        for row in compare([spoilt]).rows:
            assert all(0 <= share <= 1 for share in (*row.student_shares.values(), *row.control_shares.values()))
    except SublimError as error:
        assert "\n" not in str(error).strip()
    try:
        assert checks.worst(checks.of_run(spoilt)) in checks.LEVELS
    except SublimError as error:
        assert "\n" not in str(error).strip()
    finally:
        shutil.rmtree(spoilt)


def test_a_spoilt_file_of_a_run_is_no_traceback(tmp_path: Path) -> None:
    for seed in range(8):
        try_one(seed, tmp_path)


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [("students", "folder", "a" * 300), ("students", "arm", "control" * 60), ("rows", "raw", 10**400)],
)
def test_a_record_that_no_disk_and_no_number_holds_is_one_sentence(
    tmp_path: Path, table: str, key: str, value: Any
) -> None:
    shutil.copytree(planted.small_run(), tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    record[table][0][key] = value
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    try:
        assert checks.worst(checks.of_run(tmp_path / "run")) in checks.LEVELS
    except SublimError as error:
        assert "Make it again" in str(error) and len(str(error)) < 600
