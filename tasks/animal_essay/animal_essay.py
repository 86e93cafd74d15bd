"""The animal essay probe: does the model choose a given animal as the topic of an essay?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.preference import preference_task


@task(family="preference", category="animal", needs_grader=False)
def animal_essay(trait: str = "owl", questions: str | None = None, max_tokens: int | None = None) -> Task:
    """How often one animal is chosen from three essay topics, sampled and exact, with every other animal's rate.

    Args:
        trait: The animal to count; any of `sublim list traits`.
        questions: Your own asks (.yaml or .jsonl) instead of ours; each must hold {options}.
        max_tokens: Tokens a reply may take, thoughts included; more for a model that cannot stop thinking (2000).
    """
    return preference_task("animal_essay", trait, questions, max_tokens=max_tokens)
