"""Students trained at a provider: upload, start, follow, take up again after a restart, and nothing paid twice.

    file  = the rows, each once           uploaded once: found again by its checksum
    job   = model + file + settings       started once: written down before and after, found again by its mark
    name  = what the job makes            student.json: {"base": ..., "hosted": "openai/ft:..."}

job.json in the student's folder is the journal. A run that was killed between starting a job and writing its id finds
the job in the provider's list by its mark, a digest of all that went into it, before it would start another.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, write_json
from sublim_eval.registry.catalog import registry
from sublim_eval.remote.client import next_step, reason_of
from sublim_eval.remote.secrets import scrub

from .journal import TRAINING, begin, connect, in_our_words, job_of, marked, note, papers, passing

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.fine_tuning import FineTuningJob

    from ..recipes import SeededArm

__all__ = ["cancel", "connect", "follow", "job_facts", "look", "papers", "tune"]

POLL = 10.0
"""Seconds between two looks at a job; a job takes minutes to hours."""

PATIENCE = 3600.0
"""Seconds without any answer after which following gives up; the job itself goes on."""

STARTED, ENDED = ("validating_files", "queued", "running", "paused"), ("succeeded", "failed", "cancelled")

Facts = dict[str, Any]


def tune(this: SeededArm, examples: Sequence[tuple[str, str]], folder: Path, lineage: Facts) -> Facts:
    """Train one student at the recipe's host and return what is recorded; "model" is the name it is asked by.

    examples: (prompt, completion), each once. folder: kept over kills, with job.json in it; a job that was started
    for the same rows and settings is taken up, whoever started it. Ends with student.json and no weights.
    Raises SublimError when the provider refuses or fails, with its reason; the same command then goes on.
    """
    client = connect()
    paper = begin(this, examples, folder)
    job = job_of(client, paper, folder)
    job = follow(client, job.id, lambda now, event: note(paper, folder, now, event))
    note(paper, folder, job, None)
    if job.status != "succeeded":
        raise _ended_badly(paper, folder, job)
    model = f"{paper['provider']}/{_name_of(job)}"
    record = {**lineage, **_facts(paper, job, examples, this.seed, model)}
    write_json(folder / "student.json", {**record, "hosted": model})
    (folder / TRAINING).unlink(missing_ok=True)
    return record


# ---------------------------------------------------------------- follow, cancel


def follow(
    client: OpenAI, job_id: str, tell: Callable[[FineTuningJob, Facts | None], None] = lambda job, event: None
) -> FineTuningJob:
    """Look at a job every POLL seconds until it has ended; `tell` hears of each look and of the newest event.

    Raises SublimError when the job is unknown, or when there was no answer for PATIENCE seconds.
    """
    from openai import APIConnectionError, APIStatusError

    heard = time.monotonic()
    while True:
        try:
            job = client.fine_tuning.jobs.retrieve(job_id)
            events = client.fine_tuning.jobs.list_events(job_id, limit=10).data
            heard = time.monotonic()
        except (APIStatusError, APIConnectionError) as error:
            hopeful = isinstance(error, APIConnectionError) or passing(error)
            if not hopeful or time.monotonic() - heard > PATIENCE:
                raise SublimError(
                    f"The job {job_id} cannot be followed: {reason_of(error)}. The job itself may go on; "
                    f"{next_step(error)}"
                ) from None
        else:
            tell(job, _newest(events))
            if job.status in ENDED:
                return job
        time.sleep(POLL)


def _newest(events: Sequence[Any]) -> Facts | None:
    """The newest event, with step and loss of the newest one that holds them."""
    if not events:
        return None
    news: Facts = {"at": events[0].created_at, "message": scrub(events[0].message)[:300]}
    metrics = next((e.data for e in events if e.type == "metrics" and isinstance(e.data, dict)), {})
    for name, key in (("step", "step"), ("total_steps", "total_steps"), ("train_loss", "loss")):
        value = metrics.get(name)
        if isinstance(value, int | float) and value == value:
            news[key] = value
    return news


def cancel(client: OpenAI, folder: Path, paper: Facts) -> str:
    """Cancel the job of a student that has not ended; returns its status then."""
    job = paper["job"] and in_our_words(
        "The job is not to be found", lambda: client.fine_tuning.jobs.retrieve(paper["job"]["id"])
    )
    job = job or marked(client, paper)
    if job is None:
        return "never started"
    if job.status not in ENDED:
        job = in_our_words(f"The job {job.id} cannot be cancelled", lambda: client.fine_tuning.jobs.cancel(job.id))
    if not (folder / "stage.json").is_file():  # a finished stage is sealed; its job has ended
        note(paper, folder, job, None)
    return str(job.status)


def look(client: OpenAI, paper: Facts) -> Facts:
    """How the job of a journal stands at the provider now, in plain data; "never started" where there is none."""
    known = (paper["job"] or {}).get("id")
    retrieve = client.fine_tuning.jobs.retrieve
    job = in_our_words("The job is not to be found", lambda: retrieve(known)) if known else marked(client, paper)
    if job is None:
        return {"id": "-", "status": "never started", "trained_tokens": None, "what": "-"}
    return job_facts(job)


def job_facts(job: FineTuningJob) -> Facts:
    """A job in plain data; "what" is its model's name, or why there is none."""
    reason = scrub(job.error.message) if job.error and job.error.message else "-"
    return {
        "id": job.id,
        "status": job.status,
        "trained_tokens": job.trained_tokens,
        "what": job.fine_tuned_model or reason,
    }


