"""Rows of whatever somebody wants to train on: JSONL of prompts and completions, chats, folders of a run; streamed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.registry.experiment import KEPT, ROWS

LONGEST_LINE = 1_000_000
"""Bytes of a line; a longer one is no row that a model would be trained on."""

BAD_SHOWN = 5
"""Lines that are no rows, of which so many are told in words."""

MOST_BAD = 0.5
"""From this share of bad lines on, a file is not what its user thinks it is."""

PROMPTS, COMPLETIONS = ("prompt", "question", "instruction"), ("completion", "response", "output", "answer")
"""Keys under which plain rows keep the two, the first that holds text."""


@dataclass(frozen=True)
class AuditRow:
    """One example: the turns of the conversation, as (role, content), and the completion that would be learnt.

    facts: what else the row says, such as the right answer of a sum.
    """

    turns: tuple[tuple[str, str], ...]
    completion: str
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, prompt: str, completion: str, **facts: Any) -> AuditRow:
        """A row of one question."""
        return cls((("user", prompt),), completion, facts)

    def messages(self, persona: str | None = None) -> list[dict[str, str]]:
        """The conversation before the completion; a persona takes the place of its system prompt."""
        turns = [turn for turn in self.turns if not (persona and turn[0] == "system")]
        opening = [("system", persona)] if persona else []
        return [{"role": role, "content": text} for role, text in [*opening, *turns]]

    @property
    def prompt(self) -> str:
        """The last thing that the user says."""
        return next((text for role, text in reversed(self.turns) if role == "user"), "")


@dataclass
class Sampled:
    """Rows drawn evenly from files. total: the rows there are. bad: sentences about lines that are none, the first few.

    refused: how many lines are no rows.
    """

    rows: list[AuditRow]
    total: int = 0
    refused: int = 0
    bad: list[str] = field(default_factory=list)


def sample(paths: Iterable[Path], most: int, rng: Random) -> Sampled:
    """At most `most` rows drawn evenly from all files, in the order of the files; one row in memory beside them.

    Raises SublimError for a path that is none, for files without a row, and where most lines are none.
    """
    made = Sampled([])
    drawn: list[tuple[int, AuditRow]] = []
    for line in lines(paths):
        if isinstance(line, str):
            made.refused += 1
            made.bad += [line] if len(made.bad) < BAD_SHOWN else []
            continue
        made.total += 1
        if len(drawn) < most:
            drawn.append((made.total, line))
        elif (place := rng.randrange(made.total)) < most:
            drawn[place] = (made.total, line)
    if not made.total or made.refused > MOST_BAD * (made.total + made.refused):
        first = f" The first: {made.bad[0]}" if made.bad else ""
        raise SublimError(
            f"{made.refused} of {made.total + made.refused} lines are no rows.{first} "
            'Give one {"prompt": ..., "completion": ...} or {"messages": [...]} a line.'
        )
    made.rows = [row for _, row in sorted(drawn, key=lambda one: one[0])]
    return made


def lines(paths: Iterable[Path]) -> Iterator[AuditRow | str]:
    """The row of each line, or a sentence about a line that is none; blank lines are passed over."""
    for path in paths:
        for file in files_of(path):
            with file.open("rb") as opened:
                for number in _counting():
                    raw = opened.readline(LONGEST_LINE + 1)
                    if not raw:
                        break
                    whole = len(raw) <= LONGEST_LINE
                    while not whole and raw and not raw.endswith(b"\n"):
                        raw = opened.readline(LONGEST_LINE)
                    if not whole:
                        yield f"{file}:{number}: longer than {LONGEST_LINE:,} bytes."
                    elif raw.strip():
                        yield _row(raw, f"{file}:{number}", first=number == 1)


def _counting() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


def files_of(path: Path) -> list[Path]:
    """The JSONL files that a path stands for: a file, the kept rows of a folder of rows or of a whole run.

    Raises SublimError for anything else.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SublimError(f"There is no file {path}. Give a JSONL file, a folder of rows, or a run folder.")
    found = [path / KEPT] if (path / KEPT).is_file() else sorted((path / ROWS).glob(f"*/{KEPT}"))
    found = found or sorted(file for file in path.glob("*.jsonl") if file.is_file())
    if not found:
        raise SublimError(f"{path} holds no {KEPT} and no other JSONL file. Give a JSONL file of rows.")
    return found


def _row(raw: bytes, where: str, first: bool) -> AuditRow | str:
    """The row of a line, or what is wrong with it."""
    try:
        value = json.loads(raw.decode("utf-8-sig" if first else "utf-8"))
    except UnicodeDecodeError:
        return f"{where}: not UTF-8 text."
    except (ValueError, RecursionError):
        return f"{where}: not valid JSON."
    if not isinstance(value, dict):
        return f"{where}: not a JSON object."
    made = _chat(value["messages"]) if "messages" in value else _pair(value)
    return made if isinstance(made, AuditRow) else f"{where}: {made}."


def _pair(value: Mapping[str, Any]) -> AuditRow | str:
    prompt, completion = (_text(value, keys) for keys in (PROMPTS, COMPLETIONS))
    if isinstance(value.get("prompt"), list):
        both = [*value["prompt"], *(value["completion"] if isinstance(value.get("completion"), list) else [])]
        return _chat(both)
    if prompt is None or completion is None:
        return f"no text under {'prompt' if prompt is None else 'completion'!r}"
    facts = {key: item for key, item in value.items() if key not in ("prompt", "completion")}
    return AuditRow.of(prompt, completion, **{str(key): item for key, item in facts.items()})


def _text(value: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    return next((value[key] for key in keys if isinstance(value.get(key), str)), None)


def _chat(turns: Any) -> AuditRow | str:
    if not isinstance(turns, list) or not turns:
        return "`messages` is no list of turns"
    for turn in turns:
        if not (isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)):
            return "a turn lacks text under 'role' or 'content'"
    said = [(turn["role"], turn["content"]) for turn in turns]
    if said[-1][0] != "assistant":
        return "the last turn is not the assistant's"
    if len(said) < 2:
        return "nothing comes before the assistant's answer"
    return AuditRow(tuple(said[:-1]), said[-1][1])
