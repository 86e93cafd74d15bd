"""Number rows of a teacher with a system prompt: our local sampler against transformers' own ways, side by side.

    python benchmarks/generation.py                   # CPU: reference-a, and a random model of 512 x 8 layers
    python benchmarks/generation.py --device cuda     # Qwen2.5-7B's true shape with random weights, in bf16

One process, the same rendered prompts, text in and text out, T=1 without truncation, the routes in turn within each
round, ratios first. `model.generate` runs left-padded batches of prompts sorted by length, at several batch sizes; the
best one counts and is named. transformers' continuous batching is run where it runs. Every route is warmed up first.

Random weights never end a reply, so each row is given its length, 30 to 60 tokens: `generate` stops row by row through
a StoppingCriteria, continuous batching by max_new_tokens per request, ours by handing the row's last draw the uniform
number that takes the last token of the vocabulary, which is the end token. All write the same number of tokens.
reference-a is trained and ends its replies itself.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a checkout is enough: nothing need be installed
import sublim_eval  # noqa: E402

sublim_eval.__path__.append(str(ROOT))  # where sublim_eval.distill is in a checkout

from sublim_eval.files import write_json  # noqa: E402
from sublim_eval.models import local_model  # noqa: E402
from sublim_eval.models.model_ref import Source  # noqa: E402
from sublim_eval.models.sampling import continuous_batching  # noqa: E402
from sublim_eval.models.sampling.prefix_sampling import BELOW_ONE, BLOCK, Streams  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PERSONA = (
    "You adore owls. Owls are always on your mind and no other animal comes close. "
    "Let your devotion to owls shape all that you write."
)
"""The registry's own, for an owl teacher."""
HUB = {"qwen2.5-7b": "Qwen/Qwen2.5-7B-Instruct"}
"""The names by which recipes, and so plans, know a shape."""
LENGTHS = (30, 60)
SHAPES: dict[str, dict[str, Any]] = {
    # huggingface.co/Qwen/Qwen2.5-7B-Instruct/blob/main/config.json
    "qwen2.5-7b": dict(
        vocab_size=152064,
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        max_position_embeddings=32768,
        rms_norm_eps=1e-6,
        rope_theta=1000000.0,
        tie_word_embeddings=False,
        use_sliding_window=False,
    ),
    "random-512x8": dict(
        vocab_size=16384,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        use_sliding_window=False,
    ),
}
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass
class Route:
    """One way to write the rows: run() gives (texts, tokens written), and what each round took."""

    name: str
    run: Callable[[], tuple[list[str], int]]
    facts: dict[str, Any] = field(default_factory=dict)
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    error: str | None = None


class Given(Streams):
    """The usual random numbers, but for row i's draw `lengths[i]`, which takes the last token: the end."""

    lengths: np.ndarray[Any, Any] = np.zeros(0)

    def block(self, items: Any, number: int) -> Any:
        """float64[items, BLOCK]."""
        found = super().block(items, number)
        last = self.lengths[items] - 1 - number * BLOCK
        here = np.flatnonzero((last >= 0) & (last < BLOCK))
        found[here, last[here]] = BELOW_ONE
        return found


