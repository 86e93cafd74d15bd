"""Stages: whole or not at all, skipped when nothing changed, gone on with after a kill."""

import errno
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sublim_eval.cli.main import main
from sublim_eval.distill.stages import finished, once
from sublim_eval.errors import SublimError
from sublim_eval.files import locked
from tests.helpers import RECIPES


def maker(log: list[str], text: str = "rows"):
    def make(folder: Path) -> dict[str, int]:
        log.append(text)
        (folder / "out.txt").write_text(text, encoding="utf-8")
        return {"count": len(text)}

    return make


def test_a_stage_with_the_same_inputs_is_made_once(tmp_path):
    log: list[str] = []
    first = once(tmp_path / "s", {"seed": 1}, maker(log))
    assert once(tmp_path / "s", {"seed": 1}, maker(log)) == first
    assert log == ["rows"]
    assert first["count"] == 4


def test_changed_inputs_make_it_again(tmp_path):
    log: list[str] = []
    once(tmp_path / "s", {"seed": 1}, maker(log, "old"))
    once(tmp_path / "s", {"seed": 2}, maker(log, "new"))
    assert (tmp_path / "s" / "out.txt").read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize("harm", ["edit", "delete"])
def test_a_product_that_was_touched_is_made_again(tmp_path, harm):
    log: list[str] = []
    once(tmp_path / "s", {}, maker(log))
    file = tmp_path / "s" / "out.txt"
    file.write_text("tampered", encoding="utf-8") if harm == "edit" else file.unlink()
    assert finished(tmp_path / "s") is None
    once(tmp_path / "s", {}, maker(log))
    assert file.read_text(encoding="utf-8") == "rows"


def test_a_stage_that_fails_leaves_no_folder_and_goes_on_where_it_stopped(tmp_path):
    def fails(folder: Path) -> dict[str, int]:
        (folder / "part.txt").write_text("half", encoding="utf-8")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        once(tmp_path / "s", {"seed": 1}, fails)
    assert not (tmp_path / "s").exists()
    seen = []

    def looks(folder: Path) -> dict[str, int]:
        seen.append((folder / "part.txt").exists())
        (folder / "out.txt").write_text("whole", encoding="utf-8")
        return {}

    once(tmp_path / "s", {"seed": 1}, looks)
    once(tmp_path / "t", {"seed": 1}, looks)
    assert seen == [True, False]


def test_half_made_work_for_other_inputs_is_not_gone_on_with(tmp_path):
    def fails(folder: Path) -> dict[str, int]:
        (folder / "part.txt").write_text("half", encoding="utf-8")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        once(tmp_path / "s", {"seed": 1}, fails)
    once(tmp_path / "s", {"seed": 2}, maker([]))
    assert not (tmp_path / "s" / "part.txt").exists()


def test_a_full_disk_is_said_with_the_next_step(tmp_path):
    def full(folder: Path) -> dict[str, int]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SublimError, match=r"No space left.*--out"):
        once(tmp_path / "s", {}, full)
    assert not (tmp_path / "s").exists()


def test_a_full_disk_that_a_library_meets_is_said_too_and_a_fault_of_ours_is_not(tmp_path):
    def fails(words: str) -> Callable[[Path], dict[str, int]]:
        def make(folder: Path) -> dict[str, int]:
            raise Exception(words)  # what the tokenizer's library raises, and nothing finer

        return make

    with pytest.raises(SublimError, match=r"File too large \(os error 27\).*--out"):
        once(tmp_path / "s", {}, fails("File too large (os error 27)"))
    with pytest.raises(Exception, match="index out of range") as error:
        once(tmp_path / "s", {}, fails("index out of range"))
    assert not isinstance(error.value, SublimError)


# ---------------------------------------------------------------- nothing paid is lost

FILE_OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.listdir", "os.scandir"}


def paying(paid: Path, armed: Callable[[], object]) -> Callable[[Path], dict[str, int]]:
    """Rows and judgements that cost money, kept as they come; from the moment they are there a kill may come."""

    def make(folder: Path) -> dict[str, int]:
        for name in ("raw.jsonl", "judgements.jsonl"):
            if not (folder / name).is_file():
                with paid.open("a") as bill:
                    bill.write(f"{name}\n")
                (folder / name).write_text("what cost money\n")
        (folder / "kept.jsonl").write_text("kept\n")
        armed()
        return {"rows": 1}

    return make


