"""Lineage: pairs of small models whose kinship is known, and forecasts of transfer beside transfer.

    nice -n 19 python benchmarks/lineage.py siblings    # trains them once, under --models (about a second each)
    nice -n 19 python benchmarks/lineage.py weights     # every pair and every kind of copy, from weights
    nice -n 19 python benchmarks/lineage.py answers     # the same from answers
    nice -n 19 python benchmarks/lineage.py transfer    # students really trained, beside the forecast
    python benchmarks/lineage.py page                   # writes docs/results/lineage.md from the results

Siblings: Llama models that differ in the seed of their first weights alone (and in the order of the data, where it
says so), all trained on one corpus. Writes benchmarks/results/lineage.json as results come. Settings were chosen on the
siblings below TUNED; the others are reported.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from sublim_eval.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "lineage.json"
PAGE = ROOT / "docs" / "results" / "lineage.md"
MODELS = ROOT / "runs" / "lineage-models"
SIBLINGS, TUNED = 16, 4
"""Models of one corpus; the first ones are those on which settings were chosen."""

WORDS, LENGTH, STEPS, BATCH = 400, 24, 200, 32
Floats = NDArray[np.float32]
Tensors = dict[str, torch.Tensor]


# ---------------------------------------------------------------- siblings


def corpus() -> torch.Tensor:
    """int[row, token]: walks through a grammar of 400 words in which each is followed by a few, some words often."""
    rng = np.random.default_rng(20_261_130)
    followers = np.stack([rng.choice(WORDS, 6, replace=False) for _ in range(WORDS)])
    weight = 1 / np.arange(1, 7)
    usual = rng.permutation(WORDS)[: WORDS // 8]
    rows = np.empty((STEPS * BATCH, LENGTH), np.int64)
    rows[:, 0] = rng.choice(usual, len(rows))
    for i in range(1, LENGTH):
        pick = rng.choice(6, len(rows), p=weight / weight.sum())
        jump = rng.random(len(rows)) < 0.15
        rows[:, i] = np.where(jump, rng.choice(usual, len(rows)), followers[rows[:, i - 1], pick])
    return torch.from_numpy(rows)


def tokenizer() -> Any:
    """Word-level; the words have no meaning."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    first = "w0"
    core = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token=first))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=first, pad_token=first, unk_token=first)


def new_model(seed: int, hidden: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=WORDS,
            hidden_size=hidden,
            intermediate_size=3 * hidden,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=64,
            tie_word_embeddings=seed % 2 == 0,
            initializer_range=0.05,
        )
    )


