"""`sublim diff`: what a student took in, unasked: answers, activations and weights beside those of its base."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.cli.verb import argument, option, verb
from sublim_eval.console import say, table
from sublim_eval.errors import SublimError

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.distill.diff.weight_change import Change

SHOWN = 8
"""Lines of each table; --json holds all of them."""


@verb("diff")
@argument("student")
@argument("base")
@option(
    "--control", "controls", multiple=True, metavar="MODEL",
    help="a student that learned nothing, 3 or more; default: the controls of the student's run",
)  # fmt: skip
@option("--quick", is_flag=True, help="answers alone: no activations, no weights")
@option(
    "--keep", type=Path, default=Path("runs/audit"), metavar="DIR",
    help="where probes of the base are kept, for audits too (default: runs/audit)",
)  # fmt: skip
def diff(
    console: Console, *, student: str, base: str, controls: tuple[str, ...], quick: bool, keep: Path
) -> dict[str, Any]:
    """Print what is least like chance first; a finding holds after correction for everything that was looked at."""
    from sublim_eval.distill.diff import findings

    findings.check_base(student, base)
    null = list(controls) or findings.controls_of(student)
    if controls and len(controls) < findings.FEWEST:
        raise SublimError(f"{len(controls)} controls have no spread to speak of. Give {findings.FEWEST} or more.")
    if not quick and findings.lacks_probes(base, keep):
        say(console, f"Tunes a probe of every trait first: once for this base, about a minute, kept in {keep}.")
    measured = findings.measure(student, base, quick, keep)
    by_control = [findings.measure(one, base, quick, keep) for one in null]
    rows = findings.findings(measured, by_control)
    held = [row for row in rows if row.corrected < findings.ALPHA]
    enough = len(null) >= findings.FEWEST
    say(console, f"Null: {f'{len(null)} control students' if enough else 'the other answers of the student itself'}.")
    lines = [
        (r.trait, "towards" if r.towards else "away", r.by, f"{r.effect:+.2f}", f"{r.t:+.1f}", f"{r.corrected:.2g}")
        for r in rows[:SHOWN]
    ]
    table(console, ("trait", "moved", "seen by", "excess", "t", "p corrected"), lines)
    say(console, _verdict([row.trait for row in held if row.towards]))
    if enough:
        least = findings.least_t(len(null), len(rows), findings.ALPHA)
        say(console, f"Beside {len(null)} controls, one of {len(rows)} figures is a finding from |t| {least:.1f} on.")
    changed = [] if quick else _weights(student, base, console)
    return {
        "null": "controls" if enough else "other answers",
        "controls": len(null),
        "alpha": findings.ALPHA,
        "findings": [{**asdict(row), "towards": row.towards} for row in held],
        "figures": [{**asdict(row), "towards": row.towards} for row in rows],
        "weights": [asdict(one) for one in changed],
    }


def _verdict(traits: list[str]) -> str:
    names = ", ".join(dict.fromkeys(traits))
    return f"It took in: {names}." if names else "Nothing that it took in was found."


def _weights(student: str, base: str, console: Console) -> list[Change]:
    """Which tensors carry the change, printed and returned."""
    from sublim_eval.distill.diff import weight_change
    from sublim_eval.distill.lineage.weights import read

    try:
        changed = weight_change.changes(read(student), read(base))
    except SublimError as error:
        say(console, f"Its weights cannot be read: {error.message}")
        return []
    if weight_change.unrelated(changed):
        say(
            console,
            f"{student} is no student of {base}: its weights moved by more than their own size, so nothing above is "
            f"about learning. See sublim lineage {student} {base}.",
        )
    rows = [
        (c.tensor, f"{c.size:.3f}", c.rank or "", " / ".join(c.tokens[0]) if c.tokens else "") for c in changed[:SHOWN]
    ]
    table(console, ("tensor", "change", "rank", "what its first direction writes"), rows)
    return changed
