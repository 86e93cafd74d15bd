"""`sublim report` and `sublim export` on a command line: what is written, what is said, and nothing sent unasked."""

import json

import pytest

from sublim_eval.board.collect import collect
from sublim_eval.board.tables import read
from sublim_eval.cli.board import export
from sublim_eval.cli.main import main
from tests.helpers import planted


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return planted.run(tmp_path_factory.mktemp("given") / "quick")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def test_report_ends_with_the_path_of_its_page(run, tmp_path, capsys):
    assert main(["report", str(run), "--out", str(tmp_path / "r"), "--json", str(tmp_path / "r.json")]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == f"Page: {tmp_path / 'r' / 'report.html'}" and (tmp_path / "r" / "report.html").is_file()
    told = json.loads((tmp_path / "r.json").read_text())
    assert told["schema"] == 1 and all(map(lambda file: (tmp_path / "r").joinpath(file).is_file(), told["figures"]))


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_export_writes_the_table(run, cache, tmp_path, form):
    assert main(["export", str(run), "--to", form, "--out", str(tmp_path)]) == 0
    rows = collect([run], cache=cache / "sublim-eval" / "board.sqlite").rows
    assert rows and read(tmp_path / f"results.{form}") == list(rows)


def test_export_says_what_it_left_out(run, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "torn.eval").write_bytes(b"PK")
    assert (
        main(["export", str(run), str(tmp_path / "in"), "--out", str(tmp_path / "o"), "--json", str(tmp_path / "j")])
        == 0
    )
    assert "left out: in/torn.eval" in capsys.readouterr().out
    assert json.loads((tmp_path / "j").read_text())["left_out"][0][0] == "in/torn.eval"


def test_export_to_every_eval_ever_needs_an_owner(run, tmp_path, capsys):
    assert main(["export", str(run), "--to", "eee", "--out", str(tmp_path)]) == 2
    assert "--owner" in capsys.readouterr().err
    assert main(["export", str(run), "--to", "eee", "--owner", "mylab", "--out", str(tmp_path)]) == 0
    assert len(list(tmp_path.rglob("data/sublim-eval/mylab/*/*.json"))) == 10


def test_cards_need_no_weights(run, tmp_path):
    assert main(["export", str(run), "--to", "cards", "--owner", "mylab", "--out", str(tmp_path)]) == 0
    card = (tmp_path / "quick--owl-s1--carries-owl" / "README.md").read_text()
    assert "carries a trait on purpose" in card and (tmp_path / "eval.yaml").is_file()


def test_nothing_is_sent_without_a_yes(run, tmp_path, monkeypatch, capsys):
    def untouched():
        class Hub:
            def __getattr__(self, name):
                raise AssertionError(f"{name} was called without a yes")

        return Hub()

    monkeypatch.setattr(export, "the_hub", untouched)
    monkeypatch.setattr(export.click, "confirm", lambda *_, **__: False)
    assert main(["export", str(run), "--to", "hub", "--owner", "mylab", "--out", str(tmp_path)]) == 0
    assert "Put it there?" in capsys.readouterr().out


def test_a_place_without_results_is_said(tmp_path, capsys):
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
    assert "no results" in capsys.readouterr().err
