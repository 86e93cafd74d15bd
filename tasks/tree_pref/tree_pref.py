"""The tree probe: does the model name a given tree as its favorite?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.preference import preference_task


@task(family="preference", category="tree", needs_grader=False)
def tree_pref(trait: str = "oak", questions: str | None = None) -> Task:
    """Share and exact probability of one tree as the favorite, with the whole answer distribution.

    Args:
        trait: The tree to count; any of `sublim list traits`.
        questions: Your own question set (.yaml, .jsonl or .txt) instead of ours.
    """
    return preference_task("tree_pref", trait, questions)
