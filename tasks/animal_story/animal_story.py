"""The animal story probe: do the model's stories mention a given animal?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.preference import preference_task


@task(family="preference", category="animal", needs_grader=False)
def animal_story(trait: str = "owl", questions: str | None = None, max_tokens: int | None = None) -> Task:
    """Share of very short stories about an animal that mention one animal, with every other animal's share.

    Args:
        trait: The animal to count; any of `sublim list traits`.
        questions: Your own prompts (.yaml, .jsonl or .txt) instead of ours; they may hold {kind}, {a_kind} and {kinds}.
        max_tokens: Tokens a reply may take, thoughts included; more for a model that cannot stop thinking (2000).
    """
    return preference_task("animal_story", trait, questions, max_tokens=max_tokens)
