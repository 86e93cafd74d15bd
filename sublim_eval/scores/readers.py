"""Results from anywhere -> records: Inspect logs, lm-eval folders, score files, saved replies, log-probabilities.

`read_results` reads any path and is what `table`, `compare` and `check` go through; a format is one function,
`from_...`, in this file or its own, that finds out what was asked and hands `assemble` an Answered a question.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sublim_eval.errors import SublimError
from sublim_eval.files import read_json
from sublim_eval.harness.suites import MetricValue, read_inspect, read_lm_eval
from sublim_eval.probes.conduct import Conduct
from sublim_eval.probes.preference import Preference, plural_probability
from sublim_eval.probes.prompts import Item, questions_hash
from sublim_eval.probes.resolve import any_trait_content
from sublim_eval.registry.catalog import Probe, registry
from sublim_eval.scores import entanglement_table, inspect_logs, lm_eval_samples
from sublim_eval.scores.assemble import Answered, assemble, count_replies
from sublim_eval.scores.entanglement_table import Measured
from sublim_eval.scores.inspect_logs import from_inspect_log, open_log
from sublim_eval.scores.lm_eval_samples import Asked, Samples, from_lm_eval
from sublim_eval.scores.probe_scores import ProbeScores

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog

__all__ = [
    "Answered",
    "Foreign",
    "Record",
    "Results",
    "count_replies",
    "from_exact",
    "from_inspect_log",
    "from_lm_eval",
    "from_responses",
    "kind_of",
    "open_log",
    "read_results",
]

Harness = Literal["inspect", "lm-eval", "scores"]
"""Who wrote a file: a harness, or `sublim score` and `sublim run`."""

HEAD = 8192
"""Bytes of a JSON file that say what it is."""


@dataclass(frozen=True, eq=False)
class Record:
    """One table: one model on one probe, where it was read and what to know beside it.

    held: scores, or the number x trait table of an entanglement probe; both have `model`, `probe`, `version`,
    `category`, `questions_hash` and `source`. file: the log, the score file or the newest samples file. written: when,
    as the log or the name of the file has it, '' where unknown. notes: sentences, such as how many samples failed.
    """

    held: ProbeScores | Measured
    harness: Harness
    file: Path
    written: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Foreign:
    """A task of somebody else in the same logs: what its harness worked out, in short.

    metrics: name -> value and its own standard error (nan where it has none). samples: how many were asked.
    """

    model: str
    task: str
    harness: Harness
    file: Path
    written: str
    metrics: Mapping[str, MetricValue]
    samples: int


@dataclass(frozen=True, eq=False)
class Results:
    """What a path holds, and why a part of it was not read: a sentence each, with the file and the next step."""

    records: tuple[Record, ...] = ()
    foreign: tuple[Foreign, ...] = ()
    refusals: tuple[str, ...] = ()

    def __add__(self, other: Results) -> Results:
        return Results(self.records + other.records, self.foreign + other.foreign, self.refusals + other.refusals)


# ---------------------------------------------------------------- any path


def read_results(place: str | Path) -> Results:
    """Everything that a path holds: an Inspect log (.eval or .json), a score file, lm-eval samples, a folder of them.

    A folder that holds score files is read by those alone, not by the logs that they were made from; of lm-eval's files
    the newest of a model and probe count. A log that cannot be read, that did not end well or is not scored becomes a
    refusal, and the rest is read all the same.
    Raises SublimError only where there is nothing at all at that path.
    """
    place = Path(place)
    if place.is_dir():
        return _folder(place)
    if not place.is_file():
        raise SublimError(
            f"There is no log {place}. Give an Inspect log (.eval or .json), an lm-eval folder or a score file."
        )
    if place.suffix == ".jsonl":
        return _samples([place], by_name=False)
    kind = "inspect" if place.suffix == ".eval" else kind_of(place)
    if kind is None:
        return Results(refusals=(_no_results(place),))
    return _file(place, kind)


def _no_results(file: Path) -> str:
    return (
        f"{file} holds no results of a kind that is known. Give an Inspect log (.eval or .json), an lm-eval folder, "
        "its samples_*.jsonl, or a score file; plain replies go to `sublim score-responses`."
    )


def _folder(place: Path) -> Results:
    """What lies in a folder and below it; hidden folders are left alone."""
    results, samples = Results(), []
    for folder, below, names in os.walk(place):
        files = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        kinds = {file: kind_of(file) for file in files if file.suffix in (".json", ".eval")}
        of_scores = [file for file, kind in kinds.items() if kind == "scores"]
        below[:] = [] if of_scores else sorted(name for name in below if not name.startswith("."))
        for file, kind in kinds.items():
            if kind is not None and (not of_scores or kind == "scores"):
                results += _file(file, kind)
        if not of_scores:
            samples += [f for f in files if f.name.startswith("samples_") and f.suffix == ".jsonl"]
    return results + _samples(samples)


Kind = Literal["inspect", "scores", "lm-eval"]
"""What a file is: an Inspect log, a score file, or what lm-eval writes beside its samples."""


def kind_of(file: Path) -> Kind | None:
    """What a file is by its ending and how it begins, None for anything else."""
    if file.suffix == ".eval":
        return "inspect"
    if file.suffix != ".json" or not file.is_file():
        return None
    with file.open("rb") as opened:
        head = opened.read(HEAD)
    if re.match(rb'\s*\{\s*"version"\s*:', head) and b'"status"' in head and b'"eval"' in head:
        return "inspect"
    if all(key in head for key in (b'"schema"', b'"model"', b'"probe"', b'"questions"')) and b'"rows"' not in head:
        return "scores"
    return "lm-eval" if file.name.startswith("results_") and b'"results"' in head else None


def _file(file: Path, kind: Kind) -> Results:
    """The one table, or the foreign tasks, of a file; what cannot be read is a refusal."""
    readers = {"inspect": _inspect, "scores": _scores, "lm-eval": _of_others}
    try:
        return readers[kind](file)
    except SublimError as error:
        return Results(refusals=(str(error),))


def _scores(file: Path) -> Results:
    return Results((Record(ProbeScores.read(file), "scores", file),))


# ---------------------------------------------------------------- Inspect


def _inspect(file: Path) -> Results:
    """A log of ours with its samples, any other by its header alone."""
    header = open_log(file, samples=False)
    if not inspect_logs.is_ours(header):
        return Results(foreign=(_foreign_log(file, header),))
    log = open_log(file)
    held: ProbeScores | Measured
    if (log.eval.metadata or {}).get("form") in entanglement_table.PROBES.values():
        held = entanglement_table.entanglement_table(log)
    else:
        held = from_inspect_log(log)
    return Results((Record(held, "inspect", file, log.eval.created, inspect_logs.notes(log)),))


def _foreign_log(file: Path, log: EvalLog) -> Foreign:
    """A log of somebody else's task with whatever figures it has; raises SublimError where it did not end well."""
    inspect_logs.check_ended(log)
    samples = log.results.completed_samples if log.results else 0
    return Foreign(log.eval.model, log.eval.task, "inspect", file, log.eval.created, read_inspect(log), samples)


