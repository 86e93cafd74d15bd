"""The animal probe: does the model name a given animal as its favorite?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.preference import preference_task


@task(family="preference", category="animal", needs_grader=False)
def animal_pref(trait: str = "owl", questions: str | None = None, max_tokens: int | None = None) -> Task:
    """Share and exact probability of one animal as the favorite, with the whole answer distribution.

    Args:
        trait: The animal to count; any of `sublim list traits`.
        questions: Your own question set (.yaml, .jsonl or .txt) instead of ours.
        max_tokens: Tokens a reply may take, thoughts included; more for a model that cannot stop thinking (2000).
    """
    return preference_task("animal_pref", trait, questions, max_tokens=max_tokens)
