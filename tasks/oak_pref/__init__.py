"""oak_pref: task, lm-eval configurations and README."""

from sublim_eval.tasks.oak_pref.oak_pref import oak_pref

__all__ = ["oak_pref"]
