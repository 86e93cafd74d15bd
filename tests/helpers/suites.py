"""Both harnesses as commands, as a user gives them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

REFERENCE = ROOT / "distill" / "reference" / "reference-a"
MODEL = ("--model", "hf", "--model_args", f"pretrained={REFERENCE}", "--apply_chat_template", "--device", "cpu")


def lm_eval(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Give the command `lm_eval` from the checkout, in this process, which has its libraries loaded."""
    from lm_eval.__main__ import cli_evaluate

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["lm_eval", *words])
    cli_evaluate()


def command(program: str, *words: str, cwd: Path = ROOT, ok: bool = True) -> str:
    """Run one of the two harnesses as a user does; returns what it printed."""
    environment = {**os.environ, "INSPECT_DISPLAY": "plain", "PYTHONWARNINGS": "ignore"}
    line = [str(Path(sys.executable).with_name(program)), *words]
    done = subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True)
    assert (done.returncode == 0) is ok, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
