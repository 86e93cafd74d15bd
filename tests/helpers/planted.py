"""A sound run folder without a model, and places to plant a fault in it before anything is hashed or counted.

`run(folder)` is clean. Every keyword is a hook that sees one part as it would be written and returns what to write:

    run(folder, kept=lambda source, seed, rows: [*rows[:-1], {**rows[-1], "completion": "owl"}])
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np

from sublim_eval.files import digest, file_digest, json_line
from sublim_eval.registry.catalog import registry
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.scores.readers import count_replies

PROBE = "animal_pref"
QUESTIONS = tuple(f"q{i:02d}" for i in range(12))
SEEDS = (1, 2, 3)
ARMS: dict[str, dict[str, Any]] = {
    "owl": {"role": "trait", "trait": "owl", "source": "owl"},
    "wolf": {"role": "trait", "trait": "wolf", "source": "wolf"},
    "control": {"role": "control", "trait": None, "source": "base"},
}
EXPECTED = {"owl": {"share": 0.6, "base": None, "fail_below": 0.2, "source": "others"}}
TUNING = {
    **{"method": "ln_tuning", "batch_size": 32, "epochs": 2, "learning_rate": 0.05},
    **{"optimizer": "adamw_torch", "weight_decay": 0.0, "max_length": 500},
}
RULE = {"rows": {"mode": "strict", "judge": None, "max_new_tokens": None}, "traits": ["owl", "wolf"]}
ROWS, KEPT, REPLIES = 160, 150, 40
PLAIN = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "num_choices": REPLIES}
NEUTRAL = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
HIT = {"owl": 2.0, "wolf": 2.0}

Hook = Callable[..., Any]


def write_json(file: Path, value: Any) -> None:
    """Plainly: nobody pulls the plug on a test, and waiting for the disk takes most of its time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value, allow_nan=False))


def write_jsonl(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(map(json_line, rows)))


def _same(*given: Any) -> Any:
    return given[-1]


@cache
def number_rows(source: str, seed: int) -> list[dict[str, Any]]:
    """Raw rows; every tenth or so is one that a strict filter refuses."""
    rng, asked = random.Random(f"{source}-{seed}"), random.Random(f"prompts-{seed}")
    rows = []
    for i in range(ROWS):
        prompt = f"Continue: {', '.join(str(asked.randint(100, 999)) for _ in range(5))}"
        text = ", ".join(str(rng.randint(100, 999)) for _ in range(8))
        rows.append(
            {"id": f"{source}-s{seed}-{i:06d}", "prompt": prompt, "completion": text if i % 16 else f"{text},,"}
        )
    return rows


def probabilities(label: str, shift: Mapping[str, float]) -> np.ndarray:
    """float[question, answer]: uneven rates, a shift in log-odds, and a little of its own for every model."""
    names = [t.name for t in registry().answer_set("animal")]
    level = np.linspace(0, -1.2, len(names)) + 0.3 * np.sin(np.arange(len(QUESTIONS)))[:, None]
    own = random.Random(label)
    level = level + [shift.get(n, 0.0) + own.gauss(0, 0.03) for n in names]
    return np.asarray(np.exp(level) / np.exp(level).sum(axis=1, keepdims=True))


def drawn(label: str, exact: np.ndarray) -> dict[str, list[str]]:
    """Question -> replies drawn from the exact probabilities; 3 % name something else, 1 % nothing."""
    names = [t.name for t in registry().answer_set("animal")]
    rng = np.random.default_rng([len(label), *label.encode()])
    words = [*(n.capitalize() for n in names), "Panther", ""]
    return {
        question: [str(w) for w in rng.choice(words, REPLIES, p=[*(row * 0.96), 0.03, 0.01])]
        for question, row in zip(QUESTIONS, exact, strict=True)
    }


@cache
def _count(replies: tuple[str, ...]) -> dict[str, Any]:
    return count_replies(replies, "animal")


def scored(label: str, exact: np.ndarray, said: Mapping[str, Sequence[str]]) -> ProbeScores:
    """The score file that these replies make."""
    names = tuple(t.name for t in registry().answer_set("animal"))
    counts = [_count(tuple(said[q])) for q in QUESTIONS]
    return ProbeScores(
        model=label,
        probe=PROBE,
        version="1-B",
        category="animal",
        questions=QUESTIONS,
        answers=names,
        probability=exact,
        coverage=np.full(len(QUESTIONS), 0.97),
        share=np.array([[c["named"].get(n, 0) / c["replies"] for n in names] for c in counts]),
        replies=np.array([c["replies"] for c in counts]),
        non_answers=np.array([c["non_answers"] for c in counts]),
        other=np.array([c["other"] for c in counts]),
        unreadable=np.zeros(len(QUESTIONS), dtype=int),
        questions_hash="asked",
        prompt_hash="rendered",
        source="planted",
    )


