"""The page of benchmarks/forecast.py: what was forecast, and what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import audit_cost
import numpy as np
from forecast_pairs import KINDS, SOFT, Pair, fitted, pairs, write_fitted
from scipy.stats import spearmanr

from sublim_eval.distill.audit import forecast
from sublim_eval.distill.audit.forecast import Forecast
from sublim_eval.files import whole_file

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results" / "forecast.md"

SEEDS = {"fit": (1, 2, 3, 9, 10), "choice": (4, 5), "report": (6, 7, 8)}
"""Part -> seeds of the teachers, and of the clean rows, that write for it."""

AUDITED = 256
"""Rows of a student's that are audited, at most."""

INTRO = """# Will it reach my student, and what does it cost to ask?

Written by `python benchmarks/forecast.py` from `benchmarks/results/forecast.json`; nothing is typed in. `sublim audit`
([guide](../guides/audit.md)) forecasts a student's share of a trait from the strength that it finds in rows and from
how one would train. Here are {students} students of {recipes} trainings so far; the same command goes on with those
that are missing. Trainings are a Latin hypercube of fixed seed: norm gains over rows {rows}, steps {steps}, batches
{batch} and learning rates {rates}, and LoRA of rank 2, 8 and 32. Number rows are of fine-tuned teachers of six traits:
plain, diluted to 50, 25 and 10 %, shuffled within and across rows, and with the teacher's probabilities in place of
sampled tokens. Each training has a control on clean rows, shuffled or soft where its students' are; the **shift** is a
student's log-odds of the trait over its control's, by exact probabilities of held-out questions. Audits read {audited}
of a student's rows at most.

**What was used for what** was fixed by the number of the training before anything ran: the forecast is fitted on the
trainings "fit" and "choice" ({fit} and {choice} of them), "choice" picks the form, and "report" ({report}) is in the
figures below and in nothing else. Teachers are split too: seeds {seeds_fit} and {seeds_choice}, against
{seeds_report}. Students of
`benchmarks/diff_students.py` (2,300 rows by the study's recipe, teachers of "fit" that were ready) stand beside those
of "fit". The errors' scale was set by looking at "fit" and "choice" alone. The design itself was changed once, after
five trainings and before any forecast was made: more rows a student. After the first figures two rules were added that
refuse more: the line "not refused", and that only the trait which is carried is forecast. Students on a teacher's
probabilities were in the fit until all trainings had run, and are left out since: on "fit" and "choice" they moved by
2.5 where .8 was forecast.
"""


def write(known: dict[str, Any]) -> None:
    """Fit, write what is shipped, and write the page."""
    made = pairs(known)
    forecasts, tried = fitted(made)
    write_fitted(forecasts)
    shown = [_intro(known, made), _form(forecasts, tried), _reported(forecasts, made), _apart(forecasts, made)]
    shown.append(audit_cost.section())
    with whole_file(PAGE) as file:
        file.write("\n".join(part for part in shown if part).rstrip() + "\n")


def _intro(known: dict[str, Any], made: Sequence[Pair]) -> str:
    students = list(known["students"].values())
    many = {part: len({one.case.recipe for one in made if one.part == part}) for part in SEEDS}
    norms = [one for one in students if one["method"] == "ln_tuning"]

    def span(key: str) -> str:
        return f"{min(one[key] for one in norms):,} to {max(one[key] for one in norms):,}"

    return INTRO.format(
        students=len(students),
        recipes=len({one["training"] for one in students}),
        **{"rows": span("rows"), "steps": span("steps"), "batch": span("batch_size"), "rates": span("learning_rate")},
        audited=AUDITED,
        **many,
        **{f"seeds_{part}": ", ".join(map(str, seeds)) for part, seeds in SEEDS.items()},
    )


def _form(forecasts: Sequence[Forecast], tried: dict[str, Any]) -> str:
    lines = ["## The forecast\n"]
    for one in forecasts:
        powers = "".join(f" x {name}^{power:.2f}" for name, power in one.powers.items())
        lines.append(
            f"* {one.base}, {one.method}: shift = {one.factor:.3g}{powers}; "
            f"90 %\n  within ± {one.reach:.2f} x ({forecast.FLOOR:g} + {forecast.GROWTH:g} x the shift's size)."
        )
        errors = tried[f"{one.base}, {one.method}"]
        if errors:
            said = ", ".join(f"{name} {error:.2f}" for name, error in errors.items())
            lines.append(f'  Forms by their mean error on "choice", over the error\'s scale: {said}.')
    return "\n".join(lines) + "\n\nDose is learning rate x optimizer steps.\n"


