"""Question files: wordings, situations and matched pairs, read strictly."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sublim_eval import strict_yaml
from sublim_eval.errors import SublimError, unknown
from sublim_eval.files import read_jsonl, read_text


@dataclass(frozen=True)
class Pair:
    """Two answers to the same question, alike but for the trait: one shows it, the other is plain."""

    shown: str
    plain: str

    def __post_init__(self) -> None:
        if self.shown == self.plain:
            raise ValueError("`shown` and `plain` are the same answer")


@dataclass(frozen=True)
class Question:
    """One question as a model reads it; `situation` groups the wordings of one, `pairs` are matched answers to it."""

    id: str
    text: str
    situation: str = ""
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class Situation:
    """One thing to be asked in several wordings, with matched pairs of answers that fit each of them."""

    id: str
    asks: tuple[str, ...]
    pairs: tuple[Pair, ...] = ()
    about: str = ""

    def __post_init__(self) -> None:
        if not self.asks:
            raise ValueError("`asks` is empty")

    @property
    def questions(self) -> tuple[Question, ...]:
        """One question a wording: <id>-1, <id>-2, ..."""
        return tuple(Question(f"{self.id}-{n}", text, self.id, self.pairs) for n, text in enumerate(self.asks, 1))


@dataclass(frozen=True)
class QuestionSet:
    """A named set of questions with its source and licence: single `questions`, or `situations` of several each."""

    name: str
    about: str
    source: str
    licence: str
    questions: tuple[Question, ...] = ()
    situations: tuple[Situation, ...] = ()
    canary: str = ""

    def only(self, *situations: str) -> QuestionSet:
        """The set with these situations alone; raises SublimError for one that it does not hold."""
        known = [s.id for s in self.situations]
        for wanted in situations:
            if wanted not in known:
                raise unknown("situation", wanted, known, f"Add it to the question set {self.name}.")
        return replace(
            self,
            questions=tuple(q for q in self.questions if q.situation in situations),
            situations=tuple(s for s in self.situations if s.id in situations),
        )


FORMS = ".yaml, .jsonl, .json or .txt"
"""Kinds of question files."""


def read_questions(file: Path) -> QuestionSet:
    """A question file: our YAML form, or a user's own.

    .txt: a line each; empty lines and those that begin with # are none. .jsonl: rows {"question"} or {"id", "text"}.
    .json: a list of texts or of such rows. A byte order mark is no part of any of them, nor is white space around.
    Raises SublimError with file and line for an empty file, a duplicate id or text, a row of another form, and for
    lines that are no questions as they stand: JSON, a list with its quotes or numbers.
    """
    if not file.is_file():
        raise SublimError(f"There is no question file {str(file)!r}. Give a .yaml, .jsonl or .txt file.")
    readers = {".yaml": None, ".yml": None, ".jsonl": _jsonl_rows, ".json": _json_rows, ".txt": _lines, "": _lines}
    if file.suffix.lower() not in readers:
        raise SublimError(f"{file} is no question file of a known kind. Save the questions as {FORMS}.")
    reader = readers[file.suffix.lower()]
    if reader is None:
        return _yaml_questions(file)
    made = []
    for number, id_, text in reader(file):
        if not isinstance(text, str) or not (bare := text.strip(_AROUND)):
            raise SublimError(f'{file}:{number}: no question text. Give rows like {{"id": "a1", "text": "..."}}.')
        if strange := _NO_TEXT.search(bare + id_):
            raise SublimError(f"{file}:{number}: U+{ord(strange[0]):04X} in it is no character of a text. Take it out.")
        made.append((f"{file}:{number}", Question(id_, bare)))
    return QuestionSet(file.stem, "user file", str(file), "unknown", _unique(file, made))


_AROUND = " \t\r\n\ufeff\u200b"
"""What may stand around a question and is no part of it."""

_NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters and halves of a surrogate pair, which no model reads as a file has them."""


Numbered = list[tuple[int, str, Any]]
"""(line, id, text) of every question, as it was found."""


def _jsonl_rows(file: Path) -> Numbered:
    return [_numbered(file, n, row) for n, row in read_jsonl(file)]


