"""Keys stay in the environment: nothing that a server or a library says is shown or written before this."""

from __future__ import annotations

import os
import re
from pathlib import Path
from zipfile import ZipFile, is_zipfile

from sublim_eval.files import whole_file

_SECRET_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_LOOKS_LIKE_KEY = re.compile(r"\bsk-[A-Za-z0-9_*\-]{6,}|(?<=Bearer )\S+|(?<=://)[^/\s@]+@")
SHORTEST = 8
"""Characters below which a secret of the environment would also be a word of plain text."""


def scrub(text: object) -> str:
    """`text` without any secret of the environment and without whatever looks like a key, whole or in part masked."""
    out = str(text)
    for value in _secrets():
        out = out.replace(value, "[key]")
    return _LOOKS_LIKE_KEY.sub("[key]", out)


def scrub_logs(folder: Path) -> None:
    """Take the secrets of the environment out of the Inspect logs of a folder; a log without any is not touched.

    Inspect keeps a server's error as it came, and some servers repeat the key that they refuse.
    """
    secrets = [value.encode() for value in _secrets()]
    for file in folder.glob("*.eval"):
        if not is_zipfile(file):  # torn by a kill; Inspect mends it when it goes on
            continue
        with ZipFile(file) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
        if not any(secret in content for _, content in members for secret in secrets):
            continue
        with whole_file(file, "wb") as out, ZipFile(out, "w") as archive:
            for info, content in members:
                for secret in secrets:
                    content = content.replace(secret, b"[key]")
                archive.writestr(info, content)


def _secrets() -> list[str]:
    """The values of the environment's secrets, the longest first."""
    values = {v for k, v in os.environ.items() if _SECRET_NAMES.search(k) and len(v) >= SHORTEST}
    return sorted(values, key=len, reverse=True)