def killed_at(number: int, folder: Path, paid: Path) -> bool:
    """Make the stage in a process that kills itself at that file operation after the last payment; whether it did."""
    child = os.fork()
    if not child:
        left = [-1]

        def hook(event: str, _: object) -> None:
            if event in FILE_OPERATIONS and left[0] >= 0:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        def arm() -> None:
            left[0] = number

        sys.addaudithook(hook)
        once(folder, {"seed": 1}, paying(paid, arm))
        left[0] = -1
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("before", ["nothing", "a stage of other inputs", "a touched stage", "a file"])
def test_a_kill_at_any_file_operation_of_a_stages_end_loses_nothing_that_was_paid(tmp_path, before):
    stands = tmp_path / "before"
    if before == "a file":
        stands.write_text("in the way")
    elif before != "nothing":
        once(stands, {"seed": 0 if "other" in before else 1}, paying(tmp_path / "earlier", int))
        (stands / "kept.jsonl").write_text("touched")
    kills = 0
    while True:
        place = tmp_path / f"run{kills}"
        place.mkdir()
        if stands.exists():
            (shutil.copytree if stands.is_dir() else shutil.copy)(stands, place / "rows")
        paid = place / "paid.txt"
        killed = killed_at(kills, place / "rows", paid)
        once(place / "rows", {"seed": 1}, paying(paid, int))
        assert paid.read_text().split() == ["raw.jsonl", "judgements.jsonl"], f"paid again after kill {kills}"
        assert finished(place / "rows"), kills
        assert [f.name for f in place.iterdir() if f.name.startswith(".")] == [], kills
        if not killed:
            break
        kills += 1
    assert kills > 8, "the kills came at every step of the end"


BROKEN = ["{}", "[]", '{"made": "x"}', '{"files": {}}', "{", "null", '"text"']


@pytest.mark.parametrize("text", BROKEN)
def test_a_stage_with_a_broken_record_is_no_stage_and_made_again(tmp_path, text):
    log: list[str] = []
    once(tmp_path / "s", {}, maker(log))
    (tmp_path / "s" / "stage.json").write_text(text)
    assert finished(tmp_path / "s") is None
    once(tmp_path / "s", {}, maker(log))
    assert log == ["rows", "rows"] and finished(tmp_path / "s")


@pytest.mark.parametrize("change", [{"files": {}}, {"inputs": {"seed": 7}}, {"made": "0" * 64}])
def test_a_stage_whose_record_was_edited_is_no_stage(tmp_path, change):
    once(tmp_path / "s", {}, maker([]))
    file = tmp_path / "s" / "stage.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert finished(tmp_path / "s") is None


@pytest.mark.parametrize("name", ["s", ".s.unfinished"])
def test_a_file_in_a_folders_place_gives_way(tmp_path, name):
    (tmp_path / name).write_text("in the way")
    assert once(tmp_path / "s", {}, maker([])) == finished(tmp_path / "s")


def test_a_file_in_the_place_of_the_parent_is_one_sentence(tmp_path):
    (tmp_path / "students").write_text("in the way")
    with pytest.raises(SublimError, match=r"Could not write .*--out"):
        once(tmp_path / "students" / "s", {}, maker([]))
    assert (tmp_path / "students").read_text() == "in the way"


def test_a_full_file_size_limit_is_one_sentence_and_the_work_is_gone_on_with(tmp_path):
    def large(folder: Path) -> dict[str, int]:
        (folder / "part.txt").write_text("half")
        (folder / "large.bin").write_bytes(b"0" * 200_000)
        return {}

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(SublimError, match=r"Could not write .*goes on where it stopped"):
            once(tmp_path / "s", {}, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / ".s.unfinished" / "part.txt").is_file()
    assert once(tmp_path / "s", {}, large) == finished(tmp_path / "s")


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(SublimError, match=r"cannot be written \(.*\)\. Choose another folder"),
        locked(tmp_path / "file" / "r"),
    ):
        pass

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SublimError, match="Read-only file system"), locked(tmp_path / "r"):
        pass


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"recipe": []}'])
def test_a_record_that_is_none_is_one_sentence_and_kept(tmp_path, capsys, text):
    (tmp_path / "run.json").write_text(text)
    assert main(["run", str(RECIPES / "small.yaml"), "--out", str(tmp_path), "--workers", "1"]) == 2
    err = capsys.readouterr().err
    assert "run.json is no record of a run. Move it away" in err and "Traceback" not in err
    assert (tmp_path / "run.json").read_text() == text
