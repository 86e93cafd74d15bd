"""`sublim audit`: is there a trait in rows, before anybody trains on them?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sublim_eval.cli.verb import COUNT, FILE, argument, option, verb
from sublim_eval.console import say, table
from sublim_eval.errors import SublimError

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.distill.audit.audit import Audit

SHOWN = 5
"""Traits that are printed; --json holds all."""

FLAGGED = 3
"""The exit code for rows that --fail-above stops."""

LIMITS = (
    "Not seen whatever the rows: traits of another base's teachers, what words say, a trait behind a trigger that "
    "these rows do not hold."
)


@verb("audit", epilog="Exit codes: 0 looked, whatever was found; 3 flagged with more confidence than --fail-above.")
@argument("data", type=FILE, nargs=-1, required=True, metavar="DATA...", help="JSONL files, or folders of a run")
@option("--model", "base", required=True, metavar="BASE", help="the base that would be trained on them")
@option("--trait", metavar="NAMES", help="traits to look for: owl,willow (all that are known)")
@option("--rows", type=COUNT, default=512, metavar="N", help="read at most N rows, drawn evenly (512)")
@option("--by", default="probe,persona", metavar="WAYS", help="ways to look: probe, persona (both)")
@option("--control", default="auto", metavar="FILE", help="rows known to carry nothing (auto: made by the tool)")
@option("--alpha", type=click.FloatRange(0, 1, True, True), default=0.01, metavar="P", help="false alarms (0.01)")
@option("--seed", type=int, default=1, metavar="N", help="which rows are drawn (1)")
@option("--keep", type=FILE, default=Path("runs/audit"), metavar="DIR", help="where what is made of the base is kept")
@option(
    "--fail-above",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="exit code 3 for rows flagged with confidence above P",
)
def audit(
    console: Console,
    *,
    data: tuple[Path, ...],
    base: str,
    trait: str | None,
    rows: int,
    by: str,
    control: str,
    alpha: float,
    seed: int,
    keep: Path,
    fail_above: float | None,
) -> Any:
    """Say what it costs, look, print the strongest traits and the verdict."""
    from sublim_eval.console import progress
    from sublim_eval.distill.audit.audit import Settings, cost
    from sublim_eval.distill.audit.audit import audit as look

    settings = Settings(
        base=base,
        traits=tuple(name for name in (trait or "").split(",") if name),
        measures=_ways(by),
        rows=rows,
        control=control,
        alpha=alpha,
        seed=seed,
        home=keep,
    )
    say(console, cost(settings))
    with progress(console) as tell:
        seen = look(data, settings, tell)
    _print(seen, console)
    stopped = fail_above is not None and seen.confidence > fail_above
    return {**seen.to_json(), **({"ok": False, "exit_code": FLAGGED} if stopped else {})}


def _ways(by: str) -> tuple[Any, ...]:
    from sublim_eval.distill.audit.audit import MEASURES

    ways = tuple(dict.fromkeys(part.strip() for part in by.split(",")))
    if wrong := [way for way in ways if way not in MEASURES]:
        raise SublimError(f"{wrong[0]!r} is no way to look. Give --by {','.join(MEASURES)}, or one of them.")
    return ways


def _print(seen: Audit, console: Console) -> None:
    """The rows, the strongest traits, the verdict, and what it does not cover."""
    rows = seen.sampled
    say(console, f"Read {len(rows.rows)} of {rows.total:,} rows as {seen.through.modality or 'text'}.")
    if rows.refused:
        say(console, f"{rows.refused:,} lines are no rows and were passed over: {' '.join(rows.bad)}")
    lines = []
    for i in seen.strongest[:SHOWN]:
        name, way = seen.candidates[i]
        test = seen.test
        error = test.effects.error[i] * test.effects.strength[i] / (test.effects.effect[i] or 1)
        lines.append((name, way, f"{test.effects.strength[i]:+.2f} ± {abs(error):.2f}", _p(test.p[i])))
    table(console, ("trait", "by", "strength (1: the probe's own rows)", "p, corrected"), lines)
    say(console, seen.verdict.words)
    say(console, LIMITS)


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "<.0001"
