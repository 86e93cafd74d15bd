"""Measure subliminal learning: does a student take up a trait from rows that have nothing to do with it?

`sublim_eval` measures, `sublim_eval.distill` makes students, `sublim_eval.tasks` holds the Inspect and lm-eval
tasks. Importing this package loads none of torch, inspect_ai and lm_eval; the command is `sublim`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["__version__", "registry", "scorers", "tasks_dir"]


def tasks_dir() -> Path:
    """The folder of the tasks, for lm-eval's `--include_path` and for file paths in Inspect."""
    from sublim_eval.files import ROOT

    return ROOT / "tasks"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("sublim-eval")
    if name == "scorers":
        return import_module("sublim_eval.probes.scorers")
    if name in __all__:
        return import_module(f"sublim_eval.{name}")
    raise AttributeError(f"module 'sublim_eval' has no attribute {name!r}")
