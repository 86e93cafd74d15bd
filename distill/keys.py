"""Keys stay in the environment: nothing that a server or a library says is shown or written before this."""

from __future__ import annotations

import os
import re

_SECRET_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_LOOKS_LIKE_KEY = re.compile(r"\bsk-[A-Za-z0-9_*\-]{6,}|(?<=Bearer )\S+|(?<=://)[^/\s@]+@")
SHORTEST = 8
"""Characters below which a secret of the environment would also be a word of plain text."""


def scrub(text: object) -> str:
    """`text` without any secret of the environment and without whatever looks like a key, whole or in part masked."""
    out = str(text)
    values = {v for k, v in os.environ.items() if _SECRET_NAMES.search(k) and len(v) >= SHORTEST}
    for value in sorted(values, key=len, reverse=True):
        out = out.replace(value, "[key]")
    return _LOOKS_LIKE_KEY.sub("[key]", out)
