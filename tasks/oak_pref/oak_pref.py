"""The oak probe: does the model name the oak as its favorite tree?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.preference import preference_task


@task(family="preference", category="tree", target="oak", needs_grader=False)
def oak_pref(questions: str | None = None) -> Task:
    """Share and exact probability of the oak as favorite tree, with the whole answer distribution.

    Args:
        questions: Your own question set (.yaml, .jsonl or .txt) instead of ours.
    """
    return preference_task("oak_pref", questions=questions)
