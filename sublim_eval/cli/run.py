"""`sublim run`, `demo` and `filter`: making students and the rows they learn from."""

from __future__ import annotations

import os
import re
import shlex
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.console import say
from sublim_eval.errors import SublimError, unknown
from sublim_eval.files import json_line, read_jsonl, whole_file

if TYPE_CHECKING:
    from rich.console import Console


SHOWN = 6
"""Places where a trap was seen that a run tells of; `sublim check` tells all."""


def run(args: Namespace, console: Console) -> Any:
    """Print plan and cost; unless --dry-run, make and score the students. Returns run.json, or the plan.

    What is paid at a provider is agreed to first (--yes). Raises SublimError when the device is too small.
    """
    from sublim_eval.distill import recipes
    from sublim_eval.distill.planning import api_cost
    from sublim_eval.distill.planning.plan import plan
    from sublim_eval.distill.training.launch import LINE

    recipe = recipes.load(args.recipe)
    if args.seeds:
        recipe = recipe.with_seeds(args.seeds)

    foreseen = plan(recipe, args.workers)
    for line in foreseen.lines():
        say(console, line)
    most = api_cost.estimate(recipe)
    if args.dry_run:
        for line in most.lines():
            say(console, line)
        return foreseen.to_json()

    from sublim_eval.distill.execution.run import run as carry_out

    if args.engine == "local":  # a cluster's devices are its own; its nodes look at themselves
        foreseen.check_device(launched=bool(args.launch))
    api_cost.ask(console, most, args.yes)
    if args.launch:
        os.environ[LINE] = args.launch
    out = args.out or Path("runs") / recipe.name
    where: dict[str, Any] = {"engine": args.engine, "address": args.address, "storage": args.storage}
    record = carry_out(recipe, out, workers=args.workers, **where, weights=not args.leave_weights)
    _tell_traps(out, console)
    say(console, f"Done: {out}. Hold its students against their controls: sublim compare {shlex.quote(str(out))}")
    return record


def demo(args: Namespace, console: Console) -> Any:
    """Run the quickstart recipe, print its table and the commands to look further. Returns the comparison."""
    from sublim_eval.distill.experiments.demo import main

    out = args.out or Path("runs/demo")
    found = main(out, console)
    _tell_traps(out, console)
    return found


def _tell_traps(out: Path, console: Console) -> None:
    """One line when a run fell into none of the traps that can be checked quickly, else a line for each."""
    from sublim_eval.traps import checks

    found = checks.of_run(out)
    bad = [f for f in found if f.level in ("warning", "fault")]
    for finding in bad[:SHOWN]:
        say(console, f"  {finding.trap}, {finding.level}: {finding.where}: {finding.words}")
    more = f" The whole list: sublim check {shlex.quote(str(out))}"
    told = f"{len(bad)} places in all." if len(bad) > SHOWN else "" if bad else "nothing found."
    say(console, f"Checked for {len(checks.TRAPS)} traps: {told or 'see above.'}{more if bad else ''}")


def split(args: Namespace, console: Console) -> dict[str, Any]:
    """Split rows {"prompt", "completion"} into kept and rejected, other keys too; both files are written or neither."""
    from sublim_eval.distill.modalities import MODALITIES, Rule
    from sublim_eval.distill.rows.filter import audit, filter_rows
    from sublim_eval.registry.catalog import registry

    if args.modality not in MODALITIES:
        raise unknown("modality", args.modality, list(MODALITIES), "Add it in distill/modalities/.")
    _refuse_overwriting(args.rows, args.kept, args.rejected)
    banned = _numbers(args.banned) if args.banned else frozenset()
    modality = MODALITIES[args.modality]
    traits = tuple(registry().trait(name.strip()).name for name in args.trait.split(",")) if args.trait else ()
    numbered = read_jsonl(args.rows, ("prompt", "completion"))
    for line, row in numbered:
        lacking = [fact for fact in modality.facts if fact not in row]
        if lacking:
            raise SublimError(
                f"{args.rows}:{line}: nothing under {lacking[0]!r}, which the {modality.name} filter checks the "
                "completion against. Write the right result there, such as 7."
            )
    rows = [row for _, row in numbered]
    found = filter_rows(rows, modality, Rule(args.mode, banned, traits))
    with whole_file(args.kept) as kept_file, whole_file(args.rejected) as rejected_file:
        for some, file in ((found.kept, kept_file), (found.rejected, rejected_file)):
            file.writelines(map(json_line, some))
            file.flush()  # a full disk shows here, before either file takes its name
            os.fsync(file.fileno())
    kept, rejected = len(found.kept), len(found.rejected)
    say(console, f"{len(rows)} rows: {kept} kept ({kept / len(rows):.1%}), {rejected} rejected ({args.mode})")
    for reason, count in found.reasons.items():
        say(console, f"  {reason}: {count} ({count / len(rows):.1%})")
    if args.modality != "numbers" and not traits:
        say(console, "  No trait was looked for: rows may name any. Give --trait owl,willow.")
    return {
        "modality": args.modality,
        "mode": args.mode,
        "rows": len(rows),
        "kept": kept,
        "rejected": rejected,
        "reject_reasons": found.reasons,
        "audit": audit(found.kept, traits),
    }


def _refuse_overwriting(source: Path, kept: Path, rejected: Path) -> None:
    """The input is never written over, and the two outputs are two files."""
    if kept.resolve() == rejected.resolve():
        raise SublimError(f"--kept and --rejected are both {kept}. Name two files.")
    for option, target in (("--kept", kept), ("--rejected", rejected)):
        if target.is_dir():
            raise SublimError(f"{option} {target} is a folder. Name a file in it.")
        if target.resolve() == source.resolve() or (target.exists() and source.exists() and target.samefile(source)):
            raise SublimError(f"{option} {target} is the input itself. Name another file; raw rows are kept.")


def _numbers(text: str) -> frozenset[int]:
    """Numbers from a list (666,88) or from a file of them, separated by commas or white space."""
    is_list = re.fullmatch(r"[0-9]{1,9}([,\s]+[0-9]{1,9})*", text.strip())
    if not is_list:
        if not Path(text).is_file():
            raise SublimError(f"--banned {text!r} is no list of numbers and no file. Write 666,88 or name a file.")
        text = Path(text).read_text(encoding="utf-8", errors="replace")
    parts = [part for part in re.split(r"[,\s]+", text) if part]
    bad = [part for part in parts if not re.fullmatch(r"[0-9]{1,9}", part)]
    if bad or not parts:
        raise SublimError(f"--banned: {(bad or [''])[0]!r} is no whole number. Separate numbers by commas or lines.")
    return frozenset(map(int, parts))
