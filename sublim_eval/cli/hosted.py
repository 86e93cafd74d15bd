"""`sublim hosted list | follow | cancel FOLDER`: the fine-tuning jobs that a run has started at a provider."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.console import say, table

if TYPE_CHECKING:
    from rich.console import Console


def hosted(args: Namespace, console: Console) -> dict[str, Any]:
    """Do what `args.action` says for every job of a run or student folder; returns {student: job}."""
    from sublim_eval.distill.hosted import finetune as jobs

    found = jobs.papers(args.folder)
    client = jobs.connect()
    if args.action == "cancel":
        for folder, paper in found:
            say(console, f"{_student(folder)}: {jobs.cancel(client, folder, paper)}")
        say(console, "The rows are kept. `sublim run` on the same recipe would start these jobs anew, and pay anew.")
    told = {_student(folder): jobs.look(client, paper) for folder, paper in found}
    if args.action == "follow":
        for name, now in told.items():
            if now["status"] in jobs.STARTED:
                told[name] = _follow(now, name, console)
        say(console, "`sublim run` on the same recipe takes up what has succeeded.")
    heads = ("student", "job", "status", "tokens trained", "model or reason")
    rows = [(name, now["id"], now["status"], now["trained_tokens"] or "-", now["what"]) for name, now in told.items()]
    table(console, heads, rows)
    return told


def _follow(now: dict[str, Any], name: str, console: Console) -> dict[str, Any]:
    """Print a job's news until it has ended."""
    from sublim_eval.distill.hosted import finetune as jobs

    seen: set[str] = set()

    def tell(job: Any, event: dict[str, Any] | None) -> None:
        line = f"{name}: {job.status}{': ' + event['message'] if event else ''}"
        if line not in seen:
            seen.add(line)
            say(console, line)

    return jobs.told_of(jobs.follow(jobs.connect(), now["id"], tell))


def _student(folder: Path) -> str:
    """owl-s1, also while its folder is still .owl-s1.unfinished."""
    return folder.resolve().name.removeprefix(".").removesuffix(".unfinished")