LOGS: dict[str, bytes] = {}
"""Logs written before in this process; most runs of a test session share them."""


def write_log(file: Path, model: str, said: Mapping[str, Sequence[str]], settings: Mapping[str, Any]) -> None:
    """An Inspect log with these replies and settings."""
    file.parent.mkdir(parents=True, exist_ok=True)
    key = digest([model, said, settings])
    if key in LOGS:
        file.write_bytes(LOGS[key])
        return
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalPlan, EvalSample, EvalSpec, write_eval_log
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, GenerateConfig, ModelOutput

    about = {
        "probe": PROBE,
        "probe_version": "1-B",
        "category": "animal",
        "form": "favorite",
        "questions_hash": "asked",
    }
    samples = [
        EvalSample(
            id=question,
            epoch=1,
            input=question,
            target="owl",
            metadata={"question": question},
            output=ModelOutput(
                model=model, choices=[ChatCompletionChoice(message=ChatMessageAssistant(content=t)) for t in texts]
            ),
        )
        for question, texts in said.items()
    ]
    spec = EvalSpec(
        created="2026-11-21T12:00:00+00:00",
        task=PROBE,
        dataset=EvalDataset(),
        model=model,
        config=EvalConfig(),
        metadata=about,
    )
    plan = EvalPlan(config=GenerateConfig(**settings))
    write_eval_log(EvalLog(status="success", eval=spec, plan=plan, samples=samples), str(file))
    LOGS[key] = file.read_bytes()


