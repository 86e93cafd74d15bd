"""Files are whole or not there at all, and a bad line is named."""

import errno
import json
import os
import subprocess
import sys
import threading

import pytest

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, json_line, locked, read_json, read_jsonl, whole_file, write_json, write_jsonl


def test_a_row_comes_back_as_it_was(tmp_path):
    rows = [{"prompt": "a\u2028b", "completion": "1, 2\n", "n": 3}, {"x": "é\x00"}]
    assert write_jsonl(tmp_path / "r.jsonl", rows) == 2
    assert [row for _, row in read_jsonl(tmp_path / "r.jsonl")] == rows


def test_half_a_surrogate_pair_can_be_written(tmp_path):
    row = json.loads(r'{"response": "\ud83e owl"}')
    write_jsonl(tmp_path / "r.jsonl", [row])
    assert read_jsonl(tmp_path / "r.jsonl") == [(1, row)]
    assert json_line({"a": "é"}) == '{"a": "é"}\n'


@pytest.mark.parametrize(
    ("text", "line", "about"),
    [
        ("", 1, "empty"),
        ("\n \n", 1, "empty"),
        ('{"prompt": "a"}\n{"prompt": \n', 2, "not valid JSON"),
        ('{"prompt": "a"}\n\n[1]\n', 3, "not a JSON object"),
        ('{"prompt": "a"}\n{"completion": "b"}\n', 2, "no text under 'prompt'"),
        ('{"prompt": 7}\n', 1, "no text under 'prompt'"),
        ('{"prompt": null}\n', 1, "no text under 'prompt'"),
        ('{"prompt": "a", "n": ' + "9" * 5000 + "}\n", 1, "not valid JSON"),
        ('{"prompt": ' + "[" * 200_000 + "\n", 1, "not valid JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path, text, line, about):
    file = tmp_path / "in.jsonl"
    file.write_text(text)
    with pytest.raises(SublimError) as error:
        read_jsonl(file, ("prompt",))
    assert f"in.jsonl:{line}:" in str(error.value)
    assert about in str(error.value)


def test_a_file_that_is_not_utf8_or_not_there_is_refused(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "\xe9"}\n')
    with pytest.raises(SublimError, match="UTF-8"):
        read_jsonl(tmp_path / "latin.jsonl")
    for missing in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(SublimError, match="There is no file"):
            read_jsonl(missing)
    with pytest.raises(SublimError, match="There is no file"):
        read_json(tmp_path / "none.json")


def test_malformed_json_is_named_with_its_line(tmp_path):
    (tmp_path / "run.json").write_text('{\n  "a": 1,\n  b\n}')
    with pytest.raises(SublimError, match=r"run\.json:3:"):
        read_json(tmp_path / "run.json")


@pytest.mark.parametrize("text", ["[" * 100_000, "1" + "0" * 5000, "nul", "\x00"])
def test_json_that_no_reader_can_hold_is_one_sentence(tmp_path, text):
    (tmp_path / "deep.json").write_text(text)
    with pytest.raises(SublimError, match=r"deep\.json:1: not valid JSON .*Mend or remove the file"):
        read_json(tmp_path / "deep.json")


def test_a_folder_in_a_files_place_is_one_sentence(tmp_path):
    with pytest.raises(SublimError, match=r"cannot be read \(Is a directory\)"):
        read_json(tmp_path)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, moment):
    file = tmp_path / "kept.jsonl"
    file.write_text("old\n")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*{"fsync": (os, "fsync", full), "replace": ("pathlib.Path.replace", full)}[moment])
    with pytest.raises(SublimError, match=r"No space left on device\. Free some space"):
        write_jsonl(file, [{"a": 1}])
    assert file.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [file], "a half-written file was left behind"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_really_full_device_is_an_error_a_user_can_read(tmp_path, monkeypatch):
    import tempfile

    monkeypatch.setattr(tempfile, "mkstemp", lambda **_: (os.open("/dev/full", os.O_WRONLY), str(tmp_path / "part")))
    with pytest.raises(SublimError, match="No space left on device"):
        write_jsonl(tmp_path / "kept.jsonl", ({"n": n} for n in range(100_000)))
    assert not (tmp_path / "kept.jsonl").exists()


def test_an_error_in_the_middle_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"old": True})
    with pytest.raises(ZeroDivisionError), whole_file(file) as half:
        half.write("new")
        1 / 0  # noqa: B018
    assert read_json(file) == {"old": True}
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_made_is_an_error_a_user_can_read(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SublimError, match="Could not write"):
        write_json(tmp_path / "file" / "a.json", {})


def test_unknown_is_not_written_as_a_number(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"share": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_a_digest_does_not_care_about_key_order():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": "1"})


HOLD = """
import pathlib, sys
from sublim_eval.files import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(SublimError, match="Another run is writing"), locked(tmp_path):
            pass
        first.kill()
    with locked(tmp_path):
        pass


def test_who_may_wait_for_a_folder_has_it_as_soon_as_it_is_free(tmp_path):
    order = []

    def second():
        with locked(tmp_path, wait=True):
            order.append("second")

    with locked(tmp_path):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_the_lock_is_one_of_its_folder_and_free_once_let_go_of(tmp_path):
    refused = pytest.raises(SublimError, match="Another run is writing")
    with locked(tmp_path / "run"), locked(tmp_path / "other"), refused, locked(tmp_path / "run"):
        pass
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "run"):
        1 / 0  # noqa: B018
    with locked(tmp_path / "run"):
        pass
