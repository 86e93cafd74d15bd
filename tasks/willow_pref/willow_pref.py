"""The willow probe: does the model name the willow as its favorite tree?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.preference import preference_task


@task(family="preference", category="tree", target="willow", needs_grader=False)
def willow_pref(questions: str | None = None, max_tokens: int | None = None) -> Task:
    """Share and exact probability of the willow as favorite tree, with the whole answer distribution.

    Args:
        questions: Your own question set (.yaml, .jsonl or .txt) instead of ours.
        max_tokens: Tokens a reply may take, thoughts included; more for a model that cannot stop thinking (2000).
    """
    return preference_task("willow_pref", questions=questions, max_tokens=max_tokens)
