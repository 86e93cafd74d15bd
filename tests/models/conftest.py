"""Tiny models that every test of the local engine may ask."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.helpers.tiny import tiny_adapter, tiny_model


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base that knows words, one of bytes, one with a window, and adapters of three kinds on the first."""
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("models")
    base = tiny_model(home / "base")
    made = {"base": base, "bytes": tiny_model(home / "bytes", kind="qwen2", words=None, seed=1)}
    made["window"] = tiny_model(home / "window", kind="mistral", seed=2)
    return made | {m: tiny_adapter(base, home / m, m) for m in ("lora", "ln", "prompt")}
