"""`sublim register`: the pointer entry for the register of inspect_evals."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from sublim_eval.console import say
from sublim_eval.files import whole_file
from sublim_eval.maintain import task_facts
from sublim_eval.maintain.register import as_yaml, entry, entry_id, evaluation_report, find_source

if TYPE_CHECKING:
    from rich.console import Console


def register(args: Namespace, console: Console) -> dict[str, Any]:
    """Print the entry of one task, or write it to DIR/register/<id>/eval.yaml; returns it."""
    facts = task_facts.read(args.task)
    source = find_source(facts, args.repository, args.commit, args.maintainer or ())
    report = evaluation_report(args.task, args.log) if args.log else None
    made = entry(facts, source, report)
    if args.out is None:
        say(console, as_yaml(made).rstrip())
    else:
        file = args.out / "register" / entry_id(args.task) / "eval.yaml"
        with whole_file(file) as out:
            out.write(as_yaml(made))
        say(console, f"Wrote {file}")
        for note in source.notes:
            say(console, f"  note: {note}")
    return made
