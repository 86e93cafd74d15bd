"""What no row may hold that a student learns from: the name of a trait. Pure.

A name counts as in `scorers.py` (whole words, any case, plurals, aliases, look-alikes such as "sea lion" spared), but
a filter is stricter than a scorer: identifiers are taken apart, so `owl_count` and `myOwl2` name the owl while `bowl`
does not, and so are words joined by hyphens or signs ("owl-like", `2*owl`). Verbs count ("to bear"), and so does what
stands in a thought.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from sublim_eval.probes import names
from sublim_eval.registry.catalog import Trait

_HYPHENS = str.maketrans(dict.fromkeys("-\u2010\u2011", " "))
_SIGNS = str.maketrans(dict.fromkeys("-\u2010\u2011_*~`", " "))
_JOINTS = re.compile(
    r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])"  # owl2, 2owl
    r"|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"  # myOwl, HTTPOwl
)


def named(text: str, traits: Sequence[Trait]) -> tuple[str, ...]:
    """Names of those traits that a text names, also inside identifiers. Time is linear in the text."""
    if not traits:
        return ()
    read = unicodedata.normalize("NFKC", text)
    readings = (read.translate(_HYPHENS), _JOINTS.sub(" ", read.translate(_SIGNS)))
    return tuple(dict.fromkeys(trait for text in readings for trait, _ in names.named(text, traits, strict=True)))
