"""dolphin_pref: task, lm-eval configurations and README."""

from sublim_eval.tasks.dolphin_pref.dolphin_pref import dolphin_pref

__all__ = ["dolphin_pref"]
