"""Lineage: pairs of small models whose kinship is known, and forecasts of transfer beside transfer.

    nice -n 19 python benchmarks/lineage.py siblings    # trains them once, under --models (seconds each)
    nice -n 19 python benchmarks/lineage.py weights     # every pair and every kind of copy, from weights
    nice -n 19 python benchmarks/lineage.py answers     # the same from log-probabilities
    nice -n 19 python benchmarks/lineage.py samples     # the same from sampled text
    nice -n 19 python benchmarks/lineage.py pupils      # distilled models and same-base students, in all three ways
    nice -n 19 python benchmarks/lineage.py transfer    # students really trained, beside the forecast
    python benchmarks/lineage.py page                   # writes docs/results/lineage.md from the results

The models are described in lineage_models.py. Writes benchmarks/results/lineage.json as results come. Settings were
chosen on the siblings below TUNED (from samples: on the siblings that are its references); the others are reported.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lineage_page
import lineage_transfer
import numpy as np
import torch
from lineage_models import COPIES, PUPILS, TUNED, WORDS, copies, pupils, train_siblings, write_copy
from numpy.typing import NDArray
from safetensors.torch import load_file

from sublim_eval.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "lineage.json"
PAGE = ROOT / "docs" / "results" / "lineage.md"
MODELS = ROOT / "runs" / "lineage-models"
SIBLINGS, COPIED = 23, 16
"""Models of one corpus and width; those of them that are copied."""

WIDTHS = (32, 48)
ASKED = 400
"""Questions to each model of the part on log-probabilities."""

REFERENCES, SAMPLED = range(6), range(6, 9)
"""Siblings of the part on samples: those that are the references, on which its settings were chosen; the others."""

TAUGHT = (4,)
"""Siblings that teach, and are taught; references of the part on samples that have a part in it are left out there."""


# ---------------------------------------------------------------- weights


def by_weights(models: Path, count: int, width: int) -> None:
    """Every pair of siblings of one width, and every model with each of its copies and its neighbour's; pairs that
    stand in the results are left."""
    from sublim_eval.distill.lineage import verdict, weights

    part = f"weights of {width}"
    rows = list(results().get(part, {"pairs": []})["pairs"])
    known = {(row["kind"], *row["pair"]) for row in rows}
    folders = [models / f"h{width}-s{seed}" for seed in range(count)]
    opened = [weights.read(folder) for folder in folders]

    def add(kind: str, related: bool, tuned: bool, a: weights.Weights, b: Path | weights.Weights) -> None:
        names = (a.label, b.name if isinstance(b, Path) else b.label)
        if (kind, *names) not in known:
            other = weights.read(b) if isinstance(b, Path) else b
            rows.append(_row(kind, related, tuned, verdict.by_weights(a, other), names))

    for (i, a), (j, b) in itertools.combinations(enumerate(opened), 2):
        add("siblings", False, i < TUNED or j < TUNED, a, b)
    for seed, folder in enumerate(folders[:COPIED]):
        for kind, copy in copies(models, folder, seed):
            add(kind, True, seed < TUNED, opened[seed], copy)
            add(f"another's {kind}", False, seed < TUNED, opened[(seed + 1) % COPIED], copy)
        keep(part, {"pairs": rows})
    print(part, len(rows), flush=True)
    keep(part, {"pairs": rows})


def _row(kind: str, related: bool, tuned: bool, kinship: Any, names: Sequence[str]) -> dict[str, Any]:
    """One pair as the results keep it."""
    tests = {test.name: [test.p, round(test.z, 2)] for test in kinship.tests}
    return {
        "kind": kind, "related": related, "tuned": tuned, "told": kinship.related, "p": kinship.p, "tests": tests,
        "pair": list(names),
    }  # fmt: skip


# ---------------------------------------------------------------- log-probabilities


def by_answers(models: Path, count: int) -> dict[str, Any]:
    """The same from answers: likeness of every pair, the null from the siblings that settings were chosen on."""
    from sublim_eval.distill.lineage import answers
    from sublim_eval.distill.lineage.verdict import by_answers as verdict

    rows: list[dict[str, Any]] = []
    folders = [models / f"h48-s{seed}" for seed in range(count)]

    def add(kind: str, related: bool, tuned: bool, *pair: NDArray[np.float64]) -> None:
        value = answers.score(answers.overlap(*pair))
        rows.append({"kind": kind, "related": related, "tuned": tuned, "score": value})

    spaces = [_space(folder) for folder in folders]
    for i, j in itertools.combinations(range(count), 2):
        add("siblings", False, i < TUNED or j < TUNED, spaces[i], spaces[j])
    for seed, folder in enumerate(folders):
        for kind, copy in copies(models, folder, seed):
            other = _space(copy)
            add(kind, True, seed < TUNED, spaces[seed], other)
            add(f"another's {kind}", False, seed < TUNED, spaces[(seed + 1) % count], other)
        print(seed, rows[-1], flush=True)
    null = np.array([row["score"] for row in rows if row["kind"] == "siblings" and row["tuned"]])
    facts = (float(null.mean()), float(null.std(ddof=1)), len(null))
    for row in rows:
        kinship = verdict(row["score"], *facts)
        row |= {"told": kinship.related, "p": kinship.p, "score": round(row["score"], 3)}
    return {"null": facts, "queries": ASKED, "pairs": rows}


def _space(folder: Path) -> NDArray[np.float64]:
    """What a model's log-probabilities move in."""
    from sublim_eval.distill.lineage import answers
    from sublim_eval.models.local_model import load

    questions = answers.questions([f"w{i}" for i in range(WORDS)], ASKED)
    return answers.space(answers.next_token_logprobs(load(folder), questions))


