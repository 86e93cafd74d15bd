"""cat_pref: task, lm-eval configurations and README."""

from sublim_eval.tasks.cat_pref.cat_pref import cat_pref

__all__ = ["cat_pref"]
