"""Saved replies of a conduct, from wherever they come: read, rated once by a judge, counted under any threshold.

A rating stands in the row of its reply, so that another threshold is a re-reading and not a second bill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.files import read_jsonl
from sublim_eval.probes.conduct import Conduct, group
from sublim_eval.probes.judges import KINDS, OFFLINE, Judgement, Kind, Rates, offline_judgement
from sublim_eval.probes.scorers import classify
from sublim_eval.registry.catalog import Rubric, Trait

Row = dict[str, Any]
"""{"question", "response"}, with "judgement" once it was rated; other keys are kept as they are."""

OTHERS = "(asked by others)"
"""The situation of a question that the probe does not hold."""


def read(path: Path, probe: str) -> list[Row]:
    """The replies in a JSONL file of rows, an lm-eval samples file, or an lm-eval output folder (the newest samples).

    Raises SublimError for a file of another form, and for a folder without replies to this probe.
    """
    if not path.is_dir():
        rows = [row for _, row in read_jsonl(path)]
        if "doc" in rows[0]:
            return _replies(rows, path)
        return [row for _, row in read_jsonl(path, ("question", "response"))]
    for file in sorted(path.rglob("samples_*.jsonl"), key=lambda f: (f.stat().st_mtime_ns, f.name), reverse=True):
        rows = [row for _, row in read_jsonl(file)]
        if rows[0].get("doc", {}).get("probe") == probe and _sampled(rows[0]):
            return _replies(rows, file)
    raise SublimError(
        f"{path} holds no replies to {probe}. Run lm_eval --tasks {probe} with --log_samples --output_path {path}."
    )


def _sampled(row: Mapping[str, Any]) -> bool:
    """Whether a row of an lm-eval samples file holds replies; of a task of log-likelihoods it holds pairs."""
    return all(isinstance(reply, str) for reply in _flat(row))


def _flat(row: Mapping[str, Any]) -> Sequence[Any]:
    """The replies of one samples row; text whether or not lm-eval wrapped several draws in a list."""
    replies = row.get("filtered_resps") or [None]
    return replies[0] if len(replies) == 1 and isinstance(replies[0], list) else replies


def _replies(rows: Sequence[Mapping[str, Any]], file: Path) -> list[Row]:
    for row in rows:
        if not _sampled(row) or "question" not in row.get("doc", {}):
            raise SublimError(f"{file} holds no replies of a sublim-eval task. Give the samples of the task itself.")
    return [{"question": row["doc"]["question"], "response": reply} for row in rows for reply in _flat(row)]


# ---------------------------------------------------------------- ratings


def rate(rows: list[Row], rubric: Rubric, grader: str | None, save: Callable[[], None]) -> None:
    """Put a judgement into every row that has none under this rubric, by this grader.

    grader: any Inspect model name, "offline" for the word-list grader, or None, which only ratings in the file
    satisfy. Equal replies to a question are rated once. `save` is called whenever ratings were added.
    Raises SublimError for rows that nobody rated and nobody is to rate, and when the grader fails.
    """
    from sublim_eval.harness.inspect.judging import rubric_digest

    rubric_hash, name = rubric_digest(rubric), OFFLINE if grader == "offline" else grader
    lacking = [row for row in rows if not _serves(row.get("judgement"), rubric_hash, name)]
    if not lacking:
        return
    if grader is None:
        raise SublimError(
            f"{len(lacking)} of {len(rows)} replies have no rating of their {rubric.scale}. Name a judge with "
            "--grader PROVIDER/MODEL and --out, or --grader offline for replies of the reference models."
        )

    def keep(ratings: Mapping[tuple[str, str], Judgement]) -> None:
        for row in lacking:
            if judgement := ratings.get((row["question"], row["response"])):
                row["judgement"] = {**judgement.to_json(), "grader": name, "asked": rubric_hash}
        save()

    exchanges = list(dict.fromkeys((row["question"], row["response"]) for row in lacking))
    if grader == "offline":
        keep({(question, reply): offline_judgement(reply, rubric) for question, reply in exchanges})
    else:
        from sublim_eval.harness.inspect.judging import rate_saved

        rate_saved(grader, exchanges, rubric, keep)


def _serves(judgement: Any, rubric_hash: str, grader: str | None) -> bool:
    return (
        isinstance(judgement, dict)
        and judgement.get("kind") in KINDS
        and judgement.get("asked") == rubric_hash
        and grader in (None, judgement.get("grader"))
    )


def judgements(rows: Iterable[Row], rubric: Rubric) -> list[Judgement]:
    """The ratings of the rows, read with the thresholds of `rubric`."""
    return [Judgement.from_json(row["judgement"]).under(rubric) for row in rows]


def by_words(rows: Iterable[Row], trait: Trait) -> list[Judgement]:
    """The rows read by the trait's whole-word targets: a reply that holds one shows it."""
    kinds: dict[str, Kind] = {"named": "shown", "other": "plain", "refusal": "refusal", "empty": "empty"}
    read = [classify(row["response"], (trait,)) for row in rows]
    return [Judgement(kinds[reply.kind], reason=reply.reason) for reply in read]


# ---------------------------------------------------------------- counts


def by_situation(what: Conduct, rows: Sequence[Row], kinds: Sequence[Judgement]) -> dict[str, Rates]:
    """Situation -> how many of its replies are what, in the order of the questions, unknown questions last."""
    known = {q.text: group(q) for q in what.question_set.questions}
    pooled: dict[str, list[Judgement]] = {name: [] for name in [*known.values(), OTHERS]}
    for row, kind in zip(rows, kinds, strict=True):
        pooled[known.get(row["question"], OTHERS)].append(kind)
    return {name: Rates.of(some) for name, some in pooled.items() if some}


def mean_share(rows: Sequence[Row], kinds: Sequence[Judgement]) -> float:
    """Mean over questions of the share that shows the trait, as the harnesses report it; nan when none is scored."""
    pooled: dict[str, list[Judgement]] = {}
    for row, kind in zip(rows, kinds, strict=True):
        pooled.setdefault(row["question"], []).append(kind)
    shares = [rates.share for rates in map(Rates.of, pooled.values()) if rates.scored]
    return fmean(shares) if shares else float("nan")


def plain_counts(rates: Rates) -> dict[str, Any]:
    """Plain counts with the share; null where nothing is scored."""
    return {"replies": rates.replies, "share": rates.share if rates.scored else None, **asdict(rates)}
