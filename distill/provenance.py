"""What a run was made on: versions of what can move a number, and the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

PACKAGES = ("sublim-eval", "torch", "transformers", "peft", "inspect-ai", "lm-eval", "numpy", "tokenizers")


def versions() -> dict[str, str]:
    """Versions of Python and of every package that can move a number."""
    by_package = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            by_package[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            by_package[name] = "missing"
    return by_package


def machine() -> dict[str, Any]:
    """System, processor and cores of this machine; the device of each student is in its own record."""
    return {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()}
