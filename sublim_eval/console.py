"""Text on a terminal: tables that stay plain in a pipe, and nothing in it that can steer the screen."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

Progress = Callable[[str, int, int], None]
"""Hears of a stage: its name, the steps that are done, and all of them."""

PIPE_WIDTH = 160
"""Columns that progress and prose may use when the output is no terminal."""

# C0 and C1 controls, DEL; marks that turn the direction of writing around, break lines unseen, or are tags unseen.
_STEERING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_HALVES = re.compile("[\ud800-\udfff]")
"""Halves of surrogate pairs, which no terminal can be sent."""


def clean(text: object) -> str:
    """`text` without characters that could steer a terminal; tabs and newlines stay."""
    return _HALVES.sub("\ufffd", _STEERING.sub("", str(text)))


def one_line(text: object) -> str:
    """`clean` text on one line: what an error message or a table cell shows."""
    return " ".join(clean(text).split())


def new_console() -> Console:
    """The console of this process: colour and width of the terminal, or plain text in a pipe."""
    from rich.console import Console

    # no emoji codes: `:owl:` in a name or a reply is text
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, emoji=False)


def say(console: Console, text: object = "") -> None:
    """Print text as it is: never wrapped in a pipe, never read as markup."""
    console.print(clean(text), markup=False, highlight=False, emoji=False, soft_wrap=True)


def table(console: Console, heads: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table; in a pipe, aligned columns two spaces apart, one row a line, nothing cut off."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    if console.is_terminal:
        from rich.table import Column, Table
        from rich.text import Text

        columns = [Column(Text(one_line(head))) for head in heads]
        drawn = Table(
            *columns, title=Text(one_line(title)) if title else None, title_justify="left", box=None, pad_edge=False
        )
        for row in cells:
            drawn.add_row(*map(Text, row))
        console.print(drawn)
        return
    if title:
        say(console, title)
    widths = [max(len(row[i]) for row in [list(heads), *cells]) for i in range(len(heads))]
    for row in [list(heads), *cells]:
        say(console, "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """What tells of stages that take a while: on a terminal a bar each, in a pipe a line when one is done."""
    if not console.is_terminal:
        yield _line_a_stage(console)
        return
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    with Bars(console=console, transient=True) as bars:
        known: dict[str, TaskID] = {}

        def tell(stage: str, done: int, steps: int) -> None:
            if stage not in known:
                known[stage] = bars.add_task(stage, total=steps)
            bars.update(known[stage], completed=done, total=steps)

        yield tell


def _line_a_stage(console: Console) -> Progress:
    began: dict[str, float] = {}

    def tell(stage: str, done: int, steps: int) -> None:
        began.setdefault(stage, time.monotonic())
        if done >= steps:
            say(console, f"  {stage}: done, {time.monotonic() - began.pop(stage):.0f} s")

    return tell
