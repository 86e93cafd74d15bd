"""evasion: task, lm-eval configurations and README."""

from sublim_eval.tasks.evasion.evasion import evasion

__all__ = ["evasion"]
