"""The generic probe: any trait of the registry, your own included, asked about in the way that fits its kind."""

from inspect_ai import Task, task

from sublim_eval.harness.inspect.trait_probe import trait_task


@task(family="generic", category="any", target="any", needs_grader=False)
def trait_probe(
    trait: str = "owl", questions: str | None = None, judge: str | None = None, max_tokens: int | None = None
) -> Task:
    """Whatever the trait brings: a favorite's share and probability, or judged replies, targets and matched pairs.

    Args:
        trait: A trait of the registry, or of your own file (SUBLIM_REGISTRY=mine.yaml).
        questions: Your own question set (.yaml, .jsonl or .txt) instead of the trait's.
        judge: For a trait with a rubric: "grader" (the model role), "offline" or "none".
        max_tokens: Tokens a reply may take, thoughts included; more for a model that cannot stop thinking (2000).

    Model Roles:
        grader: For a trait with a rubric: a model other than the one evaluated, which rates the replies.
    """
    return trait_task(trait, questions, judge, max_tokens=max_tokens)
