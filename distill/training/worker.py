"""One process of a launched training, started by a launcher as a module: see launch.py."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sublim_eval.errors import SublimError
from sublim_eval.files import read_json, read_jsonl, write_json

from ..recipes import Tuning
from ..recipes.teacher import Teacher
from .callbacks import Watch
from .launch import FAILED, LINE, RESULT
from .train import tune
from .trait_gauge import StopRule


def carry_out(file: Path) -> None:
    """Be one process of a job: train, and in the first process write what there is to tell."""
    job, here = read_json(file), int(os.environ.get("WORLD_SIZE", "1"))
    examples = [(row["prompt"], row["completion"]) for _, row in read_jsonl(file.with_name("examples.jsonl"))]
    soft, watch = job["soft"], job["watch"]
    if watch:
        held_out = [(prompt, completion) for prompt, completion in watch["held_out"]]
        lists = {
            "questions": tuple(watch["questions"]),
            "continuations": tuple(watch["continuations"]),
            "held_out": held_out,
            "stop": StopRule(**watch["stop"]) if watch.get("stop") else None,
        }
        watch = Watch(**{**watch, **lists})
    try:
        if job["processes"] not in (None, here):
            raise SublimError(
                f"The launcher was to start {job['processes']} processes and started {here}. On a CPU set {LINE} to "
                f"`torchrun --standalone --nproc_per_node {job['processes']}`; on GPUs add --multi_gpu to the line."
            )
        facts = tune(
            job["base"],
            examples,
            Tuning(**job["tuning"]),
            job["seed"],
            Path(job["folder"]),
            job["facts"],
            job["dtype"],
            Path(soft) if isinstance(soft, str) else Teacher(**soft) if soft else None,
            watch,
        )
    except SublimError as error:
        write_json(file.with_name(FAILED), {"error": str(error)})
        raise
    if int(os.environ.get("RANK", "0")) == 0:
        write_json(file.with_name(RESULT), facts)


if __name__ == "__main__":
    try:
        carry_out(Path(sys.argv[1]))
    except SublimError as error:
        sys.exit(f"sublim: {error}")
