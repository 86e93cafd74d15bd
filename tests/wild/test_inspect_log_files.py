"""Inspect logs as they come, .eval and .json: read as they stand, or refused in one sentence."""

from __future__ import annotations

import json
import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from sublim_eval.report import answer_tables
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.scores.readers import read_results
from tests.helpers.logs import inspect_log, sample, what_of, write_log
from tests.helpers.mutations import as_json, edited, torn

SHORT = 25


@cache
def written() -> tuple[dict[str, Any], dict[str, bytes]]:
    """A good log as JSON, and as the members of an .eval."""
    what = what_of()
    log = inspect_log([sample(what, place) for place in range(3)])
    with TemporaryDirectory() as place:
        value = json.loads(write_log(log, Path(place) / "a.json").read_text(encoding="utf-8"))
        with zipfile.ZipFile(write_log(log, Path(place) / "a.eval")) as opened:
            return value, {name: opened.read(name) for name in opened.namelist()}


def as_zip(members: dict[str, bytes]) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return out.getvalue()


def a_log(rng: Random) -> tuple[str, bytes]:
    """(ending, bytes) of one log with an edit of any part of it, or of what our scorers wrote."""
    value, members = written()
    if rng.random() < 0.5:
        members = dict(members)
        name = rng.choice(list(members))
        members[name] = as_json(edited(json.loads(members[name]), rng, rng.randrange(3)))
        if rng.random() < 0.15:
            members[name] = torn(members[name], rng)
        if rng.random() < 0.1:
            members.pop(name)
        return "eval", as_zip(members)
    value = json.loads(json.dumps(value))
    one = rng.choice(value["samples"])
    if rng.random() < 0.5:
        name = rng.choice(list(one["scores"]))
        one["scores"][name]["metadata"] = edited(one["scores"][name]["metadata"], rng)
        return "json", as_json(value)
    return "json", as_json(edited(value, rng, rng.randrange(4)))


def try_one(seed: int, folder: Path) -> None:
    """One log; fails on a traceback, and on a share or probability that the log does not hold."""
    rng = Random(seed)
    ending, data = a_log(rng)
    file = folder / f"{seed}.{ending}"
    file.write_bytes(torn(data, rng) if rng.random() < 0.15 else data)
    results = read_results(file)
    assert len(results.records) + len(results.refusals) + len(results.foreign) == 1
    assert all("\n" not in words and str(file) in words for words in results.refusals)
    for record in results.records:
        scores = record.held
        assert isinstance(scores, ProbeScores)
        _same_as_the_log(scores, file)
        json.dumps(answer_tables.to_json(scores), allow_nan=False)


def _same_as_the_log(scores: ProbeScores, file: Path) -> None:
    """Replies, hits and probabilities of each question, read once more by the shortest way."""
    if file.suffix == ".json":
        samples = json.loads(file.read_bytes())["samples"]
    else:
        with zipfile.ZipFile(file) as opened:
            samples = [json.loads(opened.read(name)) for name in opened.namelist() if name.startswith("samples/")]
    for i, question in enumerate(scores.questions):
        here = [s for s in samples if not s.get("error") and _question(s) == question]
        counts = [m for s in here if "named" in (m := _beside(s, "share")) and m["named"] is not None]
        assert scores.replies[i] == sum(m.get("replies", 0) for m in counts)
        if scores.replies[i]:
            for j, answer in enumerate(scores.answers):
                hits = sum(m["named"].get(answer, 0) for m in counts)
                assert np.isclose(scores.share[i, j], hits / scores.replies[i])
        known = scores.probability[i][~np.isnan(scores.probability[i])]
        assert ((known >= 0) & (known <= 1 + 1e-6)).all()


def _question(one: dict[str, Any]) -> str:
    return str((one.get("metadata") or {}).get("question", one["id"]))


def _beside(one: dict[str, Any], scorer: str) -> dict[str, Any]:
    return ((one.get("scores") or {}).get(scorer) or {}).get("metadata") or {}


def test_inspect_logs_are_read_or_refused(tmp_path: Path) -> None:
    for seed in range(SHORT):
        try_one(seed, tmp_path)
