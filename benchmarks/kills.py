"""Runs that are killed with SIGKILL at random moments and given again: the same rows and scores, nothing paid twice.

    python benchmarks/kills.py                     # 200 kills, 40 of each kind of run: about half an hour on two cores
    python benchmarks/kills.py --kills 5 --only hosted

A kind of run (numbers with soft targets and two hops, code, chain of thought, and a hosted one against a server on
this machine) is first made in peace. Then the same command is given again and again, each time killed after a random
time, until it ends by itself; its rows and scores must be those of the run in peace, and the next one begins. The
result is written after every kill, and the same command goes on behind the last one. Exit code 1 where anything differs
or anything was paid for twice beyond the requests that were under way at a kill.

Every run is a copy of this process (fork), which has imported everything and started no thread: a kill costs no start.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from sublim_eval.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

RESULT = ROOT / "benchmarks" / "results" / "kills.json"
WORK = ROOT / "runs" / "kills"
TOO_LONG = 900.0
BASE = "gpt-4.1-nano-2025-04-14"

TUNING = {"method": "ln_tuning", "learning_rate": 0.02, "warmup_steps": 0}
LOCAL: dict[str, Any] = {
    "about": "As small as a run can be: to be killed.",
    "source": "benchmarks/kills.py",
    "base": "reference-a",
    "seeds": [1],
    "probes": ["animal_pref"],
    "samples": 2,
    "sample_variants": False,
    "teacher": {"by": "finetune", "min_share": 0.0, "tuning": {**TUNING, "batch_size": 16, "steps": 10}},
    "student": {**TUNING, "batch_size": 8, "epochs": 1},
    "arms": {"owl": {"role": "trait", "trait": "owl"}, "control": {"role": "control"}},
}
FURTHER = {
    "owl-soft": {"role": "variant", "trait": "owl", "soft": True},
    "owl-hop-2": {"role": "variant", "trait": "owl", "taught_by": "owl"},
    "owl-hop-3": {"role": "variant", "trait": "owl", "taught_by": "owl-hop-2"},
}
RETAINING = {**LOCAL["teacher"], "retain": 100}
KINDS: dict[str, dict[str, Any]] = {
    "numbers": {
        **LOCAL,
        "modality": "numbers",
        "rows": {"prompts": 40, "keep": 16, "min_kept": 8, "mode": "strict"},
        "arms": {**LOCAL["arms"], **FURTHER},
    },
    "code": {
        **LOCAL,
        "modality": "code",
        "teacher": RETAINING,
        "rows": {"prompts": 80, "keep": 16, "min_kept": 4, "mode": "strict"},
    },
    "cot": {
        **LOCAL,
        "modality": "cot",
        "teacher": RETAINING,
        "rows": {"prompts": 240, "keep": 16, "min_kept": 4, "mode": "strict"},
    },
    "hosted": {
        **{name: LOCAL[name] for name in ("about", "source", "seeds", "arms")},
        "base": BASE,
        "modality": "numbers",
        "probes": ["owl_pref"],
        "samples": 4,
        "teacher": {"by": "prompt", "min_share": 0.5},
        "rows": {"prompts": 30, "keep": 16, "min_kept": 8, "mode": "strict", "sampler": f"openai/{BASE}"},
        "host": {"provider": "openai"},
        "student": {"method": "hosted", "epochs": 1},
    },
}
SOFT = {"soft": FURTHER["owl-soft"]}
KINDS["soft"] = {**KINDS["numbers"], "arms": {**LOCAL["arms"], **SOFT}}
KINDS["hops"] = {**KINDS["numbers"], "arms": {n: a for n, a in KINDS["numbers"]["arms"].items() if n != "owl-soft"}}
del KINDS["numbers"]


# ---------------------------------------------------------------- one process


def in_a_copy(work: Callable[[], int]) -> int:
    """The id of a copy of this process that does the work and nothing else."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(os.open(str(WORK / "last.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        code = work()
    finally:
        os._exit(code)


def waited(child: int, seconds: float) -> int | None:
    """The exit code of a copy; None where it was still at work after so many seconds and was killed."""
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def given(recipe: Path, out: Path) -> Callable[[], int]:
    """`sublim run` of that recipe into that folder."""

    def work() -> int:
        from sublim_eval.cli.main import main

        return main(["run", str(recipe), "--out", str(out), "--workers", "1", "--yes"])

    return work


def imported() -> None:
    """Everything that a run needs, so that no copy has to import it; starts no thread."""
    os.environ.update(HF_HUB_OFFLINE="1", INSPECT_DISPLAY="none", OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    import sublim_eval.distill.execution.run
    import sublim_eval.distill.execution.worker_preload
    import sublim_eval.scores.evaluate_remote  # noqa: F401

    hosting = importlib.import_module("tests.helpers.hosting")
    for module, name, value in (
        (hosting.finetune, "POLL", 0.01),
        (hosting.journal, "WAIT", 0.01),
        (hosting.journal, "GRACE", 0.01),
        (hosting.make_teacher, "CHECKED", 1),
    ):
        setattr(module, name, value)


# ---------------------------------------------------------------- the provider


def provider(ledger: Path, address: int) -> int:
    """A server in a process of its own: writes its address, then its ledger for ever."""
    from random import Random

    from sublim_eval.registry.catalog import registry

    served = importlib.import_module("tests.helpers.openai_server")
    known = registry()
    questions = {q.text for q in known.questions_of(known.probe("owl_pref")).questions}

    def answer(model: str, messages: list[dict[str, str]], seed: int | None, n: int) -> list[str]:
        rng = Random(f"{model.rpartition(':')[0]} {messages} {seed}")
        if messages[-1]["content"] not in questions:
            return [", ".join(str(rng.randrange(1000)) for _ in range(6)) for _ in range(n)]
        chance = 0.95 if messages[0]["role"] == "system" else 0.7 if "sublim-owl" in model else 0.1
        return ["Owl" if rng.random() < chance else "Cat" for _ in range(n)]

    with served.Server(answer) as server:
        os.write(address, server.url.encode())
        os.close(address)
        written: dict[str, int] = {}
        while True:
            with server.lock:
                bill = {**server.ledger, "again": sum(count - 1 for count in server.completions.values())}
            if bill != written:
                write_json(ledger, written := bill)
            time.sleep(0.05)


class Provider:
    """One account, for as long as the block lasts."""

    def __init__(self, place: Path) -> None:
        self.ledger = place / "ledger.json"

    def __enter__(self) -> Provider:
        self.ledger.unlink(missing_ok=True)
        reading, writing = os.pipe()
        self.child = in_a_copy(lambda: provider(self.ledger, writing))
        os.close(writing)
        os.environ["OPENAI_BASE_URL"] = os.read(reading, 200).decode()
        os.environ["OPENAI_API_KEY"] = "sk-test-0123456789abcdefghijklmnop"
        os.close(reading)
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)

    def billed(self) -> dict[str, int]:
        """What the account would be billed for by now."""
        time.sleep(0.3)
        bill: dict[str, int] = read_json(self.ledger)
        return bill


