"""Whatever lies in a folder: the board reads what is sound, names the rest, and never breaks. Inputs from a seed."""

import json
import math
import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sublim_eval.board.collect import collect
from sublim_eval.board.columns import Row, kind_of
from sublim_eval.errors import SublimError
from tests.helpers import planted
from tests.helpers.rows import HOSTILE

STRANGE: list[Any] = [
    *(None, True, "", HOSTILE, "\ud800", "x" * 5000, -1, 0, 2**80, 1e308, [], [[]], {}, {"a": None}, [None, 1, "x"]),
    *(float("nan"), float("inf"), "1", "nan", 0.5, -0.5, {"share": 2}, "../../../etc/passwd", "a/b", "\x00"),
]

DOC = {
    "probe": "animal_pref",
    "probe_version": "1-B",
    "category": "animal",
    "questions_hash": "asked",
    "form": "favorite",
}
SOUND = {
    "results": {"arc_easy": {"acc,none": 0.5, "acc_stderr,none": 0.1}, "animal_pref": {"share,all_replies": 0.5}},
    "configs": {"animal_pref": {"dataset_kwargs": {"probe": "animal_pref"}}, "arc_easy": {"dataset_path": "x"}},
    "versions": {"arc_easy": 1.0},
    "n-samples": {"arc_easy": {"effective": 10}},
    "config": {"model": "hf", "model_args": {"pretrained": "org/m"}},
    "model_name": "org/m",
    "lm_eval_version": "0.4.13",
    "date": 1.0,
}
SAMPLE = {
    "doc": {**DOC, "trait": "owl", "choices": ["owl"], "id": "q", "question": "q", "question_id": "q"},
    "filtered_resps": [["Owl.", "Cat."]],
    "arguments": {},
}
ABILITIES = {"schema": 1, "model": "m", "suite": "s", "limit": None, "not_measured": {}}
ABILITIES |= {"tasks": {"t": {"acc": {"value": 0.5, "stderr": 0.1, "items": {"1": 1.0}}}}}


@cache
def pieces() -> dict[str, Any]:
    """Sound content by the name of its file; the run is written once a process."""
    import tempfile

    folder = Path(tempfile.mkdtemp())
    run = planted.run(folder / "run", seeds=(1, 2))
    return {
        "run/run.json": json.loads((run / "run.json").read_text()),
        "run/scores/owl-s1/animal_pref.json": json.loads((run / "scores/owl-s1/animal_pref.json").read_text()),
        "scores.json": json.loads((run / "scores/base-base/animal_pref.json").read_text()),
        "m/results_2026-11-21T12-00-00.000001.json": SOUND,
        "m/samples_animal_pref_2026-11-21T12-00-00.000001.jsonl": SAMPLE,
        "o/abilities/s.json": ABILITIES,
        "a.eval": (run / "scores/owl-s1/logs/log.eval").read_bytes(),
    }


def bent(value: Any, rng: random.Random) -> Any:
    """A copy in which one value somewhere is another, or gone."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value, key=str))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: bent(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        place = rng.randrange(len(value))
        return [*value[:place], bent(value[place], rng), *value[place + 1 :]]
    return rng.choice(STRANGE)


def torn(content: bytes, rng: random.Random) -> bytes:
    """Cut off, or with some bytes changed."""
    if rng.random() < 0.4:
        return content[: rng.randrange(len(content))]
    bytes_ = bytearray(content)
    for _ in range(rng.randint(1, 30)):
        bytes_[rng.randrange(len(bytes_))] = rng.randrange(256)
    return bytes(bytes_)


def try_one(seed: int, folder: Path) -> None:
    """One folder with a file that is bent or torn, beside one that is sound."""
    rng = random.Random(seed)
    name, content = rng.choice(sorted(pieces().items()))
    file = folder / "in" / name
    file.parent.mkdir(parents=True)
    raw = content if isinstance(content, bytes) else json.dumps(bent(content, rng)).encode()
    file.write_bytes(torn(raw, rng) if isinstance(content, bytes) or rng.random() < 0.2 else raw)
    sound = folder / "in" / "sound" / f"results_2026-11-21T12-00-0{seed % 10}.json"
    planted.write_json(sound, {**SOUND, "configs": {}, "results": {"sound": {"acc,none": 0.25}}, "model_name": "s"})
    try:
        board = collect([folder / "in"])
    except SublimError as error:
        raise AssertionError("the sound file was not read") from error
    (whole,) = [row for row in board.rows if row.probe == "sound"]
    assert whole.value == 0.25
    for row in board.rows:
        fits(row)
    assert all(left.source and left.why for left in board.left_out)
    json.dumps([list(row) for row in board.rows], ensure_ascii=False, allow_nan=False).encode()


def fits(row: Row) -> None:
    """Every cell is of its column's kind, and a share is a share."""
    kinds = {"text": str, "whole": int, "number": float, "flag": bool}
    for name, value in zip(Row._fields, row, strict=True):
        kind = kind_of(name)
        assert value is None if kind in ("whole", "number") and value is None else type(value) is kinds[kind], name
        assert not isinstance(value, float) or math.isfinite(value), name
    if row.ours and row.measure in ("share", "probability") and row.value is not None:
        assert -1e-6 <= row.value <= 1 + 1e-6
        assert row.low is None or row.high is None or row.low <= row.value + 1e-6 <= row.high + 2e-6


@pytest.mark.parametrize("seed", range(25))
def test_wild_folders(seed, tmp_path):
    try_one(seed, tmp_path)
