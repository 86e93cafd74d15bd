"""What one file says about one model on one probe, before anybody knows which model that is: a Reading.

Means over questions with their intervals, as `scores` and `stats` work them out. Plain data, so that it can be kept
(`cache.py`) and a file need not be read twice.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sublim_eval.files import digest

if TYPE_CHECKING:
    from sublim_eval.scores.probe_scores import ProbeScores

LONGEST = 2_000
"""Characters that a cell of text may have; what a file says beyond them is cut and marked."""


class Number(NamedTuple):
    """One value of a reading; fields as the columns of the same name."""

    answer: str
    measure: str
    value: float | None
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    interval: str = ""
    n: int | None = None
    coverage: float | None = None


class Reading(NamedTuple):
    """One file's word on one model and probe; fields as the columns of the same name.

    model: as the file calls it, a harness's prefix or a path included.
    """

    model: str
    probe: str
    ours: bool
    version: str
    question_set: str
    questions: int | None
    numbers: tuple[Number, ...]
    harness: str
    non_answers: float | None = None
    unreadable: int | None = None
    sampling: str = ""
    prompt_hash: str = ""
    settled: str = ""
    harness_version: str = ""
    versions: str = ""
    command: str = ""
    date: str = ""
    log: str = ""
    note: str = ""

    def to_json(self) -> list[Any]:
        """Plain lists."""
        return list(self._replace(numbers=tuple(self.numbers)))

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Reading:
        """The reverse of to_json; raises TypeError or ValueError for anything else."""
        given = dict(zip(cls._fields, value, strict=True))
        return cls(**{**given, "numbers": tuple(Number(*number) for number in given["numbers"])})


def of_scores(scores: ProbeScores, **about: Any) -> Reading:
    """The reading of scores by question. about: what the file says beside them (harness, sampling, date, ...)."""
    return Reading(
        **{
            "model": clean(scores.model),
            "probe": clean(scores.probe),
            "ours": True,
            "version": clean(scores.version),
            "question_set": question_set(scores.questions_hash, scores.questions),
            "questions": len(scores.questions),
            "numbers": (*_shares(scores), *_probabilities(scores)),
            "non_answers": known(scores.non_answer_rate),
            "unreadable": int(scores.unreadable.sum()) if scores.replies.sum() or scores.unreadable.sum() else None,
            "prompt_hash": clean(scores.prompt_hash),
            "settled": clean("; ".join(scores.settled)),
            **about,
        }
    )


def question_set(questions_hash: str, questions: Iterable[str]) -> str:
    """What was asked, in 12 hex digits: the texts by their hash, and which of them."""
    return fingerprint(questions_hash, *sorted(questions))


def fingerprint(*parts: object) -> str:
    """12 hex digits of whatever a file says, half surrogates included."""
    return digest([None if part is None else clean(part) for part in parts])[:12]


def _shares(scores: ProbeScores) -> Iterable[Number]:
    """A number an answer of the questions that have replies; none without replies."""
    import numpy as np

    from sublim_eval.scores.saved_replies import interval_over_questions

    replied = np.flatnonzero(scores.replies)
    for column, answer in enumerate(scores.answers if len(replied) else ()):
        share = scores.share[replied, column]
        counts = [(s * n, n) for s, n in zip(share.tolist(), scores.replies[replied].tolist(), strict=True)]
        low, high = interval_over_questions(counts)
        yield Number(
            clean(answer),
            "share",
            known(float(share.mean())),
            low=known(low),
            high=known(high),
            interval="" if math.isnan(low) else "questions",
            n=int(scores.replies.sum()),
        )


def _probabilities(scores: ProbeScores) -> Iterable[Number]:
    """A number an answer, where the exact probability of every question is known."""
    import numpy as np

    from sublim_eval.stats import mean_difference

    covered = known(scores.covered)
    for column, answer in enumerate(scores.answers):
        chance = scores.probability[:, column]
        if np.isnan(chance).any():
            continue
        over = mean_difference(chance, np.zeros_like(chance)) if len(chance) > 1 else None
        yield Number(
            clean(answer),
            "probability",
            known(float(chance.mean())),
            low=None if over is None else known(max(0.0, over.low)),
            high=None if over is None else known(min(1.0, over.high)),
            interval="" if over is None else "questions",
            n=len(chance),
            coverage=covered,
        )


def of_metrics(metrics: Iterable[tuple[str, Any, Any, int | None]], **about: Any) -> Reading:
    """The reading of a task that is not one of our probes. metrics: (name, value, standard error, samples)."""
    numbers = [
        Number("", clean(name), finite(value), stderr=finite(stderr), n=count) for name, value, stderr, count in metrics
    ]
    wrong = [number.measure for number in numbers if number.value is None]
    note = f"no finite number: {', '.join(wrong)}" if wrong else ""
    return Reading(**{"ours": False, "numbers": tuple(numbers), "note": clean(note), **about})


# ---------------------------------------------------------------- whatever a file may hold


def clean(text: object) -> str:
    """Text of a file as a cell may hold it: no control characters or halves of a pair, no longer than LONGEST."""
    shown = re.sub("[\x00-\x1f\x7f\ud800-\udfff]+", " ", "" if text is None else str(text)).strip()
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 2]} …"


def known(value: float) -> float | None:
    """The number; None for nan and the infinities."""
    return value if math.isfinite(value) else None


def finite(value: Any) -> float | None:
    """A file's value as a finite number; None for anything else."""
    if isinstance(value, bool | int | float):
        try:
            return known(float(value))
        except OverflowError:
            return None
    return None


def settings(given: Mapping[str, Any]) -> str:
    """Settings as one JSON object in a fixed order; "" where nothing is known. Unset ones are left out."""
    there = {key: value for key, value in given.items() if value is not None}
    return clean(json.dumps(there, sort_keys=True, ensure_ascii=False, default=str)) if there else ""
