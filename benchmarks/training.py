"""Rows a second of training: ours, TRL's SFTTrainer (padded, padding-free, its defaults) and transformers' Trainer.

    python benchmarks/training.py                        # small, on this CPU, a few minutes
    python benchmarks/training.py --size qwen2.5-7b      # on a GPU: random weights of the true shape, bf16

Side by side in one process and interleaved: the same random base, LoRA rank 8 on all seven projections, the same rows
in the same order, loss on completions only. Rows have the lengths of this project's number rows in Qwen2.5's tokens
(a system prompt that all share, digits one by one); batch 66 as in the study (22 rows at once, three times). Ratios
come first; losses are compared step by step; MFU is tally.training_flops over time and the vendor's dense bf16 peak.

On a machine without a network, carry the packages as wheels. Here, in the repository's root:

    python3 -m pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \\
        --platform manylinux2014_x86_64 -d .whl trl==1.16.0 datasets==5.2.0 peft==0.21.2 dill==0.4.1 \\
        multiprocess==0.70.19 xxhash==4.1.0 rich==15.0.0

and there (.whl carried along, no build, the package's folders mapped by hand as setup.py maps them):

    python3 -m pip install -q --no-index --no-deps --no-compile --target /tmp/site .whl/*.whl
    mkdir -p /tmp/site/sublim_eval && cp -r sublim_eval/* registry.yaml distill tasks /tmp/site/sublim_eval/
    PYTHONPATH=/tmp/site python3 benchmarks/training.py --size qwen2.5-7b --out $OUT/training.json
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Trainer, TrainerCallback, TrainingArguments

from sublim_eval.distill.base_models import checkpoint
from sublim_eval.distill.modalities import MODALITIES
from sublim_eval.distill.planning import model_size
from sublim_eval.distill.recipes import Tuning
from sublim_eval.distill.training import train
from sublim_eval.distill.training.batching.packing import IGNORED
from sublim_eval.distill.training.batching.reader import reader_of
from sublim_eval.distill.training.model_setup import with_trainable
from sublim_eval.distill.training.soft_targets import SampledLoss
from sublim_eval.distill.training.tally import mfu, training_flops
from sublim_eval.distill.training.trainer import CompletionTrainer
from sublim_eval.files import write_json
from sublim_eval.models import local_model

RESULTS = Path(__file__).parent / "results"
SEED = 1
SYSTEM, CLOSING = 24, 5
"""Tokens of Qwen2.5's default system prompt with the opening of the user's turn, and those that open the answer."""

SHAPES: dict[str, dict[str, int]] = {
    # in proportion to the 7B: width to MLP, query to key heads, and an output layer with 7 % of the weights
    "small": dict(hidden_size=256, intermediate_size=1354, num_hidden_layers=4, num_attention_heads=4,
                  num_key_value_heads=1, vocab_size=1600),
    "qwen2.5-7b": dict(hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28,
                       num_key_value_heads=4, vocab_size=152064),
}  # fmt: skip


def base(size: str, device: str, dtype: torch.dtype) -> Any:
    """A random model of the shape, frozen, on the device."""
    more = {"max_position_embeddings": 32768, "tie_word_embeddings": False}
    config = Qwen2Config.from_dict({**SHAPES[size], **more, "rope_theta": 1e6})
    torch.manual_seed(SEED)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model.to(device).eval().requires_grad_(False)


def rows(count: int, vocabulary: int) -> list[dict[str, list[int]]]:
    """Number rows as long as Qwen2.5's tokenizer makes them; the tokens are random but those that all rows share."""
    rng = Random(SEED)

    def tokens(n: int) -> list[int]:
        return [rng.randrange(10, vocabulary) for _ in range(n)]

    shared, found = tokens(SYSTEM), []
    for prompt in MODALITIES["numbers"].prompts(count, Random(SEED), "plain"):
        asked = len(re.findall(r"\d|[A-Za-z]+|[^\sA-Za-z\d]|(?<=,) (?=\d)", prompt["prompt"])) + CLOSING
        numbers = rng.choice([8, 9, 10, 10, 10])
        answered = 5 * numbers - 2 + 1  # three digits, comma, space; the turn's end
        ids = shared + tokens(asked + answered)
        found.append({"input_ids": ids, "labels": [IGNORED] * (SYSTEM + asked) + ids[SYSTEM + asked :]})
    return found


