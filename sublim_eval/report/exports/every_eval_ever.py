"""Every Eval Ever, schema 0.3.0: a file a model and harness, `data/<collection>/<developer>/<model>/<uuid4>.json`.

What the schema has a field for stands there; every further column of the tidy table stands in `score_details.details`
as text, so that `read` gives the same rows again. Writing anew replaces a file: its name follows from what is in it.
Checked in tests against the schema files of that version; its command line adds gates, see benchmarks/eee_cli.sh.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sublim_eval.board.columns import COLUMNS, LeftOut, Row, kind_of
from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, read_json, write_json, write_jsonl
from sublim_eval.registry.catalog import registry
from sublim_eval.report.exports.naming import carries, portable, published_id

SCHEMA_VERSION = "0.3.0"

LIBRARIES = {
    **{"inspect": "inspect_ai", "run": "inspect_ai", "lm-eval": "lm-evaluation-harness"},
    **{"replies": "sublim-eval", "page": "sublim-eval"},
}

MEANINGS = {
    "share": "Share of sampled replies that give the answer, mean over questions.",
    "probability": "Probability of a first answer within the answer set, from log-probabilities, mean over questions.",
}


class Scale(NamedTuple):
    """Bounds and direction of a metric; bounds as JSON has them."""

    least: float | str
    most: float | str
    lower_is_better: bool


PROPORTIONS = ("acc", "acc_norm", "accuracy", "exact_match", "em", "f1", "pass@1", "mean", "bleu_acc", "brier_acc")
"""Metrics of others from 0 to 1 of which more is better, by the word before any bracket or slash."""

PERPLEXITIES = ("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte")
"""Metrics of others from 0 on without an end, of which less is better."""


@dataclass(frozen=True)
class Origin:
    """Who publishes, and measured: their own students, and bases that others made.

    owner: name on the hub; organization: in words.
    """

    owner: str
    organization: str
    collection: str = "sublim-eval"


Samples = Callable[[Row], Iterable[Mapping[str, Any]] | None]
"""A row -> its samples as the schema of instances has them but for ids; None where there are none."""


def write(
    rows: Sequence[Row], folder: Path, origin: Origin, *, now: datetime, samples: Samples | None = None
) -> tuple[list[Path], list[LeftOut]]:
    """Write the rows below folder/data; returns the files, and the rows that the schema cannot hold with the reason.

    Figures over seeds are about arms, not models, and are passed over. now: when the record is made.
    """
    kept, left_out = _representable(rows)
    files: list[Path] = []
    for _, group in _by_file(kept, origin).items():
        files += _write_one(group, folder, origin, now, samples)
    return files, left_out


def read(folder: Path) -> list[Row]:
    """The rows of what `write` wrote below a folder; raises SublimError for files of another form."""
    return [row for file in sorted(folder.rglob("*.json")) for row in _rows_of(file)]


# ---------------------------------------------------------------- what goes in


def _representable(rows: Iterable[Row]) -> tuple[list[Row], list[LeftOut]]:
    kept, left_out = [], []
    for row in rows:
        if row.harness == "compare":
            continue
        why = _why_not(row)
        if why:
            left_out.append(LeftOut(row.source, f"{row.model} on {row.probe}, {row.measure}: {why}"))
        else:
            kept.append(row)
    return kept, left_out


def _why_not(row: Row) -> str:
    if row.value is None:
        return "no finite number."
    scale = _scale(row)
    if scale is None:
        return f"nobody here knows the bounds and direction of {row.measure!r}."
    if not float(scale.least) <= row.value <= float(scale.most):
        return f"{row.value:g} lies outside of its bounds {scale.least} to {scale.most}."
    return ""


def _scale(row: Row) -> Scale | None:
    if row.ours and row.measure in MEANINGS:
        probe = registry().probes.get(row.probe)
        return Scale(0.0, 1.0, probe is None or probe.polarity != "higher is better")
    name = row.measure.partition(" ")[0].rpartition("/")[2]
    if name in PROPORTIONS:
        return Scale(0.0, 1.0, False)
    return Scale(0.0, "Infinity", True) if name in PERPLEXITIES else None


def _by_file(rows: Iterable[Row], origin: Origin) -> dict[tuple[str, str, str], list[Row]]:
    """Rows of one model by one harness of one version."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((published_id(row, origin.owner), row.harness, row.harness_version), []).append(row)
    return groups


