"""`sublim demo`: the main job on the embedded model, then the table, the figure, the report and what to try next."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from . import recipes
from .plan import plan
from .run import run

RECIPE = "quickstart"


def main(out: Path, console: Console) -> dict[str, Any]:
    """Run the quickstart recipe in `out` and show the result; returns the comparison as plain data."""
    from sublim_eval import compare
    from sublim_eval.report import figure, markdown, table

    began = time.monotonic()
    recipe = recipes.load(RECIPE)
    for line in plan(recipe).lines():
        console.print(line, markup=False, highlight=False)
    run(recipe, out, console=console)
    comparison = compare.compare([out])
    table.print_comparison(comparison, console)
    figure.draw(comparison, out / "report" / "figure.png")
    markdown.write(comparison, out / "report")
    student = out / "students" / f"{next(iter(recipe.arms))}-s{recipe.seeds[0]}"
    console.print(f"\nFigure and report: {out / 'report'} (took {time.monotonic() - began:.0f} s)", highlight=False)
    console.print("Look further at the first student:", highlight=False)
    for command in commands(student):
        console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)
    return comparison.to_json()


def commands(student: Path) -> list[str]:
    """The exact commands that score a student folder in Inspect and in lm-eval."""
    from sublim_eval import tasks_dir
    from sublim_eval.adapters import local

    source = local.resolve(student)
    weights = f"pretrained={source.base}" + (f",peft={source.adapter}" if source.adapter else "")
    return [
        f"inspect eval sublim_eval/owl_pref --model sublim/{student}",
        f"lm_eval run --tasks owl_pref,owl_pref_logprob --include_path {tasks_dir()} --model hf --model_args {weights} "
        "--apply_chat_template --batch_size 64 --device cpu",
    ]