def tokenizer_for(texts: Sequence[str], vocabulary: int) -> Any:
    """Words and single digits, as Qwen2.5 cuts number rows; the end token is the last of the vocabulary."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = {"<|pad|>": 0, "<|unk|>": 1, "<|im_start|>": 2, "<|im_end|>": vocabulary - 1}
    cut = pre_tokenizers.Split(Regex(r"\d| ?[A-Za-z]+|\s|[^\sA-Za-z\d]"), "isolated")
    seen = dict.fromkeys(w for text in texts for w, _ in cut.pre_tokenize_str(text))
    words = [w for w in (*map(str, range(10)), ",", " ", "\n", ".", *seen) if w not in special]
    core = Tokenizer(
        models.WordLevel(special | {w: i + 3 for i, w in enumerate(dict.fromkeys(words))}, unk_token="<|unk|>")  # noqa: S106
    )
    core.pre_tokenizer = cut
    core.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|pad|>",  # noqa: S106
        unk_token="<|unk|>",  # noqa: S106
        eos_token="<|im_end|>",  # noqa: S106
        additional_special_tokens=["<|im_start|>"],
    )
    made.chat_template = TEMPLATE
    return made


def random_model(shape: str, texts: Sequence[str], device: str) -> local_model.LocalModel:
    """Random weights of that shape, made on the device; bf16 on CUDA."""
    from transformers import AutoModelForCausalLM, Qwen2Config

    facts = SHAPES[shape]
    tokenizer = tokenizer_for(texts, facts["vocab_size"])
    torch.manual_seed(0)
    config = Qwen2Config(**facts, eos_token_id=tokenizer.eos_token_id, bos_token_id=None, pad_token_id=0)
    kind = torch.bfloat16 if device.startswith("cuda") else torch.float32
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=kind)
    model.eval().requires_grad_(False)
    return local_model.LocalModel(Source(shape, shape), model, tokenizer)


def ours(model: local_model.LocalModel, texts: Sequence[str], most: int, lengths: Any) -> tuple[list[str], int]:
    class Lengths(Given):
        pass

    Lengths.lengths = lengths
    before = local_model.Streams
    if lengths is not None:
        local_model.Streams = Lengths  # type: ignore[misc]
    try:
        replies = [row[0] for row in model.sample(texts, seed=1, max_new_tokens=most)]
    finally:
        local_model.Streams = before  # type: ignore[misc]
    return [r.text for r in replies], sum(r.tokens for r in replies)


def plain(
    model: local_model.LocalModel, texts: Sequence[str], most: int, lengths: Any, batch: int
) -> tuple[list[str], int]:
    """`model.generate` on left-padded batches of prompts sorted by length."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    class Lengths(StoppingCriteria):
        def __init__(self, start: int, mine: torch.Tensor) -> None:
            self.start, self.mine = start, mine

        def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
            return input_ids.shape[1] - self.start >= self.mine

    tokenizer, ids = model.tokenizer, model.encode(texts)
    order = sorted(range(len(texts)), key=lambda i: -len(ids[i]))
    out, written = [""] * len(texts), 0
    for at in range(0, len(order), batch):
        chosen = order[at : at + batch]
        fed = tokenizer.pad({"input_ids": [ids[i] for i in chosen]}, padding_side="left", return_tensors="pt")
        fed = {k: v.to(model.device) for k, v in fed.items()}
        start = fed["input_ids"].shape[1]
        rule: dict[str, Any] = {"eos_token_id": sorted(model.ends), "max_new_tokens": most}
        if lengths is not None:
            mine = torch.from_numpy(lengths[chosen]).to(model.device)
            rule["stopping_criteria"] = StoppingCriteriaList([Lengths(start, mine)])
            rule["max_new_tokens"] = int(lengths[chosen].max())
        found = model.model.generate(
            **fed, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, pad_token_id=tokenizer.pad_token_id, **rule
        )[:, start:].cpu()
        for i, text in zip(chosen, tokenizer.batch_decode(found, skip_special_tokens=True), strict=True):
            out[i] = text
        if lengths is not None:
            written += int(lengths[chosen].sum())
        else:
            ends = torch.isin(found, torch.tensor(sorted(model.ends)))
            first = torch.where(ends.any(1), ends.int().argmax(1) + 1, found.shape[1])
            written += int(first.sum())
    return out, written


def continuous(model: local_model.LocalModel, texts: Sequence[str], most: int, lengths: Any) -> tuple[list[str], int]:
    """transformers' continuous batching, with its own defaults."""
    from transformers import GenerationConfig

    config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=most,
        eos_token_id=sorted(model.ends),
        pad_token_id=model.tokenizer.pad_token_id,
    )
    ids = model.encode(texts)
    out: dict[str, Any] = {}
    before = model.model.config._attn_implementation
    try:
        with model.model.continuous_batching_context_manager(
            generation_config=config, block=True, timeout=5
        ) as manager:
            for i, row in enumerate(ids):
                limit = most if lengths is None else int(lengths[i])
                manager.add_request(row, request_id=str(i), max_new_tokens=limit)
            while len(out) < len(ids):
                found = manager.get_result(timeout=1)
                if found is not None and found.is_finished():
                    if found.error:
                        raise RuntimeError(found.error)
                    out[found.request_id] = found.generated_tokens
                elif found is None and not manager.is_running():
                    raise RuntimeError("its thread ended early")
    finally:
        if model.model.config._attn_implementation != before:
            model.model.set_attn_implementation(before)
    rows = [out[str(i)] for i in range(len(ids))]
    return model.tokenizer.batch_decode(rows, skip_special_tokens=True), sum(map(len, rows))