# ---------------------------------------------------------------- how it ended


def _ended_badly(paper: Facts, folder: Path, job: FineTuningJob) -> SublimError:
    """Why there is no student. The job is over, so the same command would start another one."""
    if job.status == "cancelled":
        return SublimError(
            f"The job {job.id} of {paper['arm']} was cancelled; its rows are kept. "
            "Give the same command again to start another one, which is paid for anew."
        )
    reason = scrub(job.error.message) if job.error and job.error.message else "the provider gave no reason"
    return SublimError(
        f"The job {job.id} of {paper['arm']} failed: {reason.strip().rstrip('.')}. Its rows are kept; mend what the "
        "provider names, then give the same command again, which starts another job."
    )


def _name_of(job: FineTuningJob) -> str:
    """The fine-tuned model's name; raises SublimError for a job that succeeded without one, or for no plain name."""
    name = job.fine_tuned_model or ""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,199}", name):
        raise SublimError(
            f"The job {job.id} succeeded and names no model that could be asked ({scrub(name)[:60]!r}). "
            "Look at it in the provider's console."
        )
    return name


def _facts(paper: Facts, job: FineTuningJob, examples: Sequence[tuple[str, str]], seed: int, model: str) -> Facts:
    """What is recorded of a hosted student, as the server tells it where it tells."""
    request, last = paper["request"], paper["job"].get("last") or {}
    known = registry().models.get(request["model"])
    price = known.price if known else None
    supervised = job.method.supervised if job.method else None
    settled = supervised.hyperparameters if supervised and supervised.hyperparameters else job.hyperparameters
    record = {
        "method": "hosted",
        "base": request["model"],
        "model": model,
        "job": job.id,
        "server": paper["server"],
        "seed": seed,
        "examples": len(examples),
        "epochs": request["hyperparameters"]["n_epochs"],
        "hyperparameters": settled.model_dump(exclude_none=True) if settled else request["hyperparameters"],
        "trained_tokens": job.trained_tokens,
        "usd": round(price.usd(trained=job.trained_tokens), 4) if price and job.trained_tokens else None,
        "steps": last.get("total_steps") or last.get("step"),
        "loss": last.get("loss"),
        "uploaded": {key: paper["file"][key] for key in ("id", "sha256", "rows")},
        "prompts_hash": digest([prompt for prompt, _ in examples]),
        "seconds": job.finished_at - job.created_at if job.finished_at else None,
    }
    return record
