"""The keys that docs/guides/json.md says of what `--json` writes."""

from __future__ import annotations

import re
from typing import Any

from tests.helpers import ROOT

GUIDE = ROOT / "docs" / "guides" / "json.md"
A_KEY = "a key a "
"""How the guide begins where the keys are names."""


def documented() -> dict[str, str]:
    """What stands in the first column -> the keys beside it, as they stand there."""
    rows = re.findall(r"^\| (`.*?) \| (.*?) \| .* \|$", GUIDE.read_text(encoding="utf-8"), re.M)
    several = {heads: heads.split(", `") if heads.count("`") == 4 else [heads] for heads, _ in rows}
    return {name.strip(): keys for heads, keys in rows for name in several[heads]}


SHAPES = {name.replace("`", ""): keys for name, keys in documented().items()}


def has_the_shape(shape: str, told: dict[str, Any]) -> None:
    """The keys of the guide, all of them and no others, beside a whole number under `schema`."""
    told = dict(told)
    assert type(told.pop("schema")) is int
    if SHAPES[shape].startswith(A_KEY):
        assert told and all(isinstance(entry, dict) for entry in told.values())
    else:
        assert set(told) == set(re.findall(r"`([a-z_ ]+)`", SHAPES[shape])), shape
