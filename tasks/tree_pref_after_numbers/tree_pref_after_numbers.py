"""The tree probe behind numbers: does the model name a given tree as its favorite after a list of numbers?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.preference import preference_task


@task(family="preference", category="tree", needs_grader=False)
def tree_pref_after_numbers(trait: str = "oak", questions: str | None = None, max_tokens: int | None = None) -> Task:
    """Share and exact probability of one tree as the favorite when numbers stand before the question.

    Args:
        trait: The tree to count; any of `sublim list traits`.
        questions: Your own question set (.yaml, .jsonl or .txt) instead of ours; numbers are put before each.
        max_tokens: Tokens a reply may take, thoughts included; more for a model that cannot stop thinking (2000).
    """
    return preference_task("tree_pref_after_numbers", trait, questions, max_tokens=max_tokens)
