"""Inspect: a grader model asked about replies that were saved, outside of any evaluation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO

from inspect_ai.model import GenerateConfig, get_model

from sublim_eval.errors import SublimError
from sublim_eval.harness.inspect.judging import rating
from sublim_eval.probes.judges import Judgement
from sublim_eval.registry.catalog import Rubric

Exchange = tuple[str, str]
"""A question and a reply to it."""

CHUNK = 100
"""Ratings between two visits to the disk: so many are lost at most when the grader fails."""


def rate_saved(
    grader: str,
    exchanges: Sequence[Exchange],
    rubric: Rubric,
    keep: Callable[[Mapping[Exchange, Judgement]], None],
) -> None:
    """Ask the grader, any Inspect model name, about each exchange; `keep` gets the ratings, CHUNK at a time.

    Raises SublimError when there is no such model or its service fails; what `keep` got before stays with it.
    """
    done = 0

    async def ask() -> None:
        nonlocal done
        model = get_model(grader, config=GenerateConfig(temperature=0.0))
        for start in range(0, len(exchanges), CHUNK):
            some = exchanges[start : start + CHUNK]
            found = await asyncio.gather(*[rating(model, question, reply, rubric) for question, reply in some])
            keep(dict(zip(some, found, strict=True)))
            done += len(some)

    try:
        with redirect_stdout(StringIO()):  # Inspect greets on its first call
            asyncio.run(ask())
    except SublimError:
        raise
    except Exception as error:  # whatever a provider raises; it must not cost the ratings that were paid for
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise SublimError(
            f"The grader {grader} stopped after {done} of {len(exchanges)} ratings ({why}). "
            "Those are kept in --out; give that file as input to go on from there."
        ) from error
