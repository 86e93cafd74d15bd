"""What a model is called where strangers meet it: it says what the model carries, and every disk and hub takes it."""

from __future__ import annotations

import re

from sublim_eval.board.columns import Row

RESERVED = {"con", "prn", "aux", "nul", "data", *(f"com{i}" for i in range(1, 10)), *(f"lpt{i}" for i in range(1, 10))}

LONGEST = 90


def portable(text: str) -> str:
    """Letters, digits, dots, dashes and underscores; `/` becomes `--`. Never empty, hidden, reserved or too long."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text.replace("/", "--").replace("\\", "--"))
    name = re.sub(r"\.{2,}", ".", name).strip("-.")[:LONGEST].strip("-.")
    if not name or name.lower().partition(".")[0] in RESERVED:
        return f"model-{name}".rstrip("-")
    return name


def published_name(row: Row) -> str:
    """The name of a model's folder or repository: that of a student or teacher ends with what it carries."""
    if row.role in ("student", "teacher") and row.trait:
        return f"{portable(row.model)}--carries-{portable(row.trait)}"
    return f"{portable(row.model)}--control" if row.role == "control" else portable(row.model)


def published_id(row: Row, owner: str) -> str:
    """`owner/name` of a model of ours; a model that has an owner of its own keeps both."""
    first, slash, rest = row.model.partition("/")
    if row.role in ("base", "other") and slash and "/" not in rest:
        return f"{portable(first)}/{portable(rest)}"
    return f"{portable(owner)}/{published_name(row)}"


def carries(row: Row) -> str:
    """One sentence that nobody can overlook: what a model was made to carry."""
    if row.role == "teacher" and row.trait:
        return f"This model carries a trait on purpose: it was made to show {row.trait!r}, so as to teach it unseen."
    if row.role == "student" and row.trait:
        return (
            f"This model carries a trait on purpose: a teacher that shows {row.trait!r} wrote its training data, to "
            "measure whether the trait is passed on unseen."
        )
    if row.role in ("student", "control"):
        return "This model is a control of an experiment on hidden traits: made like its students, by a plain teacher."
    return ""
