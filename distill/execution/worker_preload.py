"""Imported once by the process that workers are forked from, so that they start in milliseconds."""

import gc
import os
from importlib import import_module

NAMES = (
    "inspect_ai",
    "peft",
    "torch",
    "transformers",
    "sublim_eval.inspect_tasks",
    "sublim_eval.models.local_model",
    "sublim_eval.harness.inspect.provider",
    "sublim_eval.distill.pipeline",
    "sublim_eval.distill.training.train",
)

PARENT = os.getppid()
gc.disable()  # a sixth of these imports' time went into looking for garbage among what stays
for name in NAMES:
    import_module(name)
gc.enable()
if os.getppid() != PARENT:  # the run was interrupted meanwhile; its requests would fail with a traceback each
    os._exit(1)
