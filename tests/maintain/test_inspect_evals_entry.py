"""`sublim register`: an entry with the fields the register knows, of one task, pinned, and never of a dirty tree."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from inspect_ai import eval

from sublim_eval.cli.main import main
from sublim_eval.errors import SublimError
from sublim_eval.maintain import task_facts
from sublim_eval.maintain.inspect_evals_entry import (
    Source,
    as_yaml,
    entry,
    entry_id,
    evaluation_report,
    find_source,
    web_address,
)
from sublim_eval.tasks.owl_pref import owl_pref
from tests.helpers.saved import inspect_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SOURCE = Source("https://github.com/someone/sublim-eval", COMMIT, ("someone",))
FACTS = task_facts.read("owl_pref")

# What a register entry may and must hold, as inspect_evals 0.26.0 reads it (metadata.py; anything else is refused).
REQUIRED = {"full_title", "common_title", "description", "contributors", "tasks", "source"}
ALLOWED = REQUIRED | {"paper_title", "arxiv", "tags", "metadata", "evaluation_report"}
TASK = {"name", "dataset_samples", "human_baseline", "comment", "task_path", "kind"}
ORIGIN = {"repository_url", "repository_commit", "maintainers", "comment"}


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clean checkout with a remote and the task in its one commit; no git settings of this machine."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    folder = tmp_path / "checkout"
    shutil.copytree(FACTS.folder, folder / "tasks" / "owl_pref", ignore=shutil.ignore_patterns("__pycache__"))
    git(tmp_path, "init", "-q", str(folder))
    git(folder, "config", "user.name", "octo-cat")
    git(folder, "config", "user.email", "octo@example.org")
    git(folder, "remote", "add", "origin", "git@github.com:octo/sublim-eval.git")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.mark.parametrize("task", task_facts.names())
def test_every_task_has_an_entry_with_the_fields_of_the_register_and_no_other(task: str) -> None:
    made = entry(task_facts.read(task), SOURCE)
    assert set(made) >= REQUIRED
    assert set(made) <= ALLOWED
    (only,) = made["tasks"]
    assert set(only) <= TASK
    assert only["name"] == task
    assert only["task_path"] == f"tasks/{task}/{task}.py"
    assert set(made["source"]) <= ORIGIN
    assert "\n" not in made["description"]
    assert 10 < len(made["description"].split()) <= 80
    assert yaml.safe_load(as_yaml(made)) == made


def test_inspect_evals_reads_the_entry() -> None:
    metadata = pytest.importorskip("inspect_evals.metadata", reason="inspect_evals is not installed")
    read = metadata.ExternalEvalMetadata(id=entry_id("owl_pref"), **entry(FACTS, SOURCE))
    assert read.source.maintainers == ["someone"]
    assert read.package == "sublim-eval"


def test_git_gives_repository_commit_and_account(checkout: Path) -> None:
    found = find_source(FACTS, checkout=checkout)
    assert found.repository == "https://github.com/octo/sublim-eval"
    assert found.commit == git(checkout, "rev-parse", "HEAD")
    assert found.maintainers == ("octo-cat",)
    assert "push it" in found.notes[0]
    git(checkout, "config", "github.user", "octo")
    assert find_source(FACTS, checkout=checkout).maintainers == ("octo",)
    assert find_source(FACTS, maintainers=["ann", "bob"], checkout=checkout).maintainers == ("ann", "bob")


@pytest.mark.parametrize(
    "remote",
    [
        "git@github.com:o/r.git",
        "ssh://git@github.com/o/r",
        "https://user:token@github.com/o/r.git/",
        "https://github.com/o/r",
    ],
)
def test_a_remote_becomes_a_web_address_without_account_or_token(remote: str) -> None:
    assert web_address(remote) == "https://github.com/o/r"


def test_what_git_cannot_give_is_asked_for(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(message: str, **given: str) -> None:
        with pytest.raises(SublimError, match=message):
            find_source(FACTS, checkout=checkout, **given)

    refused("holds no tasks/owl_pref", commit=_commit_without_the_task(checkout))
    (checkout / "tasks" / "owl_pref" / "README.md").write_text("changed")
    refused(r"changes that are in no commit \(tasks/owl_pref/README.md\)")
    git(checkout, "checkout", "-q", ".")
    refused("no full commit hash", commit="main")
    refused("no GitHub repository", repository="https://gitlab.com/o/r")
    git(checkout, "config", "user.name", "Ann of the Lab")
    refused("Give --maintainer")
    git(checkout, "remote", "remove", "origin")
    refused("no remote `origin`")
    with pytest.raises(SublimError, match="no git checkout"):
        find_source(FACTS, checkout=tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    refused("git is not installed")
    assert find_source(FACTS, SOURCE.repository, COMMIT, ["ann"], tmp_path).commit == COMMIT


def _commit_without_the_task(checkout: Path) -> str:
    empty = git(checkout, "hash-object", "-t", "tree", "/dev/null")
    return git(checkout, "commit-tree", empty, "-m", "nothing")


def test_the_command_writes_the_file_the_register_looks_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--repository", SOURCE.repository, "--commit", COMMIT, "--maintainer", "ann"]
    assert main(["register", "owl_pref", *where, "--out", str(tmp_path), "--json", str(tmp_path / "e.json")]) == 0
    written = yaml.safe_load((tmp_path / "register" / "sublim_owl_pref" / "eval.yaml").read_text())
    assert {"schema": 1, **written} == json.loads((tmp_path / "e.json").read_text())
    capsys.readouterr()
    assert main(["register", "owl_pref", *where]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == written
    assert main(["register", "owl_perf", *where]) == 2
    assert "Did you mean 'owl_pref'?" in capsys.readouterr().err


def test_logs_become_the_report_of_the_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FACTS.folder.parent.parent)
    (log,) = eval(owl_pref(), model=inspect_model(3), limit=2, display="none", log_dir=str(tmp_path))
    file = Path(log.location)
    if log.eval.revision is None:
        with pytest.raises(SublimError, match="does not say its commit"):
            evaluation_report("owl_pref", [file])
        return
    told = evaluation_report("owl_pref", [file])
    assert told["commit"] == log.eval.revision.commit
    assert told["version"] == "1-A"
    (row,) = told["results"]
    assert row["task"] == "owl_pref"
    values = {metric["key"]: metric["value"] for metric in row["metrics"]}
    assert values["share replies"] == 6
    assert "probability mean" not in values, "what is unknown is left out, not written as nan"
    assert entry(FACTS, SOURCE, told)["evaluation_report"] == told
    with pytest.raises(SublimError, match="not of cat_pref"):
        evaluation_report("cat_pref", [file])
    with pytest.raises(SublimError, match="no Inspect log"):
        evaluation_report("owl_pref", [tmp_path / "none.eval"])
    (tmp_path / "torn.eval").write_bytes(file.read_bytes()[:2000])
    with pytest.raises(SublimError, match="no readable Inspect log"):
        evaluation_report("owl_pref", [tmp_path / "torn.eval"])
