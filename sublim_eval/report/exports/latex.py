"""A LaTeX table for a paper (booktabs): every row with its interval, size and version; nothing of a file can run."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sublim_eval.board.columns import Row
from sublim_eval.files import whole_file

SPECIAL = {
    **{"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"},
    **{"|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}"},
}

MODELS = ("Model", "Role", "Probe", "Measure", "Value", r"95\,\% interval", "$n$", "Non-answers")
GAPS = ("Arm", "Control", "Probe", "Gap", r"95\,\% interval", "Seeds", "$p$", "Verdict")


def write(rows: Sequence[Row], file: Path) -> Path:
    """Write the table of models and, where there are figures over seeds, that of gaps; returns the path."""
    with whole_file(file) as out:
        out.write("\n".join(lines(rows)) + "\n")
    return file


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """Both tables, line by line; needs \\usepackage{booktabs,textcomp}."""
    yield "% Needs \\usepackage{booktabs,textcomp}. Values are means over questions; the interval says over what."
    yield from _tabular(MODELS, "llllrrrr", [_model(row) for row in rows if row.harness != "compare"])
    if gaps := [row for row in rows if row.measure == "gap"]:
        yield ""
        yield from _tabular(GAPS, "lllrrrrl", [_gap(row) for row in gaps])


def escape(text: str) -> str:
    """Text as LaTeX prints it: no command, no comment, one line, nothing that turns the text around."""
    shown = "".join(c for c in " ".join(text.split()) if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))
    return re.sub(r"[\\{}$&#_%~^<>|\"`']", lambda found: SPECIAL[found[0]], shown)


def _tabular(heads: Sequence[str], columns: str, rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"\\begin{{tabular}}{{{columns}}}\n\\toprule"
    yield f"{' & '.join(heads)} \\\\\n\\midrule"
    yield from (f"{' & '.join(cells)} \\\\" for cells in rows)
    yield "\\bottomrule\n\\end{tabular}"


def _model(row: Row) -> tuple[str, ...]:
    measure = f"{row.measure} of {row.answer}" if row.answer else row.measure
    return (
        *map(escape, (row.model, row.role, f"{row.probe} ({row.version})", measure)),
        *(_number(row.value), _interval(row, ""), _whole(row.n)),
        "--" if row.non_answers is None else f"{100 * row.non_answers:.1f}\\,\\%",
    )


def _gap(row: Row) -> tuple[str, ...]:
    signed = "--" if row.value is None else f"${row.value:+.3f}$"
    p = "--" if row.p is None else "$<0.001$" if row.p < 0.001 else f"{row.p:.3f}"
    named = map(escape, (row.model, row.control, f"{row.probe} ({row.version})"))
    return (*named, signed, _interval(row, "+"), _whole(row.n), p, escape(row.verdict))


def _number(value: float | None) -> str:
    return "--" if value is None else f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


def _whole(value: int | None) -> str:
    return "--" if value is None else str(value)


def _interval(row: Row, sign: str) -> str:
    """Low to high with what it is over; a dash where there is none."""
    if row.low is None or row.high is None:
        return "--"
    return f"$[{row.low:{sign}.3f}, {row.high:{sign}.3f}]$ {escape(row.interval)}"
