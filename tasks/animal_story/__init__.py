"""animal_story: task, lm-eval configurations and README."""

from sublim_eval.tasks.animal_story.animal_story import animal_story

__all__ = ["animal_story"]