# ---------------------------------------------------------------- samples


class Library:
    """Texts of small models as others foresee them; the references read every text."""

    def __init__(self, models: Path, without: Sequence[int] = ()) -> None:
        from sublim_eval.distill.lineage import answers, texts

        self.references = [models / f"h48-s{seed}" for seed in REFERENCES if seed not in without]
        self.questions = answers.questions([f"w{i}" for i in range(WORDS)], texts.QUERIES)
        self._texts: dict[Path, list[str]] = {}

    def foreseen(self, writer: Path, reader: Path) -> Any:
        """A text as (reader, references) foresee it."""
        from sublim_eval.distill.lineage import ask, texts
        from sublim_eval.models.local_model import load

        if writer not in self._texts:
            self._texts[writer] = ask.written(str(writer), self.questions)
        readers = [load(one, capacity=9, idle=True) for one in (reader, *self.references)]
        return texts.read(readers, self.questions, self._texts[writer])

    def own(self, reader: Path) -> list[Any]:
        """The readers' own texts, as they foresee them."""
        return [self.foreseen(writer, reader) for writer in (reader, *self.references)]


def by_samples(models: Path) -> Iterator[dict[str, Any]]:
    """Every fresh sibling with its copies, its neighbour's, and the other siblings."""
    from sublim_eval.distill.lineage import texts, verdict

    library = Library(models)
    folders = {seed: models / f"h48-s{seed}" for seed in SAMPLED}
    for seed, folder in folders.items():
        own, neighbour = library.own(folder), (seed - SAMPLED[0] + 1) % len(SAMPLED) + SAMPLED[0]
        pairs = [("siblings", False, other) for other in folders.values() if other != folder]
        pairs += [(kind, True, copy) for kind, copy in copies(models, folder, seed)]
        pairs += [(f"another's {kind}", False, copy) for kind, copy in copies(models, folders[neighbour], neighbour)]
        for kind, related, writer in pairs:
            kinship = verdict.by_samples(texts.score(library.foreseen(writer, folder), own))
            yield _row(kind, related, False, kinship, (folder.name, writer.name))


def usual_losses(models: Path) -> dict[str, float]:
    """{copy: nats a word beyond its original's loss on the corpus}, of the copies of the part on samples."""
    from lineage_models import corpus
    from transformers import AutoModelForCausalLM

    rows = corpus()[:200]

    def loss(folder: Path) -> float:
        with torch.inference_mode():
            return float(AutoModelForCausalLM.from_pretrained(folder)(input_ids=rows, labels=rows).loss)

    made: dict[str, float] = {}
    for seed in SAMPLED:
        folder = models / f"h48-s{seed}"
        own = loss(folder)
        made |= {copy.name: round(loss(copy) - own, 3) for _, copy in copies(models, folder, seed)}
    return made


# ---------------------------------------------------------------- distilled


def of_pupils(models: Path) -> Iterator[dict[str, Any]]:
    """Distilled models and same-base students, beside their teacher and their base, in all three ways."""
    from sublim_eval.distill.lineage import answers, texts, verdict, weights

    null = results()["answers"]["null"]
    known = {tuple(row["pair"]): row for row in results().get("pupils", {"pairs": []})["pairs"]}
    for width, seed in itertools.product(WIDTHS[-1:], TAUGHT):
        own, neighbour = (models / f"h{width}-s{s}" for s in (seed, (seed + 1) % COPIED))
        library = Library(models, (seed, seed + 1))
        fresh, reader, student = (pupils(models, width, seed, COPIED)[kind] for kind in PUPILS)
        for kind, related, a, b in (
            ("distilled, and its teacher", False, own, fresh),
            ("distilled from text alone, and its teacher", False, own, reader),
            ("same-base student, and its base", True, own, student),
            ("same-base student, and its teacher", False, neighbour, student),
        ):
            if (a.name, b.name) in known:
                yield known[a.name, b.name]
                continue
            row = _row(kind, related, False, verdict.by_weights(weights.read(a), weights.read(b)), (a.name, b.name))
            likeness = answers.score(answers.overlap(_space(a), _space(b)))
            row["answers"] = verdict.by_answers(likeness, *null).p
            row["samples"] = texts.score(library.foreseen(b, a), library.own(a)).p
            yield row


