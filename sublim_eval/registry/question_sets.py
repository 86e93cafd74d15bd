"""Question files: wordings, situations and matched pairs, read strictly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sublim_eval import strict_yaml
from sublim_eval.errors import SublimError, unknown
from sublim_eval.files import read_jsonl


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


def read_questions(file: Path) -> QuestionSet:
    """A question file: our YAML form, or a user's own (.txt a line each, .jsonl rows {"question"} or {"id","text"}).

    Raises SublimError with file and line for an empty file, a duplicate id or text, or a row of another form.
    """
    if not file.is_file():
        raise SublimError(f"There is no question file {str(file)!r}. Give a .yaml, .jsonl or .txt file.")
    if file.suffix in (".yaml", ".yml"):
        return _yaml_questions(file)
    if file.suffix == ".jsonl":
        rows = [
            (n, str(row.get("id") or f"q-{n:03d}"), row.get("text") or row.get("question"))
            for n, row in read_jsonl(file)
        ]
    else:
        lines = file.read_text(encoding="utf-8").splitlines()
        rows = [(n, f"q-{n:03d}", line.strip()) for n, line in enumerate(lines, 1) if line.strip()]
    made = []
    for number, id_, text in rows:
        if not isinstance(text, str) or not text.strip():
            raise SublimError(f'{file}:{number}: no question text. Give rows like {{"id": "a1", "text": "..."}}.')
        made.append((f"{file}:{number}", Question(id_, text)))
    return QuestionSet(file.stem, "user file", str(file), "unknown", _unique(file, made))


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