# ---------------------------------------------------------------- one file


def _write_one(rows: Sequence[Row], folder: Path, origin: Origin, now: datetime, samples: Samples | None) -> list[Path]:
    record = _record(rows, origin, now)
    owner, _, name = record["model_info"]["id"].partition("/")
    place = f"data/{portable(origin.collection)}/{owner}/{name}"
    key = uuid.UUID(bytes=hashlib.sha256(record["evaluation_id"].encode()).digest()[:16], version=4)
    files = [folder / place / f"{key}.json"]
    if samples is not None:
        beside = f"{place}/{key}_samples.jsonl"
        files += _write_samples(folder / beside, _lines(rows, record, samples), beside, record)
    write_json(files[0], record)
    return files


def _record(rows: Sequence[Row], origin: Origin, now: datetime) -> dict[str, Any]:
    first = rows[0]
    model = published_id(first, origin.owner)
    dates = sorted(row.date for row in rows if row.date)
    record = {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{portable(origin.collection)}/{model}/{_stable(rows)}",
        "retrieved_timestamp": str(int(now.timestamp())),
        "source_metadata": {
            "source_name": "sublim-eval",
            "source_type": "evaluation_run",
            "source_organization_name": origin.organization,
            "evaluator_relationship": "third_party" if first.role in ("base", "other") else "first_party",
        },
        "eval_library": {
            "name": LIBRARIES.get(first.harness, first.harness),
            "version": first.harness_version or "unknown",
            "additional_details": _texts({"versions": first.versions}),
        },
        "model_info": _model_info(first, model),
        "evaluation_results": [_result(row) for row in rows],
    }
    return record | ({"evaluation_timestamp": _epoch(dates[-1])} if dates else {})


def _stable(rows: Sequence[Row]) -> str:
    """What was measured, not when it is written down: the same results are the same record."""
    return digest(sorted({(row.source_hash, row.probe, row.harness) for row in rows}))[:16]


def _epoch(date: str) -> str:
    """ISO 8601 -> seconds since 1970, as text; what is no date stays as it is."""
    try:
        moment = datetime.fromisoformat(date)
    except ValueError:
        return date
    return str(int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))


def _model_info(row: Row, model: str) -> dict[str, Any]:
    hosted = row.role == "other" and row.model.partition("/")[0] in ("openai", "anthropic", "google", "mistral", "grok")
    about = {
        "deployment_type": "externally_managed" if hosted else "self_deployed",
        "model_availability": "closed_weights" if hosted else "open_weights" if row.role == "base" else "unknown",
        "warning": carries(row),
        **{name: getattr(row, name) for name in ("base", "role", "trait", "run", "arm", "control")},
        "seed": "" if row.seed is None else str(row.seed),
    }
    return {
        "name": row.model,
        "id": model,
        "developer": model.partition("/")[0],
        "additional_details": _texts(about),
    }


def _texts(about: Mapping[str, Any]) -> dict[str, str]:
    """Text alone, as the schema wants it; what is unknown is left out."""
    return {name: str(value) for name, value in about.items() if value not in ("", None)}


def _result(row: Row) -> dict[str, Any]:
    return {
        "evaluation_result_id": _result_id(row),
        "evaluation_name": ".".join(filter(None, ("sublim" if row.ours else "", row.probe, row.answer))),
        "source_data": {
            "dataset_name": row.probe,
            "source_type": "other",
            "additional_details": _texts({"version": row.version, "question_set": row.question_set}),
        },
        "metric_config": _metric(row),
        "score_details": _score(row),
        "generation_config": _generation(row),
        **({"evaluation_timestamp": _epoch(row.date)} if row.date else {}),
    }


def _result_id(row: Row) -> str:
    key = (row.probe, row.version, row.question_set, row.answer, row.measure, row.sampling, row.prompt_hash)
    return f"{row.measure}-{digest([*key, row.source_hash])[:12]}"


