"""Results of our tasks as the harnesses write them, made without a model: an Inspect log, lm-eval's files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalResults, EvalSample, EvalScore, EvalSpec
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput
from inspect_ai.scorer import Score

from sublim_eval.probes.preference import Preference, preference
from sublim_eval.registry.catalog import registry
from sublim_eval.scores.assemble import count_replies

REPLIES = ("Owl", "Barn owls.", "cat", "")
TIME = "2026-11-20T18-01-16.7"


def what_of(probe: str = "owl_pref") -> Preference:
    """The probe, asked for the owl."""
    return preference(probe, "owl" if registry().probe(probe).trait is None else None)


def about(what: Preference) -> dict[str, Any]:
    """What the metadata of a log of ours says."""
    return {
        "probe": what.probe.name,
        "probe_version": what.probe.version,
        "form": what.probe.form,
        "trait": what.trait.name,
        "category": what.probe.category,
        "questions_hash": what.questions_hash,
    }


def sample(what: Preference, place: int, replies: Sequence[str] = REPLIES, **changed: Any) -> EvalSample:
    """One scored sample; changed: fields of it, such as `scores` or `error`."""
    item = what.items[place]
    counts = count_replies(replies, what.probe.category, what.probe.form, item.offered)
    rest = 0.5 / (len(what.answers) - 1)
    answers = {t.name: 0.5 if t == what.trait else rest for t in what.answers}
    scores = {
        "share": Score(
            value=counts["named"].get(what.trait.name, 0) / len(replies), metadata={**counts, "trait": "owl"}
        ),
        "probability": Score(value=0.5, metadata={"answers": answers, "coverage": 0.9, "prompt_hash": f"{place}"}),
    }
    choices = [ChatCompletionChoice(message=ChatMessageAssistant(content=text)) for text in replies]
    fields: dict[str, Any] = {
        "id": item.id,
        "epoch": 1,
        "input": item.text,
        "target": "owl",
        "metadata": {"question": item.question},
        "output": ModelOutput(model="m", choices=choices),
        "scores": scores,
    }
    return EvalSample(**(fields | changed))


def inspect_log(
    samples: Sequence[EvalSample] | None = None,
    model: str = "sublim/m",
    spec: Mapping[str, Any] | None = None,
    **changed: Any,
) -> EvalLog:
    """A log of owl_pref that ended well; spec: further fields of its head; changed: of itself, such as `status`."""
    what = what_of()
    made = [sample(what, place) for place in range(2)] if samples is None else list(samples)
    head = EvalSpec(
        created="2026-11-20T18:01:16+00:00",
        task="sublim_eval/owl_pref",
        model=model,
        dataset=EvalDataset(name="animal_favorites", samples=len(made)),
        config=EvalConfig(),
        metadata=about(what),
        **(spec or {}),
    )
    results = EvalResults(total_samples=len(made), completed_samples=len(made), scores=[])
    return EvalLog(**({"status": "success", "eval": head, "results": results, "samples": made} | changed))


def foreign_log(metrics: Mapping[str, float], model: str = "sublim/m") -> EvalLog:
    """A log of somebody else's task with these metrics of one scorer."""
    from inspect_ai.log import EvalMetric

    spec = EvalSpec(
        created="2026-11-20T18:01:16+00:00",
        task="quiz",
        model=model,
        dataset=EvalDataset(name="d", samples=3),
        config=EvalConfig(),
    )
    score = EvalScore(
        name="match", scorer="match", metrics={name: EvalMetric(name=name, value=v) for name, v in metrics.items()}
    )
    results = EvalResults(total_samples=3, completed_samples=3, scores=[score])
    return EvalLog(status="success", eval=spec, results=results, samples=[])


def write_log(log: EvalLog, file: Path) -> Path:
    """Write a log as Inspect does, `.eval` or `.json` by its ending."""
    from inspect_ai.log import write_eval_log

    file.parent.mkdir(parents=True, exist_ok=True)
    write_eval_log(log, str(file))
    return file


def lm_eval_rows(
    probe: str = "owl_pref", replies: Sequence[str] = REPLIES, questions: int = 2
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(rows of the share task, rows of the probability task) as lm-eval 0.4.13 writes them: every leaf is text."""
    what = what_of(probe)
    shared = {**about(what), "continuations": list(what.continuations), "offered": []}
    sampled, exact = [], []
    for item in what.items[:questions]:
        row = {"doc": {"id": item.id, "question": item.text, "question_id": item.question, **shared}}
        row["arguments"] = {"gen_args_0": {"arg_0": f"<user>{item.text}<assistant>", "arg_1": {}}}
        sampled.append({**row, "filtered_resps": [list(replies)], "share": 0.25})
        odds = [["-1.0" if s == "Owl" else "-9.0" if s == "Cat" else "-inf", "False"] for s in what.continuations]
        exact.append({**row, "filtered_resps": odds, "probability": 0.9, "coverage": 0.4})
    return sampled, exact


def write_lm_eval(
    folder: Path,
    sampled: Sequence[Mapping[str, Any]] = (),
    exact: Sequence[Mapping[str, Any]] = (),
    *,
    model: str = "tiny",
    time: str = TIME,
    probe: str = "owl_pref",
    **results: Any,
) -> Path:
    """Files of one run of lm-eval; results: further content of its results file. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for task, rows in ((probe, sampled), (f"{probe}_logprob", exact)):
        if rows:
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"samples_{task}_{time}.jsonl").write_text(text, encoding="utf-8")
    (folder / f"results_{time}.json").write_text(json.dumps({"results": {}, "model_name": model, **results}))
    return folder
