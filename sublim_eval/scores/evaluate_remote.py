"""Scoring models that stand elsewhere: the same tasks, sampled only, and no question paid for twice.

Inspect's eval sets do the resuming: every answered question is in the log at once, and the same call on the same
folder asks the rest. Requests are few: many replies each where the provider honours that, else epochs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.console import one_line
from sublim_eval.errors import SublimError
from sublim_eval.files import digest, read_json, write_json
from sublim_eval.remote.client import CONNECTIONS, RETRIES, next_step
from sublim_eval.remote.providers import arguments, rounds
from sublim_eval.remote.secrets import scrub, scrub_logs
from sublim_eval.scores.readers import from_inspect_log

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog

UNFINISHED, LOGS = "asking.json", "asking"
"""In the scores folder while questions are being asked: the digest of what they are, and the folder of their logs."""


def score_away(
    model: str,
    tasks: Mapping[str, Task],
    folder: Path,
    *,
    label: str,
    seed: int,
    samples: int,
    settings: Mapping[str, Any],
) -> dict[str, Path]:
    """Run probe -> task on a provider's model; writes folder/<probe>.json without exact probabilities.

    samples: replies to each question. seed: sent along where all replies to a question come from one request; with
    several requests one seed would give the same replies again, so there none is sent.
    Raises SublimError when a request fails for good; what was answered until then is not asked again.
    """
    epochs, choices = rounds(samples, model)
    for task in tasks.values():
        alone = (task.config.num_choices or 1) == 1  # nobody reads these replies, one is enough
        task.config = task.config.model_copy(update={"num_choices": None if alone or choices == 1 else choices})
    request = [model, label, seed, samples, settings, [t.metadata for t in tasks.values()]]
    further: dict[str, Any] = {**settings, **({"seed": seed} if epochs == 1 else {})}
    logs_folder = _logs_of(folder, digest(request))
    logs = _ask(model, list(tasks.values()), logs_folder, epochs, further)
    files = _scored(model, label, tasks, {(log.eval.metadata or {}).get("probe"): log for log in logs}, folder)
    (folder / "logs").mkdir(exist_ok=True)
    for file in logs_folder.glob("*.eval"):
        file.replace(folder / "logs" / file.name)
    (folder / UNFINISHED).unlink()
    shutil.rmtree(logs_folder)
    return files


def _ask(
    model: str, tasks: list[Task], logs_folder: Path, epochs: int, further: Mapping[str, Any]
) -> Sequence[EvalLog]:
    """One eval set, which goes on behind whatever its logs hold; raises SublimError when it cannot begin."""
    import inspect_ai
    from inspect_ai.model import get_model

    try:
        with redirect_stdout(StringIO()):
            _, logs = inspect_ai.eval_set(
                tasks,
                log_dir=str(logs_folder),
                model=get_model(model, memoize=False, **arguments(model)),  # one that was kept may know an old address
                epochs=epochs,
                retry_attempts=0,
                retry_immediate=False,
                max_retries=RETRIES,
                max_connections=CONNECTIONS,
                log_buffer=1,
                display="none",
                score_display=False,
                log_realtime=False,
                acp_server=False,
                ctl_server=False,
                **further,
            )
    except Exception as error:  # a missing key or package, an unknown model: in Inspect's own words
        raise SublimError(f"{model} could not be asked: {one_line(scrub(error))}. {next_step(error)}") from None
    finally:
        scrub_logs(logs_folder)
    return logs


def _scored(
    model: str, label: str, probes: Iterable[str], logs: Mapping[str | None, EvalLog], folder: Path
) -> dict[str, Path]:
    """Probe -> its score file, written from the log; raises SublimError with the reason of one that did not end."""
    files = {}
    for probe in probes:
        log = logs.get(probe)
        if log is None or log.status != "success":
            why = log.error.message if log and log.error else "it was not finished"
            reason = one_line(scrub(why).strip().splitlines()[-1]).rstrip(".")
            raise SublimError(
                f"Asking {model} for {label}, {probe}, failed: {reason}. Questions that were answered are kept. "
                f"{next_step(RuntimeError(why))}"
            )
        files[probe] = folder / f"{probe}.json"
        from_inspect_log(folder / LOGS / Path(log.location).name, model=label).write(files[probe])
    return files


def _logs_of(folder: Path, request: str) -> Path:
    """Where the logs of unfinished questions lie: of a scoring that was cut short when it asked the same, else new."""
    card, logs = folder / UNFINISHED, folder / LOGS
    if not (card.is_file() and read_json(card) == request):
        shutil.rmtree(logs, ignore_errors=True)
        write_json(card, request)
    return logs
