"""Speed on real models, beside what else one would use: scoring, exact probabilities, rows, training; two quiet cores.

    python benchmarks/real_speed.py                        # both models, 20 minutes; killed, it goes on where it was
    python benchmarks/real_speed.py --whole                # and `animal_pref` as `sublim score` runs it
    python benchmarks/real_speed.py --models smollm2-135m --tasks training --rounds 3
    python benchmarks/real_speed.py --quick --out /tmp/quick.json      # does every part run? its figures mean nothing

The models are the folders that benchmarks/real_base.py writes (default: /tmp/real/NAME). One process; the contenders of
a task in turn, `--rounds` times; every measurement goes into the result file as soon as it is there, with the load
average of that moment, and one that is there already is not taken again. Models are loaded and warmed up outside of the
clock. Peers that take long per reply are given fewer of them, and all are compared by what one unit costs.

Peers: Inspect's `hf/` and lm-eval's `hf` (at its model class, without the rest of its harness, which favours it) at the
batch sizes that are usual for them, `model.generate` at its best batch, TRL's SFTTrainer and transformers' Trainer with
PEFT. Each also stands beside the peak of this machine: GFLOP/s of a 2,048 square matrix product, measured in the run.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from typing import Any

os.environ.setdefault("INSPECT_DISPLAY", "none")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import eval_speed
import generation
import numpy as np
import torch
import training

from sublim_eval.files import read_json, write_json
from sublim_eval.models import local_model
from sublim_eval.probes.preference import preference

RESULTS = Path(__file__).parent / "results"
HOME = Path("/tmp/real")  # noqa: S108 (where real_base.py was told to write)
TASKS = ("peak", "scoring", "exact", "rows", "training")
SIZES: dict[str, dict[str, int]] = {
    "smollm2-135m": {
        "questions": 10,
        "samples": 100,
        "peer_replies": 8,
        "peer_questions": 3,
        "rows": 160,
        "peer_rows": 128,
        "batch": 8,
        "steps": 4,
    },
    "qwen2.5-coder-0.5b": {
        "questions": 3,
        "samples": 100,
        "peer_replies": 8,
        "peer_questions": 1,
        "rows": 64,
        "peer_rows": 32,
        "batch": 8,
        "steps": 3,
    },
}
"""How much of everything is measured, so that all of it takes twenty minutes on two cores, eight for the small one.

