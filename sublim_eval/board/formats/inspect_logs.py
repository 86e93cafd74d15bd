"""Inspect logs -> readings: the header and what the scorers wrote; no reply is loaded, however long.

Inspect's public functions alone. What a log's summaries leave out is read from the whole log.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sublim_eval.board.formats.reading import Reading, clean, fingerprint, finite, of_metrics, of_scores, settings
from sublim_eval.board.formats.summaries import samples_of
from sublim_eval.errors import SublimError

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog

    from sublim_eval.scores.probe_scores import ProbeScores

DRAWN = (
    *("temperature", "top_p", "top_k", "max_tokens", "num_choices", "stop_seqs", "system_message"),
    *("frequency_penalty", "presence_penalty", "reasoning_effort", "reasoning_tokens"),
)
"""Settings that decide what a reply is; the seed is not among them, or no two students would be asked alike."""


class Evidence(NamedTuple):
    """What the header of a log says beside its numbers."""

    model: str
    probe: str
    about: Mapping[str, Any]


def read(file: Path) -> Reading:
    """One log of one of our probes, or of anybody's task; raises SublimError for one that says nothing yet."""
    from sublim_eval.scores.inspect_logs import is_ours

    log = header(file)
    refuse_unfinished(log, file)
    about = {**_about(log), "harness": "inspect"}
    if is_ours(log) and not _entangled(log):
        return of_scores(scores(file, log), **about)
    return of_metrics(_metrics(log), **_task(log), **about)


def scores(file: Path, log: EvalLog | None = None) -> ProbeScores:
    """What the model of a log answered, question by question."""
    from sublim_eval.scores.readers import from_inspect_log

    log = header(file) if log is None else log
    samples = samples_of(file) if file.suffix == ".eval" else None
    return from_inspect_log(log.model_copy(update={"samples": samples}) if samples is not None else _whole(file))


def evidence(file: Path) -> Evidence:
    """How a log's model was asked; raises SublimError for a file that is no log."""
    log = header(file)
    return Evidence(clean(log.eval.model), clean((log.eval.metadata or {}).get("probe", "")), _about(log))


def header(file: Path) -> EvalLog:
    """A log without its samples; raises SublimError for what cannot be read, and for an archive that is a bomb."""
    from sublim_eval.scores.readers import open_log

    return open_log(file, samples=False)


def _whole(file: Path) -> EvalLog:
    from sublim_eval.scores.readers import open_log

    return open_log(file)


def refuse_unfinished(log: EvalLog, file: Path) -> None:
    """Raises SublimError for a log that is running, cancelled, failed, not scored, or in which samples failed."""
    if log.status != "success":
        why = f": {clean(log.error.message)[:200]}" if log.error else ""
        raise SublimError(f"{file} ended as {log.status!r}, not as success{why}. Run that evaluation again.")
    if getattr(log, "invalidated", False):
        raise SublimError(f"{file} was marked as invalid. Run that evaluation again.")
    results = log.results
    if results is None or not results.scores:
        raise SublimError(f"{file} is not scored yet. Run `inspect score` on it.")
    if results.completed_samples < results.total_samples:
        missing = results.total_samples - results.completed_samples
        raise SublimError(
            f"{file}: {missing} of {results.total_samples} samples failed. Run `inspect eval-retry` on it."
        )


def _entangled(log: EvalLog) -> bool:
    """Whether a log of ours holds a table of numbers and traits, which has no answers to a question."""
    from sublim_eval.scores.entanglement_table import PROBES

    return (log.eval.metadata or {}).get("form") in PROBES.values()


def _about(log: EvalLog) -> dict[str, Any]:
    """Model, settings, versions, command and date of a log."""
    spec = log.eval
    packages = {str(name): str(version) for name, version in (spec.packages or {}).items()}
    return {
        "model": clean(spec.model),
        "sampling": _sampling(log),
        "harness_version": clean(packages.get("inspect_ai", "")),
        "versions": settings(packages),
        "command": _command(log),
        "date": _utc(spec.created),
    }


def _sampling(log: EvalLog) -> str:
    config = log.plan.config.model_dump(exclude_none=True) if log.plan else {}
    config |= log.eval.model_generate_config.model_dump(exclude_none=True)
    drawn: dict[str, Any] = {name: config[name] for name in DRAWN if name in config}
    epochs = log.eval.config.epochs
    return settings(drawn | ({"epochs": epochs} if epochs and epochs > 1 else {}))


def _command(log: EvalLog) -> str:
    """`inspect eval ...` as it would be given again; secrets are masked."""
    from sublim_eval.remote.secrets import scrub

    spec, words = log.eval, ["inspect", "eval", log.eval.task, "--model", log.eval.model]
    words += [word for key, value in spec.task_args_passed.items() for word in ("-T", f"{key}={_plain(value)}")]
    words += [word for key, value in spec.model_args.items() for word in ("-M", f"{key}={_masked(key, value)}")]
    limit, seed = spec.config.limit, spec.model_generate_config.seed
    if limit is not None:
        words += ["--limit", "-".join(map(str, limit)) if isinstance(limit, tuple | list) else str(limit)]
    if spec.config.epochs and spec.config.epochs > 1:
        words += ["--epochs", str(spec.config.epochs)]
    words += ["--seed", str(seed)] if seed is not None else []
    return clean(scrub(shlex.join(words)))


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _masked(key: str, value: Any) -> str:
    hidden = any(word in key.lower() for word in ("key", "token", "secret", "password"))
    return "[key]" if hidden and key != "max_tokens" else _plain(value)


def _utc(created: Any) -> str:
    """ISO 8601 in UTC; "" for what is no time."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(str(created))
    except ValueError:
        return ""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="seconds")


def _task(log: EvalLog) -> dict[str, Any]:
    """Name, version and size of somebody else's task."""
    spec, about = log.eval, log.eval.metadata or {}
    ids = [str(one) for one in spec.dataset.sample_ids or ()]
    return {
        "probe": clean(about.get("probe") or spec.task_registry_name or spec.task),
        "version": clean(about.get("probe_version") or about.get("full_task_version") or spec.task_version),
        "question_set": fingerprint(spec.dataset.name, spec.config.limit, *sorted(ids)),
        "questions": spec.dataset.samples if spec.config.limit is None else len(ids) or None,
    }


def _metrics(log: EvalLog) -> Iterator[tuple[str, Any, Any, int | None]]:
    """Every metric but standard errors, which stand beside the mean of their scorer."""
    every = log.results.scores if log.results else []
    for score in every:
        stderr = next((m.value for m in score.metrics.values() if m.name.split("/")[-1] == "stderr"), None)
        for name, metric in score.metrics.items():
            if metric.name.split("/")[-1] == "stderr":
                continue
            beside = stderr if metric.name.split("/")[-1] in ("mean", "accuracy") else None
            label = name if len(every) == 1 else f"{score.name}/{name}"
            yield label, finite(metric.value), beside, score.scored_samples
