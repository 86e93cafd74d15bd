"""`sublim leaderboard` on a command line: one call from results to pages, with what the traps say on them."""

import json

import pytest

from sublim_eval.cli.main import main
from tests.helpers import planted


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return planted.run(tmp_path_factory.mktemp("given") / "quick")


def test_one_call_gives_the_page_its_path_and_every_check(run, tmp_path, capsys):
    out, told = tmp_path / "site", tmp_path / "told.json"
    assert main(["leaderboard", str(run), "--out", str(out), "--title", "Ours", "--json", str(told)]) == 0
    assert capsys.readouterr().out.strip().endswith(f"Page: {out / 'index.html'}")
    assert "<bdi>Ours</bdi>" in (out / "index.html").read_text()
    (page,) = (out / "models").glob("quick--owl-????????.html")
    text = page.read_text()
    assert 'level ok">ok' in text and "pseudo-replication" in text and "Not checked. Run" not in text
    value = json.loads(told.read_text())
    assert value["schema"] == 1 and value["pages"] == len(list(out.rglob("*.html")))


def test_a_log_outside_of_any_run_is_checked_too(run, tmp_path):
    log = tmp_path / "given" / "mine.json"
    log.parent.mkdir()
    log.write_bytes((run / "scores" / "owl-s1" / "animal_pref.json").read_bytes())
    assert main(["leaderboard", str(log.parent), "--out", str(tmp_path / "site")]) == 0
    (page,) = (tmp_path / "site" / "models").glob("*.html")
    assert "barely covered" in page.read_text() and 'level ok">ok' in page.read_text()


def test_a_place_without_results_is_said_with_the_next_step(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["leaderboard", str(tmp_path / "empty"), "--out", str(tmp_path / "site")]) == 2
    assert "no results" in capsys.readouterr().err
    assert not (tmp_path / "site").exists()
