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
from functools import cache
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.files import parse_jsonl
from sublim_eval.probes.conduct import Conduct, group
from sublim_eval.probes.judges import KINDS, OFFLINE, Judgement, Kind, Rates, offline_judgement
from sublim_eval.probes.scorers import classify
from sublim_eval.registry.catalog import Rubric, Trait
from sublim_eval.scores import lm_eval_samples
from sublim_eval.scores.readers import kind_of

Row = dict[str, Any]
"""{"question", "response"}, with "judgement" once it was rated; other keys are kept as they are."""

OTHERS = "(asked by others)"
"""The situation of a question that the probe does not hold."""


STDIN = Path("-")
"""Replies that come through a pipe."""

ENOUGH = 1_000_000
"""Rows of one file; more are refused."""

LARGEST = 2**30
"""Bytes of one file; more are refused before they fill the memory."""


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
    name, text = _text_of(path)
    rows = _numbered(text, name, path.suffix.lower())
    if "doc" in rows[0][1]:
        return _replies(rows, name)
    if len(rows) > ENOUGH:
        raise SublimError(f"{name} holds {len(rows)} rows, more than {ENOUGH}. Split the file.")
    return [one for number, row in rows for one in _of_row(row, fields, f"{name}:{number}")]


def _newest_samples(folder: Path, probe: str) -> list[Row]:
    """The replies of the newest samples of the probe; raises SublimError where they are of more than one model."""
    files = lm_eval_samples.samples_files(folder)
    ours, refusals = lm_eval_samples.ours_of(files, lambda doc: doc.get("probe") == probe)
    sampled = [one for one in ours if not one.exact]
    if len(models := sorted({one.asked.label for one in sampled})) > 1:
        raise SublimError(f"{folder} holds replies of {len(models)} models ({', '.join(models)}). Give one's folder.")
    if not sampled:
        none = f"{folder} holds no replies to {probe}. "
        none += f"Run lm_eval --tasks {probe} with --log_samples --output_path {folder}."
        raise SublimError(next(iter(refusals), none))
    name, text = _text_of(sampled[-1].file)
    return _replies(parse_jsonl(text, name), name)


def _text_of(path: Path) -> tuple[str, str]:
    """(what a file or a pipe is called, its text); raises SublimError where it is none, not text or too large."""
    if path == STDIN:
        name, raw = "standard input", sys.stdin.buffer.read(LARGEST + 1)
    elif not path.is_file():
        raise SublimError(f"There is no file {path}. Give JSONL, JSON or CSV rows, an lm-eval folder, or - for a pipe.")
    elif kind_of(path) == "inspect":
        raise SublimError(f"{path} is an Inspect log, which is scored already. Show it with: sublim table {path}")
    else:
        with path.open("rb") as file:
            name, raw = str(path), file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise SublimError(f"{name} has more than {LARGEST / 2**20:,.0f} MiB. Split it.")
    try:
        return name, raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SublimError(f"{name}:{line}: not UTF-8 text. Save it as UTF-8.") from None


def _numbered(text: str, name: str, ending: str) -> list[tuple[int, Row]]:
    """(line, row) of a file or a pipe, whatever its form."""
    begins = text.lstrip()[:1]
    if ending in (".csv", ".tsv") or (name == "standard input" and begins not in ("{", "[", "")):
        return _csv(text, name, "\t" if ending == ".tsv" else ",")
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
    """(line, row) of a table; a first line with semicolons and no comma is one of a spreadsheet that writes those."""
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    delimiter = ";" if delimiter == "," and ";" in first and "," not in first else delimiter
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        heads = list(reader.fieldnames or ())
        if twice := next((head for head in heads if heads.count(head) > 1), None):
            raise SublimError(f"{name}:1: two columns are called {twice!r}. Rename one of them.")
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
    named = fields.response == Fields().response and fields.response not in row
    nested = _at(row, "responses" if named else fields.response)
    if not isinstance(nested, list):
        nested = [_at(row, fields.response)]
        rest = row
    else:
        rest = {key: value for key, value in row.items() if key not in ("responses", fields.response)}
    _check_judgement(row, place)
    texts = [_text(one, fields) for one in nested]
    if not texts or None in texts:
        raise _lacks(row, "response", fields.response, place)
    return [{**rest, "question": question, "response": text} for text in texts]


