"""Results files of lm-eval with tasks of other people: their figures as they stand, or one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from sublim_eval.cli.main import main
from sublim_eval.scores.readers import read_results
from tests.helpers.logs import TIME
from tests.helpers.mutations import as_json, edited, torn

SHORT = 25
GOOD: dict[str, Any] = {
    "results": {
        "quiz": {
            "alias": "quiz",
            "acc,none": 0.5,
            "acc_stderr,none": 0.1,
            "f1,strict": 0.25,
            "f1_stderr,strict": "N/A",
        },
        "part": {"acc,none": 0.75},
        "whole": {"acc,none": 0.125, "acc_stderr,none": 0.01},
    },
    "group_subtasks": {"whole": ["part"], "quiz": []},
    "n-samples": {"quiz": {"original": 9, "effective": 5}},
    "config": {"model": "hf", "model_args": "pretrained=m,revision=main"},
    "model_name": "m",
}


def try_one(seed: int, folder: Path) -> None:
    """One results file; a sound one gives its figures, each beside its own error, an edited one no traceback."""
    rng = Random(seed)
    spoilt = rng.random() < 0.9
    data = as_json(edited(GOOD, rng, rng.randrange(1, 4)) if spoilt else GOOD)
    file = folder / str(seed) / f"results_{TIME}.json"
    file.parent.mkdir()
    file.write_bytes(torn(data, rng) if spoilt and rng.random() < 0.2 else data)
    results = read_results(file.parent)
    assert all("\n" not in words for words in results.refusals)
    told = folder / f"{seed}.json"
    if main(["table", str(file.parent), "--json", str(told)]) == 0:
        rows = json.loads(told.read_text(encoding="utf-8"))["rows"]
        assert len(rows) == len(results.foreign)
    if not spoilt:
        quiz, whole = results.foreign
        assert (quiz.task, quiz.samples, whole.task) == ("quiz", 5, "whole")
        assert (quiz.metrics["acc"].value, quiz.metrics["acc"].stderr) == (0.5, 0.1)
        f1 = quiz.metrics["f1 (strict)"]
        assert f1.value == 0.25 and f1.stderr != f1.stderr, "no error of its own"


def test_results_of_others_are_told_or_refused(tmp_path: Path) -> None:
    for seed in range(SHORT):
        try_one(seed, tmp_path)
