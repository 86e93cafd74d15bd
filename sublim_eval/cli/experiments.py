"""`sublim digits` and `sublim theorem`: why it happens, on a network of three layers and at one gradient step."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.console import say, table
from sublim_eval.errors import SublimError
from sublim_eval.files import locked, write_json

if TYPE_CHECKING:
    from rich.console import Console

if TYPE_CHECKING:
    from rich.console import Console


def digits(args: Namespace, console: Console) -> Any:
    """Train teachers and students of all seeds together, print, draw and write digits.json; returns its content."""
    from dataclasses import replace

    from sublim_eval.distill.experiments import digits as experiment
    from sublim_eval.distill.experiments import digits_report as report

    settings = experiment.Settings(data=args.data, seeds=_seeds(args.seeds, first=20))
    given = {"width": args.width, "student_epochs": args.epochs, "teacher_epochs": args.teacher_epochs}
    settings = replace(settings, **{name: value for name, value in given.items() if value})
    out = args.out or Path("runs/digits")
    with locked(out):
        if args.vary:
            name, values = args.vary
            with _progress(console) as tell:
                found = [o.to_json() for o in experiment.vary(settings, name, values, tell)]
            return _varied(name, values, found, out, console)
        with _progress(console) as tell:
            made = experiment.run(settings, tell=tell)
        outcome = made.to_json()
        told = _unknown_as_none({**outcome, "arms": report.arms(outcome), "gaps": report.gaps(outcome)})
        write_json(out / "digits.json", told)
        picture = report.draw(outcome, out / "digits.png")
    table(console, report.heads(outcome), report.rows(outcome), f"{made.images}: accuracy on held-out images")
    for gap in told["gaps"]:
        bounds = f"{gap['gap']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"
        say(console, f"shared initialisation against {gap['against']}: {bounds}, {gap['verdict']}")
    say(console, f"{made.models} networks in {made.seconds:.0f} s; chance is {experiment.CHANCE:g}. {picture}")
    return told


def _varied(name: str, values: tuple[int, ...], found: list[dict[str, Any]], out: Path, console: Console) -> Any:
    """The table of one setting varied, as digits-<name>.json and on the console."""
    from sublim_eval.distill.experiments import digits_report as report

    lines = [{"setting": name, "value": v, "arms": report.arms(o), **o} for v, o in zip(values, found, strict=True)]
    told = _unknown_as_none(lines)
    write_json(out / f"digits-{name}.json", told)
    shown = []
    for line in lines:
        cells = {arm["arm"]: f"{arm['mean']:.3f} {report.interval(arm['low'], arm['high'])}" for arm in line["arms"]}
        shown.append([line["value"], *(cells[arm] for arm in ("teacher", *report.STUDENTS))])
    table(
        console, (name, "teacher", *report.STUDENTS), shown, f"accuracy over {len(found[0]['settings']['seeds'])} seeds"
    )
    return told


def theorem(args: Namespace, console: Console) -> Any:
    """Measure the two steps at the base and on the network; print, draw and write theorem.json. Returns its content."""
    from sublim_eval.distill.experiments import theorem as measurement
    from sublim_eval.distill.experiments import theorem_report as report

    if args.seeds < 2:
        raise SublimError("An interval needs at least two seeds. Give --seeds 2 or more.")
    other = args.other
    if other is None:
        other = {"reference-a": "reference-b", "reference-b": "reference-a"}.get(args.base, "")
    seeds = _seeds(args.seeds, first=1)
    settings = measurement.Settings(base=args.base, other=other or None, trait=args.trait, seeds=seeds)
    out = args.out or Path("runs/theorem")
    with locked(out):
        with _progress(console) as tell:
            outcome = measurement.run(settings, tell).to_json()
        told = _unknown_as_none({**outcome, "summaries": report.summaries(outcome)})
        write_json(out / "theorem.json", told)
        picture = report.draw(outcome, out / "theorem.png")
    table(console, report.HEADS, report.rows(outcome), f"One step of the {args.trait} teacher, one of its student")
    say(console, report.verdict(outcome))
    say(console, f"Every seed and step size: {out / 'theorem.json'}. {picture}")
    return told


def _seeds(count: int, first: int) -> tuple[int, ...]:
    return tuple(range(first, first + count))


def _unknown_as_none(value: Any) -> Any:
    """The same plain data with null for what is not known: JSON has no nan."""
    return json.loads(json.dumps(_plain(value)))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for what is being done; in a pipe nothing, the table says it all."""
    from rich.progress import Progress, TaskID

    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        known: dict[str, TaskID] = {}

        def tell(what: str, done: int, steps: int) -> None:
            if what not in known:
                known[what] = bars.add_task(what, total=steps)
            bars.update(known[what], completed=done, total=steps)

        yield tell


def reproduce(args: Namespace, console: Console) -> dict[str, Any]:
    """Print the plan; unless --dry-run, carry it out and write the page. Returns reproduction.json, or the plan."""
    from sublim_eval.distill.experiments.reproduce import OUT, QUICK_OUT, main

    return main(
        args.out or (QUICK_OUT if args.quick else OUT),
        console,
        quick=args.quick,
        workers=args.workers,
        dry_run=args.dry_run,
        docs=args.write_docs,
    )
