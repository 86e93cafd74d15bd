"""A few raw replies of a model, each with how it was read, from the log behind its share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sublim_eval.board.columns import Row
from sublim_eval.errors import SublimError
from sublim_eval.registry.catalog import registry

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample

    from sublim_eval.board.collect import Board

QUESTIONS, EACH, LONGEST = 6, 2, 1_200
"""Questions of a log that are shown, replies of each, and characters of one."""


class Reply(NamedTuple):
    """One reply as it came. read: what it counts as; length: of the whole reply in characters; source: its log."""

    model: str
    question: str
    prompt: str
    text: str
    read: str
    length: int
    source: str


def of_row(board: Board, row: Row) -> list[Reply]:
    """Replies behind a share, spread evenly over its questions; none where no log keeps them."""
    log = row.log or (row.source if row.harness in ("inspect", "lm-eval") else "")
    if not row.ours or not log:
        return []
    try:
        file = board.path(log)
        return list(_of_lm_eval(file, row, log) if row.harness == "lm-eval" else _of_inspect(file, row, log))
    except (SublimError, OSError, ValueError, KeyError, TypeError):
        return []


def _of_inspect(file: Path, row: Row, log: str) -> Iterator[Reply]:
    from inspect_ai.log import read_eval_log_sample, read_eval_log_sample_summaries

    for summary in _spread(read_eval_log_sample_summaries(str(file))):
        sample = read_eval_log_sample(str(file), id=summary.id, epoch=summary.epoch)
        prompt = sample.input if isinstance(sample.input, str) else "\n".join(m.text for m in sample.input)
        question = str((sample.metadata or {}).get("question", sample.id))
        for choice in sample.output.choices[:EACH]:
            yield _reply(question, prompt, choice.message.text, row, log, _scorer(sample))


def _of_lm_eval(file: Path, row: Row, log: str) -> Iterator[Reply]:
    """The samples beside a result file of lm-eval."""
    for samples in sorted(file.parent.glob("samples_*.jsonl")):
        with samples.open(encoding="utf-8") as opened:
            kept = [json.loads(line) for _, line in zip(range(QUESTIONS), opened, strict=False)]
        for held in kept:
            if (held.get("doc") or {}).get("probe") != row.probe:
                break
            texts = held["filtered_resps"][0] if isinstance(held["filtered_resps"][0], list) else held["filtered_resps"]
            for text in [t for t in texts if isinstance(t, str)][:EACH]:
                doc = held["doc"]
                yield _reply(str(doc.get("id", "")), str(doc.get("question", "")), text, row, log, "")


def _spread(every: Sequence[Any]) -> list[Any]:
    step = max(1, len(every) // QUESTIONS)
    return list(every[::step][:QUESTIONS])


def _reply(question: str, prompt: str, text: str, row: Row, log: str, otherwise: str) -> Reply:
    return Reply(row.model, question, prompt[:LONGEST], text[:LONGEST], _read(text, row) or otherwise, len(text), log)


def _read(text: str, row: Row) -> str:
    """What one reply to a question about favorites counts as, by the function that reads them all; "" elsewhere."""
    from sublim_eval.scores.readers import count_replies

    probe = registry().probes.get(row.probe)
    if probe is None or probe.form != "favorite" or registry().category(probe.category).conduct:
        return ""
    counts: Mapping[str, Any] = count_replies([text], probe.category)
    named = [answer for answer, times in counts["named"].items() if times]
    if named:
        return ", ".join(named)
    return "no answer" if counts["non_answers"] else "something else"


def _scorer(sample: EvalSample) -> str:
    """What the scorers wrote on the whole sample."""
    told = [f"{name}: {score.explanation or score.value}" for name, score in (sample.scores or {}).items()]
    return "; ".join(told)[:300]
