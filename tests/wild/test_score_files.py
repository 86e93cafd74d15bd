"""Score files as they come: read as they stand, or refused in one sentence."""

from __future__ import annotations

import json
from functools import cache
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from rich.console import Console

from sublim_eval.errors import SublimError
from sublim_eval.report import answer_tables
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.scores.readers import from_inspect_log, read_results
from tests.helpers.logs import inspect_log
from tests.helpers.mutations import as_json, edited, torn

SHORT = 25


@cache
def good() -> dict[str, Any]:
    return from_inspect_log(inspect_log(), model="m").to_json()


def try_one(seed: int, folder: Path) -> None:
    """One score file, whole, edited or torn; fails on a traceback, and on a figure that is not the file's."""
    rng = Random(seed)
    value = good() if rng.random() < 0.1 else edited(good(), rng, rng.randrange(1, 4))
    data = as_json(value)
    file = folder / f"{seed}.json"
    file.write_bytes(torn(data, rng) if rng.random() < 0.2 else data)
    results = read_results(file)
    assert results.records or results.refusals or results.foreign
    assert all("\n" not in words for words in results.refusals)
    try:
        scores = ProbeScores.read(file)
    except SublimError:
        return
    given = json.loads(file.read_text(encoding="utf-8"))
    for name in ("share", "probability"):
        held = getattr(scores, name)
        read = np.array(given[name], dtype=float).reshape(held.shape)
        assert np.array_equal(held, read, equal_nan=True)
        assert np.all(np.isnan(held) | ((held > -0.01) & (held < 1.01)))
    assert (scores.replies >= 0).all()
    json.dumps(answer_tables.to_json(scores), allow_nan=False)
    list(answer_tables.tidy(scores))
    screen = StringIO()
    answer_tables.print_answers(scores, Console(file=screen, width=160))
    assert "\x1b" not in screen.getvalue() and "\u202e" not in screen.getvalue()


def test_score_files_are_read_or_refused(tmp_path: Path) -> None:
    for seed in range(SHORT):
        try_one(seed, tmp_path)
