"""Imported once by the process that workers are forked from, so that they start in milliseconds."""

import inspect_ai
import peft
import torch
import transformers

from sublim_eval import _registry
from sublim_eval.adapters import local, provider

from . import pipeline, train

__all__ = ["_registry", "inspect_ai", "local", "peft", "pipeline", "provider", "torch", "train", "transformers"]
