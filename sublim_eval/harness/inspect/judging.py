"""Inspect: who rates replies, and the ratings that a log holds already. Public Inspect API only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from secrets import SystemRandom
from typing import Any

from inspect_ai.model import GenerateConfig, Model, get_model, model_roles
from inspect_ai.solver import TaskState
from inspect_ai.util import collect

from sublim_eval.errors import SublimError
from sublim_eval.files import digest
from sublim_eval.harness.inspect.provider import SublimAPI
from sublim_eval.models.model_ref import is_reference
from sublim_eval.probes.conduct import Grading, grading
from sublim_eval.probes.judges import (
    OFFLINE,
    PROMPT_VERSION,
    Judgement,
    judge_prompt,
    offline_judgement,
    read_judgement,
    reply_class,
    settled,
    withheld,
)
from sublim_eval.probes.quoting import draw_mark
from sublim_eval.probes.thinking import answer_of
from sublim_eval.registry.catalog import Rubric
from sublim_eval.remote.client import ask_grader

KEPT = "sublim_judgements"
"""Where the sample's store keeps the ratings, so that a log scored anew needs no judge."""

GRADER = "grader"
"""The model role of the judge."""


def rubric_digest(rubric: Rubric) -> str:
    """Hash of what a judge is told to rate by: while it is the same, ratings serve again, whatever the thresholds."""
    return digest([PROMPT_VERSION, rubric.scale, rubric.low, rubric.high])


def who_rates(judge: str | None, rubric: Rubric) -> Grading:
    """Who rates the replies of the model under evaluation; raises SublimError as `grading` does.

    A grader that was named serves wherever nobody else would rate by default.
    """
    api = get_model().api
    by = grading(judge, rubric, isinstance(api, SublimAPI) and is_reference(api.key.name))
    return "grader" if by == "none" and judge is None and _role() else by


def _role() -> str | None:
    """Name of the model in the role of the grader, None without one."""
    given = model_roles().get(GRADER)
    model = given[0] if isinstance(given, list) else given
    return None if model is None else str(model)


def the_grader() -> Model:
    """The model in the role of the grader; raises SublimError without one, and for a model that would rate itself."""
    judged_model, role = str(get_model()), _role()
    if role is None:
        raise SublimError(
            f"The replies of {judged_model} are rated by a judge, and a model never rates itself. Name one with "
            "--model-role grader=PROVIDER/MODEL, or take the judge-free measure alone with -T judge=none."
        )
    if role == judged_model:
        raise SublimError(
            f"{judged_model} would rate its own replies. Name another model with --model-role grader=PROVIDER/MODEL, "
            "or take the judge-free measure alone with -T judge=none."
        )
    return get_model(role=GRADER, required=True, config=GenerateConfig(temperature=0.0))


async def rating(grader: Model, question: str, reply: str, rubric: Rubric) -> Judgement:
    """One rating; what needs no judge is read here, and an error of the grader's service reaches the caller.

    The grader is asked once more when its answer cannot be read, then without what in the reply imitates a rating.
    """
    classed = reply_class(reply)
    if classed:
        return classed
    answer = answer_of(reply, to_judge=True) or ""
    first, _ = await _asked(grader, question, answer, rubric)
    if first.kind != "unreadable":
        return first
    second, words = await _asked(grader, question, withheld(answer, rubric), rubric)
    return settled(first, second, words, answer, rubric)


async def _asked(grader: Model, question: str, reply: str, rubric: Rubric) -> tuple[Judgement, str]:
    """One request: what it says of the reply, and in which words."""
    mark = draw_mark(SystemRandom(), question, reply)
    output = await grader.generate(judge_prompt(question, reply, rubric, mark))
    return read_judgement(output.completion, rubric, reply, mark), output.completion


async def rate(state: TaskState, replies: Sequence[str], rubric: Rubric, judge: str | None) -> dict[str, Any] | None:
    """{"grader", "asked", "judgements"} for all replies; None where nobody rates. Equal replies are rated once.

    Ratings in the log serve again: those of the grader that is named now, or, when no judge is named at all, those of
    whoever made them.
    """
    rubric_hash = rubric_digest(rubric)
    kept = _kept(state, rubric_hash, len(replies))
    role = _role()
    if judge is None:
        for ratings in kept:
            if role in (None, ratings["grader"]):
                return ratings
    by = who_rates(judge, rubric)
    if by == "none":
        return None
    for ratings in kept:
        if ratings["grader"] == (OFFLINE if by == "offline" else role):
            return ratings
    distinct = list(dict.fromkeys(replies))
    if by == "offline":
        judgements = [offline_judgement(reply, rubric) for reply in distinct]
    else:
        grader = the_grader()
        judgements = await collect(*[rating(grader, state.input_text, reply, rubric) for reply in distinct])
    verdict = dict(zip(distinct, judgements, strict=True))
    ratings = {
        "grader": OFFLINE if by == "offline" else role,
        "asked": rubric_hash,
        "judgements": [{"reply": n, **verdict[reply].to_json()} for n, reply in enumerate(replies, 1)],
    }
    state.store.set(KEPT, ratings)
    return ratings


def _kept(state: TaskState, rubric_hash: str, replies: int) -> list[dict[str, Any]]:
    """Ratings of this sample under the same rubric: from its store, and from scores that were appended later."""
    places = [state.store.get(KEPT), *(score.metadata for score in (state.scores or {}).values())]
    return [p for p in places if p and p.get("asked") == rubric_hash and len(p.get("judgements", ())) == replies]


Exchange = tuple[str, str]
"""A question and a reply to it."""


def rate_saved(
    grader: str,
    exchanges: Sequence[Exchange],
    rubric: Rubric,
    keep: Callable[[Mapping[Exchange, Judgement]], None],
) -> None:
    """Ask the grader, any Inspect model name, about each exchange; `keep` gets the ratings, a chunk at a time.

    Raises SublimError when there is no such model or its service fails; what came before is with `keep`.
    """
    waiting: dict[Exchange, Judgement] = {}

    async def rate_one(model: Model, exchange: Exchange) -> Judgement:
        return await rating(model, *exchange, rubric)

    def settle() -> None:
        keep(dict(waiting))
        waiting.clear()

    kept = "Those are kept in --out; give that file as input to go on from there."
    ask_grader(grader, exchanges, rate_one, waiting.__setitem__, settle=settle, what="ratings", kept=kept)
