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
    from sublim_eval.distill.audit.looking import Settings

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
@option("--by", default="probe,persona", metavar="WAYS", help="ways to look: probe, persona, gradient (the first two)")
@option("--words", is_flag=True, help="also take the rows in for a moment and name what rises, without a list")
@option("--teacher", "teachers", type=FILE, multiple=True, metavar="DIR", help="a suspected teacher's folder")
@option("--control", default="auto", metavar="FILE", help="rows known to carry nothing (auto: made by the tool)")
@option("--recipe", default="study-traits", metavar="NAME", help="how you would train, for the forecast (study-traits)")
@option("--epochs", type=click.FloatRange(0, min_open=True), metavar="N", help="the same, but so many epochs")
@option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), metavar="X", help="the same, but this learning rate"
)
@option("--fast", is_flag=True, help="blunter: an eighth of the cost on embedded bases, else half")
@option("--alpha", type=click.FloatRange(0, 1, True, True), default=0.01, metavar="P", help="false alarms (0.01)")
@option("--seed", type=int, default=1, metavar="N", help="which rows are drawn (1)")
@option("--keep", type=FILE, default=Path("runs/audit"), metavar="DIR", help="where what is made of the base is kept")
@option("--report", type=FILE, metavar="DIR", help="also write a page with a figure")
@option("--rows-out", type=FILE, metavar="FILE", help="also write a score for every row, of the strongest trait")
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
    words: bool,
    teachers: tuple[Path, ...],
    control: str,
    recipe: str,
    epochs: float | None,
    learning_rate: float | None,
    fast: bool,
    alpha: float,
    seed: int,
    keep: Path,
    report: Path | None,
    rows_out: Path | None,
    fail_above: float | None,
) -> Any:
    """Say what it costs, look, print the strongest traits and the verdict; write page and scores when asked to.

    Raises SublimError for anything named that is not there before it says what it costs.
    """
    from sublim_eval.console import progress
    from sublim_eval.distill.audit.audit import audit as look
    from sublim_eval.distill.audit.audit import cost, write_row_scores
    from sublim_eval.distill.audit.looking import Settings

    settings = Settings(
        base=base,
        traits=tuple(name for name in (trait or "").split(",") if name),
        measures=_ways(by),
        rows=rows,
        words=words,
        teachers=teachers,
        recipe=recipe,
        epochs=epochs,
        learning_rate=learning_rate,
        fast=fast,
        control=control,
        alpha=alpha,
        seed=seed,
        home=keep,
    )
    _check(data, settings)
    say(console, cost(settings))
    with progress(console) as tell:
        seen = look(data, settings, tell)
    _print(seen, console)
    if report:
        say(console, f"Page: {_report(seen, data, report)}")
    if rows_out:
        with progress(console) as tell:
            write_row_scores(data, seen, rows_out, tell)
        say(console, f"Scores of {seen.names[seen.strongest[0]]}, a line a row: {rows_out}")
    stopped = fail_above is not None and seen.confidence > fail_above
    return {**seen.to_json(), **({"ok": False, "exit_code": FLAGGED} if stopped else {})}


def _check(data: tuple[Path, ...], settings: Settings) -> None:
    from sublim_eval.distill.audit.audit import planned
    from sublim_eval.distill.audit.data import files_of
    from sublim_eval.models.model_ref import resolve

    resolve(settings.base)
    for teacher in settings.teachers:
        if not teacher.is_dir():
            raise SublimError(f"There is no folder {teacher}. Give the folder of a teacher that `sublim run` made.")
    planned(settings)
    for path in (*data, *([] if settings.control == "auto" else [Path(settings.control)])):
        files_of(path)


def _ways(by: str) -> tuple[Any, ...]:
    from sublim_eval.distill.audit.looking import MEASURES

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
        strength, error = seen.test.effects.strength[i], seen.test.errors[i]
        lines.append((*seen.candidates[i], f"{strength:+.2f} ± {error:.2f}", _p(seen.test.p[i]), _share(seen, i)))
    heads = ("trait", "by", "strength (1: the probe's own rows)", "p, corrected", "share of a student (90 %)")
    table(console, heads, lines)
    if seen.words:
        from sublim_eval.distill.audit.measures.open_set import FIRST

        told = ", ".join(f"{one.word} ({one.z:+.1f})" for one in seen.words[:FIRST])
        say(console, f"Of all words these rise most, in standard deviations of controls: {told}")
    say(console, seen.verdict.words)
    if seen.forecast:
        say(console, seen.forecast)
    say(console, LIMITS)


def _share(seen: Audit, i: int) -> str:
    told = seen.expected.get(seen.names[i])
    return f"{told.share:.2f} ({told.low:.2f} to {told.high:.2f})" if told else "no forecast"


def _report(seen: Audit, data: tuple[Path, ...], folder: Path) -> Path:
    """The page and its figure."""
    from sublim_eval.report import audit_report
    from sublim_eval.report.plots.audit_evidence import Seen

    test = seen.test
    traits = [
        Seen(seen.names[i], *(float(x[i]) for x in (test.effects.strength, test.errors, test.p, test.least)))
        for i in seen.strongest
    ]
    read = f"Read {len(seen.sampled.rows)} of {seen.sampled.total:,} rows as {seen.through.modality or 'text'}."
    about = f"Audit of {', '.join(file.name for file in data)} for {seen.settings.base}"
    notes = (read, LIMITS)
    return audit_report.write(
        traits, folder, title=about, alpha=seen.settings.alpha, verdict=seen.verdict.words, notes=notes
    )


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "<.0001"