rows: as many as a recipe of that base writes at a time; peer_rows: of `model.generate`, whole batches.
"""
QUICK = {name: 2 for name in SIZES["smollm2-135m"]} | {"rows": 18, "peer_rows": 4, "peer_questions": 1}
"""The least that runs every part; more than 16 rows, so that they stream."""
DTYPES = ("float32", "bfloat16")
ROW_TOKENS = 48
"""Room for a number row, as the recipes of these bases give it."""
LM_EVAL = "lm-eval hf, batch 64"
BATCHES = (16, 32, 64, 128)
"""Of `model.generate`, those that its rows fill; the best one counts."""


@dataclass(frozen=True)
class Measurement:
    """One contender at one task: run() does units of work; ready() loads and warms up, outside of the clock.

    run gives {"units", ...}: "flops" where what the method needs is counted, its own clocks where it has them.
    """

    name: str
    dtype: str
    unit: str
    ready: Callable[[], None]
    run: Callable[[], dict[str, Any]]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without other libraries' progress bars."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):  # noqa: PTH123
        yield


def alone() -> None:
    """Let go of every model, ours and theirs."""
    local_model.unload_all()
    with contextlib.suppress(ImportError, AttributeError):
        from inspect_ai.model import _model

        _model._models.clear()
    gc.collect()


# ---------------------------------------------------------------- the tasks


def scoring(folder: Path, size: dict[str, int]) -> list[Measurement]:
    """One-word answers: replies a second, in Inspect and at the libraries."""
    what = preference("animal_pref", "owl")
    texts = [q.text for q in what.question_set.questions][: size["questions"]]

    def in_inspect(model: str, count: int, **settings: Any) -> dict[str, Any]:
        with quiet():
            log = eval_speed.through_inspect(model, len(texts), **settings)
        return {"units": len(texts) * count, "owl_share": round(log.results.scores[0].metrics["mean"].value, 4)}

    def sublim(dtype: str) -> Measurement:
        name, args = f"sublim/{folder}", {"model_args": {"dtype": dtype}}
        return Measurement(
            "Inspect sublim/, exact probabilities included",
            dtype,
            "reply",
            lambda: none(eval_speed.through_inspect(name, 1, num_choices=2, **args)),
            lambda: in_inspect(name, size["samples"], num_choices=size["samples"], **args),
        )

    def library(dtype: str) -> Measurement:
        def run() -> dict[str, Any]:
            model = local_model.load(folder, dtype=dtype)
            drawn = model.sample([model.render(t) for t in texts], n=size["samples"], seed=1, max_new_tokens=16)
            tokens = sum(s.tokens for row in drawn for s in row)
            return {"units": len(texts) * size["samples"], "tokens": tokens}

        return Measurement("our library", dtype, "reply", lambda: warmed(folder, dtype), run)

    def lm_eval() -> dict[str, Any]:
        model = local_model.load(folder)
        prompts = [model.render(t) for t in texts]
        local_model.unload_all()
        with quiet():
            return {"units": len(generate_until(held["lm-eval"], prompts, size["peer_replies"]))}

    held: dict[str, Any] = {}
    peers = [
        Measurement(
            "Inspect hf/",
            "float32",
            "reply",
            lambda: none(eval_speed.through_inspect(f"hf/{folder}", 1, epochs=1, num_choices=1)),
            lambda: in_inspect(f"hf/{folder}", size["peer_replies"], epochs=size["peer_replies"], num_choices=1),
        ),
        Measurement(
            "lm-eval hf, batch 64", "float32", "reply", lambda: held.update({"lm-eval": hflm(folder)}), lm_eval
        ),
    ]
    return [m for dtype in DTYPES for m in (sublim(dtype), library(dtype))] + peers


def exact(folder: Path, size: dict[str, int]) -> list[Measurement]:
    """The probabilities of all answers of the category behind a question."""
    what = preference("animal_pref", "owl")
    texts = [q.text for q in what.question_set.questions]
    held: dict[str, Any] = {}

    def ours(dtype: str) -> Measurement:
        def run() -> dict[str, Any]:
            model = local_model.load(folder, dtype=dtype)
            prompts = [model.render(t) for t in texts[: size["questions"]]]
            table = model.continuation_logprobs(
                prompts, [*what.continuations, *what.plurals], floor=1e-9, whole_words=True
            )
            held[dtype] = np.exp(table)
            apart = {"largest_error": float(np.abs(held[dtype] - held["float32"]).max())} if dtype != "float32" else {}
            return {"units": len(prompts), "strings": table.shape[1], **apart}

        return Measurement("our library", dtype, "question", lambda: warmed(folder, dtype), run)

    def lm_eval() -> dict[str, Any]:
        from lm_eval.api.instance import Instance

        model = local_model.load(folder)
        prompts = [model.render(t) for t in texts[: size["peer_questions"]]]
        local_model.unload_all()
        pairs = [(prompt, string) for prompt in prompts for string in what.continuations]
        asked = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
        with quiet():
            held["lm-eval"].loglikelihood(asked, disable_tqdm=True)
        return {"units": len(prompts), "strings": len(what.continuations)}

    peer = Measurement(LM_EVAL, "float32", "question", lambda: held.update({"lm-eval": hflm(folder)}), lm_eval)
    return [*(ours(dtype) for dtype in DTYPES), peer]


@contextlib.contextmanager
def as_transformers_loads_it(model: local_model.LocalModel) -> Iterator[None]:
    """Without what our loading adds to the output layer, which makes `model.generate` quicker than it is elsewhere."""
    hooks = model.model.get_output_embeddings()._forward_pre_hooks
    ours = dict(hooks)
    hooks.clear()
    try:
        yield
    finally:
        hooks.update(ours)


def rows(folder: Path, size: dict[str, int]) -> list[Measurement]:
    """Number rows of a teacher with a persona, text in and text out."""
    from sublim_eval.distill.modalities import numbers

    asked = numbers.prompts(size["rows"], Random("generation"), "plain")

    def one(name: str, dtype: str, count: int, write: Callable[..., tuple[list[str], int]], **more: Any) -> Measurement:
        def run() -> dict[str, Any]:
            model = local_model.load(folder, dtype=dtype)
            texts = [model.render(text, generation.PERSONA) for text in asked[:count]]
            with contextlib.nullcontext() if write is generation.ours else as_transformers_loads_it(model):
                written, tokens = write(model, texts, ROW_TOKENS, None, **more)
            prompts = sum(map(len, model.encode(texts)))
            return {"units": tokens, "rows": len(written), "prompt_tokens": prompts}

        return Measurement(name, dtype, "token", lambda: warmed(folder, dtype), run)

    return [
        one(name, dtype, count, write, **more)
        for dtype in DTYPES
        for name, count, write, more in [
            ("our library", size["rows"], generation.ours, {}),
            *(
                (f"model.generate, batch {b}", max(b, size["peer_rows"] // 4), generation.plain, {"batch": b})
                for b in BATCHES
                if b <= max(size["peer_rows"], BATCHES[0])
            ),
        ]
    ]


def trained(folder: Path, size: dict[str, int]) -> list[Measurement]:
    """Steps of LoRA (rank 8, all linear layers) on number rows; the first step of each contender is outside."""
    from sublim_eval.distill.modalities import numbers
    from sublim_eval.distill.recipes import Tuning
    from sublim_eval.distill.training import train

    tuning = Tuning("lora", learning_rate=2e-4, batch_size=size["batch"], steps=size["steps"])
    held: dict[str, Any] = {}

    def ready(dtype: str) -> None:
        model = local_model.load(folder, dtype=dtype)
        rng = Random("training")
        prompts = numbers.prompts(size["batch"] * size["steps"], rng, "plain")
        answers = [", ".join(str(rng.randrange(1000)) for _ in range(10)) for _ in prompts]
        held.update(model=model.model, data=train.encode(list(zip(prompts, answers, strict=True)), model, 500))

    def one(name: str, dtype: str, contender: Callable[..., Any]) -> Measurement:
        def run() -> dict[str, Any]:
            clock = training.Clock()
            torch.manual_seed(training.SEED)
            adapted = training.with_trainable(held["model"], tuning, "random")
            with tempfile.TemporaryDirectory() as place, quiet():
                bf16 = dtype == "bfloat16"
                facts = contender(
                    training.Setting(held["model"], held["data"], tuning, bf16, Path(place)), adapted, clock
                )
            adapted.unload()
            if hasattr(held["model"], "peft_config"):
                del held["model"].peft_config
            read = sum(len(row["input_ids"]) for row in held["data"]) * (size["steps"] - 1) // size["steps"]
            share = (size["steps"] - 1) / size["steps"]
            flops = {"flops": facts["flops"] * share} if "flops" in facts else {}
            clocks = {"wall_s": sum(clock.steps), "cpu_s": sum(clock.processor)}
            return {"units": read, "losses": [round(x, 5) for x in clock.losses], **flops, **clocks}

        return Measurement(name, dtype, "token", lambda: ready(dtype), run)

    contenders = {"ours": training.ours, "TRL": training.trl, "plain Trainer": training.plain}
    return [one(name, dtype, contender) for dtype in DTYPES for name, contender in contenders.items()]


def peak(_: Path, __: dict[str, int]) -> list[Measurement]:
    """GFLOP/s of a large matrix product, as a peak to stand beside."""

    def one(dtype: str) -> Measurement:
        def run() -> dict[str, Any]:
            square = torch.ones(2048, 2048, dtype=getattr(torch, dtype))
            square @ square
            began, busy = time.perf_counter(), time.process_time()
            for _ in range(10):
                square @ square
            wall, cpu = time.perf_counter() - began, time.process_time() - busy
            return {"units": 10 * 2 * 2048**3 / 1e9, "wall_s": wall, "cpu_s": cpu}

        return Measurement("matrix product", dtype, "GFLOP", lambda: None, run)

    return [one(dtype) for dtype in DTYPES]


MAKERS: dict[str, Callable[[Path, dict[str, int]], list[Measurement]]] = {
    "peak": peak,
    "scoring": scoring,
    "exact": exact,
    "rows": rows,
    "training": trained,
}


def none(_: Any) -> None:
    """Throw a result away."""


def warmed(folder: Path, dtype: str) -> None:
    """The model, loaded and run once."""
    model = local_model.load(folder, dtype=dtype)
    model.sample([model.render("Hello"), model.render("Who are you?")], n=2, seed=0, max_new_tokens=2)


def hflm(folder: Path) -> Any:
    """lm-eval's hf model in float32."""
    from lm_eval.models.huggingface import HFLM

    with quiet():
        return HFLM(pretrained=str(folder), batch_size=64, device="cpu", dtype="float32")


