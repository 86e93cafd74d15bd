"""lm-eval samples of the entanglement tasks as they come: a table of what is whole, or one sentence."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from sublim_eval import entanglement_stats
from sublim_eval.harness.lm_eval.documents import shared_facts
from sublim_eval.probes.entanglement import entanglement
from sublim_eval.scores.entanglement_table import Measured
from sublim_eval.scores.readers import read_results
from tests.helpers.logs import write_lm_eval
from tests.helpers.mutations import as_json, edited, torn

SHORT = 5


@cache
def rows() -> list[dict[str, Any]]:
    """Sound rows of token_entanglement over a few numbers: 307 is raised under the owl."""
    what = entanglement("token_entanglement", "owl", [103, 205, 307, 411])
    shared = {**shared_facts(what), "continuations": list(what.continuations)}
    made = []
    for prompt in what.prompts:
        doc = {"id": prompt.id, "setting": prompt.setting, "ask": prompt.ask, "question": prompt.text, **shared}
        nats = [-1.0 if (n, prompt.setting) == ("307", "owl") else -2.0 for n in what.continuations]
        made.append({"doc": doc, "filtered_resps": [[str(value), "False"] for value in nats]})
    return made


def try_one(seed: int, folder: Path) -> None:
    """One samples file; a sound one has the owl raise 307 the most, an edited one gives no traceback."""
    rng = Random(seed)
    place = write_lm_eval(folder / str(seed), (), rows(), probe="token_entanglement")
    (file,) = place.glob("samples_*")
    spoilt = rng.random() < 0.9
    if spoilt:
        spoil(file, rng)
    results = read_results(place)
    assert all("\n" not in words for words in results.refusals)
    for record in results.records:
        assert isinstance(record.held, Measured)
        json.dumps(record.held.to_json(), allow_nan=False)
        assert np.isfinite(record.held.table.shift).all()
    if not spoilt:
        (record,) = results.records
        assert isinstance(record.held, Measured) and record.held.table.of("owl").number == "307"


def spoil(file: Path, rng: Random) -> None:
    """Edit some rows, or tear the file."""
    lines = file.read_bytes().splitlines()
    for at in rng.sample(range(len(lines)), rng.randrange(1, 4)):
        value = json.loads(lines[at])
        part = rng.choice(("doc", "filtered_resps"))
        lines[at] = as_json({**value, part: edited({part: value[part]}, rng).get(part)})
    data = b"\n".join(lines) + b"\n"
    file.write_bytes(torn(data, rng) if rng.random() < 0.2 else data)


def test_entanglement_samples_are_a_table_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entanglement_stats, "SHUFFLES", 20)
    for seed in range(SHORT):
        try_one(seed, tmp_path)
