"""What one model answered on one probe, question by question; one shape wherever it was read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sublim_eval.errors import SublimError
from sublim_eval.files import read_json, write_json

SCHEMA = 1

SAMPLED = ("mentioned", "chosen", "share", "judged", "targets")

EXACT = ("probability", "chosen_probability", "pairs")
"""Names of the scorers that count replies and of those that read log-probabilities; the first that wrote something
counts, so a judge goes before words."""

ROUNDED = 1e-9
"""By which a share may lie outside of [0, 1]."""

OFF = 1e-3
"""By which probabilities of a question may miss 1: rounding in a file, nothing more."""

COUNTS = ("replies", "non_answers", "other", "unreadable")
"""What is counted of the replies to a question."""


NOT_ASKED_FOR = np.zeros((0, 0))
"""In place of plurals that were not scored."""

COVERED = 0.2
"""Share of a model's first answers that the answer set must hold for its exact probability to be believed.

Below it the probability speaks of a small and peculiar part of what the model says; what it says at all is then told
by its sampled replies."""


@dataclass(frozen=True, eq=False)
class ProbeScores:
    """What one model answers to one probe, question by question.

    probability: float[question, answer], first-answer probability over the answer set, rows sum to 1.
    coverage: float[question], how much of the model's mass that answer set holds. Both nan where unknown.
    plural: float[question, answer], mass of plurals that the set's strings do not begin, token by token ("C" + "ats");
    0 where they were not asked for. It is in `unconditional` alone: within the set, names stand against names.
    share: float[question, answer], hits / replies; nan where there are no replies. Where a question has several
    prompts that offer some of the answers each (essay topics), both are over all its prompts; a story counts for
    every answer that it mentions, so those rows may sum to more than 1.
    replies, non_answers, other: int[question], counts; `other` names something outside the answer set, or, of a
    conduct, is code or incoherent. unreadable: int[question], replies of which no judge said anything readable; they
    are not among `replies`.
    A conduct has two answers, its trait and "plain": `probability` is then the mean over matched pairs of answers
    that the trait's is preferred, and nothing is covered.
    questions_hash, prompt_hash: of what was asked and how the chat was rendered; '' where unknown.
    settled: what was changed in the model's chat template so that it says the same everywhere, in words.
    """

    model: str
    probe: str
    version: str
    category: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    probability: NDArray[np.float64]
    coverage: NDArray[np.float64]
    share: NDArray[np.float64]
    replies: NDArray[np.int64]
    non_answers: NDArray[np.int64]
    other: NDArray[np.int64]
    unreadable: NDArray[np.int64]
    questions_hash: str
    prompt_hash: str
    source: str
    settled: tuple[str, ...] = ()
    plural: NDArray[np.float64] = field(default_factory=lambda: NOT_ASKED_FOR)

    def __post_init__(self) -> None:
        q, a = len(self.questions), len(self.answers)
        if self.plural is NOT_ASKED_FOR:
            object.__setattr__(self, "plural", np.zeros((q, a)))
        shapes = {"probability": (q, a), "share": (q, a), "plural": (q, a)}
        for name in ("probability", "coverage", "share", "plural", *COUNTS):
            if getattr(self, name).shape != shapes.get(name, (q,)):
                wanted = shapes.get(name, (q,))
                raise ValueError(f"`{name}` has shape {getattr(self, name).shape}, not {wanted}")
        sums = self.probability.sum(axis=1)
        if np.any(np.abs(sums[~np.isnan(sums)] - 1) > OFF) and not self.conduct:
            raise ValueError("`probability` of a question does not sum to 1 over its answers")

    @property
    def unconditional(self) -> NDArray[np.float64]:
        """float[question, answer]: probability among all first answers, plurals included; nan where unknown.

        It is what the share of sampled replies estimates.
        """
        return self.probability * self.coverage[:, None] + self.plural

    @property
    def covered(self) -> float:
        """Mean over questions of the share of first answers that the answer set holds; nan where unknown."""
        return float(np.mean(self.coverage)) if len(self.coverage) else float("nan")

    @property
    def barely_covered(self) -> bool:
        """Whether the exact probability speaks of fewer than COVERED of the first answers."""
        return self.covered < COVERED

    @property
    def non_answer_rate(self) -> float:
        """Refusals and empty replies over all replies, in [0, 1]; nan without replies."""
        return _ratio(self.non_answers.sum(), self.replies.sum())

    @property
    def other_rate(self) -> float:
        """Replies that name something outside the answer set, over all replies; nan without replies."""
        return _ratio(self.other.sum(), self.replies.sum())

    @property
    def conduct(self) -> bool:
        """Whether the probe looks for a conduct: its answers are the trait, which is the category's name, and plain."""
        from sublim_eval.probes.conduct import PLAIN

        return self.answers == (self.category, PLAIN)

    @property
    def situations(self) -> dict[str, list[int]]:
        """Situation -> the rows of its wordings, whose ids are <situation>-1, <situation>-2 and so on."""
        rows: dict[str, list[int]] = {}
        for row, question in enumerate(self.questions):
            rows.setdefault(re.sub(r"-\d+$", "", question), []).append(row)
        return rows

    def to_json(self) -> dict[str, Any]:
        """Plain lists and text; nan becomes null."""
        plain = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {"schema": SCHEMA, **plain}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ProbeScores:
        """The reverse of to_json; raises ValueError for what is missing, of another shape, or no share or count."""
        if value.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {value.get('schema')!r}, not {SCHEMA}")
        value = {**_later(value), **value}
        missing = [f.name for f in fields(cls) if f.name not in value]
        if missing:
            raise ValueError(f"it has no {', '.join(missing)}")
        q, a = len(value["questions"]), len(value["answers"])
        made = {f.name: value[f.name] for f in fields(cls)}
        for name in ("probability", "share", "plural"):
            made[name] = _shares(made[name], name).reshape(q, a)
        made["coverage"] = _shares(made["coverage"], "coverage")
        for name in COUNTS:
            made[name] = _counts(made[name], name)
        for name in ("questions", "answers", "settled"):
            made[name] = tuple(made[name])
        return cls(**made)

    def write(self, path: Path) -> None:
        """Write the score file, whole or not at all."""
        write_json(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> ProbeScores:
        """Read a score file; raises SublimError when it is missing or no score file."""
        value = read_json(path)
        try:
            return cls.from_json(value)
        except (ValueError, TypeError, AttributeError) as error:
            raise SublimError(f"{path} is no score file: {error}. Score that model again.") from None


def _later(value: Mapping[str, Any]) -> dict[str, Any]:
    """What older files do not hold."""
    questions, answers = (len(value.get(name, ())) for name in ("questions", "answers"))
    return {"unreadable": [0] * questions, "settled": (), "plural": [[0.0] * answers] * questions}


def _flat(value: Any) -> list[Any]:
    return [v for part in value for v in _flat(part)] if isinstance(value, list | tuple) else [value]


def _shares(value: Any, name: str) -> NDArray[np.float64]:
    """Numbers from 0 to 1, nan for null; raises ValueError for anything else, text and true included."""
    wrong = [v for v in _flat(value) if v is not None and not _is_share(v)]
    if wrong:
        raise ValueError(f"`{name}` holds {wrong[0]!r}, which is no number from 0 to 1")
    return np.array(value, dtype=np.float64)


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and (value != value or -ROUNDED <= value <= 1 + ROUNDED)


def _counts(value: Any, name: str) -> NDArray[np.int64]:
    """Whole numbers from 0; raises ValueError for anything else."""
    wrong = [v for v in _flat(value) if type(v) is not int or not 0 <= v < 2**53]
    if wrong:
        raise ValueError(f"`{name}` holds {wrong[0]!r}, which is no count")
    return np.array(value, dtype=np.int64)


def nan_for_none(value: float | None) -> float:
    """The number; nan for what is unknown."""
    return np.nan if value is None else float(value)


def _ratio(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else float("nan")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value.tolist()]
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and np.isnan(value) else value
