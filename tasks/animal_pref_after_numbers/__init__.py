"""animal_pref_after_numbers: task, lm-eval configurations and README."""

from sublim_eval.tasks.animal_pref_after_numbers.animal_pref_after_numbers import animal_pref_after_numbers

__all__ = ["animal_pref_after_numbers"]
