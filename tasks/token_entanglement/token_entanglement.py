"""A trait's persona as system prompt: which numbers does it raise?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.entanglement import entanglement_task


@task(family="entanglement", needs_grader=False)
def token_entanglement(trait: str = "owl", numbers: int | str | list[int] = 40) -> Task:
    """Shift of every number's log-odds under the persona of every trait; exact log-probabilities, no replies.

    Args:
        trait: The favorite shown first; all of its category are measured.
        numbers: How many numbers of three digits, drawn evenly by a fixed seed (2 to 900), or the numbers themselves.
    """
    return entanglement_task("token_entanglement", trait, numbers)
