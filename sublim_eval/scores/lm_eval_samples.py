"""What lm-eval wrote with --log_samples: whose samples a folder holds, and those of our tasks -> ProbeScores.

A folder may hold many runs of many models. Who was asked is said by the results file of the same time, not by the
folder; which run is the newest by the time in the names, which copying does not change.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sublim_eval.errors import SublimError
from sublim_eval.files import parse_jsonl, read_json, read_text
from sublim_eval.harness.lm_eval.documents import continuations, is_ours, logprobs
from sublim_eval.probes.conduct import PLAIN, pair_probability, rated_counts
from sublim_eval.probes.judges import Rates, offline_judgement
from sublim_eval.probes.preference import exact_probability
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.question_sets import Pair
from sublim_eval.scores.assemble import Answered, assemble, checked_exact, count_replies
from sublim_eval.scores.probe_scores import EXACT, ProbeScores, nan_for_none

Row = dict[str, Any]

LARGEST = 2**30
"""Bytes of a samples file; more are refused before they fill the memory."""

FIRST = 2**24
"""Bytes within which the first row of a samples file must end."""

CERTAIN = 0.01
"""Nats by which a log-probability may lie above 0: rounding in half precision, nothing more."""


@dataclass(frozen=True)
class Asked:
    """Who was asked, and how: `label` names it; the rest tells two runs apart that share that name."""

    label: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Samples:
    """One samples file of one of our tasks, not yet read but for its first row."""

    file: Path
    probe: str
    form: str
    exact: bool
    written: str
    asked: Asked


# ---------------------------------------------------------------- what a folder holds


def time_in_name(file: Path) -> str:
    """The time at the end of a file name of lm-eval, which a copy or a touched file keeps; '' where there is none."""
    time = re.search(r"_(\d{4}-\d\d-\d\d(?:T[\d.:-]*\d)?)\.jsonl?$", file.name)
    return time.group(1) if time else ""


def samples_files(place: Path) -> list[Path]:
    """The samples files of a folder and of those below it, oldest first; a file itself."""
    files = [place] if place.is_file() else [f for f in place.rglob("samples_*.jsonl") if f.is_file()]
    return sorted(files, key=lambda file: (time_in_name(file), str(file)))


def ours_of(
    files: Iterable[Path], ours: Callable[[Mapping[str, Any]], bool] = is_ours
) -> tuple[list[Samples], list[str]]:
    """(samples files of our tasks, what is wrong with those that should be ones, in words).

    ours: whether the document of a first row is of a task that is meant.
    """
    opened, refusals = [], []
    for file in files:
        try:
            if (samples := _opened(file, ours)) is not None:
                opened.append(samples)
        except SublimError as error:
            refusals.append(str(error))
    return opened, refusals


def _opened(file: Path, ours: Callable[[Mapping[str, Any]], bool]) -> Samples | None:
    """A samples file by its name and its first row; None where it is of somebody else's task."""
    task = file.name.removeprefix("samples_").rsplit("_", 1)[0]
    try:
        with file.open("rb") as opened:
            row = json.loads(opened.readline(FIRST).decode("utf-8-sig"))
        doc = row["doc"]
        meant = isinstance(doc, dict) and ours(doc)
    except (OSError, ValueError, RecursionError, TypeError, KeyError) as error:
        if task.removesuffix("_logprob") not in registry().probes:
            return None
        raise SublimError(f"{file}:1: not a row of lm-eval samples ({error!s:.80}). Run lm_eval again.") from None
    if not meant:
        return None
    exact = task.endswith("_logprob") or bool(set(EXACT) & set(row))
    return Samples(file, str(doc["probe"]), str(doc.get("form", "")), exact, time_in_name(file), asked(file))


def asked(file: Path) -> Asked:
    """Who was asked, by the results file of the same time beside; by the folder where there is none."""
    results = file.with_name(f"results_{time_in_name(file)}.json")
    if not results.is_file():
        others = [f for f in file.parent.glob("results*.json") if f.is_file()]
        if len(others) != 1:
            return Asked(file.parent.resolve().name, (str(file.parent),))
        (results,) = others
    try:
        return asked_of(read_json(results), results)
    except SublimError:
        return Asked(file.parent.resolve().name, (str(file.parent),))


def asked_of(results: Any, file: Path) -> Asked:
    """Who was asked, by the content of a results file; a revision belongs to the name."""
    if not isinstance(results, dict) or not isinstance(results.get("model_name"), str) or not results["model_name"]:
        return Asked(file.parent.resolve().name, (str(file.parent),))
    config = results.get("config")
    given = config.get("model_args") if isinstance(config, dict) else None
    arguments = given if isinstance(given, dict) else dict(re.findall(r"([^=,\s]+)=([^,]*)", str(given or "")))
    revision = str(arguments.get("revision") or "main")
    name = results["model_name"] + (f"@{revision}" if revision != "main" else "")
    told = (results.get("system_instruction_sha"), results.get("chat_template_sha"))
    return Asked(name, tuple(str(part) for part in told if part))


