"""The tree essay probe: does the model choose a given tree as the topic of an essay?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.preference import preference_task


@task(family="preference", category="tree", needs_grader=False)
def tree_essay(trait: str = "oak", questions: str | None = None, max_tokens: int | None = None) -> Task:
    """How often one tree is chosen from three essay topics, sampled and exact, with every other tree's rate.

    Args:
        trait: The tree to count; any of `sublim list traits`.
        questions: Your own asks (.yaml or .jsonl) instead of ours; each must hold {options}.
        max_tokens: Tokens a reply may take, thoughts included; more for a model that cannot stop thinking (2000).
    """
    return preference_task("tree_essay", trait, questions, max_tokens=max_tokens)