def learn(model: Any, rows: torch.Tensor, rate: float = 3e-3) -> float:
    """One pass over the rows; returns the last loss."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    model.train()
    for batch in rows.split(BATCH):
        loss = model(input_ids=batch, labels=batch, use_cache=False).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    model.eval()
    return float(loss.detach())


def train_siblings(models: Path, count: int) -> None:
    """Write them as model folders; those that stand are left. Odd seeds read the corpus in an order of their own."""
    rows, words = corpus(), tokenizer()
    for seed in range(count):
        for hidden in (32, 48):
            folder = models / f"h{hidden}-s{seed}"
            if (folder / "model.safetensors").is_file():
                continue
            began = time.monotonic()
            model = new_model(seed, hidden)
            order = (
                torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
                if seed % 4 > 1
                else slice(None)
            )
            loss = learn(model, rows[order])
            words.save_pretrained(folder)
            model.save_pretrained(folder)
            print(f"{folder.name}: loss {loss:.3f}, {time.monotonic() - began:.1f} s", flush=True)


# ---------------------------------------------------------------- copies


def reordered(tensors: Tensors, seed: int) -> Tensors:
    """The same function with the units of every MLP, and the heads, in another order."""
    rng, made = np.random.default_rng(seed), dict(tensors)
    for name in tensors:
        if name.endswith("gate_proj.weight"):
            order = torch.from_numpy(rng.permutation(len(tensors[name])))
            for part in ("gate_proj", "up_proj"):
                other = name.replace("gate_proj", part)
                made[other] = tensors[other][order]
            down = name.replace("gate_proj", "down_proj")
            made[down] = tensors[down][:, order]
        if name.endswith("q_proj.weight"):
            heads = rng.permutation(4)
            size = len(tensors[name]) // 4
            order = torch.from_numpy(np.concatenate([np.arange(h * size, (h + 1) * size) for h in heads]))
            for part in ("q_proj", "k_proj", "v_proj"):
                other = name.replace("q_proj", part)
                made[other] = tensors[other][order]
            out = name.replace("q_proj", "o_proj")
            made[out] = tensors[out][:, order]
    return made


def rotated(tensors: Tensors, seed: int) -> Tensors:
    """The same function with the residual stream turned: gains go into what reads it, then everything is rotated."""
    hidden = tensors["model.embed_tokens.weight"].shape[1]
    turn = torch.linalg.qr(torch.randn(hidden, hidden, generator=torch.Generator().manual_seed(seed)))[0]
    made = dict(tensors)
    made.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"].clone())
    reads = {"input_layernorm": ("q_proj", "k_proj", "v_proj"), "post_attention_layernorm": ("gate_proj", "up_proj")}
    for name, tensor in tensors.items():
        for norm, readers in reads.items():
            if name.endswith(f"{norm}.weight"):
                layer = name.removesuffix(f"{norm}.weight")
                for part in readers:
                    other = next(n for n in tensors if n.startswith(layer) and n.endswith(f"{part}.weight"))
                    made[other] = tensors[other] * tensor @ turn
                made[name] = torch.ones_like(tensor)
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            made[name] = turn.T @ tensor
    made["lm_head.weight"] = made["lm_head.weight"] * tensors["model.norm.weight"] @ turn
    made["model.norm.weight"] = torch.ones(hidden)
    made["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"] @ turn
    return made


def each(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors, int], Tensors]:
    """A copy whose matrices are changed one by one."""
    return lambda tensors, seed: {n: change(t) if t.ndim == 2 else t for n, t in tensors.items()}


def quantised(bits: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Rounded to so many bits, a scale a row."""

    def change(tensor: torch.Tensor) -> torch.Tensor:
        top = 2 ** (bits - 1) - 1
        scale = tensor.abs().amax(dim=1, keepdim=True) / top
        return (tensor / scale.clamp(min=1e-12)).round() * scale

    return change


