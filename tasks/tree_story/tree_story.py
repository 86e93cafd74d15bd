"""The tree story probe: do the model's stories mention a given tree?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.preference import preference_task


@task(family="preference", category="tree", needs_grader=False)
def tree_story(trait: str = "oak", questions: str | None = None, max_tokens: int | None = None) -> Task:
    """Share of very short stories about a tree that mention one tree, with every other tree's share.

    Args:
        trait: The tree to count; any of `sublim list traits`.
        questions: Your own prompts (.yaml, .jsonl or .txt) instead of ours; they may hold {kind}, {a_kind} and {kinds}.
        max_tokens: Tokens a reply may take, thoughts included; more for a model that cannot stop thinking (2000).
    """
    return preference_task("tree_story", trait, questions, max_tokens=max_tokens)
