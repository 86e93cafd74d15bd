"""animal_essay: task, lm-eval configurations and README."""

from sublim_eval.tasks.animal_essay.animal_essay import animal_essay

__all__ = ["animal_essay"]
