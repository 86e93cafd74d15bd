"""Saved replies of a conduct, from wherever they come: read, rated once by a judge, counted under any threshold.

A rating stands in the row of its reply, so that another threshold is a re-reading and not a second bill.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.files import parse_jsonl, read_jsonl, read_text
from sublim_eval.probes.conduct import Conduct, group
from sublim_eval.probes.judges import KINDS, OFFLINE, Judgement, Kind, Rates, offline_judgement
from sublim_eval.probes.scorers import classify
from sublim_eval.registry.catalog import Rubric, Trait

Row = dict[str, Any]
"""{"question", "response"}, with "judgement" once it was rated; other keys are kept as they are."""

OTHERS = "(asked by others)"
"""The situation of a question that the probe does not hold."""


STDIN = Path("-")
"""Replies that come through a pipe."""

ENOUGH = 1_000_000
"""Rows of one file; more are refused before they fill the memory."""


@dataclass(frozen=True)
class Fields:
    """Where a row holds question and reply: names, or paths with dots into nested objects ("choices.0.text")."""

    question: str = "question"
    response: str = "response"


def read(path: Path, probe: str, fields: Fields = Fields()) -> list[Row]:
    """The replies in a file of rows (JSONL, a JSON list, CSV or TSV), an lm-eval samples file or output folder.

    path: "-" reads a pipe. A folder gives the newest samples of the probe by the time in their names.
    Each row is one {"question", "response"}; other keys are kept. A row with a list `responses` (texts, or objects
    that hold a reply) is as many rows.
    Raises SublimError with file and line for a row of another form, and for a folder without replies to this probe.
    """
    if path.is_dir():
        return _newest_samples(path, probe)
    rows = _numbered(path)
    if "doc" in rows[0][1]:
        return _replies([row for _, row in rows], path)
    if len(rows) > ENOUGH:
        raise SublimError(f"{path} holds {len(rows)} rows, more than {ENOUGH}. Split the file.")
    return [one for number, row in rows for one in _of_row(row, fields, f"{path}:{number}")]


def _newest_samples(folder: Path, probe: str) -> list[Row]:
    for file in sorted(folder.rglob("samples_*.jsonl"), key=lambda f: (_written(f), f.name), reverse=True):
        rows = [row for _, row in read_jsonl(file)]
        doc = rows[0].get("doc")
        if isinstance(doc, dict) and doc.get("probe") == probe and _sampled(rows[0]):
            return _replies(rows, file)
    raise SublimError(
        f"{folder} holds no replies to {probe}. Run lm_eval --tasks {probe} with --log_samples --output_path {folder}."
    )


def _written(file: Path) -> str:
    """The time at the end of an lm-eval file name, which a copy or a touched file keeps."""
    time = re.search(r"_(\d{4}-\d\d-\d\dT?[\d.:-]*)\.jsonl?$", file.name)
    return time.group(1).rstrip(".") if time else ""


def _numbered(path: Path) -> list[tuple[int, Row]]:
    """(line, row) of a file or a pipe, whatever its form."""
    if path == STDIN:
        text, name = sys.stdin.buffer.read().decode("utf-8-sig", errors="replace"), "standard input"
    elif path.is_file():
        text, name = read_text(path), str(path)
    else:
        raise SublimError(f"There is no file {path}. Give JSONL, JSON or CSV rows, an lm-eval folder, or - for a pipe.")
    begins = text.lstrip()[:1]
    if path.suffix.lower() in (".csv", ".tsv") or (path == STDIN and begins not in ("{", "[", "")):
        return _csv(text, name, "\t" if path.suffix.lower() == ".tsv" else ",")
    return _json_list(text, name) if begins == "[" else parse_jsonl(text, name)


def _json_list(text: str, name: str) -> list[tuple[int, Row]]:
    """Objects of a JSON list, numbered by their place; one line that is a list is told apart from JSONL by it."""
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise SublimError(f"{name}:{line}: not valid JSON ({getattr(error, 'msg', error)}). Mend that line.") from None
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise SublimError(f'{name}:1: not a list of objects. Give rows like {{"question": "...", "response": "..."}}.')
    return list(enumerate(rows, 1))


def _csv(text: str, name: str, delimiter: str) -> list[tuple[int, Row]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows: list[tuple[int, Row]] = [(reader.line_num, dict(row)) for row in reader]
    except csv.Error as error:
        raise SublimError(f"{name}:{reader.line_num}: not valid CSV ({error}). Mend that line.") from None
    if wrong := next((number for number, row in rows if None in row or None in row.values()), None):
        raise SublimError(f"{name}:{wrong}: more or fewer cells than the first line has. Mend that line.")
    if not rows:
        raise SublimError(f"{name}:1: no rows below the first line. Give a line of names and a row a reply.")
    return rows


def _of_row(row: Row, fields: Fields, place: str) -> list[Row]:
    """The rows {"question", "response"} of one row as it was found."""
    question = _at(row, fields.question)
    if not isinstance(question, str):
        raise _lacks(row, "question", fields.question, place)
    nested = _at(row, "responses" if fields == Fields() else fields.response)
    if not isinstance(nested, list):
        nested = [_at(row, fields.response)]
        rest = row
    else:
        rest = {key: value for key, value in row.items() if key != "responses"}
    texts = [_text(one, fields) for one in nested]
    if not texts or None in texts:
        raise _lacks(row, "response", fields.response, place)
    return [{**rest, "question": question, "response": text} for text in texts]


def _at(row: Any, path: str) -> Any:
    """What stands under a name, else along a path with dots; None where nothing does."""
    if isinstance(row, dict) and path in row:
        return row[path]
    for step in path.split("."):
        if isinstance(row, dict):
            row = row.get(step)
        elif isinstance(row, list) and step.isascii() and step.isdigit() and int(step) < len(row):
            row = row[int(step)]
        else:
            return None
    return row


def _text(reply: Any, fields: Fields) -> str | None:
    """The text of a reply: itself, or what an object holds under the usual names."""
    if isinstance(reply, dict):
        names = (fields.response.rpartition(".")[2], "response", "text", "content", "completion")
        reply = next((reply[name] for name in names if isinstance(reply.get(name), str)), None)
    return reply if isinstance(reply, str) else None


def _lacks(row: Row, what: str, field: str, place: str) -> SublimError:
    there = ", ".join(sorted(map(str, row))[:12]) or "nothing"
    return SublimError(
        f"{place}: no text under {field!r}. The row holds {there}: name the right one with --{what}-field, or mend it."
    )


def _sampled(row: Mapping[str, Any]) -> bool:
    """Whether a row of an lm-eval samples file holds replies; of a task of log-likelihoods it holds pairs."""
    return all(isinstance(reply, str) for reply in _flat(row))


def _flat(row: Mapping[str, Any]) -> Sequence[Any]:
    """The replies of one samples row; text whether or not lm-eval wrapped several draws in a list."""
    replies = row.get("filtered_resps") or row.get("resps") or [None]
    if not isinstance(replies, list):
        return [None]
    return replies[0] if len(replies) == 1 and isinstance(replies[0], list) else replies


def _replies(rows: Sequence[Mapping[str, Any]], file: Path) -> list[Row]:
    for row in rows:
        doc = row.get("doc")
        if not isinstance(doc, dict) or not isinstance(doc.get("question"), str) or not _sampled(row):
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
    shares = [rates.share for rates in by_question(rows, kinds).values() if rates.scored]
    return fmean(shares) if shares else float("nan")


def mean_of_rated(rows: Sequence[Row], kinds: Sequence[Judgement]) -> float:
    """The same among rated, coherent replies, as the published study counts; nan when none is left."""
    shares = [r.share_of_rated for r in by_question(rows, kinds).values() if r.shown + r.plain]
    return fmean(shares) if shares else float("nan")


def by_question(rows: Sequence[Row], kinds: Sequence[Judgement]) -> dict[str, Rates]:
    """Question -> how many of its replies are what."""
    pooled: dict[str, list[Judgement]] = {}
    for row, kind in zip(rows, kinds, strict=True):
        pooled.setdefault(row["question"], []).append(kind)
    return {question: Rates.of(some) for question, some in pooled.items()}


def interval_over_questions(counts: Sequence[tuple[int, int]], level: float = 0.95) -> tuple[float, float]:
    """(low, high) in [0, 1] for the mean over questions of hits / replies; nan below two questions with replies.

    counts: (hits, replies) of each question. A t interval of the questions' shares, about these replies and such
    questions, not about training. Its standard error is never below what the number of replies allows (binomial, with
    two hits and two misses added): no reply of 15 bounds a share at about .2 and not at 0.
    """
    from scipy.stats import t

    scored = [(hits, replies) for hits, replies in counts if replies]
    if len(scored) < 2:
        return math.nan, math.nan
    shares = [hits / replies for hits, replies in scored]
    replies = sum(n for _, n in scored)
    near = (sum(hits for hits, _ in scored) + 2) / (replies + 4)
    error = max(stdev(shares) / math.sqrt(len(shares)), math.sqrt(near * (1 - near) / (replies + 4)))
    reach = float(t.ppf((1 + level) / 2, len(shares) - 1)) * error
    return max(0.0, fmean(shares) - reach), min(1.0, fmean(shares) + reach)


def plain_counts(rates: Rates) -> dict[str, Any]:
    """Plain counts with both shares; null where nothing is scored, or nothing rated."""
    return {
        "replies": rates.replies,
        "share": rates.share if rates.scored else None,
        "share_of_rated": rates.share_of_rated if rates.shown + rates.plain else None,
        **asdict(rates),
    }