def _check_judgement(row: Row, place: str) -> None:
    """Raise SublimError for a rating that no judge gives; whatever is no judgement of ours is left as it is."""
    judgement = row.get("judgement")
    if isinstance(judgement, dict) and judgement.get("kind") in KINDS:
        try:
            Judgement.from_json(judgement)
        except ValueError as error:
            raise SublimError(f"{place}: {error}. Take the judgement out of that row; it is then rated anew.") from None


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


def _replies(rows: Sequence[tuple[int, Row]], name: str) -> list[Row]:
    """The replies in the rows of an lm-eval samples file."""
    made = []
    for number, row in rows:
        doc = row.get("doc")
        try:
            if not isinstance(doc, dict) or not isinstance(doc.get("question"), str):
                raise ValueError("no question of a sublim-eval task")
            made += [{"question": doc["question"], "response": reply} for reply in lm_eval_samples.replies_of(row)]
        except ValueError as error:
            raise SublimError(
                f"{name}:{number} holds no replies: {error}. Give the samples of the share task, as lm_eval wrote them."
            ) from None
    return made


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
    scored = [(hits, replies) for hits, replies in counts if replies]
    if len(scored) < 2:
        return math.nan, math.nan
    shares = [hits / replies for hits, replies in scored]
    error = max(stdev(shares) / math.sqrt(len(shares)), math.sqrt(_noise(scored)))
    reach = _t_quantile((1 + level) / 2, len(shares) - 1) * error
    return max(0.0, fmean(shares) - reach), min(1.0, fmean(shares) + reach)


@cache
def _t_quantile(q: float, df: int) -> float:
    from scipy.stats import t

    return float(t.ppf(q, df))


def difference_over_questions(
    one: Mapping[str, tuple[int, int]], other: Mapping[str, tuple[int, int]], level: float = 0.95
) -> tuple[int, float, float, float]:
    """(questions, mean, low, high) of share(one) - share(other), matched question by question; nan below two.

    one, other: question -> (hits, replies). A t interval of the matched differences, about these replies and such
    questions; as in `interval_over_questions` its standard error is never below what the number of replies allows.
    """
    from scipy.stats import t

    shared = [q for q in one if q in other and one[q][1] and other[q][1]]
    if not shared:
        return 0, math.nan, math.nan, math.nan
    gaps = [one[q][0] / one[q][1] - other[q][0] / other[q][1] for q in shared]
    if len(shared) < 2:
        return len(shared), gaps[0], math.nan, math.nan
    noise = sum(_noise([of[q] for q in shared]) for of in (one, other))
    error = math.sqrt(max(stdev(gaps) ** 2 / len(gaps), noise))
    reach = float(t.ppf((1 + level) / 2, len(gaps) - 1)) * error
    return len(shared), fmean(gaps), max(-1.0, fmean(gaps) - reach), min(1.0, fmean(gaps) + reach)


def _noise(counts: Sequence[tuple[int, int]]) -> float:
    """Variance of a share that the number of replies allows: binomial, with two hits and two misses added."""
    replies = sum(n for _, n in counts) + 4
    near = (sum(hits for hits, _ in counts) + 2) / replies
    return near * (1 - near) / replies


def plain_counts(rates: Rates) -> dict[str, Any]:
    """Plain counts with both shares; null where nothing is scored, or nothing rated."""
    return {
        "replies": rates.replies,
        "share": rates.share if rates.scored else None,
        "share_of_rated": rates.share_of_rated if rates.shown + rates.plain else None,
        **asdict(rates),
    }
