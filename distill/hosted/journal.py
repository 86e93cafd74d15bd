"""The jobs of hosted students at a provider: the journal in the student's folder, one upload and one start each.

Whatever costs money is written down before and after it is asked for. An answer that never came is followed by a look
at what the provider has, not by asking again.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, read_json, write_json, write_jsonl
from sublim_eval.remote.client import next_step, reason_of
from sublim_eval.remote.secrets import scrub

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.fine_tuning import FineTuningJob

    from ..recipes import SeededArm

JOB, TRAINING = "job.json", "training.jsonl"

TRIES = 6
WAIT = 2.0
"""How often an upload or a start is tried, and seconds before the second try; doubled each time, unless the server
says when to come back."""

GRACE = 5.0
"""Seconds until a job that may have been started must show in the provider's list."""

LEAST = 10
"""Examples that OpenAI asks for."""

LOOKED_THROUGH = 2000
"""Jobs and files of the account that are looked through for ours, the newest first."""

MARK = "sublim_mark"
"""The key of a job's metadata that holds the digest of all that went into it."""

Facts = dict[str, Any]
T = TypeVar("T")


def connect() -> OpenAI:
    """A client by the environment: OPENAI_API_KEY, OPENAI_BASE_URL; raises SublimError without SDK or key."""
    if find_spec("openai") is None:
        raise SublimError("OpenAI's SDK is not installed. Run: pip install 'sublim-eval[hosted]'.")
    if not os.environ.get("OPENAI_API_KEY"):
        raise SublimError("There is no OPENAI_API_KEY in the environment. Set it there; it is never written anywhere.")
    from openai import OpenAI

    return OpenAI(max_retries=TRIES)


# ---------------------------------------------------------------- the journal


def begin(this: SeededArm, examples: Sequence[tuple[str, str]], folder: Path) -> Facts:
    """The journal of this student, as it stands or anew; the rows beside it, as they are uploaded."""
    arm, tuning, host = this.arm, this.tuning, this.recipe.host
    if host is None or tuning.epochs is None or tuning.epochs != int(tuning.epochs) or tuning.epochs < 1:
        raise SublimError("A hosted student is trained for whole epochs. Set `epochs` to 1, 2, 3, ... in the recipe.")
    if len(examples) < LEAST:
        raise SublimError(f"{len(examples)} rows are fewer than the {LEAST} a provider takes. Raise `rows.keep`.")
    rows = folder / TRAINING
    write_jsonl(rows, ({"messages": _chat(prompt, completion)} for prompt, completion in examples))
    settings: Facts = {"n_epochs": int(tuning.epochs), "batch_size": host.batch_size}
    settings["learning_rate_multiplier"] = host.learning_rate_multiplier
    request = {
        "model": this.student_base,
        "seed": this.seed,
        "suffix": re.sub(r"[^a-zA-Z0-9-]+", "-", f"sublim-{this.name}")[:40],
        "hyperparameters": {key: value for key, value in settings.items() if value is not None},
    }
    checksum = file_digest(rows)
    mark = digest([host.provider, request, checksum, arm.name])
    if (folder / JOB).is_file():
        paper: Facts = read_json(folder / JOB)
        if paper.get("mark") == mark and paper.get("server") == server():
            return paper
        if paper.get("job"):
            raise SublimError(
                f"{folder / JOB} tells of the job {paper['job']['id']} at {paper.get('server')}, for other rows, "
                f"settings or another server. Cancel it (sublim hosted cancel {folder}) or move that file away."
            )
    paper = {
        "schema": 1,
        "provider": host.provider,
        "server": server(),
        "mark": mark,
        "request": request,
        "file": {
            "name": f"sublim-{checksum[:32]}.jsonl",
            "sha256": checksum,
            "bytes": rows.stat().st_size,
            "rows": len(examples),
            "id": None,
        },
        "arm": arm.name,
        "recipe": this.recipe.name,
        "step": "begun",
        "job": None,
        "earlier": [],
    }
    write_json(folder / JOB, paper)
    return paper


