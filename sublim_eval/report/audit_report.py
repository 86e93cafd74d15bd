"""One page about an audit: the verdict, the figure, every trait, and what the audit does not see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sublim_eval.files import whole_file
from sublim_eval.report import markdown
from sublim_eval.report.plots import audit_evidence
from sublim_eval.report.plots.audit_evidence import Seen
from sublim_eval.report.run_report import write_page

FIGURE = "evidence"
HEADS = ("trait", "strength", "± (standard error)", "p, over all candidates", "would have been found from")


def write(seen: Sequence[Seen], folder: Path, *, title: str, alpha: float, verdict: str, notes: Sequence[str]) -> Path:
    """Write report.md, report.html and the figure as PNG and SVG into a folder; returns the page.

    seen: every trait, the strongest first. notes: sentences below the verdict.
    """
    for kind in ("png", "svg"):
        audit_evidence.draw(seen, folder / f"{FIGURE}.{kind}", alpha, verdict)
    cells = [
        (one.trait, f"{one.strength:+.3f}", f"{one.error:.3f}", f"{one.p:.4f}", f"{one.least:.3f}") for one in seen
    ]
    lines = [
        f"# {markdown.escape(title)}",
        f"**{markdown.escape(verdict)}**",
        *(markdown.escape(note) for note in notes),
        f"![How strongly the rows carry each trait]({FIGURE}.png)",
        "\n".join(markdown.table(HEADS, cells)),
    ]
    text = "\n\n".join(lines) + "\n"
    with whole_file(folder / "report.md") as file:
        file.write(text)
    return write_page(text, folder / "report.html")