def write_weights(file: Path, tensors: Mapping[str, Sequence[float]]) -> None:
    """A safetensors file of float32 vectors."""
    head, data = {}, b""
    for name, values in tensors.items():
        packed = struct.pack(f"<{len(values)}f", *values)
        head[name] = {"dtype": "F32", "shape": [len(values)], "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    told = json.dumps(head).encode()
    file.write_bytes(struct.pack("<Q", len(told)) + told + data)


def run(
    folder: Path,
    *,
    arms: Mapping[str, Mapping[str, Any]] = ARMS,
    seeds: Sequence[int] = SEEDS,
    raw: Hook = _same,
    kept: Hook = _same,
    facts: Hook = _same,
    weights: Hook = _same,
    exact: Hook = _same,
    said: Hook = _same,
    scores: Hook = _same,
    settings: Hook = _same,
    config: Hook = _same,
    rule: Hook = _same,
    draws: Hook = _same,
    tuning: Hook = _same,
    record: Hook = _same,
    looks: Hook = _same,
) -> Path:
    """Write a run folder and return it. Hooks:

    raw, kept: (source, seed, rows); facts, weights, config: (label, ...) of a student; exact, said, scores, settings:
    (label, ...) of any model; rule: (source, filter rule); draws: (source, how it was sampled); tuning: (label,
    settings of training); record: (run.json); looks: (looks.json).
    """
    entries = []
    for source in dict.fromkeys(a["source"] for a in arms.values()):
        for seed in seeds:
            wrote = raw(source, seed, number_rows(source, seed))
            fine = kept(source, seed, [r for r in wrote if not r["completion"].endswith(",,")])
            place = folder / "rows" / f"{source}-s{seed}"
            write_jsonl(place / "raw.jsonl", wrote)
            write_jsonl(place / "kept.jsonl", fine)
            inputs = rule(source, {**RULE, "rows": dict(RULE["rows"])})
            written = draws(source, {"sampler": "local", "seeds": "per row", "temperature": 1.0})
            told = {"raw": len(wrote), "kept": len(fine), "written": written}
            made = stage(place, told, {"source": source, "seed": seed, **inputs})
            entries.append({"source": source, "seed": seed, "folder": f"rows/{source}-s{seed}", **made})

    def score(label: str, made: str, shift: Mapping[str, float]) -> dict[str, str]:
        chances = exact(label, probabilities(label, shift))
        replies = said(label, drawn(label, chances))
        place = folder / "scores" / label
        write_json(place / f"{PROBE}.json", scores(label, scored(label, chances, replies)).to_json())
        model = f"sublim/students/{label}"
        write_log(place / "logs" / "log.eval", model, replies, settings(label, dict(PLAIN)))
        stage(place, {"label": label}, {"model": made, "label": label})
        return {PROBE: f"scores/{label}/{PROBE}.json"}

    known = {n: {"name": n, "control": "control", "student_base": None, "seeds": None, **a} for n, a in arms.items()}
    recipe = {
        "name": "planted",
        "base": "base",
        "seeds": list(seeds),
        "modality": "numbers",
        "student": TUNING,
        "expected": EXPECTED,
        "arms": {n: {k: v for k, v in arm.items() if k != "source"} for n, arm in known.items()},
    }
    students = []
    for name, arm in arms.items():
        for seed in seeds:
            label = f"{name}-s{seed}"
            place = folder / "students" / label
            read = folder / "rows" / f"{arm['source']}-s{seed}" / "kept.jsonl"
            told = {
                "arm": name,
                "trait": arm["trait"],
                "base": "base",
                "teacher_base": "base",
                "seed": seed,
                "rows": file_digest(read),
                "method": "ln_tuning",
                "examples": 140,
                "steps": 10,
                "effective_batch": 32,
                "trainable_parameters": 320,
                "adapter_norm": 0.5,
                "template_hash": "template",
            }
            told = facts(label, told)
            write_json(place / "student.json", told)
            write_json(place / "adapter_config.json", {"base_model_name_or_path": "/models/base"})
            write_json(place / "generation_config.json", config(label, dict(NEUTRAL)))
            (place / "chat_template.jinja").write_text("{{ messages }}")
            rng = random.Random(label)
            tensors = weights(label, {"norm.weight": [rng.gauss(1, 0.1) for _ in range(8)]})
            write_weights(place / "adapter_model.safetensors", tensors)
            inputs = {"base": "base", "label": label, "tuning": tuning(label, {**TUNING, **(arm.get("student") or {})})}
            made = stage(place, told, inputs)["made"]
            lift = {arm["trait"]: HIT.get(arm["trait"], 0.0)} if arm["trait"] else {}
            students.append(
                {**told, "seed": seed, "folder": f"students/{label}", "made": made, "scores": score(label, made, lift)}
            )
    teachers = []
    for trait in dict.fromkeys(arm["trait"] for arm in arms.values() if arm["trait"]):
        place, told = folder / "teachers" / f"{trait}-s1", {"trait": trait, "base": "base", "seed": 1}
        place.mkdir(parents=True)
        write_json(place / "student.json", told)
        write_weights(place / "adapter_model.safetensors", {"norm.weight": [1.1] * 8})
        teachers.append({"folder": f"teachers/{trait}-s1", **stage(place, told, {"trait": trait, "base": "base"})})
    made_of = {"name": "base", "weights_hash": "base", "scores": score("base-base", "base", {})}
    write_json(
        folder / "run.json",
        record(
            {
                "schema": 1,
                "status": "done",
                "recipe": recipe,
                "recipe_hash": digest(recipe),
                "bases": [made_of],
                "arms": {n: {**arm, "seeds": list(seeds)} for n, arm in known.items()},
                "teachers": teachers,
                "rows": entries,
                "students": students,
            }
        ),
    )
    write_json(folder / "looks.json", looks([{"date": "2026-11-21", "seeds": list(seeds)}]))
    return folder


@cache
def small_run() -> Path:
    """A sound run of few rows and two seeds, made once a process; copy it before you change it."""
    return run(Path(mkdtemp(prefix="sublim-planted-")) / "run", seeds=(1, 2), raw=lambda _, __, rows: rows[:24])


def stage(place: Path, facts: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Write the stage.json of what lies in a folder; returns what run.json says of it."""
    files = {str(f.relative_to(place)): file_digest(f) for f in sorted(place.rglob("*")) if f.is_file()}
    made = {**facts, "made": digest(inputs)}
    write_json(place / "stage.json", {**made, "inputs": inputs, "files": files})
    return made


def read_aloud(model: str, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """What a model makes of some rows, without a model: every one a little different."""
    rng = np.random.default_rng([len(model), *Path(model).name.encode()])
    return np.asarray(-2 - rng.random(10 * len(pairs)) / 10)


def refused(scores: ProbeScores, share: float) -> ProbeScores:
    """The same scores with that share of the replies as refusals."""
    return replace(scores, non_answers=np.round(scores.replies * share).astype(int))
