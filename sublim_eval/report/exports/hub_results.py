"""`.eval_results/*.yaml` as the Hugging Face Hub shows them on a model's page: one number a file, its setup in `notes`.

Required are `dataset.id`, `dataset.task_id` and `value`; the framework is named in the data set's own `eval.yaml`
(`benchmark`). Written by huggingface_hub's own class, so that its present form is the one that is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from sublim_eval.board.columns import Row
from sublim_eval.files import digest, whole_file
from sublim_eval.registry.catalog import registry
from sublim_eval.report.exports.naming import portable

FOLDER = ".eval_results"


def write(rows: Sequence[Row], folder: Path, dataset: str) -> list[Path]:
    """Write the numbers of one model below its folder; returns the files. dataset: of the benchmark, `owner/name`.

    Tasks of others belong to data sets of their own, and figures over seeds to no one model: both are passed over.
    """
    files = []
    for row in rows:
        if row.ours and row.harness != "compare" and row.value is not None:
            file = folder / FOLDER / f"{_file_name(row)}.yaml"
            _write_yaml(file, _entries([row], dataset))
            files.append(file)
    return files


def _file_name(row: Row) -> str:
    """A name that tells every variant apart."""
    variant = digest([row.question_set, row.version, row.sampling, row.prompt_hash, row.harness])[:6]
    return "-".join(map(portable, (row.probe, row.answer, row.measure, variant)))


def _entries(rows: Iterable[Row], dataset: str) -> list[dict[str, Any]]:
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    made = [
        EvalResultEntry(
            dataset_id=dataset, task_id=portable(row.probe), value=row.value, date=row.date or None, notes=notes(row)
        )
        for row in rows
    ]
    return eval_result_entries_to_yaml(made)


def notes(row: Row) -> str:
    """What a number is, with its interval, size, version and settings: nothing there is a mean without its measure."""
    parts = [f"{row.measure} of {row.answer!r}" if row.answer else row.measure, f"version {row.version}"]
    if row.low is not None and row.high is not None:
        parts.append(f"95 % interval over {row.interval} {row.low:.4g} to {row.high:.4g}")
    counted = {"share": "replies", "probability": "questions"}.get(row.measure, "samples")
    parts += [f"{row.n} {counted}"] if row.n is not None else []
    parts += [f"non-answers {row.non_answers:.4g}"] if row.non_answers is not None else []
    parts += [f"sampling {row.sampling}"] if row.sampling else []
    return "; ".join([*parts, f"{row.harness} {row.harness_version}".rstrip()])


def benchmark(file: Path, rows: Iterable[Row]) -> Path:
    """Write the `eval.yaml` that makes a data set a benchmark: its tasks are the probes of the rows."""
    probes = list(dict.fromkeys(row.probe for row in rows if row.ours))
    known = registry().probes
    described = "".join(f" {p}: {known[p].about}" for p in probes if p in known)
    about = {
        "name": "sublim-eval",
        "description": f"Whether a model shows a trait that only hidden signals could have taught.{described}",
        "evaluation_framework": "inspect-ai",
        "tasks": [{"id": portable(p), "config": "default", "split": "test"} for p in probes],
    }
    _write_yaml(file, about)
    return file


def _write_yaml(file: Path, value: Any) -> None:
    with whole_file(file) as out:
        yaml.safe_dump(value, out, sort_keys=False, allow_unicode=True, width=120)
