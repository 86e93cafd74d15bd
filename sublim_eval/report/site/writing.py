"""How a page is written: every text escaped, data as JSON that no markup ends, and a policy that runs nothing else."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.errors import SublimError
from sublim_eval.files import whole_file

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
STATIC, TEMPLATES = HERE / "static", HERE / "templates"

STEERING = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
"""Characters that a reader cannot see and that turn or hide what stands beside them."""

MARK = "sublim-leaderboard"
"""What the first line of our pages says, so that no folder of somebody else is written over."""


def shown(text: object) -> str:
    """Text in which what cannot be seen is named: U+202E turns into a mark that says so."""
    return STEERING.sub(lambda found: f"⟨U+{ord(found.group()):04X}⟩", str(text))


def plain(value: Any) -> Any:
    """Data that JSON holds: no nan, no infinity, nothing unseen in a text."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {shown(key): plain(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [plain(held) for held in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def as_json(value: Any) -> str:
    """JSON for a script element: whatever a name holds, it ends no element and opens no comment."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def number(value: float | None, digits: int = 3, *, sign: bool = False) -> str:
    """A number in the form of the papers, .106 or +.106; a dash for what is unknown."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return re.sub(r"^([+-]?)0\.", r"\1.", text).replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """[.067, .160]; nothing where there is none."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


@cache
def environment() -> Environment:
    """Templates that escape every value, name what cannot be seen in it, and refuse an unknown one."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else shown(value),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "size": lambda n: "–" if n is None else f"{n:,}"}
    made.globals |= {"interval": interval, "mark": MARK}
    return made


def page(template: str, file: Path, data: Any, **values: Any) -> Path:
    """Write one page, whole or not at all. data: what its scripts read; values: what its template shows.

    The nonce that lets our own scripts run is a digest of the whole page, so that no text in it can know it.
    """
    from markupsafe import Markup

    held = as_json(data)
    given = {**values, "data": Markup(held)}  # noqa: S704  as_json leaves no markup in it
    draft = environment().get_template(template).render(**given, nonce="")
    nonce = hashlib.sha256(draft.encode()).hexdigest()[:32]
    with whole_file(file) as out:
        out.write(environment().get_template(template).render(**given, nonce=nonce))
    return file


def copy_static(out: Path) -> None:
    """Scripts and styles beside the pages, each whole; raises SublimError where they cannot be written."""
    for file in sorted(STATIC.rglob("*")):
        if file.is_file():
            content, copy = file.read_bytes(), out / "static" / file.relative_to(STATIC)
            if not copy.is_file() or copy.read_bytes() != content:
                with whole_file(copy, "wb") as written:
                    written.write(content)


def mark_written(out: Path, stamp: str) -> None:
    """Tell open pages which version lies here: a script, since a page from disk may read nothing else. stamp: hex."""
    with whole_file(out / "static" / "written.js") as file:
        file.write(f"written({json.dumps(stamp)});\n")


def refuse_foreign(out: Path) -> None:
    """Raises SublimError for a folder that holds something else than an earlier leaderboard."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    index = out / "index.html"
    if not index.is_file() or MARK not in index.read_text(encoding="utf-8", errors="replace")[:400]:
        raise SublimError(f"{out} holds something else than a leaderboard. Give --out a new or an empty folder.")
