"""A board -> the site: index.html, compare.html, a page a model, board.json, and the scripts and styles they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sublim_eval import stats
from sublim_eval.board import tables
from sublim_eval.board.headline import headline
from sublim_eval.files import whole_file
from sublim_eval.report.site import charts, facts, lines, orders, published, writing
from sublim_eval.report.site.lines import Line
from sublim_eval.report.site.orders import Family

if TYPE_CHECKING:
    from sublim_eval.board.collect import Board

SCHEMA = 1

Tell = Callable[[int, int], None]
"""Told how many pages of how many are written."""

ABOUT = {
    "title": "Leaderboard",
    "generator": f"sublim-eval {version('sublim-eval')}",
}


class Live(NamedTuple):
    """A site that is written again while runs finish. seconds: between two looks; stamp: of what it shows now."""

    seconds: int
    stamp: str


class Site(NamedTuple):
    """What was written. page: the board; pages: how many; lines: of the board; size: bytes of all files."""

    page: Path
    pages: int
    lines: int
    size: int


def build(
    board: Board,
    out: Path,
    *,
    checks: facts.Checks | None = None,
    title: str = "",
    tell: Tell | None = None,
    live: Live | None = None,
    viewer: facts.Viewer | None = None,
) -> Site:
    """Write the site of a board into a folder, over an earlier one.

    checks: what the traps say of runs and logs; without them every page says that nothing was checked. tell: told of
    progress. live: pages look for their next version. viewer: where Inspect shows the logs. Stopped at any moment it
    leaves a board all of whose links lead somewhere: the board comes after the pages it names, and what it names no
    longer goes last. Raises SublimError for a folder that holds something else.
    """
    writing.refuse_foreign(out)
    ours = lines.lines_of(board)
    every = [*ours, *published.expected(board), *published.lines()]
    pages = facts.page_names(every)
    families = orders.families(ours, lines.rows_of(board), board.scores)
    writing.copy_static(out)
    about = {**ABOUT, "title": title or ABOUT["title"], "live": live}
    teller = facts.Teller(board, ours, checks or {}, out, viewer)
    for done, (model, file) in enumerate(pages.items(), start=1):
        _model(teller.of(model), file, families, about, out)
        if tell:
            tell(done, len(pages))
    _compare(teller, every, pages, families, about, out)
    _index(board, every, pages, families, about, out)
    _remove_gone(out, pages.values())
    if live:
        writing.mark_written(out, live.stamp)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return Site(out / "index.html", len(pages) + 2, len(every), size)


def _remove_gone(out: Path, pages: Iterable[str]) -> None:
    """None of the pages of an earlier build stays whose model is no longer there."""
    named = {out / page for page in pages}
    for file in (out / "models").glob("*.html"):
        if file not in named:
            file.unlink()


# ---------------------------------------------------------------- data


TEXT = tuple(name for name in Line._fields if Line.__annotations__[name] == "str")
"""Fields that hold text; many lines share it, so it is kept once."""


def compact(every: Sequence[Line], pages: Mapping[str, str]) -> dict[str, Any]:
    """Lines as arrays of their fields; a text is its place in `words`."""
    words: dict[str, int] = {}
    held = []
    for line in every:
        page = pages.get(facts.home(line), "") if line.kind != lines.THEIRS else ""
        given = [*line, f"{page}#seed-{line.seed}" if line.kind == lines.STUDENT and page else page]
        texts = {*TEXT, "page"}
        names = (*Line._fields, "page")
        held.append(
            [
                words.setdefault(str(value), len(words)) if name in texts else value
                for name, value in zip(names, given, strict=True)
            ]
        )
    return {
        "schema": SCHEMA,
        "fields": [*Line._fields, "page"],
        "text": [*TEXT, "page"],
        "words": list(words),
        "lines": held,
    }


def _index(
    board: Board,
    every: Sequence[Line],
    pages: Mapping[str, str],
    families: Sequence[Family],
    about: Mapping[str, Any],
    out: Path,
) -> None:
    data = {
        **compact(every, pages),
        "delta": _delta(board),
        "forest": charts.forests(every, _delta(board)),
        "maps": list(_maps(board)),
        "families": [_family(family) for family in families],
    }
    with whole_file(out / "board.json") as file:
        file.write(writing.as_json(data))
    tables.write(headline(board.rows), out / "figures.csv")
    counts = {
        "models": len({line.model for line in every if line.kind in (lines.ARM, lines.MODEL)}),
        "bases": len({line.base for line in every if line.kind in (lines.ARM, lines.MODEL) and line.base}),
        "students": len({line.model for line in every if line.kind == lines.STUDENT}),
        "probes": len({line.probe for line in every if line.kind in (lines.ARM, lines.MODEL)}),
    }
    writing.page(
        "board.html",
        out / "index.html",
        data,
        root="",
        about=about,
        counts=counts,
        families=families,
        left_out=board.left_out,
        lines=[line for line in every if line.kind != lines.STUDENT][:400],
        maps=list(_titles(board)),
        forest=[one["run"] for one in data["forest"]],
    )


def _delta(board: Board) -> float:
    """The margin of equivalence of the verdicts."""
    return next((made.delta for made in board.comparisons.values()), stats.DELTA)


def _maps(board: Board) -> Iterator[charts.Spec]:
    for made in board.comparisons.values():
        yield from map(charts.heat_map, made.confusion)


def _titles(board: Board) -> Iterator[dict[str, Any]]:
    """What stands beside each heat map."""
    for run, made in board.comparisons.items():
        for one in made.confusion:
            yield {
                "run": run,
                "probe": one.probe,
                "seeds": len(one.seeds),
                "first": one.diagonal_first,
                "runs": one.runs,
                "p": one.p,
            }


def _family(family: Family) -> dict[str, Any]:
    keys = ("base", "probe", "version", "question_set", "measure", "answer", "members")
    pairs = [{**vars(pair), "decided": pair.decided} for pair in family.pairs]
    return {**{key: getattr(family, key) for key in keys}, "pairs": pairs, "sentence": family.sentence()}


# ---------------------------------------------------------------- pages beside the board


def _model(told: Mapping[str, Any], file: str, families: Sequence[Family], about: Mapping[str, Any], out: Path) -> None:
    specs = [one["chart"] for one in told["questions"]]
    data = {"learning": told["learning"], "doses": told["doses"], "questions": specs}
    beside = [family for family in families if any(line.model in family.members for line in told["lines"])]
    writing.page("model.html", out / file, data, root="../", about=about, families=beside, **told)


def _compare(
    teller: facts.Teller,
    every: Sequence[Line],
    pages: Mapping[str, str],
    families: Sequence[Family],
    about: Mapping[str, Any],
    out: Path,
) -> None:
    """Two models side by side: their lines, what is known of their order, and their answers by question."""
    mine = [line for line in every if line.kind in (lines.ARM, lines.MODEL)]
    data = {
        **compact(mine, pages),
        "delta": _delta(teller.board),
        "families": [_family(family) for family in families],
        "questions": [teller.shares_by_question(line) for line in mine] if len(mine) <= MOST_COMPARED else [],
    }
    writing.page("compare.html", out / "compare.html", data, root="", about=about)


MOST_COMPARED = 400
"""Lines up to which the compare page holds every answer by question."""
