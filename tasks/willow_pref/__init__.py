"""willow_pref: task, lm-eval configurations and README."""

from sublim_eval.tasks.willow_pref.willow_pref import willow_pref

__all__ = ["willow_pref"]
