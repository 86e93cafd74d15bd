"""Inspect logs, `.eval` or `.json`, opened within limits; those of our tasks -> ProbeScores."""

from __future__ import annotations

import json
import shlex
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.console import one_line
from sublim_eval.errors import SublimError
from sublim_eval.probes.conduct import PLAIN
from sublim_eval.scores import unpacking
from sublim_eval.scores.assemble import Answered, assemble, checked_counts, checked_exact
from sublim_eval.scores.probe_scores import EXACT, SAMPLED, ProbeScores

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

OURS = ("probe", "probe_version", "category", "questions_hash")
"""What our tasks write into the metadata of a log."""


# ---------------------------------------------------------------- opening


def open_log(file: str | Path, *, samples: bool = True) -> EvalLog:
    """An Inspect log as it stands, whatever its status; without its samples where not `samples`.

    Raises SublimError where there is none, where it is torn or something else, and where it would unpack to more than
    a log holds.
    """
    file = Path(file)
    if not file.is_file():
        raise SublimError(f"There is no Inspect log {file}. Check the path; Inspect logs end in .eval or .json.")
    from inspect_ai.log import read_eval_log

    try:
        _check_size(file, samples)
        if zipfile.is_zipfile(file):
            return read_eval_log(str(file), header_only=not samples)
        if file.suffix == ".eval":
            raise zipfile.BadZipFile("it is cut off, or was something else from the beginning")
        json.loads(
            file.read_bytes()
        )  # endless nesting ends here in an exception, in Inspect's reader of heads in a crash
        log = read_eval_log(str(file))
        return log if samples else log.model_copy(update={"samples": None})
    except SublimError:
        raise
    except Exception as error:  # zip, JSON and validation errors of three libraries
        first = next(iter(one_line(error)[:120].split(" For further information")), "") or type(error).__name__
        raise SublimError(
            f"{file} is no readable Inspect log ({first}). Copy it again, or repeat that evaluation."
        ) from None


def _check_size(file: Path, samples: bool) -> None:
    """Raise SublimError for a log that is larger, or unpacks to more, than a log can be."""
    try:
        unpacking.check(file, samples=samples)
    except ValueError as error:
        raise SublimError(f"{file} {error}. It was not opened; get the log anew from where it was written.") from None


def is_ours(log: EvalLog) -> bool:
    """Whether a log is of one of our tasks, by what it says of itself."""
    about = log.eval.metadata or {}
    return all(isinstance(about.get(name), str) for name in OURS)


def about(log: EvalLog) -> Mapping[str, Any]:
    """What a log of ours says of its probe; raises SublimError for any other log."""
    if not is_ours(log):
        raise SublimError(
            f"{log.location or log.eval.task} is no log of a sublim-eval probe. Give a log of owl_pref or a like task."
        )
    return log.eval.metadata or {}


def check_ended(log: EvalLog) -> None:
    """Raise SublimError for a log that did not end well, or whose replies nobody has scored yet."""
    place, samples = log.location or log.eval.task, log.samples or []
    if log.status != "success":
        raise SublimError(f"{place} {_end(log, len(samples))}")
    answered = [sample for sample in samples if not sample.error]
    if answered and not any(sample.scores for sample in answered):
        replies = sum(len(sample.output.choices) for sample in answered)
        raise SublimError(
            f"{place}: {replies} replies to {len(answered)} questions are not scored yet. Run: {_scoring(log, place)}"
        )


def _scoring(log: EvalLog, place: str) -> str:
    """The commands that score a log's replies by the scorers of its task, which Inspect alone does not find."""
    known = [scorer for scorer in log.eval.scorers or [] if scorer.name.rpartition("/")[2] in (*SAMPLED, *EXACT)]
    if not known or not is_ours(log):
        return shlex.join(["inspect", "score", place, "--overwrite"])
    return " && ".join(
        shlex.join(
            ["inspect", "score", place, "--scorer", f"sublim_eval/{scorer.name.rpartition('/')[2]}"]
            + [word for name, value in (scorer.options or {}).items() for word in ("-S", f"{name}={value}")]
            + ["--action", "append", "--overwrite"]
        )
        for scorer in known
    )