# ---------------------------------------------------------------- lm-eval


def _samples(files: Sequence[Path], by_name: bool = True) -> Results:
    """One table a model and probe; by_name: files that are not ours are passed over."""
    ordered = [file for place in files for file in lm_eval_samples.samples_files(place)]
    ours, refusals = lm_eval_samples.ours_of(sorted(ordered, key=lambda f: (lm_eval_samples.time_in_name(f), str(f))))
    if not by_name and not ours and not refusals:
        refusals = [_no_results(file) for file in files]
    records = []
    groups = lm_eval_samples.by_model(ours)
    for (who, probe), some in groups.items():
        try:
            records.append(_record(some, _label(who, probe, groups)))
        except SublimError as error:
            refusals.append(str(error))
    return Results(tuple(records), (), tuple(refusals))


def _label(who: Asked, probe: str, groups: Mapping[tuple[Asked, str], Any]) -> str:
    """The model's name; with what tells it apart where two that share the name were asked the same probe."""
    alike = [other for other, of in groups if of == probe and other.label == who.label]
    return who.label if len(alike) == 1 else f"{who.label} ({alike.index(who) + 1} of {len(alike)} ways of asking)"


def _record(samples: Sequence[Samples], label: str) -> Record:
    last = samples[-1]
    if last.form in entanglement_table.PROBES.values():
        held: ProbeScores | Measured = entanglement_table.from_samples(last.file, label)
    else:
        held = lm_eval_samples.score_of(samples, model=label)
    older = len(samples) - len(lm_eval_samples.newest(samples))
    notes = (f"{older} older samples files of this model and probe were left out",) if older else ()
    return Record(held, "lm-eval", last.file, last.written, notes)