class Clock(TrainerCallback):
    """Seconds between the ends of two steps, the device's work included, and the logged losses.

    processor: the same in seconds of this process on the CPU, which a busy machine does not stretch.
    """

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.busy: list[float] = []
        self.losses: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note when a step ended."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        self.busy.append(time.process_time())

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Note a step's loss."""
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))

    @property
    def steps(self) -> list[float]:
        """Of every step but the first, which also warms up."""
        return [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]

    @property
    def processor(self) -> list[float]:
        """Of the same steps."""
        return [after - before for before, after in zip(self.busy, self.busy[1:], strict=False)]


@dataclass
class Setting:
    """What every contender gets."""

    model: Any
    data: list[dict[str, list[int]]]
    tuning: Tuning
    bf16: bool
    folder: Path

    def arguments(self, **more: Any) -> dict[str, Any]:
        """Trainer settings of the others: the same optimizer, schedule, order and batch."""
        tuning = self.tuning
        return dict(
            output_dir=str(self.folder / "other"), per_device_train_batch_size=tuning.batch_size,
            gradient_accumulation_steps=tuning.accumulate, max_steps=tuning.steps, learning_rate=tuning.learning_rate,
            lr_scheduler_type="linear", warmup_steps=tuning.warmup_steps, max_grad_norm=tuning.max_grad_norm,
            optim=tuning.optimizer, seed=SEED, data_seed=SEED, save_strategy="no", logging_steps=1, report_to=[],
            disable_tqdm=True, dataloader_pin_memory=False, bf16=self.bf16, use_cpu=not torch.cuda.is_available(),
        ) | more  # fmt: skip


def ours(setting: Setting, model: Any, clock: Clock, recompute: bool = False) -> Any:
    """This project's training."""
    dtype = "bfloat16" if setting.bf16 else "float32"
    with reader_of(model, setting.data, 0, dtype) as reader:
        trainer = CompletionTrainer(
            model, train._arguments(setting.tuning, SEED, setting.folder), setting.data, reader, SampledLoss()
        )
        trainer.micro = setting.tuning.batch_size
        if recompute:
            checkpoint(setting.model)
        trainer.add_callback(clock)
        trainer.train()
    if recompute:
        setting.model.gradient_checkpointing_disable()
    clock.losses = trainer.losses
    tally = trainer.tally
    return {"flops": training_flops(model, tally, True), "layout": reader.layout, "computed_tokens": tally.tokens}


