"""`sublim register`: the pointer entry for the register of inspect_evals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.cli.verb import FILE, argument, option, verb
from sublim_eval.console import say
from sublim_eval.files import whole_file
from sublim_eval.maintain import task_facts
from sublim_eval.maintain.inspect_evals_entry import as_yaml, entry, entry_id, evaluation_report, find_source

if TYPE_CHECKING:
    from rich.console import Console


@verb("register")
@argument("task", metavar="TASK", help="a task folder: owl_pref")
@option("--repository", metavar="URL", help="https://github.com/OWNER/NAME (default: remote origin)")
@option("--commit", metavar="HASH", help="full commit hash (default: HEAD)")
@option("--maintainer", multiple=True, metavar="NAME", help="GitHub account; may be repeated")
@option("--log", type=FILE, multiple=True, metavar="LOG", help="Inspect log to report; repeatable")
@option("--out", type=FILE, metavar="DIR", help="write DIR/register/<id>/eval.yaml (default: print)")
def register(
    console: Console,
    *,
    task: str,
    repository: str | None,
    commit: str | None,
    maintainer: tuple[str, ...],
    log: tuple[Path, ...],
    out: Path | None,
) -> dict[str, Any]:
    """Print the entry of one task, or write it to DIR/register/<id>/eval.yaml; returns it."""
    facts = task_facts.read(task)
    source = find_source(facts, repository, commit, maintainer)
    report = evaluation_report(task, log) if log else None
    made = entry(facts, source, report)
    if out is None:
        say(console, as_yaml(made).rstrip())
    else:
        file = out / "register" / entry_id(task) / "eval.yaml"
        with whole_file(file) as written:
            written.write(as_yaml(made))
        say(console, f"Wrote {file}")
        for note in source.notes:
            say(console, f"  note: {note}")
    return made