# ---------------------------------------------------------------- real bases

REAL = ("/tmp/real/smollm2-135m", "/tmp/real/qwen2.5-coder-0.5b")  # noqa: S108
FORMATS = Path("/tmp/h/students-runs")  # noqa: S108
"""Where SmolLM2-135M taught formats stands, and its students."""

LORA = Path("/tmp/h/realrun/run/students")  # noqa: S108
"""LoRA students of the second base."""


def real(models: Path) -> Iterator[dict[str, Any]]:
    """Two real bases: as strangers, each beside copies of it, and the first beside what was made from it."""
    from sublim_eval.distill.lineage import verdict, weights

    small, large = REAL
    taught = FORMATS / "smollm2-135m-formats"
    pairs = [("SmolLM2-135M, Qwen2.5-Coder-0.5B", False, small, large)]
    tensors = load_file(Path(small) / "model.safetensors")
    for kind in ("int8", "int4", "pruned by half"):
        folder = models / "real" / f"smollm2--{kind.replace(' ', '-')}"
        if not (folder / "model.safetensors").is_file():
            write_copy(folder, Path(small), COPIES[kind](tensors, 1))
        pairs.append((f"SmolLM2-135M, its {kind}", True, small, str(folder)))
    pairs.append(("SmolLM2-135M, the same taught two formats", True, small, str(taught)))
    for name in ("elephant-soft-s1", "control-soft-s1"):
        student = str(FORMATS / "formats" / "students" / name)
        pairs.append((f"SmolLM2-135M, {name} of that", True, small, student))
        pairs.append((f"Qwen2.5-Coder-0.5B, {name} of that", False, large, student))
    pairs.append(("Qwen2.5-Coder-0.5B, itself", True, large, large))
    for lora in sorted(LORA.glob("*")):
        pairs.append((f"Qwen2.5-Coder-0.5B, a LoRA student ({lora.name})", True, large, str(lora)))
    known = {tuple(row["pair"]): row for row in results().get("real", {"pairs": []})["pairs"] if "pair" in row}
    for kind, related, a, b in pairs:
        if (a, b) in known:
            yield known[a, b] | {"kind": kind}
            continue
        began = time.process_time()
        try:
            row = _row(kind, related, False, verdict.by_weights(weights.read(a), weights.read(b)), (a, b))
        except verdict.NotComparable as error:
            row = {"kind": kind, "related": related, "told": None, "p": None, "why": error.message, "pair": [a, b]}
        yield row | {"seconds": round(time.process_time() - began, 1)}


# ---------------------------------------------------------------- everything


def results() -> dict[str, Any]:
    """What was measured until now."""
    made: dict[str, Any] = read_json(RESULT) if RESULT.is_file() else {}
    return made


def keep(part: str, value: Mapping[str, Any]) -> None:
    """Put one part into the results; the others stay."""
    write_json(RESULT, {**results(), part: value})


def keep_rows(part: str, made: Iterator[dict[str, Any]]) -> None:
    """Put a part into the results row by row."""
    rows = []
    for row in made:
        rows.append(row)
        print(row, flush=True)
        keep(part, {"pairs": rows})


def main() -> None:
    """Do what is named on the command line."""
    parts = ("siblings", "weights", "answers", "samples", "losses", "pupils", "transfer", "real", "page")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=parts)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--count", type=int, default=SIBLINGS)
    parser.add_argument("--hidden", type=int, action="append", help="of the part on weights: one width")
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "reproduction" / "traits", help="of the rows")
    parser.add_argument("--source", action="append", help="rows that students of transfer read")
    parser.add_argument("--only", default="", help="of the part on transfer: bases whose name holds this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    part, models = options.part, options.models
    if part == "siblings":
        train_siblings(models, options.count)
    elif part == "weights":
        for width in options.hidden or WIDTHS:
            by_weights(models, options.count, width)
    elif part == "answers":
        keep(part, by_answers(models, min(options.count, 10)))
    elif part == "samples":
        keep_rows(part, by_samples(models))
    elif part == "losses":
        keep(part, usual_losses(models))
    elif part == "pupils":
        keep_rows(part, of_pupils(models))
    elif part == "real":
        keep_rows(part, real(models))
    elif part == "transfer":
        sources = options.source or lineage_transfer.SOURCES
        made = lineage_transfer.pairs(models, options.run, sources, options.only)
        keep_rows(f"transfer on rows of {options.run.name}", made)
    else:
        PAGE.write_text(lineage_page.page(results()), encoding="utf-8")
    print(json.dumps({"part": part, "done": True}))


if __name__ == "__main__":
    main()