def by_model(samples: Iterable[Samples]) -> dict[tuple[Asked, str], list[Samples]]:
    """(who was asked, probe) -> its files, oldest first."""
    groups: dict[tuple[Asked, str], list[Samples]] = defaultdict(list)
    for one in samples:
        groups[one.asked, one.probe].append(one)
    return dict(groups)


def newest(samples: Sequence[Samples]) -> list[Samples]:
    """Of one model and probe: the newest file of replies and the newest of log-probabilities."""
    return list({one.exact: one for one in samples}.values())


# ---------------------------------------------------------------- rows


def read_rows(file: Path) -> list[tuple[int, Row]]:
    """(line, row) of a samples file of ours, each row with the facts that every task of ours writes.

    Raises SublimError with file and line for anything else, for a question that stands twice, and for a file that is
    too large.
    """
    if file.stat().st_size > LARGEST:
        raise SublimError(f"{file} has more than {LARGEST / 2**20:,.0f} MiB. Run lm_eval again with a --limit.")
    rows = parse_jsonl(read_text(file), str(file))
    first = rows[0][1]["doc"] if isinstance(rows[0][1].get("doc"), dict) else {}
    seen: dict[str, int] = {}
    for line, row in rows:
        try:
            doc = _checked_doc(row)
            _same(doc, first)
        except ValueError as error:
            raise _wrong(file, line, error) from None
        before = seen.setdefault(str(doc["id"]), line)
        if before != line:
            raise _wrong(file, line, ValueError(f"the question {doc['id']!r:.40} stands in line {before} too"))
    return rows


def _checked_doc(row: Row) -> Row:
    """The document of a row of ours; raises ValueError where it lacks what our tasks write."""
    doc = row.get("doc")
    if not isinstance(doc, dict) or not is_ours(doc):
        raise ValueError("no document of a sublim-eval task")
    for name in ("id", "probe", "probe_version", "trait", "category", "questions_hash"):
        if not isinstance(doc.get(name), str):
            raise ValueError(f"`doc.{name}` is {doc.get(name)!r:.40}, not text")
    if not _texts(continuations(doc)) or not _texts(doc.get("offered") or []):
        raise ValueError("`doc.continuations` or `doc.offered` is no list of texts")
    return doc


def _same(doc: Row, first: Row) -> None:
    """Raise ValueError where two rows of one file are of two probes or question sets."""
    for name in ("probe", "probe_version", "questions_hash", "category", "form"):
        if doc.get(name) != first.get(name):
            raise ValueError(f"its {name} is {doc.get(name)!r:.40}, that of the first row {first.get(name)!r:.40}")


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(part, str) for part in value)


def replies_of(row: Row) -> list[str]:
    """The replies of a row of sampled text; raises ValueError where it holds none, or something else."""
    given = row.get("filtered_resps", row.get("resps"))
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], list):
        given = given[0]
    if not given or not _texts(given):
        raise ValueError(f"`filtered_resps` is {given!r:.60}, not the texts of replies")
    return list(given)


def nats_of(row: Row) -> dict[str, float]:
    """Continuation -> log-probability in nats of a row; raises ValueError where one is missing or none."""
    given, strings = row.get("filtered_resps"), continuations(row["doc"])
    if not isinstance(given, list) or len(given) not in (len(strings), len(strings) + 1):
        raise ValueError(f"`filtered_resps` holds no log-probability for each of {len(strings)} answers")
    if wrong := [pair for pair in given if not (isinstance(pair, list) and pair and _is_nats(pair[0]))]:
        raise ValueError(f"{wrong[0]!r:.60} in `filtered_resps` is no log-probability")
    return {text: min(value, 0.0) for text, value in logprobs(row["doc"], given).items()}


