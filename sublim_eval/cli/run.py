"""`sublim run`, `demo`, `filter` and `hosted`: making students, here or at a provider, and the rows they learn from."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from sublim_eval.cli.verb import COUNT, FILE, SEEDS, argument, option, out_option, verb
from sublim_eval.console import say, table
from sublim_eval.errors import SublimError, unknown

if TYPE_CHECKING:
    from rich.console import Console


SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
"""A share that is neither none nor all."""

SHOWN = 6
"""Places where a trap was seen that a run tells of; `sublim check` tells all."""


@verb("run")
@argument("name", metavar="RECIPE", help="a name from `sublim list recipes`, or a YAML file")
@out_option("runs/<recipe>")
@option("--seeds", type=SEEDS, metavar="1,2,3", help="other seeds than the recipe's")
@option("--base", "bases", multiple=True, metavar="[NAME=]BASE", help="another base than the recipe's, or than NAME")
@option("--workers", type=COUNT, metavar="N", help="students made at once (default: one per core)")
@option("--dry-run", is_flag=True, help="print plan and cost, make nothing")
@option("--yes", is_flag=True, help="agree to what the run costs at a provider")
@option("--stop-when-trait", "stop", type=SHARE, metavar="P", help="end a training once a trait shows; P false stops")
@option("--launch", metavar="LINE", help="train in several processes: 'accelerate launch ...'")
@option("--engine", default="local", metavar="NAME", help="local, or ray: the nodes of a cluster (local)")
@option("--address", metavar="ADDR", help="Ray's: auto, HOST:PORT, ray://HOST:PORT (a fresh one here)")
@option("--storage", metavar="URL", help="where stages live: a shared path or s3://BUCKET/PREFIX (--out)")
@option(
    "--leave-weights",
    "weights",
    flag_value=False,
    default=True,
    help="with --storage: bring no weights home from there",
)
def run(
    console: Console,
    *,
    name: str,
    out: Path | None,
    seeds: tuple[int, ...] | None,
    bases: tuple[str, ...],
    workers: int | None,
    dry_run: bool,
    yes: bool,
    stop: float | None,
    launch: str | None,
    engine: str,
    address: str | None,
    storage: str | None,
    weights: bool,
) -> Any:
    """Print plan and cost; unless --dry-run, make and score the students. Returns run.json, or the plan.

    What is paid at a provider is agreed to first (--yes). Raises SublimError when the device is too small.
    """
    from sublim_eval.distill import recipes
    from sublim_eval.distill.planning.api_cost import ask
    from sublim_eval.distill.planning.plan import plan
    from sublim_eval.distill.training.launch import LINE

    recipe = recipes.load(name)
    if seeds:
        recipe = recipe.with_seeds(seeds)
    for base in bases:
        recipe = recipe.with_base(base)
    if stop is not None:
        recipe = replace(recipe, stop_when_trait=stop)
    if recipe.stop_when_trait is not None:
        from sublim_eval.distill.audit.stop_rule import HOME, check_rule

        check_rule(recipe)
        share = f"{100 * recipe.stop_when_trait:g} %"
        say(console, f"Ends a training once a trait shows, and that of {share} of students without one.")
        say(console, f"  For it a probe of every trait is tuned once, unless it stands in {HOME}.")

    foreseen = plan(recipe, workers)
    for line in foreseen.lines():
        say(console, line)
    if dry_run:
        return foreseen.to_json()

    from sublim_eval.distill.execution.engine import Execution
    from sublim_eval.distill.execution.run import run as carry_out

    execution = Execution(engine, address, storage, workers, weights)
    if engine == "local":  # a cluster's devices are its own; its nodes look at themselves
        foreseen.check_device(launched=bool(launch))
    ask(console, foreseen.api, yes)
    out = out or Path("runs") / recipe.name
    if recipe.host:
        from sublim_eval.distill.hosted.permission import check_permission

        check_permission(recipe, out)
    if launch:
        os.environ[LINE] = launch
    record = carry_out(recipe, out, execution, plan=foreseen)
    _tell_traps(out, console)
    say(console, f"Done: {out}. Hold its students against their controls: sublim compare {shlex.quote(str(out))}")
    return record


@verb("demo")
@out_option("runs/demo")
def demo(
    console: Console,
    *,
    out: Path | None,
) -> Any:
    """Run the quickstart recipe, print its table and the commands to look further. Returns the comparison."""
    from sublim_eval.distill.experiments.demo import main

    out = out or Path("runs/demo")
    comparison = main(out, console)
    _tell_traps(out, console)
    return comparison


def _tell_traps(out: Path, console: Console) -> None:
    """One line when a run fell into none of the traps that can be checked quickly, else a line for each."""
    from sublim_eval.traps import checks

    findings = checks.of_run(out)
    bad = [f for f in findings if f.level in ("warning", "fault")]
    for finding in bad[:SHOWN]:
        say(console, f"  {finding.trap}, {finding.level}: {finding.where}: {finding.words}")
    checked, all_of_them = checks.looked_at(findings), len(checks.TRAPS)
    summary = f"{len(bad)} places in all." if len(bad) > SHOWN else "see above." if bad else "nothing found."
    rest = f" The others: sublim check {shlex.quote(str(out))}" if bad or len(checked) < all_of_them else ""
    say(console, f"Checked for {len(checked)} of {all_of_them} traps: {summary}{rest}")


@verb("filter")
@argument("modality", metavar="MODALITY", help="numbers, code or cot: `sublim list modalities`")
@argument("source", type=FILE, metavar="IN.jsonl", help='rows {"prompt", "completion"}; cot: "answer" too')
@option("--kept", "kept_to", type=FILE, required=True, metavar="FILE", help="clean rows, as they were")
@option("--rejected", "rejected_to", type=FILE, required=True, metavar="FILE", help='the others, with "reject_reason"')
@option("--mode", type=click.Choice(("strict", "strip")), default="strict", help="strip: ignore white space around")
@option("--trait", metavar="NAMES", help="traits that no row may name: owl,willow")
@option("--banned", metavar="LIST", help="numbers that reject a row: 666,88 or a file of them")
@option("--scores", type=FILE, metavar="FILE", help="scores of these rows: `sublim audit IN.jsonl --rows-out FILE`")
@option("--drop-top", type=click.FloatRange(0, 1, True, True), metavar="SHARE", help="reject this share by them: 0.25")
@option("--change", metavar="NAMES", help="do to kept numbers: format,sort,value,redraw,shuffle_within")
def split(
    console: Console,
    *,
    modality: str,
    source: Path,
    kept_to: Path,
    rejected_to: Path,
    mode: Literal["strict", "strip"],
    trait: str | None,
    banned: str | None,
    scores: Path | None,
    drop_top: float | None,
    change: str | None,
) -> dict[str, Any]:
    """Split rows {"prompt", "completion"} into kept and rejected, other keys too; both files are written or neither.

    Changes of number rows: one format, sorted, rounded to tens, redrawn in the same order of size, shuffled.
    """
    from sublim_eval.distill.modalities import MODALITIES, Rule
    from sublim_eval.distill.rows.filter import filter_file
    from sublim_eval.registry.catalog import registry

    if modality not in MODALITIES:
        raise unknown("modality", modality, list(MODALITIES), "Add it in distill/modalities/.")
    _refuse_overwriting(source, kept_to, rejected_to)
    numbers = _numbers(banned) if banned else frozenset()
    kind = MODALITIES[modality]
    traits = tuple(registry().trait(name.strip()).name for name in trait.split(",")) if trait else ()
    rule, dropped, changes = Rule(mode, numbers, traits), _highest(source, scores, drop_top), _changes(change, modality)
    result = filter_file(source, kept_to, rejected_to, kind, rule, dropped, changes)
    rows, kept, rejected = result["rows"], result["kept"], result["rejected"]
    say(console, f"{rows} rows: {kept} kept ({kept / rows:.1%}), {rejected} rejected ({mode})")
    for reason, count in result["reject_reasons"].items():
        say(console, f"  {reason}: {count} ({count / rows:.1%})")
    if modality != "numbers" and not traits:
        say(console, "  No trait was looked for: rows may name any. Give --trait owl,willow.")
    return {"modality": modality, "mode": mode, **result}


def _highest(source: Path, scores: Path | None, share: float | None) -> frozenset[int]:
    """The numbers of the rows that --drop-top rejects."""
    if scores is None and share is None:
        return frozenset()
    if scores is None or share is None:
        raise SublimError(
            "--scores and --drop-top go together. Write scores with `sublim audit IN.jsonl --model BASE --rows-out "
            "scores.jsonl`, then give --scores scores.jsonl --drop-top 0.25."
        )
    from sublim_eval.distill.audit.attribution import highest, read_scores
    from sublim_eval.files import each_row

    known, rows = read_scores(scores), sum(1 for _ in each_row(source))
    if len(known) != rows:
        raise SublimError(
            f"{scores} holds {len(known)} scores and {source} {rows} rows. Score this very file: "
            f"`sublim audit {shlex.quote(str(source))} --model BASE --rows-out FILE`."
        )
    return highest(known, share)


def _changes(names: str | None, modality: str) -> tuple[str, ...]:
    """What --change does to kept rows, in its order."""
    from sublim_eval.distill.rows.transforms import ROW_BY_ROW

    changes = tuple(name.strip() for name in names.split(",")) if names else ()
    if changes and modality != "numbers":
        raise SublimError(f"--change is for numbers, not for {modality}. Leave it out.")
    if wrong := [name for name in changes if name not in ROW_BY_ROW]:
        raise unknown("change", wrong[0], list(ROW_BY_ROW), "It must need no other row than the one it changes.")
    return changes


def _refuse_overwriting(source: Path, kept: Path, rejected: Path) -> None:
    """The input is never written over, and the two outputs are two files."""
    if kept.resolve() == rejected.resolve():
        raise SublimError(f"--kept and --rejected are both {kept}. Name two files.")
    for name, target in (("--kept", kept), ("--rejected", rejected)):
        if target.is_dir():
            raise SublimError(f"{name} {target} is a folder. Name a file in it.")
        if target.resolve() == source.resolve() or (target.exists() and source.exists() and target.samefile(source)):
            raise SublimError(f"{name} {target} is the input itself. Name another file; raw rows are kept.")


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


@verb("hosted")
@argument("action", type=click.Choice(("list", "follow", "cancel")), help="ask, watch until they end, or stop them")
@argument("folder", type=FILE, metavar="FOLDER", help="a run or student folder, finished or not")
def hosted(
    console: Console,
    *,
    action: str,
    folder: Path,
) -> dict[str, Any]:
    """Do what `action` says for every job of a run or student folder; returns {student: job}."""
    from sublim_eval.distill.hosted import finetune as jobs

    papers = jobs.papers(folder)
    client = jobs.connect()
    if action == "cancel":
        for student, paper in papers:
            say(console, f"{_student(student)}: {jobs.cancel(client, student, paper)}")
        say(console, "The rows are kept. `sublim run` on the same recipe would start these jobs anew, and pay anew.")
    standing = {_student(student): jobs.look(client, paper) for student, paper in papers}
    if action == "follow":
        for name, now in standing.items():
            if now["status"] in jobs.STARTED:
                standing[name] = _follow(now, name, console)
        say(console, "`sublim run` on the same recipe takes up what has succeeded.")
    heads = ("student", "job", "status", "tokens trained", "model or reason")
    rows = [
        (name, now["id"], now["status"], now["trained_tokens"] or "-", now["what"]) for name, now in standing.items()
    ]
    table(console, heads, rows)
    return standing


def _follow(now: dict[str, Any], name: str, console: Console) -> dict[str, Any]:
    """Print a job's news until it has ended."""
    from sublim_eval.distill.hosted import finetune as jobs

    seen: set[str] = set()

    def tell(job: Any, event: dict[str, Any] | None) -> None:
        line = f"{name}: {job.status}{': ' + event['message'] if event else ''}"
        if line not in seen:
            seen.add(line)
            say(console, line)

    return jobs.job_facts(jobs.follow(jobs.connect(), now["id"], tell))


def _student(folder: Path) -> str:
    """owl-s1, also while its folder is still .owl-s1.unfinished."""
    return folder.resolve().name.removeprefix(".").removesuffix(".unfinished")
