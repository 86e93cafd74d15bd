"""Folders that lm-eval wrote -> readings: our probes from their samples, other tasks from their metrics.

A folder is one model: lm-eval makes one a model below its --output_path. Several runs in it are told apart by the
time in their names; of our probes the newest counts, and the older are named.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.board.formats.reading import Reading, clean, fingerprint, of_metrics, of_scores, settings
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json

if TYPE_CHECKING:
    from sublim_eval.scores.probe_scores import ProbeScores

RESULTS = re.compile(r"results_(?P<time>.+)\.json")
SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<time>\d{4}-\d\d-\d\dT[\d.:-]+)\.jsonl")

Said = Mapping[str, Any]


def is_results(value: Any) -> bool:
    """Whether a JSON file is lm-eval's results file."""
    return isinstance(value, dict) and isinstance(value.get("results"), dict) and "lm_eval_version" in value


def read(folder: Path, results: Sequence[Path], samples: Sequence[Path]) -> tuple[list[Reading], list[str]]:
    """(readings, why something was left out) of one folder. results, samples: the files of lm-eval in it.

    Raises SublimError where one folder holds results of several models.
    """
    values = {file: read_json(file) for file in results}
    said = {file: value for file, value in values.items() if is_results(value)}
    models = sorted({clean(_model(value)) for value in said.values()})
    if len(models) > 1:
        raise SublimError(
            f"{folder} holds results of {', '.join(models)} in one folder. Give each a folder of its own."
        )
    if models == [""]:
        raise SublimError(f"{folder}: its results name no model. Run lm_eval again.")
    newest = dict(sorted(((_time(file, RESULTS), value) for file, value in said.items()), key=lambda pair: pair[0]))
    probes, why = _probes(samples, newest)
    readings = []
    for probe in probes:
        beside = _newest_with(probe, newest)
        about = _about(beside, probe) if beside else {"harness": "lm-eval"}
        readings.append(of_scores(scores(folder, probe), **about))
    foreign = [one for value in newest.values() for one in _foreign(value)]
    return [*readings, *foreign], [*why, *_without_samples(newest, probes)]


def scores(folder: Path, probe: str) -> ProbeScores:
    """What the model of a folder answered, question by question."""
    from sublim_eval.scores.readers import from_lm_eval

    return from_lm_eval(folder, probe=probe)


def _time(file: Path, pattern: re.Pattern[str]) -> str:
    made = pattern.fullmatch(file.name)
    return made["time"] if made else ""


def _probes(samples: Sequence[Path], results: Mapping[str, Said]) -> tuple[list[str], list[str]]:
    """(our probes with samples, why older samples were left out)."""
    probes: dict[str, None] = {}
    latest: dict[str, tuple[str, Path]] = {}
    why = []
    for file in sorted(samples, key=lambda f: _time(f, SAMPLES)):
        doc = _first_doc(file)
        if not (isinstance(doc.get("probe"), str) and "questions_hash" in doc):
            continue
        match = SAMPLES.fullmatch(file.name)
        task = match["task"] if match else file.name
        if task in latest:
            why.append(f"{latest[task][1].name}: an older run of {task}; {file.name} counts. Delete one of them.")
        latest[task] = (_time(file, SAMPLES), file)
        if doc["probe"] not in _tables():
            probes[doc["probe"]] = None
    return list(probes), why


def _tables() -> set[str]:
    """Our probes that hold a table of numbers and traits: no answers to a question, so their metrics are read."""
    from sublim_eval.scores.entanglement_table import PROBES

    return set(PROBES)


def _first_doc(file: Path) -> Said:
    """The `doc` of the first line, which says whose task it is; raises SublimError for a line that is no JSON."""
    with file.open(encoding="utf-8", errors="replace") as lines:
        first = next((line for line in lines if line.strip()), "")
    try:
        row = json.loads(first)
    except (ValueError, RecursionError):
        raise SublimError(f"{file}:1: not valid JSON. Run that evaluation again.") from None
    doc = row.get("doc") if isinstance(row, dict) else None
    return doc if isinstance(doc, dict) else {}


def _newest_with(probe: str, newest: Mapping[str, Said]) -> Said | None:
    """The last results file that a probe stands in."""
    holding = [value for value in newest.values() if probe in _ours(value)]
    return holding[-1] if holding else None


