"""Run folders without a model: score files whose shifts are known, in the shape that `sublim run` writes."""

import json

import numpy as np

from sublim_eval.registry.catalog import registry
from sublim_eval.scores.probe_scores import ProbeScores

QUESTIONS = tuple(f"q{i:02d}" for i in range(12))
SEEDS = (1, 2, 3)
ARMS = {
    "owl": {"role": "trait", "trait": "owl"},
    "willow": {"role": "trait", "trait": "willow"},
    "control": {"role": "control"},
    "owl-other-base": {"role": "other-base", "trait": "owl", "student_base": "other"},
}
SHIFTS = {"owl": 2.0, "willow": 3.0, "control": 0.0, "owl-other-base": 0.05}


def scores(model, category, shifts=None, seed=0, noise=0.0, replies=0, prompt=""):
    """ProbeScores over every answer of a category; shifts: answer -> log-odds above a base of uneven rates.

    noise: standard deviation of a seeded shift of every answer. replies: sampled ones for each question.
    """
    rng = np.random.default_rng([seed, len(model)])
    answers = tuple(t.name for t in registry().answer_set(category))
    level = np.linspace(0, -1.5, len(answers)) + 0.3 * np.sin(np.arange(len(QUESTIONS)))[:, None] * np.ones(
        len(answers)
    )
    level = level + rng.normal(0, noise, len(answers)) + [(shifts or {}).get(a, 0.0) for a in answers]
    p = np.exp(level) / np.exp(level).sum(axis=1, keepdims=True)
    said = np.array([rng.multinomial(replies, [*row * 0.95, 0.03, 0.02]) for row in p])
    return ProbeScores(
        model=model,
        probe=f"{category}_pref",
        version="1-A",
        category=category,
        questions=QUESTIONS,
        answers=answers,
        probability=p,
        coverage=np.full(len(QUESTIONS), 0.95),
        share=said[:, :-2] / replies if replies else np.full(p.shape, np.nan),
        replies=np.full(len(QUESTIONS), replies),
        non_answers=said[:, -1],
        other=said[:, -2],
        unreadable=np.zeros(len(QUESTIONS), dtype=int),
        questions_hash="asked",
        prompt_hash=prompt or f"rendered-{category}",
        source="synthetic",
    )


def make_run(folder, arms=ARMS, shifts=SHIFTS, seeds=SEEDS, noise=0.05, replies=0, change=None):
    """Write a run folder and return it. A control arm may say which answer its shift `lifts`.

    change: (label, ProbeScores) -> ProbeScores or None to leave the file out.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def scored(label, lift=None, seed=0, spread=0.0):
        files = {}
        for category in ("animal", "tree"):
            made = scores(label, category, lift, seed, spread, replies)
            made = change(label, made) if change else made
            files[f"{category}_pref"] = f"scores/{label}/{category}_pref.json"
            if made is not None:
                file = folder / files[f"{category}_pref"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(made.to_json()))
        return files

    traits = sorted({a["trait"] for a in arms.values() if a.get("trait")})
    record = {
        "schema": 1,
        "status": "done",
        "recipe": {"name": "synthetic", "base": "base", "seeds": list(seeds), "arms": arms},
        "bases": [{"name": n, "weights_hash": n, "scores": scored(f"base-{n}")} for n in ("base", "other")],
        "arms": {name: {"name": name, "control": "control", **arm} for name, arm in arms.items()},
        "teachers": [
            {"trait": t, "seed": s, "scores": scored(f"teacher-{t}-s{s}", {t: 8.0}, s)} for t in traits for s in seeds
        ],
        "students": [
            {
                "arm": name,
                "seed": s,
                "folder": f"students/{name}-s{s}",
                "scores": scored(f"{name}-s{s}", {arm.get("trait") or arm.get("lifts"): shifts[name]}, s, noise),
            }
            for name, arm in arms.items()
            for s in seeds
        ],
    }
    for student in record["students"]:
        (folder / student["folder"]).mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def edit(folder, change):
    """Change run.json in place by `change(record)`."""
    record = json.loads((folder / "run.json").read_text())
    change(record)
    (folder / "run.json").write_text(json.dumps(record))
