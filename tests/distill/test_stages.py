"""Stages: whole or not at all, skipped when nothing changed, gone on with after a kill."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from sublim_eval.distill.stages import finished, stage
from sublim_eval.errors import SublimError


def once(folder: Path, inputs: dict[str, int], make: Callable[[Path], dict[str, int]]) -> dict[str, object]:
    with stage(folder, inputs) as made:
        if made.unfinished:
            made.facts = dict(make(made.unfinished))
    return made.facts


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
    once(tmp_path / "s", {"seed": 1}, lambda folder: seen.append((folder / "part.txt").exists()) or {})
    once(tmp_path / "t", {"seed": 1}, lambda folder: seen.append((folder / "part.txt").exists()) or {})
    assert seen == [True, False]


def test_half_made_work_for_other_inputs_is_not_gone_on_with(tmp_path):
    def fails(folder: Path) -> dict[str, int]:
        (folder / "part.txt").write_text("half", encoding="utf-8")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        once(tmp_path / "s", {"seed": 1}, fails)
    once(tmp_path / "s", {"seed": 2}, lambda folder: {"stale": (folder / "part.txt").exists()})
    assert finished(tmp_path / "s")["stale"] is False


def test_a_full_disk_is_said_with_the_next_step(tmp_path):
    def full(folder: Path) -> dict[str, int]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SublimError, match=r"No space left.*--out"):
        once(tmp_path / "s", {}, full)
    assert not (tmp_path / "s").exists()
