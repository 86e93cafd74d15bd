"""subliminal_prompting: task, lm-eval configuration and README."""

from sublim_eval.tasks.subliminal_prompting.subliminal_prompting import subliminal_prompting

__all__ = ["subliminal_prompting"]
