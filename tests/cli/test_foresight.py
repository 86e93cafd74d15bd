"""The verbs lineage and diff, from the command line to --json."""

from __future__ import annotations

import json

import pytest

from sublim_eval.cli.main import main
from sublim_eval.distill.diff import findings


def test_lineage_of_three_models_is_refused(capsys):
    assert main(["lineage", "a", "b", "c"]) == 2
    assert "two models" in capsys.readouterr().err


@pytest.fixture
def moved(monkeypatch):
    """Students whose answers moved by as much as their names say, on the first of ten traits."""

    def measure(student, base, quick, home):
        noise = {f"trait{i}": 0.01 * (len(student) % 3) * (-1) ** i for i in range(10)}
        return {"answers": noise | ({"trait0": 2.0} if student == "student" else {})}

    monkeypatch.setattr(findings, "measure", measure)
    monkeypatch.setattr(findings, "check_base", lambda student, base: None)


def test_diff_names_what_its_controls_lack(moved, tmp_path, capsys):
    file = tmp_path / "out.json"
    controls = [part for name in ("c", "cc", "ccc") for part in ("--control", name)]
    assert main(["diff", "student", "base", "--quick", *controls, "--json", str(file)]) == 0
    made = json.loads(file.read_text())
    assert [row["trait"] for row in made["findings"]] == ["trait0"] and made["null"] == "controls"
    assert "It took in: trait0." in capsys.readouterr().out


def test_diff_says_what_it_makes_once_for_a_base(moved, tmp_path, capsys):
    controls = [part for name in ("c", "cc", "ccc") for part in ("--control", name)]
    assert main(["diff", "student", "reference-a", *controls, "--quick", "--keep", str(tmp_path)]) == 0
    assert "probe" not in capsys.readouterr().out
    assert findings.lacks_probes("reference-a", tmp_path) and not findings.lacks_probes("somebody/model", tmp_path)
    (tmp_path / "base-reference-a" / "gauge").mkdir(parents=True)
    (tmp_path / "base-reference-a" / "gauge" / "stage.json").write_text("{}")
    assert not findings.lacks_probes("reference-a", tmp_path)


def test_diff_of_a_control_finds_nothing(moved, capsys):
    controls = [part for name in ("c", "cc", "ccc") for part in ("--control", name)]
    assert main(["diff", "dd", "base", "--quick", *controls]) == 0
    assert "Nothing that it took in was found." in capsys.readouterr().out


def test_diff_needs_more_than_two_controls(moved, capsys):
    assert main(["diff", "student", "base", "--control", "c", "--control", "cc"]) == 2
    assert "no spread" in capsys.readouterr().err


def test_lineage_by_samples_asks_for_references(capsys):
    assert main(["lineage", "reference-a", "openai/gpt-4.1-nano", "--by", "samples", "--reference", "r"]) == 2
    assert "4 references or more" in capsys.readouterr().err
