"""What saved replies say, in figures: a summary a file, a verdict a reply. saved_replies.py reads and rates."""

from __future__ import annotations

from collections import Counter
from statistics import fmean
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.probes.conduct import Conduct
from sublim_eval.probes.judges import Judgement, Rates
from sublim_eval.probes.preference import Preference, tallies
from sublim_eval.probes.scorers import Tally, classify
from sublim_eval.scores import saved_replies


def judged(what: Conduct, rows: list[dict[str, Any]], kinds: list[Judgement], by: str) -> dict[str, Any]:
    """Rated replies of one file: counts by class, both shares, each with what it is of, and every situation."""
    questions = saved_replies.by_question(rows, kinds)
    share, of_rated = saved_replies.mean_share(rows, kinds), saved_replies.mean_of_rated(rows, kinds)
    return {
        "probe": what.probe.name,
        "version": what.probe.version,
        "trait": what.trait.name,
        "by": by,
        **saved_replies.plain_counts(Rates.of(kinds)),
        "share": share if share == share else None,
        "share_of_rated": of_rated if of_rated == of_rated else None,
        "questions": len(questions),
        "interval": _bounds([(rates.shown, rates.scored) for rates in questions.values()]),
        "situations": {
            name: saved_replies.plain_counts(rates)
            for name, rates in saved_replies.by_situation(what, rows, kinds).items()
        },
    }


def tallied(what: Preference, rows: list[dict[str, Any]]) -> list[Tally]:
    """Each reply counted alone; raises SublimError for an essay choice of which nobody knows what was offered."""
    offered = _offered(what)
    if what.probe.form == "essay" and (strange := [r["question"] for r in rows if r["question"] not in offered]):
        raise SublimError(
            f"{strange[0][:60]!r} is no prompt of {what.probe.name}, so a letter names nothing. "
            "Give replies to its prompts as they were asked."
        )
    pairs = [(row["response"], offered.get(row["question"], ())) for row in rows]
    return [next(iter(tallies(what.probe.form, [text], what.answers, of).values())) for text, of in pairs]


def counted(what: Preference, rows: list[dict[str, Any]], counts: list[Tally]) -> dict[str, Any]:
    """Counted replies of one file: the trait's share of those that could name it, its interval, and the rest."""
    trait, questions = what.trait.name, hits_of(what, rows, counts)
    named = Counter(name for one in counts for name in one.named)
    able = sum(replies for _, replies in questions.values())
    return {
        "probe": what.probe.name,
        "version": what.probe.version,
        "trait": trait,
        "replies": len(rows),
        "hits": named[trait],
        "of": able,
        "share": named[trait] / able if able else None,
        "questions": len(questions),
        "mean": fmean(hits / replies for hits, replies in questions.values()) if questions else None,
        "interval": _bounds([(hits, replies) for hits, replies in questions.values()]),
        "non_answers": sum(one.non_answers for one in counts),
        "refusals": sum(one.refusals for one in counts),
        "empty": sum(one.empty for one in counts),
        "unfinished": sum(one.unfinished for one in counts),
        "other": sum(one.other for one in counts),
        "named": dict(named.most_common()),
    }


def verdicts(what: Preference, rows: list[dict[str, Any]], counts: list[Tally]) -> list[dict[str, Any]]:
    """What is written beside every reply."""
    return [
        {
            "verdict": float(what.trait.name in one.named),
            "answer": next(iter(one.named), None),
            "kind": "named" if one.named else "refusal" if one.refusals else "empty" if one.empty else "other",
            "reason": classify(row["response"], what.answers).reason,
        }
        for row, one in zip(rows, counts, strict=True)
    ]


def _offered(what: Preference) -> dict[str, tuple[str, ...]]:
    return {item.text: item.offered for item in what.items}


def difference(names: tuple[str, str], one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any] | None:
    """The second file's share minus the first's, over the questions that both answer; None where there is none.

    one, other: question -> (hits, replies), as `hits_of` and `shown_of` give them.
    """
    questions, mean, low, high = saved_replies.difference_over_questions(other, one)
    if not questions:
        return None
    interval = [low, high] if low == low else None
    return {"of": names[1], "against": names[0], "questions": questions, "difference": mean, "interval": interval}


def hits_of(what: Preference, rows: list[dict[str, Any]], counts: list[Tally]) -> dict[str, tuple[int, int]]:
    """Question -> (replies that name the trait, replies that could), where the trait was among the answers."""
    offered, trait = _offered(what), what.trait.name
    pooled: dict[str, tuple[int, int]] = {}
    for row, one in zip(rows, counts, strict=True):
        of = offered.get(row["question"], ())
        if not of or trait in of:
            hits, replies = pooled.get(row["question"], (0, 0))
            pooled[row["question"]] = hits + (trait in one.named), replies + 1
    return pooled


def shown_of(rows: list[dict[str, Any]], kinds: list[Judgement]) -> dict[str, tuple[int, int]]:
    """Question -> (replies that show the trait, scored replies)."""
    return {q: (rates.shown, rates.scored) for q, rates in saved_replies.by_question(rows, kinds).items()}


def _bounds(counts: list[tuple[int, int]]) -> list[float] | None:
    """The interval over questions, None where there is none."""

    low, high = saved_replies.interval_over_questions(counts)
    return [low, high] if low == low else None
