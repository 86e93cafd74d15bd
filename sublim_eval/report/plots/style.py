"""What all pictures share: colours with shapes, type, and a PNG or SVG that is written whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.console import clean
from sublim_eval.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart in every common form of colour blindness; shapes differ as well.
INKS = (
    ("#D55E00", "o"),
    ("#0072B2", "s"),
    ("#009E73", "D"),
    ("#CC79A7", "^"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
)
GREY = "#555555"
FAINT = "#e9e9e9"


def inks(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Name -> (colour, shape), in the order of first appearance; after seven names they come round again."""
    return {name: INKS[i % len(INKS)] for i, name in enumerate(dict.fromkeys(names))}


def plain(text: str) -> str:
    """A name as it is: a dollar sign does not begin mathematics, no line breaks, nothing unprintable."""
    return " ".join(clean(text).split()).replace("$", r"\$")


@contextmanager
def drawing(path: Path, width: float, height: float, size: float = 8) -> Iterator[Figure]:
    """A figure of so many inches, written to `path` when the block ends well: a PNG, or an SVG where it ends so.

    Nothing is shown on a screen. The same figure is the same bytes.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kind = "svg" if path.suffix == ".svg" else "png"
    with rc_context(
        {"font.size": size, "font.family": "DejaVu Sans", "axes.linewidth": 0.8, "svg.hashsalt": path.stem}
    ):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with whole_file(path, "wb") as file:
            about = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
            figure.savefig(file, format=kind, dpi=200, facecolor="white", metadata=about)


def legend(
    figure: Figure,
    inks: Mapping[str, tuple[str, str]],
    further: Iterable[Any] = (),
    *,
    reading: str = "",
    columns: int = 6,
) -> None:
    """What colours and shapes mean, below the panels; further: handles of lines and bands; reading: a line above."""
    from matplotlib.lines import Line2D

    handles: list[Any] = [
        Line2D([], [], color=colour, marker=shape, linestyle="none", markersize=5, label=plain(name))
        for name, (colour, shape) in inks.items()
    ]
    made = figure.legend(
        handles=[*handles, *further],
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=7.5,
        title=reading or None,
        title_fontsize=8,
    )
    made.get_title().set_color(GREY)
    made.get_title().set_multialignment("center")