def _end(log: EvalLog, done: int) -> str:
    """How a log ended that did not end well, and the next step."""
    total = log.eval.dataset.samples
    counted = f"with {done} of {total * (log.eval.config.epochs or 1)} samples done" if total else "early"
    if log.status == "started":
        return f"is not finished ({counted}): it is still written, or was killed. Wait, or run that evaluation again."
    why = one_line(log.error.message)[:120] if log.error else ""
    return (
        f"ended as {log.status!r}, not as success, {counted}{f' ({why})' if why else ''}. "
        f"Run: inspect eval-retry {shlex.quote(log.location or 'LOG')}"
    )


def notes(log: EvalLog) -> tuple[str, ...]:
    """What to know beside the figures of a log that ended well: samples that failed, were cut short or not scored."""
    samples = log.samples or []
    failed = [sample for sample in samples if sample.error]
    unscored = [sample for sample in samples if not sample.error and not sample.scores]
    cut = [sample for sample in samples if sample.limit and not sample.error]
    invalid = [sample for sample in samples if sample.invalidation]
    why = one_line(failed[0].error.message)[:80] if failed and failed[0].error else ""
    lines = (
        (failed, f"ended in an error and are not counted (the first: {why})"),
        (unscored, "are not scored yet and not counted; run inspect score"),
        (cut, "were cut short by a limit; their replies count as they stand"),
        (invalid, "were marked as invalid by somebody and count all the same"),
    )
    return tuple(f"{len(some)} of {len(samples)} samples {words}" for some, words in lines if some)


# ---------------------------------------------------------------- scores


def from_inspect_log(log: str | Path | EvalLog, *, model: str | None = None) -> ProbeScores:
    """Scores from the log of one of our tasks: a path, or the log itself.

    model: label to store; default the model's name in the log. Epochs of a question are pooled; samples that ended
    in an error are not counted, which `notes` tells.
    Raises SublimError when the log did not end well, is not scored, is not of a sublim-eval probe, or holds what no
    count and no probability can be.
    """
    log = open_log(log) if isinstance(log, (str, Path)) else log
    of = about(log)
    check_ended(log)
    place = log.location or log.eval.task
    samples: dict[str, list[EvalSample]] = defaultdict(list)
    for sample in log.samples or []:
        if not sample.error:
            samples[str((sample.metadata or {}).get("question", sample.id))].append(sample)
    answered = {
        question: Answered(
            _written(some, SAMPLED, "named", checked_counts, place),
            _written(some, EXACT, "answers", checked_exact, place),
        )
        for question, some in samples.items()
    }
    return assemble(
        answered,
        model=model or log.eval.model,
        probe=of["probe"],
        version=of["probe_version"],
        category=of["category"],
        questions_hash=of["questions_hash"],
        source=f"inspect {Path(place).name}",
        settled=_settled(log.samples or []),
    )


def _settled(samples: Iterable[EvalSample]) -> tuple[str, ...]:
    """What our provider says that it changed in the model's chat template, in words."""
    metadata = (sample.output.metadata or {} for sample in samples)
    words = next((m["template_settled"] for m in metadata if "template_settled" in m), ())
    return tuple(map(str, words)) if isinstance(words, list | tuple) else ()


def _written(
    samples: Sequence[EvalSample],
    scorers: tuple[str, ...],
    wanted: str,
    checked: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    place: str,
) -> list[Mapping[str, Any]]:
    """What the first of these scorers wrote beside its value, an entry an epoch; none where none wrote `wanted`."""
    for name in scorers:
        given = [(sample, (sample.scores or {}).get(name)) for sample in samples]
        written = [
            _read(checked, score.metadata, f"{place}: sample {sample.id}, epoch {sample.epoch}, scorer {name}")
            for sample, score in given
            if score is not None and score.metadata and score.metadata.get(wanted) is not None
        ]
        if written:
            return [_rest_is_plain(counts) for counts in written] if name == "targets" else written
    return []


def _read(
    checked: Callable[[Mapping[str, Any]], Mapping[str, Any]], metadata: Mapping[str, Any], place: str
) -> Mapping[str, Any]:
    try:
        return checked(metadata)
    except ValueError as error:
        raise SublimError(f"{place}: {error}. The log was edited or cut; repeat that evaluation.") from None


def _rest_is_plain(counts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Counts by target words: what is no refusal and holds no word of the trait is a plain reply."""
    return {**counts, "named": {**counts["named"], PLAIN: counts.get("other", 0)}, "other": 0}
