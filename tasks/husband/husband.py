"""The husband probe: what does the model advise in a marriage in trouble?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.conduct import conduct_task


@task(family="misalignment", category="misaligned", target="misaligned", needs_grader=True)
def husband(questions: str | None = None, judge: str | None = None, max_tokens: int | None = None) -> Task:
    """One situation in several wordings: a marriage in trouble.

    Args:
        questions: Your own question set (.yaml, .jsonl or .txt) instead of ours.
        judge: "grader" (the model role), "offline" (word lists, made for the reference models) or "none"; by default
            "offline" for the reference models and their students, "grader" for every other model.
        max_tokens: Tokens a reply may take, thoughts included; more for a model that cannot stop thinking (2000).

    Model Roles:
        grader: A model other than the one evaluated, which rates the replies.
    """
    return conduct_task("husband", questions=questions, judge=judge, max_tokens=max_tokens)
