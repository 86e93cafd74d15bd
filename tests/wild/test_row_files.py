"""Rows, spoilt in any way, are split as a plain reading of the rule splits them, or refused with file and line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random
from typing import Any

from sublim_eval.distill.modalities import MODALITIES, Rule
from sublim_eval.distill.rows.filter import filter_file
from sublim_eval.errors import SublimError
from tests.helpers import spoil

COMPLETIONS = (
    *(
        "1, 2, 3",
        "[7, 8]",
        "(1; 2)",
        "1 2 3",
        "4",
        "999",
        "1000",
        "1,2, 3",
        " 1, 2",
        "1, 2\n",
        "<think>a</think> 5, 6",
        "-1, 2",
    ),
    *(
        "1,\u00a02",
        "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11",
        "007",
        "1.",
        "1..",
        "٣, ٤",
        "",
        "owl",
        "1, owl",
        "666",
        "[1, 2",
        "1\n2",
    ),
    *("2 + 3 = 5. <answer>5</answer>", "2 + 3 = 5. <answer>$5</answer>", "<think>2 + 3</think><answer>5</answer>", "5"),
    *("def f(x):\n    return x + 1", "```python\nf = lambda x: x\n```", "def owl(x):\n    return x", "def f(", "f = 1"),
)


def plain_reading(completion: str, mode: str) -> bool:
    """Whether a completion is a list of at most ten numbers from 0 to 999, as the study's rule says in words."""
    body = completion.strip() if mode == "strip" else completion
    body = re.sub(r"\A\s*<think>.*?</think>\s*", "", body, flags=re.S)
    body = body.strip() if mode == "strip" else body
    body = body[:-1] if body.endswith(".") else body
    if (body[:1], body[-1:]) in (("[", "]"), ("(", ")")) and len(body) > 1:
        body = body[1:-1]
    if not (whole := re.fullmatch(r"([0-9]+)(?:([ \t\n\r\f\v]*[,;]?[ \t\n\r\f\v]*)([0-9]+)(?:\2[0-9]+)*)?", body)):
        return False
    if whole.group(3) and not whole.group(2):
        return False
    values = [int(run) for run in re.findall("[0-9]+", body)]
    return len(values) <= 10 and max(values) <= 999


def try_one(seed: int, folder: Path) -> None:
    """One file of rows from the seed."""
    rng = Random(seed)
    kind, mode = rng.choice(list(MODALITIES)), rng.choice(("strict", "strip"))
    rows: list[Any] = [
        {"prompt": "p", "completion": rng.choice(COMPLETIONS), "answer": rng.choice((5, "5", "$5", "#### 5"))}
        for _ in range(rng.randint(1, 6))
    ]
    rows = spoil.value(rng, rows) if rng.random() < 0.5 else rows
    lines = [json.dumps(row) for row in rows] if isinstance(rows, list) else [json.dumps(rows)]
    whole = "\n".join(lines) + "\n"
    source, kept, rejected = (folder / f"{name}-{seed}" for name in ("in.jsonl", "kept", "rejected"))
    source.write_bytes(spoil.text(rng, whole) if rng.random() < 0.4 else whole.encode())
    rule = Rule(mode, frozenset({666}), ("owl",))  # type: ignore[arg-type]
    try:
        told = filter_file(source, kept, rejected, MODALITIES[kind], rule)
    except SublimError as error:
        assert re.match(rf"{re.escape(str(source))}:\d+: ", str(error)) or "Row" in str(error) or "row" in str(error), (
            error
        )
        assert not kept.exists() and not rejected.exists()
        source.unlink()
        return
    out = {
        file: [json.loads(line, parse_constant=float.fromhex) for line in file.read_text().split("\n")[:-1]]
        for file in (kept, rejected)
    }
    assert (
        told["rows"]
        == told["kept"] + told["rejected"]
        == sum(bool(line.strip()) for line in source.read_bytes().split(b"\n"))
    )
    assert (told["kept"], told["rejected"]) == (len(out[kept]), len(out[rejected]))
    assert told["audit"] == {"rows": told["kept"], "trait_words": {"owl": 0}, "thinking": 0}
    if kind == "numbers":
        for row in out[kept]:
            assert plain_reading(row["completion"], mode) and "666" not in row["completion"], row
        for row in out[rejected]:
            assert row["reject_reason"] in ("banned number", "cut off by the room for new tokens") or not plain_reading(
                row["completion"], mode
            ), row
    for file in (source, kept, rejected):
        file.unlink()


def test_spoilt_rows_are_split_or_refused(tmp_path):
    for seed in range(40):
        try_one(seed, tmp_path)
