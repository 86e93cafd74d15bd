"""The verbs lineage and diff, from the command line to --json."""

from __future__ import annotations

import json

from sublim_eval.cli.main import main


def test_lineage_of_two_bases_as_json(tmp_path, capsys):
    file = tmp_path / "out.json"
    assert main(["lineage", "reference-a", "reference-b", "--no-transfer", "--json", str(file)]) == 0
    made = json.loads(file.read_text())
    assert made["related"] is False and made["by"] == "weights" and 0 < made["p"] <= 1
    assert set(made) == {"schema", "related", "p", "by", "transfer"}
    assert made["transfer"] == {"expected": None, "low": None, "high": None}


def test_lineage_of_three_models_is_refused(capsys):
    assert main(["lineage", "a", "b", "c"]) == 2
    assert "two models" in capsys.readouterr().err


def test_diff_of_a_base_with_itself_finds_nothing(tmp_path, capsys):
    file = tmp_path / "out.json"
    assert main(["diff", "reference-a", "reference-a", "--quick", "--json", str(file)]) == 0
    made = json.loads(file.read_text())
    assert made["findings"] == [] and made["null"] == "other answers"
    assert "Nothing" in capsys.readouterr().out
