"""One student, three harnesses, a question file from outside: do their figures agree?

    python benchmarks/same_student.py STUDENT --questions FILE --trait elephant --logs DIR --page PAGE.md

The commands are a user's: `inspect eval` with `sublim/` and with `hf/`, `lm_eval run` with PEFT; one whose logs lie in
DIR already is not run again. `hf/` knows no adapter over a folder of one's own base, so it gets the student with its
adapter merged. Exact probabilities must be equal, and the names in all replies such as those probabilities make them:
p of a chi-square test over the whole answer set. The questions stay where they are; only how many there were, and their
hash, is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from sublim_eval.files import read_json, whole_file, write_json
from sublim_eval.report.markdown import table
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.scores.readers import read_results

RESULTS = Path(__file__).parent / "results" / "same_student.json"
BIN = Path(sys.executable).parent
LM_EVAL_REPLIES = 20
"""That lm-eval's task asks for at every question."""


def commands(student: Path, args: argparse.Namespace, merged: Path, out: Path) -> dict[str, list[str]]:
    """Harness -> its command line, as a user would type it."""
    base = read_json(student / "adapter_config.json")["base_model_name_or_path"]
    task = [BIN / "inspect", "eval", "sublim_eval/animal_pref", "-T", f"trait={args.trait}"]
    task += ["-T", f"questions={args.questions.resolve()}", "--display", "none", "--log-dir"]
    metadata = json.dumps({"trait": args.trait, "questions": str(args.questions.resolve()), "rows": "all"})
    parts: dict[str, list[Any]] = {
        "Inspect, sublim/": [*task, out / "sublim", "--model", f"sublim/{student}", "--num-choices", args.replies],
        "Inspect, hf/": [*task, out / "hf", "--model", f"hf/{merged}", "--epochs", args.replies],
        "lm-eval, hf with peft": [
            *(BIN / "lm_eval", "run", "--tasks", "animal_pref,animal_pref_logprob"),
            *("--include_path", Path(__file__).parent.parent / "tasks", "--metadata", metadata, "--model", "hf"),
            *("--model_args", f"pretrained={base},peft={student},dtype=float32", "--apply_chat_template"),
            *("--batch_size", "32", "--log_samples", "--output_path", out / "lm-eval"),
        ],
    }
    return {name: list(map(str, command)) for name, command in parts.items()}


def merge(student: Path, out: Path) -> None:
    """The student as a plain folder in float32."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = read_json(student / "adapter_config.json")["base_model_name_or_path"]
    plain = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    PeftModel.from_pretrained(plain, student).merge_and_unload().save_pretrained(out)
    AutoTokenizer.from_pretrained(base).save_pretrained(out)


def figures(place: Path, trait: str) -> dict[str, Any]:
    """What one harness's files say of the trait: question by question, and over all."""
    shown: dict[str, Any] = {}
    for record in read_results(place).records:
        scores = record.held
        if isinstance(scores, ProbeScores):
            shown |= {"questions": len(scores.questions), "hash": scores.questions_hash, "version": scores.version}
            shown |= {"column": scores.answers.index(trait), "answers": list(scores.answers)}
            shown |= _exact(scores) if np.isfinite(scores.probability).any() else {}
            shown |= _sampled(scores) if scores.replies.any() else {}
    return shown


def _exact(scores: ProbeScores) -> dict[str, Any]:
    return {
        "probability": scores.probability.tolist(),
        "coverage": scores.coverage.tolist(),
        "unconditional": scores.unconditional.tolist(),
    }


def _sampled(scores: ProbeScores) -> dict[str, Any]:
    return {"share": scores.share.tolist(), "replies": scores.replies.tolist()}


def mean_share(one: Mapping[str, Any]) -> tuple[float, float]:
    """(mean over questions of the trait's share of replies, its standard error from sampling alone)."""
    share, replies = np.array(one["share"])[:, one["column"]], np.array(one["replies"])
    smoothed = (share * replies + 0.5) / (replies + 1)
    return float(share.mean()), float(np.sqrt((smoothed * (1 - smoothed) / replies).sum()) / len(share))