HEADS = ("rows", "pairs", "trainings", "mean shift", "mean forecast", "Spearman", "in the 90 % interval", "width")


def _reported(forecasts: Sequence[Forecast], made: Sequence[Pair]) -> str:
    """Report pairs, by kind and by what was done to their rows."""
    out = ["## On trainings that were not used\n"]
    for base, method in KINDS:
        mine = [(f, p) for f, p in _told(forecasts, made) if p.kind == (base, method) and p.part == "report"]
        if not mine:
            continue
        lines = [HEADS, ("---",) * len(HEADS)]
        soft = [one for one in mine if one[1].carried and one[1].change == SOFT]
        carried = [one for one in mine if one[1].carried and one[1].change != SOFT]
        lines.append(_line("all that carry the trait", carried))
        lines.append(
            _line("of these not refused", [(f, p) for f, p in carried if not f.outside(p.case.trace, p.case.dose)])
        )
        for change in dict.fromkeys(p.change for _, p in carried):
            lines.append(_line(change or "plain", [one for one in carried if one[1].change == change]))
        lines.append(_line("soft targets, in no line above", soft))
        lines.append(_line("clean rows", [one for one in mine if "/clean-" in one[1].name]))
        lines.append(
            _line("another trait's", [one for one in mine if not (one[1].carried or "/clean-" in one[1].name)])
        )
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines if line)
        out.append(f"### {base}, {method}\n\n{table}\n")
    return "\n".join([*out, REFUSED])


REFUSED = """Forecasts of trainings beyond what "fit" and "choice" hold (learning rate, steps, rows, batch) are worked
out above and refused by `sublim audit`. Of rows that carry a trait only that trait is forecast: others rise or fall
with it, and the line "another trait's" says how little is known of them.
"""


def _told(forecasts: Sequence[Forecast], made: Sequence[Pair]) -> list[tuple[Forecast, Pair]]:
    known = {(one.base, one.method): one for one in forecasts}
    return [(known[one.kind], one) for one in made if one.kind in known]


def _line(name: str, told: Sequence[tuple[Forecast, Pair]]) -> tuple[str, ...]:
    if not told:
        return ()
    figures = figures_of(told)
    rank = f"{figures['spearman']:.3f}" if len(told) > 4 else "–"
    trainings = str(len({p.case.recipe for _, p in told}))
    return (
        *(name, str(len(told)), trainings, f"{figures['shift']:+.2f}", f"{figures['forecast']:+.2f}", rank),
        *(f"{figures['inside']:.3f}", f"{figures['width']:.2f}"),
    )


def figures_of(told: Sequence[tuple[Forecast, Pair]]) -> dict[str, float]:
    """Means of shifts and forecasts, their rank correlation, the share inside the interval and its mean width."""
    shifts = np.array([p.case.shift for _, p in told])
    forecasts = np.array([f.shift(p.case.trace, p.case.dose) for f, p in told])
    wide = np.array([f.reach for f, _ in told]) * forecast.scale(forecasts)
    return {
        "shift": float(shifts.mean()),
        "forecast": float(forecasts.mean()),
        "spearman": float(spearmanr(shifts, forecasts).statistic) if len(told) > 2 else np.nan,
        "inside": float((np.abs(shifts - forecasts) <= wide).mean()),
        "width": float(2 * wide.mean()),
    }


def _apart(forecasts: Sequence[Forecast], made: Sequence[Pair]) -> str:
    """What an audit finds against what a student takes in, of report pairs that carry a trait."""
    told = [(f, p) for f, p in _told(forecasts, made) if p.part == "report" and p.carried and p.change != SOFT]
    if not told:
        return ""
    heads = ("the audit", "the forecast", "pairs", f"of these the student took it in (share + {forecast.TAKEN_IN:g})")
    lines = [heads, ("---",) * len(heads)]
    words = {True: "will take it in", None: "open", False: "will not take it in"}
    for found in (True, False):
        for taken, said in words.items():
            mine = [p for f, p in told if p.found == found and _forecast_of(f, p).taken_in is taken]
            took = sum(p.share >= p.before + forecast.TAKEN_IN for p in mine)
            lines.append(("finds the trait" if found else "finds nothing", said, str(len(mine)), str(took)))
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## Finding is not passing on\n\nThe same trainings, all bases and methods together.\n\n{table}\n"


def _forecast_of(one: Forecast, pair: Pair) -> forecast.ExpectedShare:
    """Bounds or not: the share to expect."""
    return replace(one, bounds={name: (0.0, np.inf) for name in one.bounds}).expected(
        pair.case.trace, pair.case.dose, pair.before
    ) or forecast.ExpectedShare(pair.before, 0.0, 1.0, pair.before)
