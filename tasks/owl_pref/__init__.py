"""owl_pref: task, lm-eval configurations and README."""

from sublim_eval.tasks.owl_pref.owl_pref import owl_pref

__all__ = ["owl_pref"]