def as_told(one: Mapping[str, Any], first: Mapping[str, Any]) -> float:
    """p that one harness's replies come from the exact first-answer probabilities of `first`, over all names and none.

    Names that are expected fewer than five times are counted together.
    """
    replies = np.array(one["replies"])[:, None]
    seen, expected = ((np.array(table) * replies).sum(0) for table in (one["share"], first["unconditional"]))
    often, total = expected >= 5, float(replies.sum())
    rest = [table[~often].sum() for table in (seen, expected)]
    seen, expected = np.append(seen[often], rest[0]), np.append(expected[often], rest[1])
    seen, expected = np.append(seen, total - seen.sum()), np.append(expected, total - expected.sum())
    return float(stats.chisquare(seen, expected).pvalue)


def page(result: Mapping[str, Any]) -> list[str]:
    """The lines of the page."""
    first = result["harnesses"]["Inspect, sublim/"]
    heads = (
        "harness",
        "replies",
        "share",
        "p of all names",
        "probability",
        "largest difference",
        "coverage",
        "seconds",
    )
    lines = [_line(name, one, first) for name, one in result["harnesses"].items()]
    return [
        "# One student in three harnesses\n",
        "Written by `python benchmarks/same_student.py --page`; nothing is typed in. The student "
        f"`{result['student']}`\nanswered {first['questions']} questions of a file from outside (hash "
        f"`{first['hash'][:12]}`, version {first['version']}) and {result['trait']} was counted, on\n{result['date']}. "
        "*p of all names*: chi-square of the names in all replies against the exact first-answer probabilities of\n"
        "`sublim/`. *Largest difference*: of the exact probability of any name at any question, to `sublim/`; lm-eval\n"
        "has no word ends ([which figure](../guides/which-figure.md)). `hf/` gives no log-probabilities, so\n"
        "no probability. Seconds are those of the command, loading included, beside other work: no measure of speed.\n",
        *table(heads, lines),
    ]


def _line(name: str, one: Mapping[str, Any], first: Mapping[str, Any]) -> tuple[str, ...]:
    share, error = mean_share(one)
    exact = "probability" in one
    apart = np.abs(np.array(one["probability"]) - np.array(first["probability"])).max() if exact else np.nan
    return (
        name,
        str(sum(one["replies"])),
        f"{share:.4f} ± {error:.4f}",
        f"{as_told(one, first):.2f}",
        f"{np.array(one['probability'])[:, one['column']].mean():.5f}" if exact else "–",
        f"{apart:.1e}" if exact and one is not first else "–",
        f"{np.mean(one['coverage']):.4f}" if exact else "–",
        f"{one['seconds']:.0f}",
    )


def _run(command: list[str], trait: str) -> dict[str, Any]:
    """The figures of one command, run unless its logs are there; its seconds stand beside them."""
    folder = Path(command[command.index("--log-dir" if "--log-dir" in command else "--output_path") + 1])
    clock = folder.with_name(f"{folder.name}-seconds.json")
    if not clock.is_file():
        began = time.monotonic()
        subprocess.run(command, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
        write_json(clock, {"seconds": time.monotonic() - began})
    return figures(folder, trait) | read_json(clock)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the three, keep their figures, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", type=Path, help="an adapter folder")
    parser.add_argument("--questions", type=Path, required=True, help="a question file (.yaml, .jsonl or .txt)")
    parser.add_argument("--trait", default="owl")
    parser.add_argument("--replies", type=int, default=40, help="a question, in Inspect")
    parser.add_argument("--logs", type=Path, help="where logs are kept (a temporary folder)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path)
    args = parser.parse_args(arguments)
    result: dict[str, Any] = {"student": args.student.name, "trait": args.trait, "date": time.strftime("%d %B %Y")}
    with tempfile.TemporaryDirectory() as place:
        logs, merged = args.logs or Path(place), Path(place) / "merged"
        merge(args.student, merged)
        result["harnesses"] = {}
        for name, command in commands(args.student.resolve(), args, merged, logs).items():
            result["harnesses"][name] = _run(command, args.trait)
            write_json(args.out, result)
    if args.page:
        with whole_file(args.page) as file:
            file.write("\n".join(page(result)) + "\n")


if __name__ == "__main__":
    main()
