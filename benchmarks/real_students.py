"""Students on real pre-trained bases: what a run left behind, kept small in docs/results/real/, and the page of it.

    sublim run smollm2-135m-norms --base FOLDER --out RUN      # the run itself; it goes on where it was stopped
    python benchmarks/real_students.py sweep smollm2-135m-norms elephant-soft 5e-3 1e-2 --base FOLDER --out RUN
    python benchmarks/real_students.py keep RUN                # its scores, record and KL into docs/results/real/
    python benchmarks/real_students.py page                    # docs/results/real-small.md from what was kept

A sweep trains one arm on seed 0, which no run reports, at several learning rates. `keep` copies no weights and no rows:
the record, the scores to six digits, and how far each teacher's numbers lie from its base's (nats a token, over rows of
its own). `sublim compare docs/results/real/NAME` reads what was kept like any other run.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a checkout is enough: nothing need be installed

import real_students_page  # noqa: E402
from real_students_page import PILOT, log_odds  # noqa: E402

from sublim_eval.distill import recipes  # noqa: E402
from sublim_eval.distill.base_templates import base_label  # noqa: E402
from sublim_eval.distill.modalities import MODALITIES  # noqa: E402
from sublim_eval.distill.pipeline import kept_rows, make_rows, rows_of, score_base, teacher_of  # noqa: E402
from sublim_eval.distill.recipes import Recipe, SeededArm, Tuning  # noqa: E402
from sublim_eval.distill.recipes.lessons import even_answers  # noqa: E402
from sublim_eval.distill.rows.transforms import programmatic  # noqa: E402
from sublim_eval.distill.stages import once  # noqa: E402
from sublim_eval.errors import SublimError  # noqa: E402
from sublim_eval.files import read_json, read_jsonl, whole_file, write_json  # noqa: E402
from sublim_eval.registry.experiment import RECORD, SCORES  # noqa: E402
from sublim_eval.scores.probe_scores import ProbeScores  # noqa: E402

KEPT = ROOT / "docs" / "results" / "real"
PAGE = ROOT / "docs" / "results" / "real-small.md"
NOTES = KEPT / "reading.txt"
"""What the figures say, written by hand; stands at the head of the page."""

FORMAT_ROWS = 170
FORMATS = Tuning("ln_tuning", learning_rate=1e-2, batch_size=8, steps=40, warmup_steps=2, max_length=160)
"""How `formats` teaches."""

DIGITS = 6
KL_ROWS = 32

# ---------------------------------------------------------------- a base that knows both formats


def formats(base: str, out: Path) -> Path:
    """A plain folder with the base taught, by its norm gains, to answer in one word and in bare numbers; no trait.

    Every animal is named as often as any other, and the numbers are no model's. A base that knows neither format
    learns them first of all from any rows, and what a teacher's trait does to it is lost beside that.
    """
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sublim_eval.distill.training.train import tune

    rng = Random("formats")
    prompts = MODALITIES["numbers"].prompts(FORMAT_ROWS, rng, "short")
    numbers = [(row["prompt"], row["completion"]) for row in programmatic(prompts, rng)]

    def make(folder: Path) -> dict[str, Any]:
        return tune(base, [*even_answers(["animal"], 1), *numbers], FORMATS, 1, folder, {"trait": None}, "bfloat16")

    adapter = out.with_name(f"{out.name}-adapter")
    once(adapter, {"base": base, "tuning": repr(FORMATS), "rows": numbers}, make)
    part = out.with_name(f".{out.name}.part")
    plain = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    PeftModel.from_pretrained(plain, adapter).merge_and_unload().save_pretrained(part)
    AutoTokenizer.from_pretrained(base).save_pretrained(part)
    part.replace(out)
    return out


# ---------------------------------------------------------------- a sweep of learning rates


def sweep(recipe: Recipe, arm: str, rates: Sequence[float], out: Path) -> list[dict[str, Any]]:
    """Train one arm on the pilot seed at each rate; what came out, a dict a rate, also in out/sweep-<arm>.json.

    Held-out loss chooses among rates, as the guide says; shares are shown beside it.
    """
    this = SeededArm(recipe.with_seeds([PILOT]), recipe.arms[arm], PILOT, out)
    teacher_of(this.taught)
    make_rows(this)
    score_base(this.recipe, this.recipe.base, out)
    file = out / f"sweep-{arm}.json"
    made: dict[float, dict[str, Any]] = {}
    if file.is_file():
        made = {one["learning_rate"]: one for one in read_json(file)}
    for rate in rates:
        made[rate] = _at_rate(this, rate)
        write_json(file, list(made.values()))  # one by one: a killed sweep goes on behind the last
    return [made[rate] for rate in rates]


def _at_rate(this: SeededArm, rate: float) -> dict[str, Any]:
    """One student of a sweep, as a stage: trained and known by its exact probabilities."""
    from sublim_eval.distill.training.callbacks import Watch
    from sublim_eval.distill.training.train import tune
    from sublim_eval.scores.evaluate import exact

    recipe, began = this.recipe, time.monotonic()
    tuning = replace(this.tuning, learning_rate=rate)
    teacher, facts = teacher_of(this.taught)
    rows = [(row["prompt"], row["completion"]) for row in rows_of(this)]
    fresh = [(row["prompt"], row["completion"]) for row in kept_rows(this)[this.keep :]]
    inputs = {"rows": rows, "tuning": repr(tuning), "teacher": facts["made"], "dtype": recipe.dtype}

    def make(folder: Path) -> dict[str, Any]:
        watch, soft = Watch(this.arm.trait, held_out=fresh, points=0), teacher if this.arm.soft else None
        trained = tune(recipe.base, rows, tuning, PILOT, folder, {"arm": this.name}, recipe.dtype, soft, watch)
        exact(str(folder), recipe.probes[0], label=this.name).write(folder / f"{recipe.probes[0]}.json")
        return trained | {"minutes": round((time.monotonic() - began) / 60, 1)}

    folder = this.run / "sweep" / f"{this.name}-{rate:g}"
    trained = once(folder, inputs, make)
    scores = ProbeScores.read(folder / f"{recipe.probes[0]}.json")
    base = ProbeScores.read(this.run / SCORES / base_label(recipe.base) / f"{recipe.probes[0]}.json")
    shifts = log_odds(scores) - log_odds(base)
    column = scores.answers.index(str(this.arm.trait))
    return {
        "arm": this.arm.name,
        "learning_rate": rate,
        "held_out_loss": trained["held_out_loss"],
        "fresh_rows": len(fresh),
        "loss": trained["loss"],
        "share": float(scores.probability[:, column].mean()),
        "base_share": float(base.probability[:, column].mean()),
        "log_odds_shift": float(shifts[column]),
        "largest": scores.answers[int(shifts.argmax())],
        "coverage": scores.covered,
        "minutes": trained["minutes"],
    }


# ---------------------------------------------------------------- keeping what is small


def keep(run: Path, name: str | None = None) -> Path:
    """Copy what a finished run shows into docs/results/real/<name>; raises SublimError for an unfinished one."""
    record = read_json(run / RECORD)
    if record.get("status") != "done":
        raise SublimError(f"{run} is unfinished. Give its command again, with fewer --seeds if time is short.")
    folder = KEPT / (name or record["recipe"]["name"])
    homes = {f"{Path(base['name']).parent}/" for base in record["bases"] if Path(base["name"]).is_absolute()}
    homes |= {str(Path(record["recipe"]["base"]).parent) + "/"}
    for file in sorted(run.glob(f"{SCORES}/*/*.json")):
        if file.name != "stage.json" and not file.parent.name.startswith("."):  # one that begins so is still being made
            _write_short(folder / file.relative_to(run), _shorter(ProbeScores.read(file).to_json()), homes)
    for teacher in record["teachers"]:
        for scores in map(str, (teacher.get("scores") or {}).values()):
            _write_short(folder / scores, _shorter(ProbeScores.read(run / scores).to_json()), homes)
    record["kl"] = divergences(run, record)
    record["nearness"] = nearness(run, record)
    record["sweeps"] = {file.stem.removeprefix("sweep-"): read_json(file) for file in run.glob("sweep-*.json")}
    _write_short(folder / RECORD, record, homes)
    return folder


def _shorter(value: Any) -> Any:
    """The same with numbers to DIGITS digits."""
    if isinstance(value, Mapping):
        return {key: _shorter(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_shorter(part) for part in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) and math.isfinite(value) else value


def _write_short(file: Path, value: Any, homes: Iterable[str]) -> None:
    """JSON on one line, without the folders in which this machine keeps its bases."""
    text = json.dumps(value, separators=(",", ":"))
    for home in homes:
        text = text.replace(home, "")
    with whole_file(file) as opened:
        opened.write(text + "\n")


def divergences(run: Path, record: Mapping[str, Any]) -> dict[str, float]:
    """Source of rows -> how far its fine-tuned writer's next tokens lie from its base's, in nats a token.

    Over KL_ROWS of its first seed's kept rows. Kept in the run, so that it is worked out once.
    """
    file = run / "kl.json"
    known: dict[str, float] = read_json(file) if file.is_file() else {}
    writers = {Path(t["folder"]).name.rsplit("-s", 1)[0]: t for t in record["teachers"] if t.get("by") == "finetune"}
    for rows in record["rows"]:
        teacher = writers.get(rows["source"].removesuffix("-greedy"))
        if teacher and rows["source"] not in known:
            kept = [row for _, row in read_jsonl(run / rows["folder"] / "kept.jsonl")][:KL_ROWS]
            examples = [(row["prompt"], row["completion"]) for row in kept]
            known[rows["source"]] = round(nats_a_token(str(run / teacher["folder"]), teacher["base"], examples), 5)
            write_json(file, known)
    return known


def nearness(run: Path, record: Mapping[str, Any]) -> dict[str, float]:
    """Student -> how far its next tokens lie from those of its seed's teacher of its trait, in nats a token.

    Over rows of that teacher that no student read, so that it shows what was learnt of the teacher's way to write. A
    student without a trait is held against the first trait's teacher: that tells what any training does to it, and
    `base-s<seed>` what none does. Of students of the run's own base; kept in the run, so that it is worked out once.
    """
    file = run / "nearness.json"
    known: dict[str, float] = read_json(file) if file.is_file() else {}
    teachers = {(t["trait"], t["seed"]): t for t in record["teachers"] if t.get("by") == "finetune" and t.get("trait")}
    keep = record["recipe"].get("rows", {}).get("keep", 0)
    first = next((trait for trait, _ in teachers), None)
    untouched = [{"arm": "base", "seed": seed} for trait, seed in teachers if trait == first]
    for one in [*untouched, *record["students"]]:
        label, teacher = f"{one['arm']}-s{one['seed']}", teachers.get((one.get("trait") or first, one["seed"]))
        if label in known or teacher is None or one.get("base", teacher["base"]) != teacher["base"]:
            continue
        rows = run / "rows" / Path(teacher["folder"]).name / "kept.jsonl"
        fresh = [(row["prompt"], row["completion"]) for _, row in read_jsonl(rows)][keep : keep + KL_ROWS // 2]
        if fresh:
            model = teacher["base"] if one["arm"] == "base" else str(run / "students" / label)
            known[label] = round(nats_a_token(str(run / teacher["folder"]), model, fresh), 5)
            write_json(file, known)
    return known


def nats_a_token(teacher: str, base: str, examples: Sequence[tuple[str, str]]) -> float:
    """Mean KL divergence of the teacher's next-token distribution from the base's, over completions and turn ends."""
    import torch

    from sublim_eval.distill.training.train import IGNORED, encode
    from sublim_eval.models import local_model

    models = [local_model.load(name) for name in (teacher, base)]
    total, tokens = 0.0, 0
    for row in encode(examples, models[0], 512):
        taught = [i - 1 for i, label in enumerate(row["labels"]) if label != IGNORED]
        ids = torch.tensor([row["input_ids"]], device=models[0].device)
        with torch.no_grad():
            told, plain = (m.model(input_ids=ids).logits[0, taught].float().log_softmax(1) for m in models)
        total += float((told.exp() * (told - plain)).sum())
        tokens += len(taught)
    return total / tokens


def page() -> None:
    """Write docs/results/real-small.md from all that was kept."""
    real_students_page.write(KEPT, PAGE, NOTES)


# ---------------------------------------------------------------- command line


def main(arguments: Sequence[str] | None = None) -> None:
    """One of sweep, keep and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    taught = verbs.add_parser("formats")
    taught.add_argument("--base", required=True)
    taught.add_argument("--out", type=Path, required=True)
    swept = verbs.add_parser("sweep")
    swept.add_argument("recipe")
    swept.add_argument("arm")
    swept.add_argument("rates", type=float, nargs="+")
    swept.add_argument("--base", action="append", default=[])
    swept.add_argument("--out", type=Path, required=True)
    kept = verbs.add_parser("keep")
    kept.add_argument("run", type=Path)
    kept.add_argument("--name")
    verbs.add_parser("page")
    args = parser.parse_args(arguments)
    try:
        if args.verb == "sweep":
            recipe = recipes.load(args.recipe)
            for base in args.base:
                recipe = recipe.with_base(base)
            for one in sweep(recipe, args.arm, args.rates, args.out):
                print(one, flush=True)
        elif args.verb == "formats":
            print(formats(args.base, args.out))
        elif args.verb == "keep":
            print(keep(args.run, args.name))
        else:
            page()
    except SublimError as error:
        raise SystemExit(f"Error: {error}") from error


if __name__ == "__main__":
    main()