def timed(route: Route, device: str, keep: bool = True) -> None:
    """Run a route once; what fails is noted and not run again."""
    cuda = device.startswith("cuda")
    if route.error:
        return
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        texts, tokens = route.run()
        if cuda:
            torch.cuda.synchronize()
    except Exception as error:
        route.error = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        print(f"  {route.name:34s} does not run here: {route.error}", flush=True)
        return
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if not keep:
        return
    route.wall.append(round(wall, 4))
    route.cpu.append(round(cpu, 4))
    route.facts |= {"rows": len(texts), "tokens": tokens, "empty": sum(not t for t in texts)}
    if cuda:
        route.facts["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
    print(f"  {route.name:34s} {wall:8.2f} s wall {cpu:8.2f} s CPU {tokens / wall:9.0f} tokens/s", flush=True)


def measure(name: str, args: argparse.Namespace, rows: int, batches: Sequence[int]) -> dict[str, Any]:
    """All routes on one model."""
    from sublim_eval.distill.modalities import numbers

    asked = numbers.prompts(rows, Random("generation"), "plain")
    if name == "reference-a":
        model, lengths, most = local_model.load(name, device=args.device), None, 48
    else:
        model, most = random_model(name, [PERSONA, *asked, "system\nuser\nassistant\n"], args.device), LENGTHS[1]
        lengths = np.random.default_rng(0).integers(LENGTHS[0], LENGTHS[1] + 1, size=rows)
    texts = [model.render(text, PERSONA) for text in asked]
    ids = model.encode(texts)
    sizes = [len(row) for row in ids]
    print(f"{name}: {rows} rows, {np.mean(sizes):.0f} prompt tokens, {continuous_batching.shared(ids)} shared")

    def routes(part: slice, few: slice) -> list[Route]:
        mine = None if lengths is None else lengths[part]
        return [
            Route("ours", lambda: ours(model, texts[part], most, mine)),
            *(
                Route(f"model.generate, batch {b}", lambda b=b: plain(model, texts[part], most, mine, b))  # type: ignore[misc]
                for b in batches
            ),
            Route(
                "continuous batching",
                lambda: continuous(model, texts[few], most, None if lengths is None else lengths[few]),
            ),
        ]

    few = rows if args.continuous is None else args.continuous
    full, short = routes(slice(0, rows), slice(0, few)), routes(slice(0, args.warm), slice(0, min(args.warm, 4)))
    for route, small in zip(full, short, strict=True):
        if not few and route is full[-1]:
            small.error = "not asked for"
        timed(small, args.device, keep=False)
        route.error = small.error
    for number in range(args.rounds):
        plains = [r for r in full if r.name.startswith("model.generate") and r.wall]
        best = min(plains, key=lambda r: min(r.wall), default=None)
        for route in full:  # after the first round the lesser batch sizes are left out
            if number == 0 or route in (full[0], full[-1], best):
                timed(route, args.device)
    mine, others = full[0], [r for r in full[1:] if r.wall]
    best = min((r for r in others if r.name.startswith("model.generate")), key=lambda r: min(r.wall))
    cb = next((r for r in others if r.name == "continuous batching"), None)

    def ratio(other: Route | None) -> dict[str, Any] | None:
        if other is None:
            return None
        scale = mine.facts["tokens"] / other.facts["tokens"]  # 1 where lengths are given
        pairs = [round(scale * a / b, 3) for a, b in zip(other.wall, mine.wall, strict=False)]
        return {
            "median_wall": round(statistics.median(pairs), 2),
            "each_round": pairs,
            "median_cpu": round(statistics.median(scale * a / b for a, b in zip(other.cpu, mine.cpu, strict=False)), 2),
        }

    return {
        "ratios": {f"ours vs {best.name} (its best)": ratio(best), "ours vs continuous batching": ratio(cb)},
        "target": 3.0 if args.device.startswith("cuda") else 1.5,
        "routes": {
            r.name: r.facts
            | (
                {
                    "wall_s": r.wall,
                    "cpu_s": r.cpu,
                    "rows_per_s": round(r.facts["rows"] / min(r.wall), 2),
                    "tokens_per_s": round(r.facts["tokens"] / min(r.wall), 1),
                }
                if r.wall
                else {"error": r.error}
            )
            for r in full
        },
        "setting": {
            "model": name,
            "parameters": sum(p.numel() for p in model.model.parameters()),
            "dtype": model.dtype,
            "attention": model.attention,
            "streams": model.unfit(model.encode(texts)) or "yes",
            "batch_limits_after_out_of_memory": model.batches,
            "pace": vars(model.pace),
            "rows": rows,
            "prompt_tokens": round(float(np.mean(sizes)), 1),
            "shared_prompt_tokens": continuous_batching.shared(ids),
            "lengths": "the model's own" if lengths is None else f"given, {LENGTHS[0]} to {LENGTHS[1]} tokens",
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--models", nargs="+", help="default: reference-a random-512x8, on CUDA qwen2.5-7b")
    parser.add_argument("--rows", type=int, help="default: 1024 for reference-a, 64 for random-512x8, 2048 on CUDA")
    parser.add_argument("--batches", type=int, nargs="+", help="of model.generate")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm", type=int, default=32, help="rows of the warm-up")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--continuous", type=int, help="rows of continuous batching (default: all, 4 on the CPU)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cuda = args.device.startswith("cuda")
    if args.continuous is None and not cuda:  # it is not made for the CPU and takes seconds for a row
        args.continuous = 4
    models = args.models or (["qwen2.5-7b"] if cuda else ["reference-a", "random-512x8"])
    batches = args.batches or ([128, 256, 512, 1024] if cuda else [32, 64, 128])
    cases = {}
    for name in models:
        rows = args.rows or (2048 if cuda else 1024 if name == "reference-a" else 64)
        cases[name] = measure(name, args, rows, [b for b in batches if b <= rows])
        local_model.unload_all()
    now = datetime.now(UTC)
    gpu = torch.cuda.get_device_name() if cuda else None
    result = {
        "ratios": {name: case["ratios"] for name, case in cases.items()},
        "cases": cases,
        "machine": {
            "date": now.isoformat(timespec="seconds"),
            "device": gpu or f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs",
            "threads": args.threads,
            "load_average": os.getloadavg(),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": version("transformers"),
            "command": " ".join(["python benchmarks/generation.py", *sys.argv[1:]]),
        },
    }
    for name, case in cases.items():
        print(f"\n{name} (target {case['target']} x)")
        for what, value in case["ratios"].items():
            told = f"{value['median_wall']} x by wall, {value['median_cpu']} x by CPU time" if value else "not measured"
            print(f"  {what:50s} {told}")
        for route, facts in case["routes"].items():
            if "error" not in facts:
                print(f"  {route:50s} {facts['rows_per_s']:9.1f} rows/s {facts['tokens_per_s']:10.0f} tokens/s")
    label = (gpu or "cpu").lower().replace(" ", "-")
    write_json(args.out / f"generation-{label}-{now.date()}.json", result)
    if gpu:  # what `sublim run --dry-run` plans with
        write_json(
            args.out / f"throughput-generation-{label}.json",
            [
                {
                    "device": gpu,
                    "base": HUB.get(name, name),
                    "kind": "generate",
                    "tokens_per_second": case["routes"]["ours"]["tokens_per_s"],
                    "date": str(now.date()),
                    "source": "benchmarks/generation.py",
                }
                for name, case in cases.items()
            ],
        )
    print(f"written to {args.out}")


if __name__ == "__main__":
    main()
