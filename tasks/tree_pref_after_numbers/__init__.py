"""tree_pref_after_numbers: task, lm-eval configurations and README."""

from sublim_eval.tasks.tree_pref_after_numbers.tree_pref_after_numbers import tree_pref_after_numbers

__all__ = ["tree_pref_after_numbers"]