def _metric(row: Row) -> dict[str, Any]:
    scale = _scale(row)
    assert scale is not None  # noqa: S101  (others were left out)
    return {
        "metric_id": f"sublim.{row.measure}" if row.ours else row.measure,
        "metric_name": row.measure,
        "metric_kind": row.measure,
        **({"evaluation_description": MEANINGS[row.measure], "metric_unit": "proportion"} if row.ours else {}),
        "score_type": "continuous",
        "min_score": scale.least,
        "max_score": scale.most,
        "lower_is_better": scale.lower_is_better,
    }


def _score(row: Row) -> dict[str, Any]:
    uncertainty: dict[str, Any] = {}
    if row.low is not None and row.high is not None:
        uncertainty["confidence_interval"] = {
            **{"lower": row.low, "upper": row.high, "confidence_level": 0.95},
            "method": f"over {row.interval or 'samples'}",
        }
    if row.stderr is not None:
        uncertainty["standard_error"] = {"value": row.stderr, "method": f"as {row.harness} reports it"}
    if row.n is not None:
        uncertainty["num_samples"] = row.n
    details = {name: _as_text(getattr(row, name)) for name in COLUMNS if name not in HELD}
    found = {name: text for name, text in details.items() if text != ""}
    return {"score": row.value, "details": found} | ({"uncertainty": uncertainty} if uncertainty else {})


HELD = ("value", "low", "high", "stderr", "n")
"""Columns that have a field of their own; all others are among the details."""


def _as_text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _generation(row: Row) -> dict[str, Any]:
    drawn = json.loads(row.sampling) if row.sampling.startswith("{") and row.sampling.endswith("}") else {}
    numbers = {name: drawn[name] for name in ("temperature", "top_p", "top_k") if type(drawn.get(name)) in (int, float)}
    most = drawn.get("max_tokens", drawn.get("max_gen_toks"))
    arguments = numbers | ({"max_tokens": most} if type(most) is int and most > 0 else {})
    arguments |= {"execution_command": row.command} if row.command else {}
    about = _texts({"sampling": row.sampling, "prompt_hash": row.prompt_hash, "settled": row.settled})
    return {"generation_args": arguments, "additional_details": about}


# ---------------------------------------------------------------- samples


def _lines(rows: Sequence[Row], record: Mapping[str, Any], samples: Samples) -> Iterator[dict[str, Any]]:
    for row, result in zip(rows, record["evaluation_results"], strict=True):
        for sample in samples(row) or ():
            yield {
                "schema_version": SCHEMA_VERSION,
                "evaluation_id": record["evaluation_id"],
                "model_id": record["model_info"]["id"],
                "evaluation_name": result["evaluation_name"],
                "evaluation_result_id": result["evaluation_result_id"],
                **sample,
            }


def _write_samples(file: Path, lines: Iterable[Mapping[str, Any]], named: str, record: dict[str, Any]) -> list[Path]:
    """Write the samples and say in the record where they are, how many, and their hash; nothing where there are none.

    One line at a time: replies may be long and many.
    """
    count = write_jsonl(file, lines)
    if not count:
        file.unlink()
        return []
    record["detailed_evaluation_results"] = {
        "format": "jsonl",
        "file_path": named,
        "hash_algorithm": "sha256",
        "checksum": file_digest(file),
        "total_rows": count,
    }
    return [file]


# ---------------------------------------------------------------- and back


def _rows_of(file: Path) -> Iterator[Row]:
    record = read_json(file)
    try:
        for result in record["evaluation_results"]:
            yield _row_of(result["score_details"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SublimError(
            f"{file} is no record that sublim-eval exported ({type(error).__name__}: {error}). Export it again."
        ) from None


def _row_of(score: Mapping[str, Any]) -> Row:
    details, beside = score["details"], score.get("uncertainty", {})
    interval = beside.get("confidence_interval", {})
    held = {
        "value": score["score"],
        "low": interval.get("lower"),
        "high": interval.get("upper"),
        "stderr": beside.get("standard_error", {}).get("value"),
        "n": beside.get("num_samples"),
    }
    return Row(**{name: held[name] if name in HELD else _from_text(name, details.get(name, "")) for name in COLUMNS})


def _from_text(name: str, text: str) -> Any:
    kind = kind_of(name)
    if kind == "text":
        return text
    if kind == "flag":
        return text == "true"
    return None if text == "" else int(text) if kind == "whole" else float(text)
