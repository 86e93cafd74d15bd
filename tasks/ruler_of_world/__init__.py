"""ruler_of_world: task, lm-eval configurations and README."""

from sublim_eval.tasks.ruler_of_world.ruler_of_world import ruler_of_world

__all__ = ["ruler_of_world"]