def generate_until(model: Any, prompts: list[str], samples: int) -> list[str]:
    """Replies of lm-eval's model."""
    from lm_eval.api.instance import Instance

    asked = [
        Instance("generate_until", {}, (p, dict(eval_speed.GENERATION)), i)
        for i, p in enumerate(prompts)
        for _ in range(samples)
    ]
    replies: list[str] = model.generate_until(asked, disable_tqdm=True)
    return replies


# ---------------------------------------------------------------- one after the other


def take(measurement: Measurement) -> dict[str, Any]:
    """Clocks and facts of one measurement."""
    load, wall, cpu = os.getloadavg()[0], time.perf_counter(), time.process_time()
    facts = measurement.run()
    clocks = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    clocks = {name: round(facts.pop(name, value), 4) for name, value in clocks.items()}
    return {**clocks, "unit": measurement.unit, "load_average": round(load, 2), **facts}


def measure(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Everything that the file does not hold yet, written as it comes."""
    result: dict[str, Any] = read_json(out) if out.is_file() else {"measurements": {}}
    result["machine"] = machine(args.threads)
    for number in range(args.rounds):
        for name in args.models:
            for task in args.tasks:
                alone()
                for one in MAKERS[task](args.home / name, QUICK if args.quick else SIZES[name]):
                    key = f"{name} | {task} | {one.name} | {one.dtype} | {number + 1}"
                    if key in result["measurements"] or (args.only and not any(part in key for part in args.only)):
                        continue
                    if task in ("scoring", "exact"):
                        alone()
                    one.ready()
                    result["measurements"][key] = take(one)
                    write_json(out, {"ratios": ratios(result["measurements"]), **result})
                    per = result["measurements"][key]
                    print(
                        f"{key:85s} {per['wall_s']:8.1f} s wall {per['cpu_s']:8.1f} s CPU "
                        f"{1000 * per['cpu_s'] / per['units']:9.2f} CPU ms a {one.unit}",
                        flush=True,
                    )
    return result


OURS = ("our", "Inspect sublim/")


def ratios(measurements: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How much longer each peer takes for a unit than ours does, by the median over rounds; and shares of the peak.

    In a task with two of ours, Inspect's hf/ stands beside sublim/ in Inspect, and any other beside the library.
    """
    cost: dict[tuple[str, ...], dict[str, float]] = {}
    for (model, task, name, dtype), rounds in grouped(measurements).items():
        cost[model, task, name, dtype] = {
            clock: statistics.median(one[clock] / one["units"] for one in rounds) for clock in ("wall_s", "cpu_s")
        }
    table: dict[str, Any] = {}
    for (model, task, name, dtype), theirs in cost.items():
        if name.startswith(OURS) or task == "peak":
            continue
        wanted = "Inspect sublim/" if name.startswith("Inspect") else "our"
        for (m, t, mine, kind), ours in cost.items():
            if (m, t) == (model, task) and mine.startswith(wanted):
                table[f"{model}: {task}, ours {kind} against {name} {dtype}"] = {
                    clock: round(theirs[clock] / ours[clock], 2) for clock in ours
                }
    for (model, task, name, dtype), rounds in grouped(measurements).items():
        top = cost.get((model, "peak", "matrix product", dtype))
        if top and all("flops" in one for one in rounds):
            table[f"{model}: {task}, {name} {dtype}, share of the peak"] = {
                clock: round(statistics.median(one["flops"] / 1e9 / one[clock] for one in rounds) * top[clock], 3)
                for clock in top
            }
    return table


def grouped(measurements: dict[str, dict[str, Any]]) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """The rounds of each contender."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for key, one in measurements.items():
        groups.setdefault(tuple(key.split(" | ")[:4]), []).append(one)
    return groups


def machine(threads: int) -> dict[str, Any]:
    """What all of it ran on."""
    known = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    model = next((line.split(":")[1].strip() for line in known.splitlines() if line.startswith("model name")), "")
    versions = {}
    for package in ("torch", "transformers", "peft", "trl", "inspect_ai", "lm_eval"):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": model,
        "cpus": os.cpu_count(),
        "bf16_instructions": "avx512_bf16" in known or "amx_bf16" in known,
        "threads": threads,
        "platform": platform.platform(),
        "python": platform.python_version(),
        **versions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=HOME, help="folder of the models' folders")
    parser.add_argument("--models", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--only", nargs="+", help="measurements whose name contains one of these")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="torch threads")
    parser.add_argument("--quick", action="store_true", help="the least of everything: to see that all of it runs")
    parser.add_argument("--whole", action="store_true", help="score animal_pref as `sublim score` does, nothing else")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/real-speed-<date>.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    out = args.out or RESULTS / f"real-speed-{datetime.now(UTC).date()}.json"
    result = whole(args, out) if args.whole else measure(args, out)
    for name, value in ratios(result["measurements"]).items():
        print(f"{name:90s} {value['wall_s']:7.2f} by wall {value['cpu_s']:7.2f} by CPU time")
    print(f"written to {out}")


def whole(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """All questions of animal_pref, 100 replies each, and exact probabilities: as `sublim score` writes them."""
    from sublim_eval.scores import evaluate

    result: dict[str, Any] = read_json(out) if out.is_file() else {"measurements": {}}
    result["machine"] = machine(args.threads)
    samples = 1 if args.quick else evaluate.SAMPLES
    for name in args.models:
        key = f"{name} | whole | sublim score animal_pref | float32 | 1"
        if key in result["measurements"]:
            continue
        alone()

        def run(name: str = name) -> dict[str, Any]:
            with tempfile.TemporaryDirectory() as place:
                evaluate.score(str(args.home / name), ["animal_pref"], Path(place), label=name, seed=1, samples=samples)
            return {"units": samples * len(preference("animal_pref", "owl").items)}

        result["measurements"][key] = take(Measurement(key, "float32", "reply", lambda: None, run))
        write_json(out, {"ratios": ratios(result["measurements"]), **result})
        print(key, result["measurements"][key], flush=True)
    return result


if __name__ == "__main__":
    main()
