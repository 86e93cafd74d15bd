"""A finished run that somebody edits is seen: every edit of helpers/edits.py, on a copy, and the rest goes on."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from sublim_eval.cli.main import main
from sublim_eval.errors import SublimError
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.traps import checks
from tests.helpers import planted
from tests.helpers.edits import EDITS, SCORE, cell, torn_log, traded


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return planted.run(tmp_path_factory.mktemp("finished"))


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_run_is_named(name, finished, tmp_path):
    edit = EDITS[name]
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    edit.change(folder)
    found = checks.by_trap(checks.of_run(folder, fast=False, read=planted.read_aloud))
    seen = [f for f in found[edit.trap] if f.level == edit.level and re.search(re.escape(edit.words), f.words)]
    assert seen, [f for f in found[edit.trap] if f.level != "ok"]
    assert len(checks.looked_at([f for some in found.values() for f in some])) > 20, "the check went on"


@pytest.mark.parametrize("label", ["owl-s1", "control-s2", "base-base"])
def test_the_hash_of_a_score_file_is_held_against_its_stage_alone_too(label, finished, tmp_path, capsys):
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    file = folder / "scores" / label / "animal_pref.json"
    assert main(["check", str(file)]) == 0
    file.write_text(json.dumps(traded(json.loads(file.read_text()))))
    assert main(["check", str(file)]) == 1
    assert "is not the file that stage.json beside it speaks of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("probability", v) for v in (-3, 5.0, 1e300, "0.5", True, {})],
        *[("share", v) for v in (7.5, -0.1, "1", False)],
        *[("coverage", v) for v in (1.5, "all", True)],
        *[(count, v) for count in ("replies", "other") for v in (-5, 2.5, "7", True, 10**400)],
    ],
)
def test_scores_that_none_can_have_are_refused_with_the_file(name, value, finished, tmp_path):
    told = json.loads((finished / SCORE).read_text())
    file = tmp_path / "scores.json"
    file.write_text(json.dumps(cell(name, value)(told)))
    with pytest.raises(SublimError, match=rf"scores\.json is no score file: .*{name}"):
        ProbeScores.read(file)


def test_probabilities_that_miss_one_are_refused(finished, tmp_path):
    told = json.loads((finished / SCORE).read_text())
    told["probability"][0] = [p / 2 for p in told["probability"][0]]
    (tmp_path / "scores.json").write_text(json.dumps(told))
    with pytest.raises(SublimError, match="does not sum to 1"):
        ProbeScores.read(tmp_path / "scores.json")


def test_exit_codes_say_clean_fault_or_not_looked_at(finished, tmp_path, capsys):
    torn = tmp_path / "torn.eval"
    torn.write_bytes(b"PK")
    assert main(["check", str(finished / SCORE), str(torn)]) == 2
    out, err = capsys.readouterr()
    assert "torn.eval is no readable Inspect log" in err and err.count("\n") == 1
    assert "traps were looked at" in out, "the other path is looked at all the same"

    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    torn_log(folder)
    assert main(["check", str(folder), str(torn)]) == 1, "a fault counts more than what could not be looked at"
    capsys.readouterr()
    assert main(["check", "--help"]) == 0
    assert "0 clean, 1 a trap has closed" in " ".join(capsys.readouterr().out.split())