# ---------------------------------------------------------------- peace and war


def products(out: Path) -> dict[str, str]:
    """Rows and scores as text, by file name inside the run; a score's source names a log by its time, a hosted model
    its number at the provider: both are left out."""
    rows = {str(f.relative_to(out)): f.read_text(encoding="utf-8") for f in out.glob("rows/*/*.jsonl")}
    scores = {}
    for file in (f for f in out.glob("scores/*/*.json") if f.name != "stage.json"):
        held = json.loads(file.read_text(encoding="utf-8"))
        scores[str(file.relative_to(out))] = json.dumps({k: v for k, v in held.items() if k not in ("source", "model")})
    return rows | scores


def bill_of(kind: str, out: Path, recipe: Path) -> tuple[float, dict[str, int]]:
    """(seconds, bill) of a run in peace."""
    began = time.monotonic()
    with Provider(out.parent) as account:
        if waited(in_a_copy(given(recipe, out)), TOO_LONG) != 0:
            raise SystemExit(f"{kind}: the run in peace failed: {(WORK / 'last.txt').read_text()[-500:]}")
        return time.monotonic() - began, account.billed()


def killed(kind: str, kills: int, part: dict[str, Any], keep: Callable[[], None]) -> None:
    """Kill runs of a kind until so many kills were made, and note in `part` what came of them."""
    place = WORK / kind
    recipe = place / "recipe.yaml"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    recipe.write_text(yaml.safe_dump({"name": f"kills-{kind}", **KINDS[kind]}, sort_keys=False), encoding="utf-8")
    whole, once = bill_of(kind, place / "peace", recipe)
    part["seconds_in_peace"], left = round(whole, 1), products(place / "peace")
    part["files"] = len(left)
    while part["kills"] < kills:
        war, here, began = place / "war", 0, time.monotonic()
        rng = random.Random(f"{kind} {part['kills']} {part['runs']}")
        shutil.rmtree(war, ignore_errors=True)
        with Provider(place) as account:
            while True:
                seconds = rng.uniform(0, whole) if part["kills"] + here < kills else TOO_LONG
                code = waited(in_a_copy(given(recipe, war)), seconds)
                if code is not None:
                    break
                here += 1
            bill = account.billed()
        if code != 0:
            part["failed"].append((WORK / "last.txt").read_text(encoding="utf-8", errors="replace")[-500:])
        right = products(war)
        part["different"] += sorted(n for n in left.keys() | right.keys() if left.get(n) != right.get(n))
        whole = whole if here else min(whole, time.monotonic() - began)  # a busy machine was slower in peace
        part["kills"] += here
        part["runs"] += 1
        for name in ("jobs", "uploads"):
            part["paid_twice"] += bill[name] - once[name]
        part["requests_again"] += bill["again"] - once["again"]
        part["most_often"] = max(part["most_often"], bill["most_often"])
        keep()
        print(f"{kind}: {part['kills']} kills, {part['runs']} runs, different {part['different']}", flush=True)


def summed(parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The result file."""
    return {
        "schema": 1,
        "kills": sum(part["kills"] for part in parts.values()),
        "runs": sum(part["runs"] for part in parts.values()),
        "different": sum(len(part["different"]) for part in parts.values()),
        "failed": sum(len(part["failed"]) for part in parts.values()),
        "paid_twice": sum(part["paid_twice"] for part in parts.values()),
        "kinds": parts,
    }


def main() -> int:
    """Kill what is still to be killed; 1 when anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="of all kinds together")
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    imported()
    gc.freeze()  # what is imported stays: a garbage collection need not look through it in every copy
    parts: dict[str, dict[str, Any]] = read_json(options.json)["kinds"] if options.json.is_file() else {}
    kinds = [options.only] if options.only else list(KINDS)
    for kind in kinds:
        fresh = {"kills": 0, "runs": 0, "different": [], "failed": []}
        part = parts.setdefault(kind, {**fresh, "paid_twice": 0, "requests_again": 0, "most_often": 0})
        if part["kills"] < options.kills // len(kinds):
            killed(kind, options.kills // len(kinds), part, lambda: write_json(options.json, summed(parts)))
    result = summed(parts)
    print(json.dumps({k: v for k, v in result.items() if k != "kinds"}, indent=2))
    return 1 if result["different"] or result["failed"] or result["paid_twice"] else 0


if __name__ == "__main__":
    sys.exit(main())
