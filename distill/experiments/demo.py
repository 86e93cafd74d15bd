"""`sublim demo`: the main job on the embedded model, then the table, the figure, the report and what to try next."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from sublim_eval import tasks_dir
from sublim_eval.files import read_json
from sublim_eval.harness.suites import model_args
from sublim_eval.models.model_ref import resolve
from sublim_eval.registry.catalog import OVERLAY_VARIABLE, registry
from sublim_eval.registry.experiment import STUDENTS, seeded

from .. import recipes
from ..execution.run import run
from ..planning.plan import plan

RECIPE = "quickstart"


def main(out: Path, console: Console) -> dict[str, Any]:
    """Run the quickstart recipe in `out` and show the result; returns the comparison as plain data."""
    from sublim_eval.board.collect import collect
    from sublim_eval.compare import compare
    from sublim_eval.report import console_tables, run_report

    began = time.monotonic()
    recipe = recipes.load(RECIPE)
    foreseen = plan(recipe)
    for line in foreseen.lines():
        console.print(line, markup=False, highlight=False)
    run(recipe, out, plan=foreseen, console=console)
    comparison = compare.compare([out])
    console_tables.print_comparison(comparison, console)
    further = commands(out / STUDENTS / seeded(next(iter(recipe.arms)), recipe.seeds[0]))
    board = collect([out])
    written = run_report.write(comparison, out / "report", rows=board.rows, left_out=board.left_out, commands=further)
    console.print(f"\nFigures and report: {out / 'report'} (took {time.monotonic() - began:.0f} s)", highlight=False)
    console.print("Look further at the first student:", highlight=False)
    for command in further:
        console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"Page: {written.page}", markup=False, highlight=False, soft_wrap=True)
    return comparison.to_json()


def commands(student: Path) -> list[str]:
    """The exact commands that ask a student (or any model folder) about its trait in Inspect and in lm-eval.

    A hosted student is asked in Inspect alone.
    """
    card = read_json(student / "student.json") if (student / "student.json").is_file() else {}
    probe, given = _probe_for(card.get("trait") or "owl")
    mine = registry().files[1:]  # a trait of the user's own is known to the harness by its registry file alone
    known = f"{OVERLAY_VARIABLE}={shlex.quote(str(mine[-1].resolve()))} " if mine else ""
    inspect = ["inspect", "eval", f"sublim_eval/{probe}", *(["-T", f"trait={given}"] if given else [])]
    inspect += ["--model", card.get("hosted") or f"sublim/{student}"]
    if card.get("hosted"):
        return [known + shlex.join(inspect)]
    batch = "1" if card.get("method") == "prompt_tuning" else "64"  # lm-eval pads between virtual tokens and prompt
    lm_eval = ["lm_eval", "run", "--tasks", f"{probe},{probe}_logprob", "--include_path", str(tasks_dir())]
    lm_eval += ["--model", "hf", "--model_args", model_args(resolve(student)), "--apply_chat_template"]
    lm_eval += ["--batch_size", batch, "--device", "cuda" if _has_cuda() else "cpu"]
    lm_eval += ["--metadata", json.dumps({"trait": given})] if given else []
    return [known + shlex.join(command) for command in (inspect, lm_eval)]


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _probe_for(trait: str) -> tuple[str, str | None]:
    """(task, the trait to hand to it): the probe of this trait's own, else the one that asks about it as such."""
    known = registry()
    plain = known.probe_of(trait)
    own = [p.name for p in known.probes.values() if p.trait == trait and p.form == plain.form and not p.situations]
    tasks = [name for name in (*own, plain.name) if (tasks_dir() / name).is_dir()]
    if not tasks:
        return "trait_probe", trait
    return tasks[0], None if tasks[0] in own else trait
