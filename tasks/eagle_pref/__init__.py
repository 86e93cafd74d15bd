"""eagle_pref: task, lm-eval configurations and README."""

from sublim_eval.tasks.eagle_pref.eagle_pref import eagle_pref

__all__ = ["eagle_pref"]