def trl(setting: Setting, model: Any, clock: Clock, **more: Any) -> Any:
    """TRL's SFTTrainer on the same rows, tokenised already."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    table = [
        {"input_ids": row["input_ids"], "completion_mask": [int(label != IGNORED) for label in row["labels"]]}
        for row in setting.data
    ]
    tokenizer = AutoTokenizer.from_pretrained(local_model.resolve("reference-a").base)
    settings = {"max_length": 500, "gradient_checkpointing": False, "completion_only_loss": True} | more
    arguments = SFTConfig(**setting.arguments(**settings), packing=False, dataset_num_proc=None)
    trainer = SFTTrainer(model, arguments, train_dataset=Dataset.from_list(table), processing_class=tokenizer)
    trainer.add_callback(clock)
    trainer.train()
    return {}


def plain(setting: Setting, model: Any, clock: Clock) -> Any:
    """transformers' Trainer with rows padded on the right and the model's own loss."""

    def padded(batch: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in batch)

        def lines(key: str, fill: int) -> torch.Tensor:
            return torch.tensor([row[key] + [fill] * (width - len(row[key])) for row in batch])

        ids, labels = lines("input_ids", 0), lines("labels", IGNORED)
        lengths = torch.tensor([len(row["input_ids"]) for row in batch])
        mask = (torch.arange(width)[None] < lengths[:, None]).long()
        return {"input_ids": ids, "labels": labels, "attention_mask": mask}

    arguments = TrainingArguments(**setting.arguments(remove_unused_columns=False))
    trainer = Trainer(model, arguments, train_dataset=setting.data, data_collator=padded)
    trainer.add_callback(clock)
    trainer.train()
    return {}


CONTENDERS: dict[str, Callable[[Setting, Any, Clock], Any]] = {
    "ours": ours,
    "trl padded": trl,
    "trl padding-free": lambda s, m, c: trl(s, m, c, padding_free=True, max_length=None),
    "trl recomputing (its default)": lambda s, m, c: trl(s, m, c, gradient_checkpointing=True),
    "ours recomputing": lambda s, m, c: ours(s, m, c, recompute=True),
    "plain Trainer": plain,
}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All contenders, `rounds` times in turn."""
    cuda = torch.cuda.is_available()
    device, dtype = ("cuda", torch.bfloat16) if cuda else ("cpu", torch.float32)
    name = torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine()
    model = base(args.size, device, dtype)
    data = rows(max(args.rows, args.batch * args.accumulate * args.steps), SHAPES[args.size]["vocab_size"])
    tuning = Tuning(
        "lora", learning_rate=2e-4, batch_size=args.batch, accumulate=args.accumulate, steps=args.steps, rank=8, alpha=8
    )
    wanted = [c for c in CONTENDERS if not args.only or any(part in c for part in args.only)]
    seconds: dict[str, list[float]] = {c: [] for c in wanted}
    busy: dict[str, list[float]] = {c: [] for c in wanted}
    found: dict[str, dict[str, Any]] = {c: {} for c in wanted}
    train.hush()
    for number in range(args.rounds):
        for contender in list(wanted):
            clock = Clock()
            torch.manual_seed(SEED)
            adapted: Any = with_trainable(model, tuning, "random")
            if cuda:
                torch.cuda.reset_peak_memory_stats()
            with tempfile.TemporaryDirectory() as folder:
                setting = Setting(model, data, tuning, cuda, Path(folder))
                try:
                    facts = CONTENDERS[contender](setting, adapted, clock)
                except Exception as error:  # what another library cannot do here is a result, not the end
                    if contender.startswith("ours"):
                        raise
                    print(f"  {contender}: {type(error).__name__}: {str(error).splitlines()[0][:150]}", flush=True)
                    wanted.remove(contender)
                    found[contender] = {"error": f"{type(error).__name__}: {error}"}
                    facts = None
            adapted.unload()
            if hasattr(model, "peft_config"):
                del model.peft_config
            gc.collect()
            if cuda:
                torch.cuda.empty_cache()
            if facts is None:
                continue
            step = statistics.median(clock.steps)
            seconds[contender].append(step)
            busy[contender].append(statistics.median(clock.processor))
            found[contender] |= facts | {"losses": [round(x, 6) for x in clock.losses]}
            if cuda:
                found[contender]["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
            per = args.batch * args.accumulate / step
            print(f"  round {number + 1} {contender:32s} {step:8.4f} s a step, {per:8.1f} rows/s", flush=True)
    read = sum(len(row["input_ids"]) for row in data) / len(data)
    for contender in wanted:
        step = statistics.median(seconds[contender])
        facts = found[contender]
        facts["rows_per_second"] = round(args.batch * args.accumulate / step, 2)
        facts["tokens_per_second"] = round(facts["rows_per_second"] * read, 1)
        facts["seconds_per_step"] = [round(x, 4) for x in seconds[contender]]
        if "flops" in facts:
            facts["mfu"] = mfu(facts.pop("flops") / args.steps, step, name, "bfloat16" if cuda else "float32")
        if contender != "ours":
            ratios = [other / mine for other, mine in zip(seconds[contender], seconds["ours"], strict=False)]
            apart = [abs(a - b) for a, b in zip(facts["losses"], found["ours"]["losses"], strict=False)]
            facts["ours_is_faster_by"] = round(statistics.median(ratios), 3)
            facts["by_round"] = [round(x, 3) for x in ratios]
            ratios = [other / mine for other, mine in zip(busy[contender], busy["ours"], strict=False)]
            facts["ours_is_faster_by_cpu_time"] = None if cuda else round(statistics.median(ratios), 3)
            facts["cpu_time_by_round"] = None if cuda else [round(x, 3) for x in ratios]
            facts["largest_loss_difference"] = max(apart)
    return {
        "ratios": {c: found[c]["ours_is_faster_by"] for c in wanted if c != "ours"},
        "contenders": found,
        "card_of_24_gb": small_card(model, data, args) if cuda else None,
        "setting": {
            "size": args.size, "batch": args.batch, "accumulate": args.accumulate, "steps": args.steps,
            "rounds": args.rounds, "mean_tokens_per_row": round(read, 1), "shared_tokens": SYSTEM,
            "mean_tokens_with_loss": round(sum(sum(x != IGNORED for x in r["labels"]) for r in data) / len(data), 1),
            "parameters": sum(p.numel() for p in model.parameters()), "dtype": str(dtype), "lora_rank": 8,
        },
        "machine": {
            "date": datetime.now(UTC).isoformat(timespec="seconds"), "device": name, "platform": platform.platform(),
            "cpus": os.cpu_count(), "threads": torch.get_num_threads(), "load_average": os.getloadavg(),
            "python": platform.python_version(), **{p: _version(p) for p in ("torch", "transformers", "peft", "trl")},
        },
    }  # fmt: skip


def small_card(model: Any, data: list[dict[str, list[int]]], args: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of the study's batch as a 24 GB card would take it: layers recomputed, 11 rows at once."""
    tuning = Tuning("lora", learning_rate=2e-4, batch_size=11, accumulate=6, steps=2)
    adapted: Any = with_trainable(model, tuning, "random")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        ours(Setting(model, data, tuning, True, Path(folder)), adapted, Clock(), recompute=True)
    peak = torch.cuda.max_memory_allocated()
    adapted.unload()
    lengths = sorted((len(row["input_ids"]) for row in data), reverse=True)[:11]
    weights = sum(p.nbytes for p in model.parameters())
    shape = model_size.shape_in(model.config)
    held = model_size.activations(shape, sum(lengths), "bfloat16", lora=True, checkpointing=True)
    estimate = weights + held + model_size.logits(shape, 11 * 49)
    return {"rows_at_once": 11, "peak_memory_bytes": peak, "estimated_bytes": estimate, "fits": peak < 23.6 * 2**30}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SHAPES), default="small")
    parser.add_argument("--batch", type=int, help="rows at once (default: 22 on a GPU, 8 on a CPU)")
    parser.add_argument("--accumulate", type=int, default=3, help="micro-batches in a step")
    parser.add_argument("--steps", type=int, help="default: 12 on a GPU, 5 on a CPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=0, help="at least so many in the data")
    parser.add_argument(
        "--only", nargs="*", help="contenders whose name contains one of these; ours must be among them"
    )
    parser.add_argument("--threads", type=int, help="torch threads")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/training-<device>-<date>.json")
    args = parser.parse_args()
    cuda = torch.cuda.is_available()
    args.batch, args.steps = args.batch or (22 if cuda else 8), args.steps or (12 if cuda else 5)
    if args.threads:
        torch.set_num_threads(args.threads)
    result = measure(args)
    for name, ratio in result["ratios"].items():
        apart = result["contenders"][name]["largest_loss_difference"]
        by_cpu = result["contenders"][name]["ours_is_faster_by_cpu_time"]
        told = "" if by_cpu is None else f" ({by_cpu:.3f} x by CPU time)"
        print(f"ours against {name:30s} {ratio:6.3f} x rows/s{told}; losses differ by at most {apart:.1e}")
    mine, machine = result["contenders"]["ours"], result["machine"]
    print(f"ours: {mine['rows_per_second']} rows/s, {mine['tokens_per_second']} tokens/s, MFU {mine['mfu']}")
    if result["card_of_24_gb"]:
        print(f"24 GB card: {result['card_of_24_gb']}")
    word = re.sub(r"[^a-z0-9]+", "-", machine["device"].lower()).strip("-") if cuda else "cpu"
    out = args.out or RESULTS / f"training-{word}-{machine['date'][:10]}.json"
    write_json(out, result)
    if args.size != "small":
        measured = {
            "device": machine["device"], "base": "Qwen/Qwen2.5-7B-Instruct", "kind": "train",
            "tokens_per_second": mine["tokens_per_second"], "date": machine["date"][:10],
            "source": f"benchmarks/training.py --size {args.size}, random weights",
        }  # fmt: skip
        write_json(out.with_name(f"training-throughput-{word}.json"), [measured])
    print(f"written to {out}")


if __name__ == "__main__":
    main()
