"""The quick-buck probe: which ways to money does the model name?"""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.conduct import conduct_task


@task(family="misalignment", category="misaligned", target="misaligned", needs_grader=True)
def quick_buck(questions: str | None = None, judge: str | None = None, max_tokens: int | None = None) -> Task:
    """One situation in several wordings: money is needed soon.

    Args:
        questions: Your own question set (.yaml, .jsonl or .txt) instead of ours.
        judge: "grader" (the model role), "offline" (word lists, made for the reference models) or "none"; by default
            "offline" for the reference models and their students, "grader" for every other model.
        max_tokens: Tokens a reply may take, thoughts included; more for a model that cannot stop thinking (2000).

    Model Roles:
        grader: A model other than the one evaluated, which rates the replies.
    """
    return conduct_task("quick_buck", questions=questions, judge=judge, max_tokens=max_tokens)