def _ours(value: Said) -> dict[str, list[str]]:
    """Our probes with answers in a results file -> their tasks."""
    from sublim_eval.registry.catalog import registry

    tasks: dict[str, list[str]] = {}
    known = set(registry().probes) - _tables()
    for task, config in _mapping(value.get("configs")).items():
        for place in ("dataset_kwargs", "metadata"):
            probe = _mapping(_mapping(config).get(place)).get("probe")
            if isinstance(probe, str) and probe in known and task not in tasks.get(probe, []):
                tasks.setdefault(probe, []).append(task)
    return tasks


def _without_samples(newest: Mapping[str, Said], probes: Sequence[str]) -> Iterator[str]:
    """Our probes whose samples were not kept: their answers cannot be read from metrics alone."""
    lacking = sorted({probe for value in newest.values() for probe in _ours(value)} - set(probes))
    for probe in lacking:
        yield f"{probe} has no samples beside its results. Run lm_eval again with --log_samples."


def _model(value: Said) -> str:
    """The model that was asked: the adapter's folder where there is one, else what `pretrained` or lm-eval names."""
    arguments = _arguments(_mapping(value.get("config")).get("model_args"))
    return (
        arguments.get("peft") or arguments.get("pretrained") or arguments.get("model") or str(value.get("model_name"))
    )


def _arguments(given: Any) -> dict[str, str]:
    """Arguments of a model, which lm-eval keeps as a mapping or as text `a=b,c=d`."""
    if isinstance(given, str):
        given = dict(part.split("=", 1) for part in given.split(",") if "=" in part)
    return {str(key): str(value) for key, value in _mapping(given).items() if value is not None}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _about(value: Said, probe: str | None = None) -> dict[str, Any]:
    """Model, settings, versions, command and date of a results file."""
    tasks = _ours(value).get(probe or "", [])
    drawn = [_mapping(_mapping(value.get("configs")).get(task)).get("generation_kwargs") for task in tasks]
    versions = {
        "lm_eval": value.get("lm_eval_version"),
        "transformers": value.get("transformers_version"),
    }
    return {
        "model": clean(_model(value)),
        "harness": "lm-eval",
        "harness_version": clean(value.get("lm_eval_version")),
        "versions": settings(versions),
        "sampling": settings(next((_mapping(one) for one in drawn if one), {})),
        "command": _command(value, tasks),
        "date": _date(value.get("date")),
    }


def _command(value: Said, tasks: Sequence[str]) -> str:
    """`lm_eval run ...` as it would be given again; secrets are masked."""
    from sublim_eval.remote.secrets import scrub

    config = _mapping(value.get("config"))
    arguments = ",".join(f"{k}={v}" for k, v in _arguments(config.get("model_args")).items() if "key" not in k.lower())
    words = ["lm_eval", "run", "--model", str(config.get("model") or "hf"), "--model_args", arguments]
    words += ["--tasks", ",".join(tasks or list(_mapping(value.get("configs"))))]
    words += ["--limit", str(config["limit"])] if config.get("limit") else []
    words += ["--apply_chat_template"] if value.get("chat_template") else []
    return clean(scrub(shlex.join([*words, "--log_samples", "--output_path", "OUT"])))


def _date(seconds: Any) -> str:
    try:
        return datetime.fromtimestamp(float(seconds), UTC).isoformat(timespec="seconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return ""


def _foreign(value: Said) -> Iterator[Reading]:
    """A reading for every task that is not one of our probes with answers, groups of tasks included."""
    mine = {task for tasks in _ours(value).values() for task in tasks}
    for task, metrics in _mapping(value.get("results")).items():
        if task in mine or not isinstance(metrics, Mapping):
            continue
        version = _mapping(value.get("versions")).get(task)
        count = _mapping(_mapping(value.get("n-samples")).get(task)).get("effective")
        named = _mapping(_mapping(value.get("configs")).get(task)).get("dataset_path")
        shots = _mapping(value.get("n-shot")).get(task)
        yield of_metrics(
            _metrics(metrics, count if isinstance(count, int) else None),
            probe=clean(task),
            version=clean(version),
            question_set=fingerprint(task, named, shots, count),
            questions=count if isinstance(count, int) else None,
            **{**_about(value), "sampling": settings({"num_fewshot": shots})},
        )


def _metrics(metrics: Mapping[str, Any], count: int | None) -> Iterator[tuple[str, Any, Any, int | None]]:
    """(metric, value, standard error, samples); lm-eval writes "acc,none" and "acc_stderr,none"."""
    for key, value in metrics.items():
        name, comma, kind = str(key).partition(",")
        if not comma or name.endswith("_stderr"):
            continue
        yield name if kind == "none" else f"{name} ({kind})", value, metrics.get(f"{name}_stderr,{kind}"), count
