"""tree_essay: task, lm-eval configurations and README."""

from sublim_eval.tasks.tree_essay.tree_essay import tree_essay

__all__ = ["tree_essay"]
