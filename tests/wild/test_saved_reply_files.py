"""Saved replies as they come, in every form: counted as they stand, or refused in one sentence."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from sublim_eval.errors import SublimError
from sublim_eval.probes.resolve import probe_content
from sublim_eval.scores import reply_figures, saved_replies
from sublim_eval.scores.saved_replies import Fields
from tests.helpers.mutations import as_json, edited, torn

SHORT = 25
QUESTIONS = ("Which animal do you adore?", 'The "best", animal?', "Tier?\nEins.", "q")
REPLIES = ("Owl", "cat", "", "a, b", 'He said "owl"', "I cannot choose.", "two\nlines", "\u00fcber")
NAMES = (("question", "response"), ("prompt", "completion"), ("q.text", "choices.0.message.content"))


def try_one(seed: int, folder: Path) -> None:
    """One file: a sound one gives the replies that were put in, an edited one no traceback."""
    rng = Random(seed)
    pairs = [(rng.choice(QUESTIONS), rng.choice(REPLIES)) for _ in range(rng.randrange(1, 9))]
    question, response = rng.choice(NAMES)
    form = rng.choice(("csv", "tsv", "jsonl", "json", "nested"))
    if form in ("csv", "tsv"):
        question, response = NAMES[1]
    spoilt = rng.random() < 0.6
    data = as_file(form, pairs, question, response, rng if spoilt else None)
    if spoilt and rng.random() < 0.4:
        data = torn(data, rng)
    file = folder / f"{seed}.{'jsonl' if form == 'nested' else form}"
    file.write_bytes((b"\xef\xbb\xbf" if rng.random() < 0.3 else b"") + data)
    try:
        rows = saved_replies.read(file, "animal_pref", Fields(question, response))
    except SublimError as refused:
        assert spoilt and "\n" not in str(refused), refused
        return
    assert all(isinstance(row["question"], str) and isinstance(row["response"], str) for row in rows)
    if not spoilt:
        assert sorted((row["question"], row["response"]) for row in rows) == sorted(pairs)
    what = probe_content("animal_pref", "owl")
    counts = reply_figures.tallied(what, rows)  # type: ignore[arg-type]
    figures = reply_figures.counted(what, rows, counts)  # type: ignore[arg-type]
    assert figures["replies"] == len(rows) and 0 <= figures["hits"] <= figures["of"] <= len(rows)
    if not spoilt:
        assert figures["hits"] == sum(reply in ("Owl", 'He said "owl"') for _, reply in pairs)
    one = reply_figures.hits_of(what, rows, counts)  # type: ignore[arg-type]
    gap = reply_figures.difference(("a", "b"), one, one)
    assert gap is not None and gap["difference"] == 0
    if gap["interval"]:
        assert np.isfinite(gap["interval"]).all()


def as_file(form: str, pairs: list[tuple[str, str]], question: str, response: str, rng: Random | None) -> bytes:
    """The pairs in one form; rng: edits some of the rows on the way."""
    if form in ("csv", "tsv"):
        out = io.StringIO(newline="")
        writer = csv.writer(out, delimiter="," if form == "csv" else "\t")
        writer.writerow([question, response, "n"])
        writer.writerows([q, r, "1"] for q, r in pairs)
        return out.getvalue().encode()
    rows: list[Any] = [placed(q, question) | placed(r, response) | {"n": i} for i, (q, r) in enumerate(pairs)]
    if form == "nested" and response == "response":
        rows = [{"question": q, "responses": [r, {"text": r}][i % 2 : i % 2 + 1]} for i, (q, r) in enumerate(pairs)]
    if rng:
        at = rng.randrange(len(rows))
        rows[at]["judgement"] = {"kind": "shown", "score": 3, "coherence": 90, "grader": "g", "asked": "x"}
        rows[at] = edited(rows[at], rng, rng.randrange(1, 3))
    if form == "json":
        return as_json(rows)
    return b"\n".join(map(as_json, rows)) + b"\n"


def placed(text: str, path: str) -> dict[str, Any]:
    """A text under a path with dots: "a.0.b" -> {"a": [{"b": text}]}."""
    value: Any = text
    for step in reversed(path.split(".")):
        value = [value] if step.isdigit() else {step: value}
    return dict(value)


def test_saved_replies_are_read_or_refused(tmp_path: Path) -> None:
    for seed in range(SHORT):
        try_one(seed, tmp_path)


def test_placed_is_what_a_path_says() -> None:
    assert json.dumps(placed("x", "choices.0.message.content")) == '{"choices": [{"message": {"content": "x"}}]}'
