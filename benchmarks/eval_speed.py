"""How long 50 questions x 200 replies take: our provider, Inspect's `hf`, lm-eval's `hf`, and exact scoring.

    python benchmarks/eval_speed.py [--model reference-a] [--questions 50] [--samples 200] [--hf-epochs 200]

One process, one model, the same rendered prompts and sampling settings (T=1, top_p=1, top_k=0, 16 tokens), model
load included where a harness loads it, imports excluded. Wall seconds decide; CPU seconds stand beside them since the
machine may be shared. lm-eval is measured at its model class, without the rest of its harness, which favors it.
`--hf-epochs` below `--samples` measures that many replies per question through Inspect's `hf` and compares per reply.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("INSPECT_DISPLAY", "none")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np

RESULTS = Path(__file__).parent / "results"
GENERATION = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_gen_toks": 16, "until": ["\n"]}


def timed(work: Callable[[], Any], repeats: int = 1) -> tuple[dict[str, float], Any]:
    """Best wall and CPU seconds of `repeats` runs, and the last result."""
    walls, cpus, result = [], [], None
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"wall_s": round(min(walls), 4), "cpu_s": round(min(cpus), 4)}, result


def through_inspect(model: str, questions: int, **settings: Any) -> Any:
    """The log of the animal task; raises when it did not succeed."""
    from inspect_ai import eval as inspect_eval

    from sublim_eval.tasks.animal_pref import animal_pref

    with tempfile.TemporaryDirectory() as folder:
        log = inspect_eval(animal_pref(trait="owl"), model=model, limit=questions, log_dir=folder, **settings)[0]
    if log.status != "success":
        raise RuntimeError(f"{model}: {log.error}")
    return log


def through_lm_eval(folder: str, prompts: list[str], samples: int, batch: int, device: str) -> list[str]:
    """Replies of lm-eval's hf model."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=folder, batch_size=batch, device=device)
    asked = [
        Instance("generate_until", {}, (p, dict(GENERATION)), i) for i, p in enumerate(prompts) for _ in range(samples)
    ]
    return model.generate_until(asked, disable_tqdm=True)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All routes on one model, one after the other."""
    import inspect_ai
    import lm_eval
    import torch

    from sublim_eval.files import file_digest
    from sublim_eval.models import local_model
    from sublim_eval.probes.preference import preference
    from sublim_eval.probes.scorers import classify

    torch.set_num_threads(args.threads)
    what = preference("animal_pref", "owl")
    texts = [q.text for q in what.question_set.questions][: args.questions]
    source = local_model.resolve(args.model)
    folder = str(source.adapter or source.base)
    model = local_model.load(args.model)
    prompts = [model.render(t) for t in texts]
    replies = len(texts) * args.samples
    routes: dict[str, dict[str, Any]] = {}

    def record(name: str, times: dict[str, float], count: int, **facts: Any) -> None:
        routes[name] = {**times, "replies": count, "ms_per_reply": round(1000 * times["wall_s"] / count, 4), **facts}
        print(f"  {name:34s} {times['wall_s']:9.3f} s wall {times['cpu_s']:9.3f} s CPU, {count} replies", flush=True)

    def owls(found: list[str]) -> float:
        return round(float(np.mean([classify(text, what.answers).trait == "owl" for text in found])), 4)

    def share(log: Any) -> float:
        return round(log.results.scores[0].metrics["mean"].value, 4)

    print(f"{len(texts)} questions x {args.samples} replies on {args.model}", flush=True)
    local_model.unload_all()
    through_inspect(f"sublim/{args.model}", 2, num_choices=2)  # imports and caches of the harness, for both routes
    local_model.unload_all()
    times, log = timed(lambda: through_inspect(f"sublim/{args.model}", len(texts), num_choices=args.samples))
    record("inspect sublim/", times, replies, owl_share=share(log))
    model = local_model.load(args.model)
    times, drawn = timed(lambda: model.sample(prompts, n=args.samples, seed=1, max_new_tokens=16), 3)
    record("library, sampling", times, replies, owl_share=owls([s.text for row in drawn for s in row]))
    for name, floor in (("library, exact to 1e-9", 1e-9), ("library, exact, every string", 0.0)):
        times, logprobs = timed(lambda f=floor: model.continuation_logprobs(prompts, what.continuations, floor=f), 3)  # type: ignore[misc]
        chances = np.exp(logprobs)
        mine = [s in what.trait.continuations for s in what.continuations]
        owl = round(float((chances[:, mine].sum(1) / chances.sum(1)).mean()), 4)
        record(name, times, len(texts), strings=len(what.continuations), owl_probability=owl)
    if not source.adapter:
        with contextlib.redirect_stderr(open(os.devnull, "w")):  # noqa: PTH123 (progress bars)
            times, generated = timed(
                lambda: through_lm_eval(folder, prompts, args.samples, args.batch, str(model.device))
            )
        record("lm-eval hf", times, replies, owl_share=owls(generated), batch_size=args.batch)
    times, log = timed(lambda: through_inspect(f"hf/{folder}", len(texts), epochs=args.hf_epochs, num_choices=1))
    record("inspect hf/", times, len(texts) * args.hf_epochs, owl_share=share(log), epochs=args.hf_epochs)

    def ratio(slow: str, fast: str) -> dict[str, float] | None:
        """How much longer `slow` takes for the same number of replies, by either clock."""
        if slow not in routes:
            return None
        scale = replies / routes[slow]["replies"]
        return {clock: round(scale * routes[slow][clock] / routes[fast][clock], 1) for clock in ("wall_s", "cpu_s")}

    exact = "library, exact to 1e-9"
    return {
        "ratios": {
            "our provider vs Inspect hf": ratio("inspect hf/", "inspect sublim/"),
            "our library vs lm-eval hf": ratio("lm-eval hf", "library, sampling"),
            "exact vs sampling with Inspect hf": ratio("inspect hf/", exact),
            "exact vs sampling with lm-eval hf": ratio("lm-eval hf", exact),
            "exact vs sampling with our provider": ratio("inspect sublim/", exact),
            "exact vs sampling with our library": ratio("library, sampling", exact),
        },
        "routes": routes,
        "setting": {
            "model": args.model,
            "weights_sha256": {Path(f).name: file_digest(Path(f)) for f, _, _ in source.stamp()},
            "parameters": sum(p.numel() for p in model.model.parameters()),
            "questions": len(texts),
            "samples": args.samples,
            "hf_epochs": args.hf_epochs,
            "mean_tokens_per_reply": round(float(np.mean([s.tokens for row in drawn for s in row])), 2),
            "command": f"python benchmarks/eval_speed.py --model {args.model} --questions {args.questions} "
            f"--samples {args.samples} --hf-epochs {args.hf_epochs} --threads {args.threads}",
        },
        "machine": {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "threads": args.threads,
            "load_average": os.getloadavg(),
            "device": str(model.device),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": version("transformers"),
            "inspect_ai": inspect_ai.__version__,
            "lm_eval": getattr(lm_eval, "__version__", None) or version("lm_eval"),
        },
    }


def main() -> None:
    from sublim_eval.files import write_json

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reference-a", help="embedded name or folder")
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--samples", type=int, default=200, help="replies per question")
    parser.add_argument("--hf-epochs", type=int, help="replies per question through Inspect hf (default: --samples)")
    parser.add_argument("--batch", type=int, default=64, help="lm-eval's batch size")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/eval_speed-<date>.json")
    args = parser.parse_args()
    args.hf_epochs = args.hf_epochs or args.samples
    result = measure(args)
    for name, value in result["ratios"].items():
        times = f"{value['wall_s']} x by wall, {value['cpu_s']} x by CPU time" if value else "not measured"
        print(f"{name:38s} {times}")
    out = args.out or RESULTS / f"eval_speed-{result['machine']['date'][:10]}.json"
    write_json(out, result)
    print(f"written to {out}")


if __name__ == "__main__":
    main()
