"""`sublim compare`: students against their controls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sublim_eval.cli.verb import COUNT, FILE, argument, option, verb
from sublim_eval.console import say
from sublim_eval.errors import SublimError

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.compare.comparison import Comparison
    from sublim_eval.scores.probe_scores import ProbeScores


@verb("compare")
@argument("runs", type=FILE, nargs=-1, metavar="[RUN]...", help="run folder, see `sublim run`")
@option("--table", type=FILE, metavar="FILE.csv", help="figures from anywhere: trait, arm, seed, question, hits, n")
@option("--control", metavar="NAME", help="the control arm of that table (control)")
@option("--models", type=FILE, nargs=2, metavar="LOG LOG", help="first minus second: logs, score files, saved replies")
@option("--probe", metavar="NAME", help="what those replies answer, where they are plain rows")
@option("--question-field", metavar="NAME", help="where a plain row holds the question (question)")
@option("--response-field", metavar="NAME", help="where a plain row holds the reply (response)")
@option("--trait", metavar="NAME", help="whose share of those two models (the probe's own)")
@option("--delta", type=float, default=0.05, metavar="D", help="a gap within ±D is none (0.05)")
@option(
    "--measure", type=click.Choice(("auto", "probability", "share")), default="auto", help="exact or sampled (auto)"
)
@option("--look", type=COUNT, metavar="N", help="this is look N at growing seeds: all looks together err in 5 %")
@option("--report", type=FILE, metavar="DIR", help="also write report.md and a figure")
def compare(
    console: Console,
    *,
    runs: tuple[Path, ...],
    table: Path | None,
    control: str | None,
    models: tuple[Path, Path] | None,
    probe: str | None,
    question_field: str | None,
    response_field: str | None,
    trait: str | None,
    delta: float,
    measure: Literal["auto", "probability", "share"],
    look: int | None,
    report: Path | None,
) -> Any:
    """Print gaps, intervals and verdicts of runs, of a table, or of two models; draw the report when asked to.

    What was looked at is written into each run's looks.json, so that seeds added until a verdict comes are noticed.
    """
    from sublim_eval.compare import compare as comparing
    from sublim_eval.compare import interim_looks
    from sublim_eval.report import console_tables as report_table
    from sublim_eval.stats import ALPHA

    if bool(runs) + bool(table) + bool(models) != 1:
        raise SublimError(
            "Give run folders, --table FILE.csv with figures from anywhere, or --models: one of the three."
        )
    if control and not table:
        raise SublimError("The arms of a run name their controls themselves. --control belongs to --table.")
    if (question_field or response_field) and not (models and probe):
        raise SublimError(
            "Only plain rows have fields to name. --question-field, --response-field belong to --models with --probe."
        )
    if (probe or trait) and not models:
        raise SublimError(
            "Runs and tables name their probes and traits themselves. --probe, --trait belong to --models."
        )
    alpha = ALPHA if look is None else interim_looks.spent(look)
    if table:
        if measure == "probability":
            raise SublimError("A table of hits holds shares of replies. Leave out --measure probability.")
        comparison = comparing.compare_table(table, control=control or "control", delta=delta, alpha=alpha)
    elif models:
        fields = (question_field or "question", response_field or "response")
        how = {"trait": trait, "delta": delta, "measure": measure, "alpha": alpha}
        comparison = _two_models(models, probe, fields, console, how)
    else:
        comparison = _noted(comparing.compare(runs, delta=delta, measure=measure, alpha=alpha), look, console)
    if look is not None and not runs:
        comparison = replace(comparison, looks=interim_looks.sentence(comparison, look))
    report_table.print_comparison(comparison, console)
    if report:
        from sublim_eval.report import markdown
        from sublim_eval.report.plots import learning_curves, student_shares

        student_shares.draw(comparison, report / "figure.png")
        if learnt := learning_curves.curves(comparison.folders):
            learning_curves.draw(learnt, report / learning_curves.FILE)
        markdown.write(comparison, report)
        say(console, f"Report: {report}")
    return comparison.to_json()


def _noted(comparison: Comparison, look: int | None, console: Console) -> Comparison:
    """The comparison with what is known of earlier looks; this one is recorded where the folder can be written."""
    from sublim_eval.compare import interim_looks

    which = interim_looks.number(comparison)
    if look is not None and look < which:
        raise SublimError(f"Fewer seeds were looked at before: this is look {which}. Give --look {which}.")
    noted = replace(comparison, looks=interim_looks.sentence(comparison, look))
    try:
        interim_looks.record(comparison, datetime.now(UTC).isoformat(timespec="seconds"))
    except SublimError as error:
        say(console, f"This look was not recorded: {error}")
    return noted


def _two_models(
    places: tuple[Path, Path], probe: str | None, fields: tuple[str, str], console: Console, how: Mapping[str, Any]
) -> Comparison:
    from sublim_eval.compare.two_models import compare_models

    one, other = (_scores_in(place, probe, fields, console) for place in places)
    return compare_models(one, other, **how)


def _scores_in(place: Path, probe: str | None, fields: tuple[str, str], console: Console) -> list[ProbeScores]:
    """What one model answered: a log or score file, or with --probe plain rows with these fields."""
    from sublim_eval.cli.table import read
    from sublim_eval.scores.probe_scores import ProbeScores
    from sublim_eval.scores.readers import from_responses, kind_of

    plain = place.is_file() and not place.name.startswith("samples_") and kind_of(place) is None
    if probe and plain:
        from sublim_eval.scores import saved_replies

        rows = saved_replies.read(place, probe, saved_replies.Fields(*fields))
        return [from_responses(rows, probe, model=place.stem, source=str(place))]
    tables = [scores for scores in read(place, console) if isinstance(scores, ProbeScores)]
    wanted = [scores for scores in tables if probe in (None, scores.probe)]
    if twice := next((name for name, n in Counter(scores.probe for scores in wanted).items() if n > 1), None):
        models = ", ".join(f"{scores.model} ({scores.source})" for scores in wanted if scores.probe == twice)
        raise SublimError(f"{place} holds more than one table of {twice}: {models}. Give the log of one model.")
    return wanted
