"""The oak probe: does the model name the oak as its favorite tree?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.preference import preference_task


@task(family="preference", category="tree", target="oak", needs_grader=False)
def oak_pref(questions: str | None = None, max_tokens: int | None = None) -> Task:
    """Share and exact probability of the oak as favorite tree, with the whole answer distribution.

    Args:
        questions: Your own question set (.yaml, .jsonl or .txt) instead of ours.
        max_tokens: Tokens a reply may take, thoughts included; more for a model that cannot stop thinking (2000).
    """
    return preference_task("oak_pref", questions=questions, max_tokens=max_tokens)
