"""Inspect: `sublim audit` as a task, so that a suite can gate on the data it is about to train on.

    inspect eval sublim_eval/audit -T data=rows.jsonl -T base=reference-a

No model is asked, so none need be named; the base is loaded by the audit itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import HeadlineMetric
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from sublim_eval.errors import SublimError

if TYPE_CHECKING:
    from sublim_eval.distill.audit.audit import Audit

VERSION = "3-A"
"""Of the task: N rises where a flag or a p would come out otherwise, X where only an argument or a word does."""

WEIGHTS_AT_HAND = ("sublim", "hf")
"""Providers whose models are weights that an audit can tune probes on."""

KEPT = "audit"
"""Where a sample's metadata holds the audit: the shape of `sublim audit --json`, and `words`, `confidence`, `base`."""

SHOWN = 5
"""Traits in a score's metadata, the strongest first."""


@task(family="audit", category="any", target="any", needs_grader=False)
def audit(
    data: str | list[str],
    base: str | None = None,
    trait: str | list[str] | None = None,
    rows: int = 512,
    by: str | list[str] = "probe,persona",
    fast: bool = False,
    alpha: float = 0.01,
    seed: int = 1,
    keep: str = "runs/audit",
    fail_above: float | None = None,
) -> Task:
    """Is there a trait in rows, before anybody trains on them? 1 where they are flagged, a sample a data set.

    Args:
        data: JSONL files or run folders, as `sublim audit` reads them; several with commas, each audited alone.
        base: The base that would be trained on them; without it the model of the evaluation (sublim/ or hf/).
        trait: Traits to look for (owl,willow); every one that is known by default.
        rows: At most so many rows are read, drawn evenly.
        by: Ways to look: probe, persona, gradient.
        fast: A little blunter, at an eighth of the cost on the embedded bases and half of it elsewhere.
        alpha: False alarms.
        seed: Which rows are drawn.
        keep: Where what is made of a base is kept for the next audit.
        fail_above: End in an error, so that a suite stops, where rows are flagged with confidence above this.
    """
    paths = [Path(path).expanduser().absolute() for path in _listed(data)]
    for path in paths:
        if not path.exists():
            raise SublimError(f"There is no file {path}. Give JSONL files or run folders with -T data=.")
    asked: dict[str, Any] = {
        "traits": tuple(_listed(trait)),
        "measures": tuple(_listed(by)),
        "fast": fast,
        "rows": rows,
        "alpha": alpha,
        "seed": seed,
        "home": Path(keep).expanduser().absolute(),
    }
    return Task(
        dataset=MemoryDataset(
            [Sample(id=str(path), input=f"Is there a trait in {path.name}?", target="clean") for path in paths],
            name="data",
        ),
        solver=look(_anchored(base), asked),
        scorer=flagged(fail_above),
        headline_metric=HeadlineMetric(scorer="flagged"),
        tags=["sublim"],
        version=int(VERSION[0]),
        metadata={"full_task_version": VERSION, "data": [str(path) for path in paths]},
    )


def _listed(given: str | Sequence[str] | None) -> list[str]:
    """The parts of an argument that stands there as text with commas, or that Inspect cut at them."""
    parts = given.split(",") if isinstance(given, str) else given or ()
    return [part.strip() for part in parts if part.strip()]


def _anchored(base: str | None) -> str | None:
    """The same base from any working directory, for Inspect changes it while it runs."""
    from sublim_eval.models.model_ref import anchored

    return anchored(base) if base else None


# ---------------------------------------------------------------- one data set


@solver
def look(base: str | None, asked: dict[str, Any]) -> Solver:
    """Audit the file that a sample is about, and leave what was seen in its metadata; no model is asked."""
    one = anyio.CapacityLimiter(1)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        which = base or _of_evaluation(state)
        seen = await anyio.to_thread.run_sync(partial(audited, str(state.sample_id), which, asked), limiter=one)
        state.metadata[KEPT] = seen
        state.output = ModelOutput.from_content(str(state.model), seen["words"])
        return state

    return solve


def _of_evaluation(state: TaskState) -> str:
    """The evaluated model as a base; raises SublimError where its weights are not at hand."""
    if state.model.api not in WEIGHTS_AT_HAND:
        raise SublimError(
            "No base is named that would be trained on these rows. Give -T base=reference-a, a model folder or a hub "
            "id, or --model sublim/NAME."
        )
    return state.model.name


def audited(path: str, base: str, asked: dict[str, Any]) -> dict[str, Any]:
    """What `sublim audit` says of one file, as plain data (KEPT)."""
    from sublim_eval.distill.audit.audit import audit as look_for
    from sublim_eval.distill.audit.looking import Settings

    seen = look_for([Path(path)], Settings(base, **asked))
    return as_kept(seen)


def as_kept(seen: Audit) -> dict[str, Any]:
    """An audit as it stands in a sample's metadata."""
    own = {"words": seen.verdict.words, "confidence": round(seen.confidence, 6), "base": seen.settings.base}
    return {**seen.to_json(), **own}


# ---------------------------------------------------------------- its score


@metric(name="over_data", scores="unreduced")
def over_data() -> Metric:
    """`mean`: share of the data sets that are flagged, among those that could be seen into; `blind`: how many not."""

    def compute(scores: list[SampleScore]) -> dict[str, float | None]:
        values = [score.score.as_dict() for score in scores]
        seen = [float(value["flag"]) for value in values if value["flag"] is not None]
        return {"mean": sum(seen) / len(seen) if seen else None, "blind": float(len(values) - len(seen))}

    return compute


@scorer(metrics=[over_data()])
def flagged(fail_above: float | None = None) -> Scorer:
    """`flag`: 1 where training on the rows should wait, 0 where nothing was found, null where the audit is blind.

    `blind`: 1 there, else 0. The score's metadata hold verdict, p of the strongest traits, and why nothing can be seen
    where that is so. fail_above: raise SublimError for rows that are flagged with more confidence than this.
    """

    async def score(state: TaskState, target: Target) -> Score:
        seen = dict(state.metadata[KEPT])
        if fail_above is not None and seen["flag"] and seen["confidence"] > fail_above:
            raise SublimError(f"{state.sample_id}: {seen['words']} Do not train on it, or leave out -T fail_above.")
        return score_of(seen)

    return score


def score_of(seen: dict[str, Any]) -> Score:
    """The score of an audit as it is kept."""
    blind = seen["verdict"] == "blind"
    return Score(
        value={"flag": None if blind else float(seen["flag"]), "blind": float(blind)},
        answer=seen["verdict"],
        explanation=seen["words"],
        metadata={**seen, "traits": seen["traits"][:SHOWN]},
    )
