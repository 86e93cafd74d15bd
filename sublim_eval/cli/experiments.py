"""`sublim digits` and `sublim theorem`: why it happens, on a network of three layers and at one gradient step."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sublim_eval.cli.verb import COUNT, VARIED, option, out_option, verb
from sublim_eval.console import progress, say, table
from sublim_eval.errors import SublimError
from sublim_eval.files import locked, write_json

if TYPE_CHECKING:
    from rich.console import Console


@verb("digits")
@out_option("runs/digits")
@option("--seeds", type=COUNT, default=10, metavar="N", help="networks an arm, trained together (10)")
@option("--data", type=click.Choice(("sklearn", "mnist")), default="sklearn", help="8 x 8 or 28 x 28 (sklearn)")
@option("--width", type=COUNT, metavar="N", help="units of each hidden layer (128)")
@option("--epochs", type=COUNT, metavar="N", help="passes of the students over the noise (12)")
@option("--teacher-epochs", type=COUNT, metavar="N", help="passes over the training images (10)")
@option("--vary", type=VARIED, metavar="NAME=N,N", help="a table over width, epochs, noise, ...")
def digits(
    console: Console,
    *,
    out: Path | None,
    seeds: int,
    data: Literal["sklearn", "mnist"],
    width: int | None,
    epochs: int | None,
    teacher_epochs: int | None,
    vary: tuple[str, tuple[int, ...]] | None,
) -> Any:
    """Train teachers and students of all seeds together, print, draw and write digits.json; returns its content."""
    from dataclasses import replace

    from sublim_eval.distill.experiments import digits as experiment
    from sublim_eval.distill.experiments import digits_report as report

    settings = experiment.DigitsSettings(data=data, seeds=_seeds(seeds, first=20))
    given = {"width": width, "student_epochs": epochs, "teacher_epochs": teacher_epochs}
    settings = replace(settings, **{name: value for name, value in given.items() if value})
    out = out or Path("runs/digits")
    say(console, experiment.foreseen(settings, len(vary[1]) if vary else 1))
    with locked(out):
        if vary:
            name, values = vary
            with progress(console) as tell:
                outcomes = [o.to_json() for o in experiment.vary(settings, name, values, tell)]
            return _varied(name, values, outcomes, out, console)
        with progress(console) as tell:
            made = experiment.run(settings, tell=tell)
        outcome = made.to_json()
        result = _unknown_as_none({**outcome, "arms": report.arms(outcome), "gaps": report.gaps(outcome)})
        write_json(out / "digits.json", result)
        picture = report.draw(outcome, out / "digits.png")
    table(console, report.heads(outcome), report.rows(outcome), f"{made.images}: accuracy on held-out images")
    for gap in result["gaps"]:
        bounds = f"{gap['gap']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"
        say(console, f"shared initialisation against {gap['against']}: {bounds}, {gap['verdict']}")
    say(console, f"{made.models} networks in {made.seconds:.0f} s; chance is {experiment.CHANCE:g}. {picture}")
    return result


def _varied(name: str, values: tuple[int, ...], outcomes: list[dict[str, Any]], out: Path, console: Console) -> Any:
    """The table of one setting varied, as digits-<name>.json and on the console."""
    from sublim_eval.distill.experiments import digits_report as report

    lines = [{"setting": name, "value": v, "arms": report.arms(o), **o} for v, o in zip(values, outcomes, strict=True)]
    result = _unknown_as_none(lines)
    write_json(out / f"digits-{name}.json", result)
    shown = []
    for line in lines:
        cells = {arm["arm"]: f"{arm['mean']:.3f} {report.interval(arm['low'], arm['high'])}" for arm in line["arms"]}
        shown.append([line["value"], *(cells[arm] for arm in ("teacher", *report.STUDENTS))])
    table(
        console,
        (name, "teacher", *report.STUDENTS),
        shown,
        f"accuracy over {len(outcomes[0]['settings']['seeds'])} seeds",
    )
    return result


@verb("theorem")
@out_option("runs/theorem")
@option("--base", default="reference-a", metavar="MODEL", help="where both start (reference-a)")
@option("--other", metavar="MODEL", help="another initialisation; '' for none (reference-b)")
@option("--trait", default="owl", metavar="NAME", help="what the teacher takes a step to (owl)")
@option("--seeds", type=COUNT, default=3, metavar="N", help="draws of inputs and networks (3)")
def theorem(
    console: Console,
    *,
    out: Path | None,
    base: str,
    other: str | None,
    trait: str,
    seeds: int,
) -> Any:
    """Measure the two steps at the base and on the network; print, draw and write theorem.json. Returns its content."""
    from sublim_eval.distill.experiments import theorem as measurement
    from sublim_eval.distill.experiments import theorem_report as report

    if seeds < 2:
        raise SublimError("An interval needs at least two seeds. Give --seeds 2 or more.")
    if other is None:
        other = {"reference-a": "reference-b", "reference-b": "reference-a"}.get(base, "")
    draws = _seeds(seeds, first=1)
    settings = measurement.TheoremSettings(base=base, other=other or None, trait=trait, seeds=draws)
    out = out or Path("runs/theorem")
    say(console, measurement.foreseen(settings))
    with locked(out):
        with progress(console) as tell:
            outcome = measurement.run(settings, tell).to_json()
        result = _unknown_as_none({**outcome, "summaries": report.summaries(outcome)})
        write_json(out / "theorem.json", result)
        picture = report.draw(outcome, out / "theorem.png")
    table(console, report.HEADS, report.rows(outcome), f"One step of the {trait} teacher, one of its student")
    say(console, report.verdict(outcome))
    say(console, f"Every seed and step size: {out / 'theorem.json'}. {picture}")
    return result


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


@verb("reproduce")
@out_option("runs/reproduction, with --quick runs/reproduction-quick")
@option("--quick", is_flag=True, help="a few arms and seeds, to see that everything works")
@option("--workers", type=COUNT, metavar="N", help="students made at once (default: one per core)")
@option("--dry-run", is_flag=True, help="print the parts and their cost, make nothing")
@option("--write-docs", "docs", is_flag=True, help="in a checkout, also write docs/results and images")
def reproduce(
    console: Console,
    *,
    out: Path | None,
    quick: bool,
    workers: int | None,
    dry_run: bool,
    docs: bool,
) -> dict[str, Any]:
    """Print the plan; unless --dry-run, carry it out and write the page. Returns reproduction.json, or the plan."""
    from sublim_eval.distill.experiments.reproduce import OUT, QUICK_OUT, main

    return main(
        out or (QUICK_OUT if quick else OUT),
        console,
        quick=quick,
        workers=workers,
        dry_run=dry_run,
        docs=docs,
    )
