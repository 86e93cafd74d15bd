"""Kill `sublim run` with SIGKILL at random moments, resume it each time, and compare with a run left in peace.

python tests/helpers/kill_resume.py [--kills 20] [--recipe tests/helpers/recipes/tiny.yaml] [--json FILE]

Passes when kept rows are the same bytes and scores the same numbers. Exit code 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.helpers import RECIPES

TINY = RECIPES / "tiny.yaml"


def command(recipe: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "sublim_eval.cli.main", "run", str(recipe), "--out", str(out)]


def products(out: Path) -> dict[str, str]:
    """Rows and scores as text, by file name inside the run; `source` names a log by its time and is left out."""
    rows = {str(f.relative_to(out)): f.read_text(encoding="utf-8") for f in out.glob("rows/*/*.jsonl")}
    scores = {}
    for file in out.glob("scores/*/*.json"):
        if file.name != "stage.json":
            told = json.loads(file.read_text(encoding="utf-8"))
            scores[str(file.relative_to(out))] = json.dumps({k: v for k, v in told.items() if k != "source"})
    return rows | scores


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--recipe", type=Path, default=TINY)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        peace, war = Path(folder) / "peace", Path(folder) / "war"
        began = time.monotonic()
        subprocess.run(command(options.recipe, peace), check=True, stdout=subprocess.DEVNULL)
        whole = time.monotonic() - began
        killed = 0
        while killed < options.kills:
            run = subprocess.Popen(
                command(options.recipe, war),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                run.wait(timeout=rng.uniform(0.5, whole))
                if run.returncode:
                    print(f"the resumed run ended with {run.returncode}")
                    return 1
                killed += 1  # it ended before the kill: start afresh, so that later kills find work
                for file in war.rglob("stage.json"):
                    if rng.random() < 0.5:
                        file.unlink()
            except subprocess.TimeoutExpired:
                os.kill(run.pid, signal.SIGKILL)
                run.wait()
                killed += 1
            print(f"kill {killed}/{options.kills}", flush=True)
        subprocess.run(command(options.recipe, war), check=True, stdout=subprocess.DEVNULL)
        left, right = products(peace), products(war)
        different = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
        told = {"kills": killed, "files": len(left), "different": different, "seconds_in_peace": round(whole, 1)}
        print(json.dumps(told, indent=2))
        if options.json:
            options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        return 1 if different or not left else 0


if __name__ == "__main__":
    sys.exit(main())
