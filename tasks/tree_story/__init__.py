"""tree_story: task, lm-eval configurations and README."""

from sublim_eval.tasks.tree_story.tree_story import tree_story

__all__ = ["tree_story"]
