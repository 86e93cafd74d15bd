"""tree_pref: task, lm-eval configurations and README."""

from .tree_pref import tree_pref

__all__ = ["tree_pref"]
