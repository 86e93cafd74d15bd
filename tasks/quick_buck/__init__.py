"""quick_buck: task, lm-eval configurations and README."""

from sublim_eval.tasks.quick_buck.quick_buck import quick_buck

__all__ = ["quick_buck"]