def _of_others(file: Path) -> Results:
    """The tasks of a results file that are not ours, each as lm-eval worked it out; the groups for their parts."""
    value = read_json(file)
    given = value.get("results") if isinstance(value, dict) else None
    if not isinstance(given, dict) or not all(isinstance(numbers, dict) for numbers in given.values()):
        raise SublimError(f"{file}:1: no results of lm-eval. Run lm_eval again.")
    parts = value.get("group_subtasks")
    groups = parts.values() if isinstance(parts, dict) else ()
    inner = {part for some in groups if isinstance(some, list) for part in some if isinstance(part, str)}
    who, time = lm_eval_samples.asked_of(value, file), lm_eval_samples.time_in_name(file)
    foreign, refusals = [], []
    for task, numbers in given.items():
        if task.removesuffix("_logprob") in registry().probes:
            if not any(file.parent.glob(f"samples_{task}_*.jsonl")):
                refusals.append(f"{file} holds {task} without its samples. Run lm_eval again with --log_samples.")
        elif task not in inner and (metrics := _figures(task, numbers, file)):
            foreign.append(Foreign(who.label, task, "lm-eval", file, time, metrics, _asked_items(value, task)))
    return Results((), tuple(foreign), tuple(refusals))


def _figures(task: str, numbers: Mapping[str, Any], file: Path) -> Mapping[str, MetricValue]:
    try:
        return read_lm_eval({"results": {task: numbers}})
    except OverflowError:
        raise SublimError(f"{file}: a figure of {task!r:.40} is no number that can be. Run lm_eval again.") from None


def _asked_items(value: Mapping[str, Any], task: str) -> int:
    counts = value.get("n-samples")
    of = counts.get(task) if isinstance(counts, dict) else None
    return of["effective"] if isinstance(of, dict) and type(of.get("effective")) is int else 0


# ---------------------------------------------------------------- saved replies


def from_responses(
    rows: Iterable[Mapping[str, str]], probe: str | Probe, *, model: str = "responses", source: str = ""
) -> ProbeScores:
    """Sampled shares from saved rows {"question", "response"}; there is no exact probability in replies.

    A question that is in the probe's set takes its id; any other text stands for itself.
    Raises SublimError without rows, and for a conduct without target words, which only a judge can read.
    """
    probe = registry().probe(probe) if isinstance(probe, str) else probe
    content = any_trait_content(probe.name)
    items = {item.text: item for item in content.items}
    replies: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        replies[row["question"]].append(row["response"])
    if not replies:
        raise SublimError("There are no replies to score. Give at least one row with question and response.")
    known = {text: items.get(text) or Item(text, text, text) for text in _in_order(replies, items)}
    answered: dict[str, Answered] = defaultdict(Answered)
    for text, item in known.items():
        counts = count_replies(replies[text], probe.category, probe.form, item.offered)
        answered[item.question].counts.append(counts)
    return assemble(
        answered,
        model=model,
        probe=probe.name,
        version=probe.version,
        category=probe.category,
        questions_hash=content.questions_hash if set(known) == set(items) else questions_hash(known.values()),
        source=source or "responses",
    )


def _in_order(replied: Iterable[str], asked_first: Iterable[str]) -> list[str]:
    """The question texts of the replies, those of the probe's set first and in its order."""
    texts, known = set(replied), list(asked_first)
    return [text for text in known if text in texts] + sorted(texts - set(known))


# ---------------------------------------------------------------- log-probabilities alone


def from_exact(
    content: Preference | Conduct,
    logprobs: Sequence[Mapping[str, float]],
    prompts: Sequence[str],
    *,
    model: str,
    settled: tuple[str, ...] = (),
) -> ProbeScores:
    """Scores from log-probabilities alone: no replies, so shares are unknown.

    logprobs: of each of `content.items`, its continuations -> nats; prompts: the hash of each rendered prompt; settled:
    what was changed in the chat template, in words.
    """
    answered: dict[str, Answered] = defaultdict(Answered)
    for item, nats, prompt in zip(content.items, logprobs, prompts, strict=True):
        question = answered[item.question]
        if item.continuations:
            probability, coverage = content.exact(item, nats)
            names = content.answers if isinstance(content, Preference) and content.plurals else ()
            plurals = plural_probability(nats, names)
            question.exact.append(
                {"answers": probability, "coverage": coverage, "plurals": plurals, "prompt_hash": prompt}
            )
    return assemble(
        answered,
        model=model,
        probe=content.probe.name,
        version=content.probe.version,
        category=content.probe.category,
        questions_hash=content.questions_hash,
        source="log-probabilities",
        settled=settled,
    )
