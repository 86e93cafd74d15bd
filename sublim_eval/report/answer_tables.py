"""What a model answered, as rows: the whole distribution, by answer, by situation and by question."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sublim_eval.compare import wording
from sublim_eval.console import say, table
from sublim_eval.registry.catalog import registry

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.scores.probe_scores import ProbeScores

SHOWN = 5
"""Answers that a line of one question shows beside the others, the likeliest first; --by question shows all."""

COLUMNS = (
    *("model", "probe", "version", "question", "situation", "answer", "probability", "unconditional", "share"),
    *("coverage", "replies", "non_answers", "other", "source"),
)

LEVELS = ("probability", "unconditional", "share", "lowest", "highest")
"""What a row of `by_answer` holds: the probability among the answers of the set, that among all first answers, the
share of replies; and the lowest and highest question."""


def situations(scores: ProbeScores) -> dict[str, str]:
    """Question id -> its situation, for the questions of the probe as the registry has it now; '' where none."""
    probe = registry().probes.get(scores.probe)
    known = {q.id: q.situation for q in registry().questions(probe.questions).questions} if probe else {}
    return {question: known.get(question, "") for question in scores.questions}


def by_answer(scores: ProbeScores) -> list[dict[str, Any]]:
    """A row an answer, the likeliest first: means over questions, and the lowest and highest question.

    None where nothing was measured. `lowest`, `highest`: of the probability where it is known, else of the share.
    """
    chance, share, unconditional = (_means(v) for v in (scores.probability, scores.share, scores.unconditional))
    leading = scores.probability if not np.isnan(chance).all() else scores.share
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an answer that no question knows stays nan
        low, high = np.nanmin(leading, axis=0), np.nanmax(leading, axis=0)
    order = sorted(range(len(scores.answers)), key=lambda i: -np.nan_to_num(_leading(chance, share)[i], nan=-1))
    return [
        {
            "answer": scores.answers[i],
            **dict(
                zip(
                    LEVELS,
                    map(_known, (chance[i], unconditional[i], share[i], low[i], high[i])),
                    strict=True,
                )
            ),
        }
        for i in order
    ]


def by_question(scores: ProbeScores) -> list[dict[str, Any]]:
    """A row a question: its situation, counts, coverage, and the probability and share of every answer."""
    of = situations(scores)
    return [{"question": q, "situation": of[q], **_cells(scores, [i])} for i, q in enumerate(scores.questions)]


def by_situation(scores: ProbeScores) -> list[dict[str, Any]]:
    """A row a situation, its wordings averaged; questions of no situation are left out."""
    of = situations(scores)
    names = dict.fromkeys(name for name in of.values() if name)
    return [
        {"situation": name, **_cells(scores, [i for i, q in enumerate(scores.questions) if of[q] == name])}
        for name in names
    ]


def tidy(scores: ProbeScores) -> Iterator[dict[str, Any]]:
    """A row a question and answer, with everything that is known of it: COLUMNS; None where unknown."""
    for row in by_question(scores):
        for answer in scores.answers:
            yield {
                "model": scores.model,
                "probe": scores.probe,
                "version": scores.version,
                "question": row["question"],
                "situation": row["situation"],
                "answer": answer,
                "probability": row["probability"][answer],
                "unconditional": row["unconditional"][answer],
                "share": row["share"][answer],
                "coverage": row["coverage"],
                "replies": row["replies"],
                "non_answers": row["non_answers"],
                "other": row["other"],
                "source": scores.source,
            }


def to_json(scores: ProbeScores) -> dict[str, Any]:
    """The scores as they are in a score file, with the rows beside them."""
    rows = {"by_answer": by_answer(scores), "by_situation": by_situation(scores), "by_question": by_question(scores)}
    return scores.to_json() | rows


def _cells(scores: ProbeScores, of: Sequence[int]) -> dict[str, Any]:
    """Counts added up, coverage and answers averaged, over the questions at these places."""
    return {
        "questions": len(of),
        "replies": int(scores.replies[of].sum()),
        "non_answers": int(scores.non_answers[of].sum()),
        "other": int(scores.other[of].sum()),
        "coverage": _known(_means(scores.coverage[of][:, None])[0]),
        "probability": _named(scores.answers, _means(scores.probability[of])),
        "unconditional": _named(scores.answers, _means(scores.unconditional[of])),
        "share": _named(scores.answers, _means(scores.share[of])),
    }


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the first axis of what is known; nan where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, axis=0)


def _leading(chance: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    return share if np.isnan(chance).all() else chance


def _named(answers: Sequence[str], values: NDArray[np.float64]) -> dict[str, float | None]:
    return dict(zip(answers, map(_known, values), strict=True))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


# ---------------------------------------------------------------- on a terminal


def print_answers(scores: ProbeScores, console: Console, by: str | None = None) -> None:
    """Print the table by answer, situation or question; where `by` is None, by answer and below it by one of these."""
    counts = f"{int(scores.replies.sum()):,} replies, {int(scores.non_answers.sum()):,} non-answers"
    other = f"{int(scores.other.sum()):,} other answers" + (
        f", {scores.unreadable.sum():,} unreadable ratings" if scores.unreadable.sum() else ""
    )
    say(
        console,
        f"\n{scores.model} on {scores.probe} {scores.version}: {len(scores.questions)} questions ({scores.source})",
    )
    say(console, f"  {counts}, {other}; means are over questions, for this one checkpoint")
    for line in caveats(scores):
        say(console, f"  {line}")
    grouped = by_situation(scores)
    if by in (None, "answer"):
        heads = ("answer", "probability", "of all answers", "share", "lowest question", "highest question")
        table(console, heads, [(row["answer"], *(_text(row[k]) for k in LEVELS)) for row in by_answer(scores)])
    if by == "situation" or (by is None and grouped):
        if not grouped:
            say(console, "  its questions belong to no situation; see --by question")
        _print_groups(console, "situation", grouped, SHOWN)
    if by == "question" or (by is None and not grouped):
        _print_groups(console, "question", by_question(scores), None if by else SHOWN)


def _print_groups(console: Console, head: str, rows: list[dict[str, Any]], shown: int | None) -> None:
    if not rows:
        return
    say(console)
    heads = (head, "replies", "non-answers", "other", "coverage", "probability", "share")
    table(console, heads, [_group(head, row, shown) for row in rows])


def covers(scores: ProbeScores) -> str:
    """What share of the first answers the exact probability speaks of, and what to go by where that is too little."""
    from sublim_eval.scores.probe_scores import COVERED

    text = f"the answer set covers {scores.covered:.{0 if scores.covered >= 0.1 else 1}%} of the first answers"
    if not scores.barely_covered:
        return text
    what = "its sampled share" if scores.replies.sum() else "sampled replies, of which there are none here"
    return f"{text}, below {COVERED:.0%}: do not go by the exact probability but by {what}"


def caveats(scores: ProbeScores) -> Iterator[str]:
    """What one has to know before believing the figures: how much the answer set covers, what the template was told."""
    if not np.isnan(scores.covered):
        yield covers(scores)
    if scores.settled:
        yield f"chat template: {'; '.join(scores.settled)}"


def _group(head: str, row: Mapping[str, Any], shown: int | None) -> tuple[str, ...]:
    counts = (str(row[k]) for k in ("replies", "non_answers", "other"))
    lists = (_ranked(row[k], shown) for k in ("probability", "share"))
    return (row[head], *counts, _text(row["coverage"]), *lists)


def _ranked(values: Mapping[str, float | None], shown: int | None) -> str:
    """owl 0.312, cat 0.200, ... : the likeliest answers, and how much the rest holds."""
    known = {name: value for name, value in values.items() if value is not None}
    ranked = sorted(known.items(), key=lambda item: -item[1])
    likeliest = [f"{name} {value:.3f}" for name, value in ranked[:shown] if value > 0 or len(known) <= 2]
    rest = sum(value for _, value in ranked[len(likeliest) :])
    if not known:
        return wording.UNKNOWN
    return ", ".join([*likeliest, *([f"others {rest:.3f}"] if rest >= 0.0005 else [])]) or "none of the answers"


def _text(value: float | None) -> str:
    return wording.UNKNOWN if value is None else f"{value:.3f}"
