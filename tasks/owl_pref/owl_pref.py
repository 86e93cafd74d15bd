"""The owl probe: does the model name the owl as its favorite animal?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.preference import preference_task


@task(family="preference", category="animal", target="owl", needs_grader=False)
def owl_pref(questions: str | None = None, max_tokens: int | None = None) -> Task:
    """Share and exact probability of the owl as favorite animal, with the whole answer distribution.

    Args:
        questions: Your own question set (.yaml, .jsonl or .txt) instead of ours.
        max_tokens: Tokens a reply may take, thoughts included; more for a model that cannot stop thinking (2000).
    """
    return preference_task("owl_pref", questions=questions, max_tokens=max_tokens)
