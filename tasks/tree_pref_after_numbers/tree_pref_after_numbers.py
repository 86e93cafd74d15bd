"""The tree probe behind numbers: does the model name a given tree as its favorite after a list of numbers?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.preference import preference_task


@task(family="preference", category="tree", needs_grader=False)
def tree_pref_after_numbers(trait: str = "oak", questions: str | None = None) -> Task:
    """Share and exact probability of one tree as the favorite when numbers stand before the question.

    Args:
        trait: The tree to count; any of `sublim list traits`.
        questions: Your own question set (.yaml, .jsonl or .txt) instead of ours; numbers are put before each.
    """
    return preference_task("tree_pref_after_numbers", trait, questions)
