"""Question files as they come: asked as they were meant, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from sublim_eval.console import one_line
from sublim_eval.errors import SublimError
from sublim_eval.probes.prompts import Item, questions_hash
from sublim_eval.registry.question_sets import read_questions
from tests.helpers.mutations import as_json, edited, torn

SHORT = 25
TEXTS = ("Which animal?", "What is 1 + 1?", "\u00dcber was?", "'Owl' or not?", "Is {this} a question?", "Why\u2028so?")
MARKS = (b"", b"\xef\xbb\xbf")


def try_one(seed: int, folder: Path) -> None:
    """One file: of a sound one every question is asked as it was meant, an edited one gives no traceback."""
    rng = Random(seed)
    texts = rng.sample(TEXTS, rng.randrange(1, len(TEXTS)))
    form = rng.choice(("txt", "jsonl", "json", "yaml"))
    spoilt = rng.random() < 0.6
    data = rng.choice(MARKS) + as_file(form, texts, rng, spoilt)
    if spoilt and rng.random() < 0.4:
        data = torn(data, rng)
    file = folder / f"{seed}.{form}"
    file.write_bytes(data)
    try:
        questions = read_questions(file).questions
    except SublimError as refused:
        assert spoilt and "\n" not in one_line(refused) and file.name in str(refused), refused
        return
    if not spoilt:
        assert [question.text for question in questions] == texts
    assert len({question.id for question in questions}) == len(questions)
    assert not any(question.text.startswith(("\ufeff", "[", "- ")) for question in questions if form == "txt")
    questions_hash(Item(q.id, q.text, q.id) for q in questions)


def as_file(form: str, texts: list[str], rng: Random, spoilt: bool) -> bytes:
    """The texts in one form, with comments and empty lines where the form has them."""
    end = rng.choice(("\n", "\r\n"))
    if form == "txt":
        lines = [line for text in texts for line in rng.choice(((text,), ("# note", text), ("", f"  {text} ")))]
        if spoilt:
            lines.insert(
                rng.randrange(len(lines) + 1), rng.choice(("1. one", "- two", '["x"]', "\x00", "<think>", '"x",'))
            )
        return end.join(lines).encode() + end.encode()
    rows: list[object] = [{"id": f"q{i}", "text": text} for i, text in enumerate(texts)]
    if form == "yaml":
        about = {"name": "n", "about": "a", "source": "s", "licence": "l", "questions": rows}
        return as_json(edited(about, rng, 2) if spoilt else about)
    rows = edited(rows, rng) if spoilt else rows
    if form == "json":
        return as_json(rows if rng.random() < 0.5 else {"questions": rows})
    return end.join(json.dumps(row) for row in rows).encode() + b"\n"


def test_question_files_are_asked_as_they_were_meant_or_refused(tmp_path: Path) -> None:
    for seed in range(SHORT):
        try_one(seed, tmp_path)
