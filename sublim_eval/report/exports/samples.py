"""Samples of an Inspect log as Every Eval Ever keeps them: the prompt, every reply, and what was read in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sublim_eval.board.columns import Row

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample

    from sublim_eval.board.collect import Board


def of_board(board: Board) -> Any:
    """A function from a row to its samples: those of the Inspect log behind a share; None elsewhere."""

    def samples(row: Row) -> Iterator[Mapping[str, Any]] | None:
        log = row.log or (row.source if row.harness == "inspect" else "")
        if row.measure != "share" or not log:
            return None
        return _of_log(str(board.path(log)), row, _shares(board, row))

    return samples


def _shares(board: Board, row: Row) -> dict[str, float]:
    """Question -> share of its replies that give the row's answer."""
    scores = board.scores(row)
    if scores is None or row.answer not in scores.answers:
        return {}
    column = scores.answers.index(row.answer)
    return dict(zip(scores.questions, map(float, scores.share[:, column]), strict=True))


def _of_log(log: str, row: Row, shares: Mapping[str, float]) -> Iterator[Mapping[str, Any]]:
    """One sample at a time, so that memory stays flat however long the replies are."""
    from inspect_ai.log import read_eval_log_sample, read_eval_log_sample_summaries

    for summary in read_eval_log_sample_summaries(log):
        sample = read_eval_log_sample(log, id=summary.id, epoch=summary.epoch)
        question = str((sample.metadata or {}).get("question", sample.id))
        if question in shares and shares[question] == shares[question]:
            yield _instance(sample, row, shares[question])


def _instance(sample: EvalSample, row: Row, share: float) -> dict[str, Any]:
    prompt = sample.input if isinstance(sample.input, str) else "\n".join(m.text for m in sample.input)
    replies = [choice.message.text for choice in sample.output.choices]
    score = (sample.scores or {}).get("share")
    return {
        "sample_id": str(sample.id),
        "sample_hash": _hash(prompt),
        "interaction_type": "single_turn",
        "input": {"raw": prompt, "reference": []},
        "output": {"raw": replies},
        "answer_attribution": [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": str((score.answer if score else None) or ""),
                "extraction_method": f"sublim-eval {row.probe} {row.version}: replies read one by one",
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": share, "is_correct": share == 1.0},
        "metadata": {"answer": row.answer, "epoch": str(sample.epoch), "replies": str(len(replies))},
    }


def _hash(prompt: str) -> str:
    text = json.dumps({"raw": prompt, "reference": []}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
