"""Looking at places again and again while runs finish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.console import one_line, say
from sublim_eval.errors import SublimError

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.board.collect import Board


def stamp(board: Board) -> str:
    """16 hex digits that change with anything that a board says."""
    from sublim_eval.files import digest

    return digest([list(map(list, board.rows)), list(map(list, board.left_out))])[:16]


def watch(
    look: Callable[[], Board], show: Callable[[Board, str], Any], wait: Callable[[], Any], console: Console
) -> None:
    """Look, show what changed, wait, for ever. show: is handed the board and its stamp.

    What cannot be read, or written, is said once and tried again: a run that begins has no results yet.
    """
    shown = complaint = ""
    while True:
        try:
            board = look()
            now = stamp(board)
            if now != shown:
                show(board, now)
            shown, complaint = now, ""
        except SublimError as error:
            if str(error) != complaint:
                say(console, f"waiting: {one_line(error)}")
            complaint = str(error)
        wait()


def common_folder(places: Sequence[Path]) -> Path:
    """The folder that all places lie in: what `inspect view --log-dir` is given to show all their logs."""
    import os

    folders = [str(place.resolve() if place.is_dir() else place.resolve().parent) for place in places]
    return Path(os.path.commonpath(folders))
