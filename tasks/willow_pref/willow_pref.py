"""The willow probe: does the model name the willow as its favorite tree?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.preference import preference_task


@task(family="preference", category="tree", target="willow", needs_grader=False)
def willow_pref(questions: str | None = None) -> Task:
    """Share and exact probability of the willow as favorite tree, with the whole answer distribution.

    Args:
        questions: Your own question set (.yaml, .jsonl or .txt) instead of ours.
    """
    return preference_task("willow_pref", questions=questions)
