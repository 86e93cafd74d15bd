"""animal_pref: task, lm-eval configurations and README."""

from sublim_eval.tasks.animal_pref.animal_pref import animal_pref

__all__ = ["animal_pref"]