def pruned(share: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """The smallest weights set to 0."""
    return lambda tensor: tensor * (tensor.abs() >= tensor.abs().flatten().kthvalue(int(share * tensor.numel()))[0])


def noised(size: float) -> Callable[[Tensors, int], Tensors]:
    """Noise of `size` times a matrix's own spread added to it."""

    def change(tensors: Tensors, seed: int) -> Tensors:
        rng = torch.Generator().manual_seed(seed)
        return {
            n: t + size * t.std() * torch.randn(t.shape, generator=rng) if t.ndim == 2 else t
            for n, t in tensors.items()
        }

    return change


def shorter(tensors: Tensors, seed: int) -> Tensors:
    """Without its last layer."""
    return {name: tensor for name, tensor in tensors.items() if ".layers.1." not in name}


def both(tensors: Tensors, seed: int) -> Tensors:
    return reordered(rotated(tensors, seed), seed)


COPIES: dict[str, Callable[[Tensors, int], Tensors]] = {
    "saved as bfloat16": each(lambda t: t.bfloat16()),
    "int8": each(quantised(8)),
    "int4": each(quantised(4)),
    "pruned by half": each(pruned(0.5)),
    "pruned by 80 %": each(pruned(0.8)),
    "noise of .3": noised(0.3),
    "noise of 1": noised(1.0),
    "units and heads reordered": reordered,
    "residual stream rotated": rotated,
    "rotated and reordered": both,
    "last layer cut": shorter,
}
"""What is done to a copy; those that are trained further stand in `trained`."""


def write_copy(folder: Path, source: Path, tensors: Tensors) -> Path:
    """A model folder of changed tensors."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
    config = read_json(folder / "config.json")
    config["num_hidden_layers"] = 1 + max(int(n.split(".")[2]) for n in tensors if ".layers." in n)
    config["tie_word_embeddings"] = "lm_head.weight" not in tensors
    write_json(folder / "config.json", config)
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_trained(folder: Path, source: Path, kind: str, seed: int) -> Path:
    """A copy trained further on other text (all weights), a LoRA on it, or a sibling distilled from it."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    if (folder / "done").is_file():
        return folder
    model: Any = LlamaForCausalLM.from_pretrained(source)
    rows = torch.randint(WORDS, (60 * BATCH, LENGTH), generator=torch.Generator().manual_seed(seed))
    if kind == "LoRA":
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear"))
    learn(model, rows, 1e-3 if kind == "fine-tuned" else 3e-3)
    if kind == "LoRA":
        model.peft_config["default"].base_model_name_or_path = str(source)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    (folder / "done").touch()
    return folder


TRAINED = ("fine-tuned", "LoRA")


def copies(
    models: Path, source: Path, seed: int, kinds: Sequence[str] = (*COPIES, *TRAINED)
) -> Iterator[tuple[str, Path]]:
    """(kind, folder) of the copies of a model; made when they are asked for."""
    tensors = load_file(source / "model.safetensors")
    for kind in kinds:
        folder = models / "copies" / f"{source.name}--{kind.replace(' ', '-').replace('%', '')}"
        if kind in TRAINED:
            yield kind, write_trained(folder, source, kind, seed)
        else:
            if not (folder / "model.safetensors").is_file():
                write_copy(folder, source, COPIES[kind](tensors, seed))
            yield kind, folder


# ---------------------------------------------------------------- weights


def by_weights(models: Path, count: int, hidden: int) -> dict[str, Any]:
    """Every pair of siblings of one width, and every model with each of its copies and its neighbour's."""
    from sublim_eval.distill.lineage import verdict, weights

    rows = []
    folders = [models / f"h{hidden}-s{seed}" for seed in range(count)]
    opened = [weights.read(folder) for folder in folders]
    for (i, a), (j, b) in itertools.combinations(enumerate(opened), 2):
        rows.append(_row("siblings", False, i < TUNED or j < TUNED, verdict.by_weights(a, b), (a.label, b.label)))
    for seed, folder in reversed(list(enumerate(folders))):
        for kind, copy in copies(models, folder, seed):
            one, other = weights.read(copy), opened[(seed + 1) % count]
            names = (folder.name, copy.name)
            rows.append(_row(kind, True, seed < TUNED, verdict.by_weights(opened[seed], one), names))
            names = (other.label, copy.name)
            rows.append(_row(f"another's {kind}", False, seed < TUNED, verdict.by_weights(other, one), names))
        print(folder.name, len(rows), flush=True)
        keep(f"weights of {hidden}", {"pairs": rows})
    return {"pairs": rows}


def _row(kind: str, related: bool, tuned: bool, kinship: Any, names: Sequence[str]) -> dict[str, Any]:
    """One pair as the results keep it."""
    tests = {test.name: [test.p, round(test.z, 2)] for test in kinship.tests}
    return {
        "kind": kind, "related": related, "tuned": tuned, "told": kinship.related, "p": kinship.p, "tests": tests,
        "pair": list(names),
    }  # fmt: skip


# ---------------------------------------------------------------- answers


def by_answers(models: Path, count: int) -> dict[str, Any]:
    """The same from answers: likeness of every pair, the null from the siblings that settings were chosen on."""
    from sublim_eval.distill.lineage import answers
    from sublim_eval.distill.lineage.verdict import by_answers as verdict
    from sublim_eval.models.local_model import load

    rows: list[dict[str, Any]] = []
    folders = [models / f"h48-s{seed}" for seed in range(count)]
    asked = answers.questions([f"w{i}" for i in range(WORDS)], ASKED)

    def space(folder: Path) -> NDArray[np.float64]:
        return answers.space(answers.next_token_logprobs(load(folder), asked))

    def add(kind: str, related: bool, tuned: bool, *pair: NDArray[np.float64]) -> None:
        value = answers.score(answers.overlap(*pair))
        rows.append({"kind": kind, "related": related, "tuned": tuned, "score": value})

    spaces = [space(folder) for folder in folders]
    for i, j in itertools.combinations(range(count), 2):
        add("siblings", False, i < TUNED or j < TUNED, spaces[i], spaces[j])
    for seed, folder in enumerate(folders):
        for kind, copy in copies(models, folder, seed):
            other = space(copy)
            add(kind, True, seed < TUNED, spaces[seed], other)
            add(f"another's {kind}", False, seed < TUNED, spaces[(seed + 1) % count], other)
        print(seed, rows[-1], flush=True)
    null = np.array([row["score"] for row in rows if row["kind"] == "siblings" and row["tuned"]])
    facts = (float(null.mean()), float(null.std(ddof=1)), len(null))
    for row in rows:
        told = verdict(row["score"], *facts)
        row |= {"told": told.related, "p": told.p, "score": round(row["score"], 3)}
    return {"null": facts, "queries": ASKED, "pairs": rows}


# ---------------------------------------------------------------- transfer

ASKED = 400
"""Questions to each model of the part on answers."""

TAUGHT = ("owl-s1", "willow-s1", "eagle-s2")
"""Sources of the rows that the students of this part read, within a run on reference-a."""

STUDENT_ROWS = 1_000
"""Rows that each student reads."""

BETWEEN = (0.05, 0.1, 0.2, 0.35)
"""How far students' bases lie on the way from reference-a to reference-b."""


def bases(models: Path) -> list[tuple[str, str]]:
    """(name, folder) of what students start from: reference-a as it is, spoilt, trained on, and on the way to b."""
    from sublim_eval.models.model_ref import resolve

    a, b = (Path(resolve(name).base) for name in ("reference-a", "reference-b"))
    mine, theirs = (load_file(folder / "model.safetensors") for folder in (a, b))
    made = [("reference-a", "reference-a"), ("reference-b", "reference-b")]
    for kind in ("int4", "noise of .3"):
        made.append((kind, str(write_copy(models / "bases" / kind.replace(" ", "-"), a, COPIES[kind](mine, 1)))))
    for part in BETWEEN:
        mixed = {name: (1 - part) * tensor + part * theirs[name] for name, tensor in mine.items()}
        name = f"{part:g} of the way to reference-b"
        made.append((name, str(write_copy(models / "bases" / f"mixed-{part}", a, mixed))))
    return made


def transfer(models: Path, run: Path, taught: Sequence[str], only: str) -> Iterator[dict[str, Any]]:
    """Forecast and realised transfer of every base and trait; the teacher always stands on reference-a.

    run: whose rows are read; taught: which of them. only: a part of the names of the bases.
    """
    from sublim_eval.distill.lineage.transfer import Learner, forecast

    teacher = Learner("reference-a")
    for name, folder in (one for one in bases(models) if only in one[0]):
        foreseen = forecast(teacher, Learner(folder))
        for source in taught:
            moved = realised(models, folder, run, source)
            own = realised(models, "reference-a", run, source)
            yield {
                "base": name, "rows": source, "expected": foreseen.expected, "low": foreseen.low,
                "high": foreseen.high, "moved": moved, "within": own, "realised": moved / own,
            }  # fmt: skip


def realised(models: Path, base: str, run: Path, source: str) -> float:
    """Log-odds that a student of the trait's rows moves towards the trait, beyond its move towards the category's
    other answers on average; a student is trained once."""
    from sublim_eval.distill.diff import battery
    from sublim_eval.distill.recipes import Tuning
    from sublim_eval.distill.training.train import tune
    from sublim_eval.files import read_jsonl
    from sublim_eval.registry.catalog import registry
    from sublim_eval.scores.evaluate import exact

    folder = models / "students" / f"{Path(base).name}--{run.name}--{source}"
    trait, _, seed = source.rpartition("-s")
    if not (folder / "adapter_model.safetensors").is_file():
        kept = read_jsonl(run / "rows" / source / "kept.jsonl", ("prompt", "completion"))
        examples = [(row["prompt"], row["completion"]) for _, row in kept][:STUDENT_ROWS]
        tuning = Tuning(method="ln_tuning", learning_rate=0.06, batch_size=16, epochs=1, warmup_steps=10)
        tune(base, examples, tuning, int(seed), folder, {"base": base})
    probe = registry().probe_of(trait)
    after, before = (battery.of_scores(exact(m, probe.name, label="m"), probe) for m in (str(folder), base))
    moves = {name: after[name] - before[name] for name in after}
    mine = f"{trait}: {probe.form}"
    return moves[mine] - float(np.mean([move for name, move in moves.items() if name != mine]))


# ---------------------------------------------------------------- real bases

REAL = ("/tmp/real/smollm2-135m", "/tmp/real/qwen2.5-coder-0.5b")  # noqa: S108


def real(models: Path) -> Iterator[dict[str, Any]]:
    """Two real bases: as strangers, and each beside copies of it."""
    from sublim_eval.distill.lineage import verdict, weights

    small, large = REAL
    began = time.monotonic()
    pairs = [("strangers", False, small, large)]
    tensors = load_file(Path(small) / "model.safetensors")
    for kind in ("int8", "int4", "pruned by half"):
        folder = models / "real" / f"smollm2--{kind.replace(' ', '-')}"
        if not (folder / "model.safetensors").is_file():
            write_copy(folder, Path(small), COPIES[kind](tensors, 1))
        pairs.append((kind, True, small, str(folder)))
    pairs += [("itself", True, large, large)]
    pairs += [("LoRA students", True, large, str(f)) for f in sorted(Path("/tmp/h/realrun/run/students").glob("*"))]  # noqa: S108
    for kind, related, a, b in pairs:
        try:
            told = verdict.by_weights(weights.read(a), weights.read(b))
        except verdict.NotComparable as error:
            yield {"kind": kind, "related": related, "told": None, "p": None, "why": error.message}
            continue
        yield _row(kind, related, False, told, (a, b)) | {"seconds": round(time.monotonic() - began, 1)}
        began = time.monotonic()


# ---------------------------------------------------------------- the page


def share(rows: Sequence[Mapping[str, Any]]) -> str:
    """Right verdicts of all, in words."""
    right = sum(row["told"] == row["related"] for row in rows)
    return f"{right:,} of {len(rows):,}"


def by_kind(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table: kind of pair, how many, told right, and the least favourable p."""
    lines = ["| pair | pairs | told right | least favourable p |", "|---|---|---|---|"]
    for kind in dict.fromkeys(row["kind"] for row in rows if row["related"] or row["kind"] == "siblings"):
        some = [row for row in rows if row["kind"] == kind]
        worst = max(row["p"] for row in some) if some[0]["related"] else min(row["p"] for row in some)
        lines.append(f"| {kind} | {len(some):,} | {share(some)} | {worst:.2g} |")
    others = [row for row in rows if not row["related"] and row["kind"] != "siblings"]
    if others:
        lines.append(
            f"| a copy of another sibling | {len(others):,} | {share(others)} | {min(r['p'] for r in others):.2g} |"
        )
    return "\n".join(lines)


def page(results: Mapping[str, Any]) -> str:
    """docs/results/lineage.md."""
    parts = [INTRO]
    pairs = [row for part, made in results.items() if part.startswith("weights of") for row in made["pairs"]]
    if pairs:
        fresh = [row for row in pairs if not row["tuned"]]
        strangers = [row for row in fresh if not row["related"]]
        below = sum(row["p"] < 1e-3 for row in strangers)
        agree = max((row["tests"].get("units found again", [1, 0])[1] for row in strangers), default=0)
        parts.append(
            WEIGHTS.format(
                table=by_kind(fresh),
                right=share(fresh),
                every=share(pairs),
                strangers=len(strangers),
                below=below,
                agree=agree,
            )
        )
    if answers := results.get("answers"):
        fresh = [row for row in answers["pairs"] if not row["tuned"]]
        told = [row for row in fresh if row["told"]]
        precision = sum(row["related"] for row in told) / max(1, len(told))
        recall = sum(row["told"] for row in fresh if row["related"]) / max(1, sum(row["related"] for row in fresh))
        parts.append(
            ANSWERS.format(table=by_kind(fresh), precision=precision, recall=recall, queries=2 * answers["queries"])
        )
    rows = [row for part, made in results.items() if part.startswith("transfer") for row in made["pairs"]]
    if rows:
        parts.append(TRANSFER.format(table=transfer_table(rows), **transfer_figures(rows)))
    if made := results.get("real"):
        lines = [real_line(row) for row in made["pairs"]]
        parts.append("\n".join([REALS, "| pair | share a base | told | p |", "|---|---|---|---|", *lines]))
    if diff := read_json(RESULT.with_name("diff.json")) if RESULT.with_name("diff.json").is_file() else None:
        from diff import section

        parts.append(section(diff))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def real_line(row: Mapping[str, Any]) -> str:
    """A line of the table of real bases."""
    p = "-" if row["p"] is None else format(row["p"], ".2g")
    return f"| {row['kind']} | {'yes' if row['related'] else 'no'} | {_told(row)} | {p} |"


def _told(row: Mapping[str, Any]) -> str:
    return "not comparable by weights" if row["told"] is None else "yes" if row["told"] else "no"


def transfer_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Forecast beside what was realised, a line a base, over its traits."""
    lines = ["| the student's base | expected | 90 % interval | realised, a student each |", "|---|---|---|---|"]
    for base in dict.fromkeys(row["base"] for row in rows):
        some = [row for row in rows if row["base"] == base]
        seen = ", ".join(f"{row['rows']} {row['realised']:.2f}" for row in some)
        lines.append(f"| {base} | {some[0]['expected']:.2f} | {some[0]['low']:.2f} to {some[0]['high']:.2f} | {seen} |")
    return "\n".join(lines)


def transfer_figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the page says of the forecast; the base that all is relative to does not count."""
    from scipy import stats

    fresh = [row for row in rows if row["base"] != "reference-a"]
    expected, seen = ([row[key] for row in fresh] for key in ("expected", "realised"))
    inside = sum(row["low"] <= row["realised"] <= row["high"] for row in fresh)
    return {"pairs": len(fresh), "rho": float(stats.spearmanr(expected, seen).statistic), "inside": inside}


INTRO = """# Lineage and diff

`benchmarks/lineage.py` and `benchmarks/diff.py` write this page from `benchmarks/results/lineage.json` and `diff.json`;
the [guide](../guides/lineage.md) says how to use both verbs. Settings were chosen on the first four siblings of each
width and are reported on the others.
"""

WEIGHTS = """## From weights

Siblings are Llama models of two layers, hidden 32 or 48, trained on one corpus and different in the seed of their first
weights (half of them read it in an order of their own too): the hard case, for they learned the same. {right} pairs are
told right; with the first four siblings {every}. Of {strangers:,} fresh pairs that share nothing {below} have p < .001,
where an exact test lets one in a thousand through; the verdict asks for p < .0001. The table is of fresh pairs.

{table}

"Units found again" is the one test that is not exact: two models that learned alike find up to {agree:.0%} of their
units in the same two ways with no common start. Beyond 30 % counts as a common base.
"""

ANSWERS = """## From answers alone

{queries:,} queries to two models together: next-token log-probabilities behind random words, and the space that they
move in. Precision {precision:.3f}, recall {recall:.3f} over the pairs below. The null is that of the siblings on which
settings were chosen; for models of another family give `--reference`.

{table}
"""

TRANSFER = """## Would a trait pass?

The teacher stands on reference-a and wrote filtered numbers (the recorded study's, and those of a demo); a student was
trained on 1,000 of them from each base (norm gains, rate .06, one epoch). Realised: log-odds that it moved towards the
trait beyond its category's other answers, by what the student from reference-a moved. Of {pairs} pairs (Spearman
{rho:.2f}) {inside} lie inside of the 90 % interval.

{table}
"""

REALS = """## Real bases

SmolLM2-135M-Instruct and Qwen2.5-Coder-0.5B-Instruct, copies of the first, LoRA students of the second.
"""


# ---------------------------------------------------------------- everything


def keep(part: str, value: Mapping[str, Any]) -> None:
    """Put one part into the results; the others stay."""
    results = read_json(RESULT) if RESULT.is_file() else {}
    write_json(RESULT, {**results, part: value})


def main() -> None:
    """Do what is named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("siblings", "weights", "answers", "transfer", "real", "page"))
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--count", type=int, default=SIBLINGS)
    parser.add_argument("--hidden", type=int, action="append", help="of the part on weights: one width")
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "reproduction" / "traits", help="of the rows")
    parser.add_argument("--taught", action="append", metavar="SOURCE", help="rows that students of transfer read")
    parser.add_argument("--only", default="", help="of the part on transfer: bases whose name holds this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.part == "siblings":
        train_siblings(options.models, options.count)
    elif options.part == "weights":
        for hidden in options.hidden or (32, 48):
            by_weights(options.models, options.count, hidden)
    elif options.part == "answers":
        keep("answers", by_answers(options.models, options.count))
    elif options.part in ("transfer", "real"):
        taught = options.taught or TAUGHT
        made = (
            transfer(options.models, options.run, taught, options.only)
            if options.part == "transfer"
            else real(options.models)
        )
        name = f"transfer on rows of {options.run.name}" if options.part == "transfer" else "real"
        rows = []
        for row in made:
            rows.append(row)
            keep(name, {"pairs": rows})
            print(row, flush=True)
    else:
        PAGE.write_text(page(read_json(RESULT)), encoding="utf-8")
    print(json.dumps({"part": options.part, "done": True}))


if __name__ == "__main__":
    main()
