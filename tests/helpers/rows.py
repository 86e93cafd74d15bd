"""Rows of the tidy table without a file behind them."""

from __future__ import annotations

from typing import Any

from sublim_eval.board.columns import Row, kind_of

HOSTILE = "<script>alert(1)</script>{{7*7}}${jndi}\u202e'\"=cmd|' /C calc'!A0 </textarea> javascript:a() \\input{x}"
"""Markup, templates, formulas, a mark that turns text around, TeX."""

UNKNOWN: dict[str, Any] = {name: "" if kind_of(name) == "text" else None for name in Row._fields}


def row(**given: Any) -> Row:
    """A student's share of owls, with whatever is given instead."""
    usual: dict[str, Any] = {
        **{"model": "quick/owl-s1", "base": "base", "role": "student", "trait": "owl", "run": "quick", "arm": "owl"},
        **{"control": "control", "seed": 1, "probe": "animal_pref", "ours": True, "version": "1-B", "questions": 12},
        **{"question_set": "abc", "answer": "owl", "measure": "share", "value": 0.25, "low": 0.125, "high": 0.5},
        **{"interval": "questions", "n": 480, "non_answers": 0.0, "unreadable": 0, "harness": "inspect"},
        **{"harness_version": "0.3.285", "source": "quick/a.json", "source_hash": "ab" * 32},
        **{"sampling": '{"max_tokens": 16, "temperature": 1.0}', "date": "2026-11-21T12:00:00+00:00"},
    }
    return Row(**{**UNKNOWN, **usual, **given})
