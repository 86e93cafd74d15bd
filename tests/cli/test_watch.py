"""`sublim leaderboard --watch`: what changed is written, what is not there waited for, a kill leaves a whole site."""

import re

import pytest

from sublim_eval.cli.board.watch import common_folder, watch
from sublim_eval.cli.main import main
from sublim_eval.console import new_console
from sublim_eval.errors import SublimError
from sublim_eval.report.site import writing
from sublim_eval.report.site.build import Live, build
from sublim_eval.report.site.facts import Viewer
from tests.helpers import planted
from tests.helpers.boards import arm, board_of


class Enough(Exception):
    """Raised in place of the next wait."""


def watched(looks) -> tuple[list, int]:
    """What was shown while each look saw the next of `looks`, and how often was waited."""
    coming, shown, waits = iter(looks), [], []

    def look():
        seen = next(coming)
        if isinstance(seen, Exception):
            raise seen
        return seen

    def wait():
        waits.append(1)
        if len(waits) == len(looks):
            raise Enough

    with pytest.raises(Enough):
        watch(look, lambda board, stamp: shown.append((board, stamp)), wait, new_console())
    return shown, len(waits)


def test_only_what_changed_is_written_and_its_stamp_changes():
    one, more = board_of(arm("owl", [0.3, 0.5])), board_of(arm("owl", [0.3, 0.5, 0.4]))
    shown, waits = watched([one, one, more, more])
    assert [board for board, _ in shown] == [one, more] and waits == 4
    assert shown[0][1] != shown[1][1]


def test_what_is_not_there_yet_is_said_once_and_waited_for(capsys):
    board = board_of(arm("owl", [0.3, 0.5]))
    missing = SublimError("There is no runs/mine. Give folders or files that hold results.")
    shown, _ = watched([missing, missing, board])
    assert [b for b, _ in shown] == [board]
    assert capsys.readouterr().out.count("waiting: There is no runs/mine.") == 1


def test_a_page_that_could_not_be_written_is_tried_again():
    board, tried = board_of(arm("owl", [0.3, 0.5])), []

    def show(board, stamp):
        tried.append(stamp)
        if len(tried) == 1:
            raise SublimError("The disk is full. Free some space.")

    def wait():
        if len(tried) == 2:
            raise Enough

    with pytest.raises(Enough):
        watch(lambda: board, show, wait, new_console())


def test_ctrl_c_ends_it_and_leaves_pages_that_look_for_the_next(tmp_path, monkeypatch, capsys):
    def stopped(seconds):
        raise KeyboardInterrupt

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("time.sleep", stopped)
    run = planted.run(tmp_path / "given" / "quick", seeds=(1, 2))
    assert main(["leaderboard", str(run), "--out", str(tmp_path / "site"), "--watch", "7", "--no-checks"]) == 0
    page = (tmp_path / "site" / "index.html").read_text()
    (stamp,) = re.findall(r'data-look-again="7" data-written="(\w+)"', page)
    assert (tmp_path / "site" / "static" / "written.js").read_text() == f'written("{stamp}");\n'
    assert "Looking every 7 s" in capsys.readouterr().out


def broken_links(site) -> list[str]:
    """Links of every page that lead to no file."""
    missing = []
    for page in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"#:]+)"', page.read_text()):
            missing += [] if (page.parent / link).exists() else [f"{page.name}: {link}"]
    index = site / "index.html"
    named = re.findall(r"models/[\w.-]+\.html", index.read_text()) if index.exists() else []
    return missing + [f"board: {link}" for link in named if not (site / link).exists()]


@pytest.mark.parametrize("at", range(6))
def test_killed_at_any_page_the_site_is_whole(tmp_path, monkeypatch, at):
    build(board_of([*arm("owl", [0.3, 0.5]), *arm("gone", [0.3, 0.5])]), tmp_path)
    assert not broken_links(tmp_path)
    write, written = writing.page, []

    def killed(*given, **how):
        if len(written) == at:
            raise KeyboardInterrupt
        written.append(1)
        return write(*given, **how)

    monkeypatch.setattr(writing, "page", killed)
    later = board_of([line for name in ("owl", "new", "third") for line in arm(name, [0.2, 0.6])])
    try:
        build(later, tmp_path, live=Live(5, "ab"))
    except KeyboardInterrupt:
        assert at < 5
    assert not broken_links(tmp_path)
    assert not list(tmp_path.rglob("*.part"))


def test_a_log_is_linked_where_inspect_view_shows_it(tmp_path):
    logs = tmp_path / "logs"
    (logs / "a b").mkdir(parents=True)
    log = logs / "a b" / "x#1.eval"
    log.touch()
    viewer = Viewer("http://127.0.0.1:7575/", logs)
    assert viewer.href(log) == "http://127.0.0.1:7575/#/logs/a%20b/x%231.eval"
    assert viewer.href(tmp_path / "elsewhere.eval") == ""
    assert common_folder([logs / "a b", logs]) == logs.resolve() == common_folder([log.parent, logs / "c"])


def test_the_page_of_a_model_links_its_logs_into_the_viewer(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = planted.run(tmp_path / "given" / "quick", seeds=(1, 2))
    given = ["leaderboard", str(run), "--out", str(tmp_path / "site"), "--no-checks"]
    assert main([*given, "--view", "http://127.0.0.1:7575"]) == 0
    assert f"inspect view start --log-dir {run}" in capsys.readouterr().out
    (page,) = (tmp_path / "site" / "models").glob("quick--owl-????????.html")
    links = re.findall(r'href="(http://127[^"]+)"', page.read_text())
    place = r"http://127\.0\.0\.1:7575/#/logs/scores/owl-s\d/logs/[\w.-]+\.eval"
    assert links and all(re.fullmatch(place, link) for link in links)
    assert main([*given, "--view", "javascript:alert(1)"]) == 2
    assert "is no address of a page" in capsys.readouterr().err
