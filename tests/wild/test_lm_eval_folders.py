"""lm-eval folders of several models and runs as they come: each model's own newest figures, or one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from sublim_eval.errors import SublimError
from sublim_eval.report import answer_tables
from sublim_eval.scores import saved_replies
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.scores.readers import read_results
from tests.helpers.logs import lm_eval_rows, write_lm_eval
from tests.helpers.mutations import as_json, edited, torn

SHORT = 8
MODELS = ("org/a", "b", "\u00fc", "a b")


def try_one(seed: int, folder: Path) -> None:
    """One folder: sound ones give the figures that were put in, edited ones no traceback."""
    rng = Random(seed)
    place = folder / str(seed)
    put_in = a_folder(place, rng)
    files = sorted(f for f in place.rglob("*") if f.is_file())
    spoilt = rng.random() < 0.7 and bool(files)
    if spoilt:
        for file in rng.sample(files, min(len(files), rng.randrange(1, 3))):
            spoil(file, rng)
    results = read_results(place)
    assert all("\n" not in words for words in results.refusals)
    for record in results.records:
        scores = record.held
        assert isinstance(scores, ProbeScores)
        json.dumps(answer_tables.to_json(scores), allow_nan=False)
        assert np.all(np.isnan(scores.share) | ((scores.share >= 0) & (scores.share <= 1 + 1e-9)))
    if not spoilt:
        shares = {r.held.model: r.held.share[0, r.held.answers.index("owl")] for r in results.records}  # type: ignore[union-attr]
        assert not results.refusals and set(shares) == set(put_in)
        assert all(np.isclose(shares[model], share) for model, share in put_in.items())
    try:
        saved_replies.read(place, "owl_pref")
    except SublimError as refused:
        assert "\n" not in str(refused)


def a_folder(place: Path, rng: Random) -> dict[str, float]:
    """Runs of some models at some times, in one folder or one each; returns model -> the owl's newest share."""
    newest: dict[str, tuple[str, float]] = {}
    place.mkdir()
    for run in range(rng.randrange(1, 5)):
        model = rng.choice(MODELS)
        replies = rng.choices(("Owl", "cat", "", "a bowl", "I cannot choose."), k=rng.randrange(1, 7))
        sampled, exact = lm_eval_rows(replies=replies)
        time = f"2026-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}T10-00-{run:02d}"
        home = place if rng.random() < 0.5 else place / f"run {run}"
        write_lm_eval(home, sampled, exact if rng.random() < 0.5 else (), model=model, time=time)
        share = replies.count("Owl") / len(replies)
        newest[model] = max(newest.get(model, ("", 0.0)), (time, share))
    return {model: share for model, (_, share) in newest.items()}


def spoil(file: Path, rng: Random) -> None:
    """Edit one row or the whole of a file, or tear it."""
    data = file.read_bytes()
    if rng.random() < 0.3:
        file.write_bytes(torn(data, rng))
        return
    lines = data.splitlines()
    at = rng.randrange(len(lines))
    value: Any = json.loads(lines[at])
    if rng.random() < 0.5 and "filtered_resps" in value:
        value["filtered_resps"] = edited({"of": value["filtered_resps"]}, rng).get("of")
    else:
        value = edited(value, rng, rng.randrange(1, 3))
    lines[at] = as_json(value)
    file.write_bytes(b"\n".join(lines) + b"\n")


def test_lm_eval_folders_are_read_or_refused(tmp_path: Path) -> None:
    for seed in range(SHORT):
        try_one(seed, tmp_path)
