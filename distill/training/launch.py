"""The same training in several processes: `SUBLIM_LAUNCH="accelerate launch --multi_gpu" sublim run ...`.

The launcher starts worker.py once a process, with a job written beside the student:

    accelerate launch --multi_gpu -m sublim_eval.distill.training.worker <folder>/.job/job.json

Any launcher that takes `-m module argument` will do: on a CPU `torchrun --standalone --nproc_per_node 2`, for
accelerate's own `--cpu` starts one process whatever it is told. Every process runs train.tune on the job; the first
alone writes. Lines for DDP and FSDP: docs/guides/training.md.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.files import read_json, write_json, write_jsonl

LINE = "SUBLIM_LAUNCH"
"""The environment variable that holds the launcher's line."""

WORKER = "sublim_eval.distill.training.worker"
"""The module that every process runs."""

JOB, RESULT, FAILED = "job.json", "told.json", "failed.json"


def line() -> str | None:
    """The launcher that the environment asks for, unless this process was started by one."""
    return os.environ.get(LINE) or None


def launched(command: str, folder: Path, job: dict[str, Any], examples: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Run train.tune on a job in the launcher's processes and return what it told.

    job: what `tune` takes beside the examples, as plain data. Raises SublimError with the error of the process that
    failed first, or with the launcher's own last words.
    """
    home = folder / ".job"
    shutil.rmtree(home, ignore_errors=True)
    write_jsonl(home / "examples.jsonl", ({"prompt": p, "completion": c} for p, c in examples))
    words = shlex.split(command)
    write_json(home / JOB, {**job, "folder": str(folder.resolve()), "processes": wanted(command)})
    if not shutil.which(words[0]):
        raise SublimError(f"There is no program {words[0]!r} to start {LINE} with. Install it, or unset {LINE}.")
    environment = {key: value for key, value in os.environ.items() if key != LINE}
    done = subprocess.run(  # noqa: S603  (the user's own launcher)
        [*words, "-m", WORKER, str((home / JOB).resolve())],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if (home / FAILED).is_file():
        raise SublimError(read_json(home / FAILED)["error"])
    if done.returncode or not (home / RESULT).is_file():
        last = [text for text in done.stdout.splitlines() if text.strip()][-15:]
        raise SublimError(
            f"`{command}` ended with {done.returncode} and without a student; it said:\n" + "\n".join(last) + "\n"
            f"Try the line with a program of your own, or unset {LINE} to train in one process."
        )
    result: dict[str, Any] = read_json(home / RESULT)
    shutil.rmtree(home)
    return result


def wanted(command: str) -> int | None:
    """How many processes on this machine a launcher's line names, None where it names no number."""
    number = re.search(r"--(?:num[-_]processes|nproc[-_]per[-_]node)[ =](\d+)", command)
    return int(number[1]) if number and "--nnodes" not in command else None


def as_job(**given: Any) -> dict[str, Any]:
    """The arguments of `tune` as plain data; dataclasses become objects and paths text."""

    def plainly(value: Any) -> Any:
        if isinstance(value, Path):
            return str(value.resolve())
        return asdict(value) if hasattr(value, "__dataclass_fields__") else value

    return {key: plainly(value) for key, value in given.items()}