def _chat(prompt: str, completion: str) -> list[dict[str, str]]:
    """A row as the provider's own students are asked afterwards: no system prompt."""
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]


def server() -> str:
    """Where requests go, without the user name and password that an address may hold."""
    parts = urlsplit(os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1")
    place = parts.hostname or ""
    return f"{parts.scheme}://{place}{f':{parts.port}' if parts.port else ''}{parts.path.rstrip('/')}"


def _write(paper: Facts, folder: Path, step: str) -> None:
    paper["step"] = step
    write_json(folder / JOB, paper)


def note(paper: Facts, folder: Path, job: FineTuningJob, event: Facts | None) -> None:
    """Keep what a look at the job has told, where it is news."""
    error = {"code": job.error.code, "message": scrub(job.error.message)} if job.error and job.error.message else None
    now = {
        "id": job.id,
        "status": job.status,
        "model": job.fine_tuned_model,
        "trained_tokens": job.trained_tokens,
        "error": error,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "last": event or (paper["job"] or {}).get("last"),
    }
    if paper["job"] != now or paper["step"] != job.status:
        paper["job"] = now
        _write(paper, folder, job.status)


def papers(folder: Path) -> list[tuple[Path, Facts]]:
    """(student folder, journal) of every hosted student in a run or student folder, begun ones too.

    Raises SublimError when there is none.
    """
    files = [f for pattern in (JOB, f"students/*/{JOB}", f"*/students/*/{JOB}") for f in sorted(folder.glob(pattern))]
    if not files:
        raise SublimError(f"{folder} holds no student that was trained at a provider. Give a run or student folder.")
    return [(file.parent, read_json(file)) for file in files]


# ---------------------------------------------------------------- upload and start, once each


def job_of(client: OpenAI, paper: Facts, folder: Path) -> FineTuningJob:
    """The job of this journal: by its id, by its mark in the provider's list, or started now."""
    if paper["job"] and paper["job"]["status"] not in ("failed", "cancelled"):
        job_id = paper["job"]["id"]
        return in_our_words(f"The job {job_id} is not to be found", lambda: client.fine_tuning.jobs.retrieve(job_id))
    if paper["job"]:
        paper["earlier"].append(paper["job"])
        paper["job"] = None
    in_doubt = paper["step"] == "starting"
    job = marked(client, paper)
    if job is None and in_doubt:
        time.sleep(GRACE)
        job = marked(client, paper)
    if job is None:
        for again in (False, True):
            file_id = _file_of(client, paper, folder, again)
            try:
                job = _start(client, paper, folder, file_id)
                break
            except SublimError as error:
                if again or not getattr(error, "file_gone", False):
                    raise
    assert job is not None  # noqa: S101  (either started, or raised)
    note(paper, folder, job, None)
    return job


def _file_of(client: OpenAI, paper: Facts, folder: Path, anew: bool) -> str:
    """The id of the uploaded rows: the file of this name and size where the account has it, else uploaded now.

    anew: the known one has expired or was deleted at the provider.
    """
    about = paper["file"]
    gone = about["id"] if anew else None

    def there() -> str | None:
        listed = _all(client.files.list(purpose="fine-tune", limit=100))
        mine = [f for f in listed if f.filename == about["name"] and f.bytes == about["bytes"] and f.id != gone]
        return next((f.id for f in mine if f.status != "error"), None)

    def upload() -> str:
        _write(paper, folder, "uploading")
        with (folder / TRAINING).open("rb") as rows:
            made = client.with_options(max_retries=0).files.create(file=(about["name"], rows), purpose="fine-tune")
        if made.status == "error":
            raise SublimError(
                f"The provider could not read the rows: {scrub(made.status_details or 'no reason given')}. "
                "Look at them in the run's rows folder."
            )
        return made.id

    about["id"] = _once("upload the rows", there, upload)
    _write(paper, folder, "uploaded")
    return about["id"]


def _start(client: OpenAI, paper: Facts, folder: Path, file_id: str) -> FineTuningJob:
    """Start the one job of this journal."""
    request = paper["request"]

    def create() -> FineTuningJob:
        _write(paper, folder, "starting")
        return client.with_options(max_retries=0).fine_tuning.jobs.create(
            model=request["model"],
            training_file=file_id,
            seed=request["seed"],
            suffix=request["suffix"],
            method={"type": "supervised", "supervised": {"hyperparameters": request["hyperparameters"]}},
            metadata={MARK: paper["mark"], "sublim_arm": paper["arm"], "sublim_recipe": paper["recipe"][:512]},
        )

    doubts = 0

    def there() -> FineTuningJob | None:
        nonlocal doubts
        job = marked(client, paper) if doubts else None  # the caller has looked before the first try
        if job is None and doubts:
            time.sleep(GRACE)
            job = marked(client, paper)
        doubts += 1
        return job

    return _once("start the training", there, create)


def marked(client: OpenAI, paper: Facts) -> FineTuningJob | None:
    """The job with this journal's mark, if the account has one that runs or has succeeded."""
    wanted = {MARK: paper["mark"]}
    listed = in_our_words(
        "The provider's jobs cannot be listed", lambda: list(_all(client.fine_tuning.jobs.list(metadata=wanted)))
    )
    mine = [job for job in listed if (job.metadata or {}).get(MARK) == paper["mark"]]
    alive = [job for job in mine if job.status not in ("failed", "cancelled")]
    return min(alive, key=lambda job: (job.status != "succeeded", job.created_at), default=None)


def _all(page: Any) -> Iterator[Any]:
    """The newest LOOKED_THROUGH entries of a list, page by page."""
    for number, entry in enumerate(page):
        if number >= LOOKED_THROUGH:
            return
        yield entry


def _once(what: str, there: Callable[[], T | None], make: Callable[[], T]) -> T:
    """Make something that must not be made twice; whatever leaves it in doubt is followed by a look, not by a retry.

    there: what stands at the provider already. Raises SublimError when it is refused or every try has failed.
    """
    from openai import APIConnectionError, APIStatusError, OpenAIError

    last: Exception | None = None
    for number in range(TRIES):
        try:
            made = there()
            return make() if made is None else made
        except APIStatusError as error:
            if not passing(error):
                raise _refused(what, error) from None
            last = error
        except APIConnectionError as error:
            last = error
        except OpenAIError as error:
            raise _refused(what, error) from None
        time.sleep(_wait(last, number))
    assert last is not None  # noqa: S101  (TRIES is above 0)
    raise _refused(what, last) from None


def passing(error: Any) -> bool:
    """Whether a fault is likely to pass: rate limits but for an empty account, timeouts, the server's own faults."""
    if error.code == "insufficient_quota" or error.type == "insufficient_quota":
        return False
    return error.status_code in (408, 409, 429) or error.status_code >= 500


def _wait(error: Any, number: int) -> float:
    """Seconds to the next try: as the server says, up to two minutes, else doubled from WAIT."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return min(120.0, max(0.0, float(headers[name]) / unit))
        except (KeyError, ValueError):
            continue
    return WAIT * 2.0**number


def _refused(what: str, error: Exception) -> SublimError:
    made = SublimError(f"The provider did not {what}: {reason_of(error)}. {next_step(error)}")
    param, words = getattr(error, "param", None), str(error).lower()
    lost = getattr(error, "status_code", None) in (400, 404) and (param == "training_file" or "file" in words)
    made.file_gone = lost  # type: ignore[attr-defined]
    return made


def in_our_words(what: str, call: Callable[[], T]) -> T:
    """The result of a call that costs nothing; the SDK has retried it. An error in our words, without keys."""
    from openai import OpenAIError

    try:
        return call()
    except OpenAIError as error:
        raise SublimError(f"{what}: {reason_of(error)}. {next_step(error)}") from None
