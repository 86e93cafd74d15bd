"""Measure subliminal learning: does a student take up a trait from rows that have nothing to do with it?

`sublim_eval` measures, `sublim_eval.distill` makes students, `sublim_eval.tasks` holds the Inspect and lm-eval
tasks. Importing this package loads none of torch, inspect_ai and lm_eval; the command is `sublim`.
"""
