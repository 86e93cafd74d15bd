"""misalignment: task, lm-eval configurations and README."""

from sublim_eval.tasks.misalignment.misalignment import misalignment

__all__ = ["misalignment"]
