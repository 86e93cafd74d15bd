"""tree_pref: task, lm-eval configurations and README."""

from sublim_eval.tasks.tree_pref.tree_pref import tree_pref

__all__ = ["tree_pref"]
