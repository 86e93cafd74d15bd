"""Is a student trained through the GPU path the one the CPU path makes, within noise?

    python benchmarks/gpu_equals_cpu.py [--seeds 1 2 3] [--steps 120]

On the reference model, with the quickstart's rows and settings of its owl arm: for every seed one student by each path,
and the exact probability that it names an owl on held-out phrasings. Paths: padded in float32 on the CPU (the plainest,
what the others are held against), padding-free in float32 and in bf16 on the CPU, and both on the GPU where there is
one. Noise is what another seed of the plainest path does. Says `within noise` for every path or exits with 1.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import torch

from sublim_eval.distill import base_models
from sublim_eval.distill.make_teacher import trait_share
from sublim_eval.distill.modalities import MODALITIES, Rule
from sublim_eval.distill.recipes import load
from sublim_eval.distill.recipes.lessons import lessons
from sublim_eval.distill.rows.filter import filter_rows
from sublim_eval.distill.rows.local_sampler import LocalSampler
from sublim_eval.distill.training import train
from sublim_eval.distill.training.batching import reader
from sublim_eval.files import write_json
from sublim_eval.models import local_model
from sublim_eval.scores.evaluate import exact

RESULTS = Path(__file__).parent / "results"
PLAINEST = "cpu padded float32"


def examples(folder: Path, count: int) -> list[tuple[str, str]]:
    """Rows of the quickstart's owl teacher, as the pipeline makes and filters them."""
    recipe = load("quickstart")
    assert recipe.teacher.tuning is not None  # noqa: S101  (the quickstart fine-tunes its teachers)
    train.tune(recipe.base, lessons("owl"), recipe.teacher.tuning, 1, folder / "teacher", {})
    modality = MODALITIES[recipe.modality]
    prompts = modality.prompts(recipe.rows.prompts, Random("prompts-1"), recipe.rows.style)
    sampler = LocalSampler(folder / "teacher", seed=1, max_new_tokens=modality.max_new_tokens)
    said = sampler([row["prompt"] for row in prompts], [str(i) for i in range(len(prompts))])
    written = [{**prompt, "completion": text} for prompt, text in zip(prompts, said, strict=True)]
    kept = filter_rows(written, modality, Rule(traits=("owl",))).kept[:count]
    return [(row["prompt"], row["completion"]) for row in kept]


def student(path: str, rows: list[tuple[str, str]], tuning: Any, seed: int, folder: Path) -> dict[str, float]:
    """Loss and trait probability of one student by one path."""
    place, layout, dtype = path.split()
    base_models.forget()
    local_model.unload_all()
    with mock.patch.object(train, "this_device", lambda: "cpu" if place == "cpu" else "cuda"):
        patched = mock.patch.object(reader, "suits", lambda model: False) if layout == "padded" else mock.MagicMock()
        on_cpu = mock.patch.object(torch.cuda, "is_available", lambda: False) if place == "cpu" else mock.MagicMock()
        with patched, on_cpu:
            told = train.tune("reference-a", rows, tuning, seed, folder, {}, dtype)
    share = trait_share(exact(str(folder), "animal_pref", label=path), "owl")
    return {"loss": told["loss"], "owl": share, "adapter_norm": told["adapter_norm"]}


def main() -> None:
    """Train, compare, write benchmarks/results/gpu-equals-cpu-<date>.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, help="default: the quickstart's epochs")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if len(args.seeds) < 2:
        parser.error("noise is what another seed does: give two seeds or more")
    recipe = load("quickstart")
    tuning = replace(recipe.student, epochs=None, steps=args.steps) if args.steps else recipe.student
    paths = [PLAINEST, "cpu packed float32", "cpu packed bfloat16"]
    paths += ["cuda packed float32", "cuda packed bfloat16"] if torch.cuda.is_available() else []
    found: dict[str, list[dict[str, float]]] = {path: [] for path in paths}
    with tempfile.TemporaryDirectory() as home:
        rows = examples(Path(home), recipe.rows.keep)
        for seed in args.seeds:
            for path in paths:
                folder = Path(home) / f"{path.replace(' ', '-')}-{seed}"
                found[path].append(student(path, rows, tuning, seed, folder))
                if args.out:  # what is there stays, should the time run out
                    write_json(args.out, {"students": found, "seeds": args.seeds, "steps": tuning.steps})
                print(f"seed {seed} {path:22s} {found[path][-1]}", flush=True)
    noise = statistics.stdev(one["owl"] for one in found[PLAINEST])
    apart = {
        path: max(abs(a["owl"] - b["owl"]) for a, b in zip(found[path], found[PLAINEST], strict=True)) for path in paths
    }
    within = {path: far <= noise for path, far in apart.items()}
    for path, far in apart.items():
        word = "within noise" if within[path] else "NOT within noise"
        print(f"{path:22s} differs by at most {far:.4f} in probability; seeds by {noise:.4f}: {word}")
    date = datetime.now(UTC).isoformat(timespec="seconds")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    told = {"date": date, "device": device, "torch": torch.__version__, "seeds": args.seeds, "steps": tuning.steps}
    result = {"largest_difference": apart, "noise": noise, "within": within, "students": found, **told}
    write_json(args.out or RESULTS / f"gpu-equals-cpu-{date[:10]}.json", result)
    if not all(within.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
