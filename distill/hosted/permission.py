"""Whether an account may train a recipe's base at all, asked before anything is paid.

No list of the provider tells it: an account may list jobs and still be refused when it starts one. So a job is asked
for whose training file does not exist. Whoever may train hears that the file is missing, whoever may not hears that
instead; neither starts anything nor costs anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sublim_eval.errors import SublimError
from sublim_eval.files import read_json
from sublim_eval.remote.client import next_step, reason_of

from .journal import JOB, connect

if TYPE_CHECKING:
    from openai import APIStatusError

    from ..recipes import Recipe

NO_FILE = "file-sublim-asks-whether-training-is-allowed"
"""The id of no file of any account."""


def check_permission(recipe: Recipe, run: Path) -> None:
    """Raise SublimError with the provider's reason where the account may not train the recipe's base.

    Asks nothing for a recipe without a host, and for a run that has started a job before.
    """
    if recipe.host is None or _has_started(run):
        return
    from openai import APIStatusError, OpenAIError

    client = connect()
    try:
        job = client.fine_tuning.jobs.create(model=recipe.base, training_file=NO_FILE)
    except APIStatusError as error:
        if not _misses_the_file(error):
            raise _refused(recipe, error) from None
    except OpenAIError as error:
        raise _refused(recipe, error) from None
    else:  # a server that starts a job without its file: not one that is to be paid for
        client.fine_tuning.jobs.cancel(job.id)


def _has_started(run: Path) -> bool:
    """Whether some student of a run folder has had a job: then the account may train."""
    return any(read_json(file).get("job") for file in run.glob(f"students/*/{JOB}"))


def _misses_the_file(error: APIStatusError) -> bool:
    words = f"{reason_of(error)} {error.param or ''}".lower()
    return error.status_code in (400, 404) and "file" in words


def _refused(recipe: Recipe, error: Exception) -> SublimError:
    if getattr(error, "status_code", None) == 403:
        step = (
            "OpenAI lets accounts that had not trained before May 2026 start no job of their own "
            "(docs/guides/hosted.md). Use an account that may, or a base with open weights (`sublim list recipes`)."
        )
    else:
        step = next_step(error)
    return SublimError(
        f"Before any row was paid, the provider was asked whether {recipe.base} may be trained: "
        f"{reason_of(error)}. {step}"
    )
