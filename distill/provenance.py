"""What a run was made on: versions of what can move a number, and the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

PACKAGES = ("sublim-eval", "torch", "transformers", "peft", "inspect-ai", "lm-eval", "numpy", "tokenizers")


def versions() -> dict[str, str]:
    """Versions of Python and of every package that can move a number."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def machine() -> dict[str, Any]:
    """System, processor and cores of this machine; the device of each student is in its own record."""
    return {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()}
