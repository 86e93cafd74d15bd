"""A clean run leaves every check quiet: the short version of benchmarks/quiet_checks.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.helpers import ROOT

spec = importlib.util.spec_from_file_location("quiet_checks", ROOT / "benchmarks" / "quiet_checks.py")
assert spec is not None and spec.loader is not None
quiet_checks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(quiet_checks)


@pytest.mark.parametrize("number", [1, *(pytest.param(n, marks=pytest.mark.long) for n in (0, 2, 3, 4))])
def test_a_clean_run_is_quiet(number, tmp_path: Path):
    findings = quiet_checks.findings_of(number, tmp_path)
    assert quiet_checks.loud(findings) == []
    looked = {f.trap for f in findings if f.level == "ok"}
    assert looked >= {"edited afterwards", "wrong lineage", "adapter silently not applied", "lost row identity"}