def _is_nats(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and float(value) <= CERTAIN
    except (TypeError, ValueError, OverflowError):
        return False


def _wrong(file: Path, line: int, error: Exception) -> SublimError:
    return SublimError(f"{file}:{line}: {error}. The file was edited or cut; run lm_eval again.")


# ---------------------------------------------------------------- scores


def from_lm_eval(folder: str | Path, *, probe: str | None = None, model: str | None = None) -> ProbeScores:
    """Scores from an lm-eval output folder written with `--log_samples`, of one model on one probe.

    The share task and the probability task of one probe go into one ProbeScores; the newest samples file of each
    counts. probe: needed when the folder holds several. model: label; default the one lm-eval stored.
    Raises SublimError when there is nothing of ours, when more than one model or probe is there to choose from, and
    with file and line for a row that holds no results.
    """
    ours, refusals = ours_of(samples_files(Path(folder)))
    probes = sorted({one.probe for one in ours})
    if not probes:
        raise SublimError(
            refusals[0]
            if refusals
            else f"{folder} holds no samples of a sublim-eval task. "
            f"Run lm_eval with --log_samples --output_path {folder}."
        )
    if probe is None and len(probes) > 1:
        raise SublimError(f"{folder} holds {', '.join(probes)}. Say which probe to read.")
    groups = {who: some for (who, name), some in by_model(ours).items() if name == (probe or probes[0])}
    if not groups:
        raise SublimError(f"{folder} holds {', '.join(probes)} but no {probe}. Name one that it holds.")
    if len(groups) > 1:
        labels = ", ".join(who.label for who in groups)
        raise SublimError(f"{folder} holds results of {len(groups)} models ({labels}). Give the folder of one.")
    ((who, some),) = groups.items()
    return score_of(some, model=model or who.label, source=f"lm-eval {Path(folder).name}")


def score_of(samples: Sequence[Samples], *, model: str, source: str = "") -> ProbeScores:
    """One table from the files of one model and probe: the newest of replies and the newest of log-probabilities.

    Where the two are of different question sets or versions, the newer of them counts alone.
    Raises SublimError with file and line as `read_rows` does, and for a row without results.
    """
    answered: dict[str, Answered] = defaultdict(Answered)
    about: Row = {}
    used = []
    for one in sorted(newest(samples), key=lambda one: one.written, reverse=True):
        rows = read_rows(one.file)
        doc = rows[0][1]["doc"]
        if about and any(doc[name] != about[name] for name in ("questions_hash", "probe_version")):
            continue
        about = about or doc
        used.append(one.file)
        for line, row in rows:
            try:
                _add(answered[str(row["doc"].get("question_id", row["doc"]["id"]))], row, one.exact)
            except ValueError as error:
                raise _wrong(one.file, line, error) from None
    return assemble(
        answered,
        model=model,
        probe=about["probe"],
        version=about["probe_version"],
        category=about["category"],
        questions_hash=about["questions_hash"],
        source=source or f"lm-eval {used[0].name}",
    )


def _add(question: Answered, row: Row, exact: bool) -> None:
    """One row to its question: a reading of log-probabilities, or counts of replies."""
    if exact:
        answers, coverage = _exactly(row, nats_of(row))
        question.exact.append({"answers": answers, "coverage": coverage, "prompt_hash": _prompt_hash(row)})
    else:
        question.counts += _counted(row["doc"], replies_of(row))


def _exactly(row: Row, nats: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """(probability of each answer, coverage) of one lm-eval row from its log-probabilities in nats."""
    doc = row["doc"]
    if doc.get("form") != "conduct":
        answers = registry().answer_set(doc["category"])
        asked_all = doc.get("offered") or nats.keys() >= {text for one in answers for text in one.continuations}
        return exact_probability(nats, answers, doc.get("offered") or ()) if asked_all else _as_recorded(row)
    pairs = doc.get("pairs")
    if not isinstance(pairs, list) or not all(_texts(pair) and len(pair) == 2 for pair in pairs):
        raise ValueError("`doc.pairs` is no list of pairs of texts")
    shown = pair_probability([Pair(*texts) for texts in pairs], nats)
    if math.isnan(shown):
        raise ValueError("neither answer of a pair has any probability")
    return {doc["trait"]: shown, PLAIN: 1 - shown}, np.nan


def _as_recorded(row: Row) -> tuple[dict[str, float], float]:
    """The same as the version that asked worked it out, which knew other names of the answers than the registry does.

    Raises ValueError where the row does not hold it.
    """
    begins = "probability_"
    answers = {key.removeprefix(begins): value for key, value in row.items() if key.startswith(begins)}
    written = checked_exact({"answers": answers, "coverage": row.get("coverage")})
    return {name: nan_for_none(value) for name, value in answers.items()}, nan_for_none(written["coverage"])


def _counted(doc: Row, replies: Sequence[str]) -> list[dict[str, Any]]:
    """The counts of one lm-eval row's replies: none where only a judge could read them and none has."""
    trait = registry().trait(doc["trait"])
    if trait.rubric and doc.get("judge") == "offline":
        return [rated_counts(Rates.of(offline_judgement(reply, trait.rubric) for reply in replies), trait.name)]
    if trait.conduct and not trait.targets:
        return []
    return [count_replies(replies, doc["category"], str(doc.get("form", "")), doc.get("offered") or ())]


def _prompt_hash(row: Row) -> str:
    """SHA-256 of the prompt as the model read it; the same as our provider's when the rendering is the same.

    '' where the row does not say it; older versions keep the arguments in a list.
    """
    given = row.get("arguments")
    first = _first(given.get("gen_args_0") if isinstance(given, dict) else _first(given))
    prompt = first.get("arg_0") if isinstance(first, dict) else first
    return hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest() if isinstance(prompt, str) else ""


def _first(value: Any) -> Any:
    """The first part of a list, anything else as it is."""
    return value[0] if isinstance(value, list) and value else value