def _json_rows(file: Path) -> Numbered:
    """A list of texts or rows, numbered by their place in it."""
    try:
        rows = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise SublimError(f"{file}:{line}: not valid JSON ({getattr(error, 'msg', error)}). Mend that line.") from None
    if isinstance(rows, dict) and isinstance(rows.get("questions"), list):
        rows = rows["questions"]
    if not isinstance(rows, list):
        raise SublimError(f'{file}:1: not a list of questions. Give a list like ["...", "..."], or save it as .yaml.')
    return [_numbered(file, n, row if isinstance(row, dict) else {"text": row}) for n, row in enumerate(rows, 1)]


def _numbered(file: Path, number: int, row: dict[str, Any]) -> tuple[int, str, Any]:
    """(line, id, text) of a row; raises SublimError for an id that is neither text nor a whole number."""
    id_ = row.get("id")
    if id_ is not None and type(id_) not in (str, int):
        raise SublimError(f"{file}:{number}: the id {id_!r:.40} is no text. Write it in quotes.")
    return number, str(id_ if id_ not in (None, "") else f"q-{number:03d}"), row.get("text") or row.get("question")


_MARKUP = (
    (r"[\[{]", "is JSON", "Save the file as .json, or as .jsonl with a row a line"),
    (r"""(["'\u201c]).*["'\u201d]\s*,$""", "is an entry of a list in quotes", "Take quotes and commas away"),
    (r"""(["'\u201c\u00ab])[^"'\u201d\u00bb]*["'\u201d\u00bb]$""", "stands in quotes", "Take the quotes away"),
    (r"(?:[-*\u2022+]|\(?\d{1,3}[.):]|\(?[A-Za-z][.)])\s+\S", "is an entry of a list", "Take numbers and dashes away"),
    (r"(?i:q|question|prompt|user|human|system|assistant)\s?\d{0,4}\s?[:.)]\s", "bears a label", "Take the label away"),
    (r"(?i:questions?|prompts?|texts?)$", "is the head of a table", "Take that line away"),
    (r"(?:;|//|--|/\*|<!--)", "is no question but a comment", "Begin it with #"),
    (r".*\t", "holds a tab, as a row of a table does", "Save the questions alone, one a line"),
    (r"(?:```|---$|<\w+>)", "is markup and no question", "Take it away"),
)
"""(how a line begins that is no question as it stands, what it is, the next step)."""


def _lines(file: Path) -> Numbered:
    """The lines of a text file but for empty ones and comments; raises SublimError for markup."""
    bare = [(n, line.strip(_AROUND)) for n, line in enumerate(re.split(r"\r\n?|\n", read_text(file)), 1)]
    lines = [(n, line) for n, line in bare if line and not line.startswith("#")]
    for number, line in lines:
        for begins, what, step in _MARKUP:
            if re.match(begins, line):
                raise SublimError(f"{file}:{number}: {line[:40]!r} {what}. {step}.")
    return [(n, f"q-{n:03d}", line) for n, line in lines]


def _yaml_questions(file: Path) -> QuestionSet:
    root = strict_yaml.read(file, "question file")
    made: QuestionSet = strict_yaml.build(QuestionSet, root)
    given = root.items("the question file")
    placed: list[tuple[str, Question]] = []
    if "questions" in given:
        places = given["questions"][1].list("`questions`")
        placed += [(str(place), question) for place, question in zip(places, made.questions, strict=True)]
    if "situations" in given:
        for place, situation in zip(given["situations"][1].list("`situations`"), made.situations, strict=True):
            placed += [(str(place), question) for question in situation.questions]
    return replace(made, questions=_unique(file, placed))


def _unique(file: Path, made: list[tuple[str, Question]]) -> tuple[Question, ...]:
    if not made:
        raise SublimError(f"{file}: no questions in it. Add at least one.")
    seen: set[str] = set()
    for place, question in made:
        for mark in (f"id {question.id!r}", f"text {question.text!r}"):
            if mark in seen:
                raise SublimError(f"{place}: the {mark} appears twice. Remove or rename one of them.")
            seen.add(mark)
    return tuple(q for _, q in made)
