"""The owl probe: does the model name the owl as its favorite animal?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.preference import preference_task


@task(family="preference", category="animal", target="owl", needs_grader=False)
def owl_pref(questions: str | None = None) -> Task:
    """Share and exact probability of the owl as favorite animal, with the whole answer distribution.

    Args:
        questions: Your own question set (.yaml, .jsonl or .txt) instead of ours.
    """
    return preference_task("owl_pref", questions=questions)
