"""What the scorers of an Inspect log wrote, from the summaries in its archive: no reply is opened, however long.

An .eval file is a ZIP archive with `summaries.json`, written when the log is finished. Inspect's own reader of them
gives the same and takes ten times as long, since it shortens every text anew; a log in which anything looks otherwise
is read by that. tests/board holds the two against each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample

SUMMARIES = "summaries.json"

SHORTENED = "Key removed from summary"
"""With what Inspect replaces what it leaves out."""


def samples_of(file: Path) -> list[EvalSample] | None:
    """The samples of a log as far as their scores go; None where the summaries do not hold those whole.

    The first has its output's metadata too.
    """
    try:
        with ZipFile(file) as archive:
            values = _member(archive, SUMMARIES)
            if not isinstance(values, list) or not values or not all(map(_whole, values)):
                return None
            first = _member(archive, f"samples/{values[0]['id']}_epoch_{values[0]['epoch']}.json")
            return _made(values, first["output"].get("metadata"))
    except (BadZipFile, KeyError, TypeError, ValueError, AttributeError, OSError, RecursionError, NotImplementedError):
        return None


def _member(archive: ZipFile, name: str) -> Any:
    return json.loads(archive.read(name))


def _whole(value: Mapping[str, Any]) -> bool:
    """Whether a summary has scores, and says of nothing that it was left out."""
    scores = value.get("scores")
    if not scores or value.get("error") or not value.get("completed", True):
        return False
    held = [value.get("metadata") or {}, *((score or {}).get("metadata") or {} for score in scores.values())]
    return not any(isinstance(v, str) and v.startswith(SHORTENED) for metadata in held for v in metadata.values())


def _made(values: list[Mapping[str, Any]], first_output: Any) -> list[EvalSample]:
    """Samples that are not checked a second time: whoever wrote them had checked them.

    first_output: metadata of the first one's output.
    """
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ModelOutput
    from inspect_ai.scorer import Score

    blank, unknown = EvalSample(id="", epoch=1, input="", target=""), Score(value=0)
    made = []
    for value in values:
        scores = {
            name: unknown.model_copy(update={"value": score["value"], "metadata": score.get("metadata")})
            for name, score in value["scores"].items()
        }
        about = {"id": value["id"], "epoch": value["epoch"], "metadata": value.get("metadata") or {}}
        made.append(blank.model_copy(update={**about, "scores": scores}))
    made[0] = made[0].model_copy(update={"output": ModelOutput(metadata=first_output)})
    return made
