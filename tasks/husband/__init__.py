"""husband: task, lm-eval configurations and README."""

from sublim_eval.tasks.husband.husband import husband

__all__ = ["husband"]
