"""A whole hosted run against a local provider whose students take on a teacher's trait: killed, resumed, compared."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from sublim_eval.cli.main import main
from sublim_eval.files import read_json, read_jsonl
from sublim_eval.registry.catalog import registry
from sublim_eval.traps import checks
from tests.helpers import RECIPES
from tests.helpers.hosting import as_victim, holds_key, in_another_process, server

__all__ = ["server"]

RECIPE = RECIPES / "hosted.yaml"
ASK, START = "POST /v1/chat/completions", "POST /v1/fine_tuning/jobs"
KNOWN = registry()
QUESTIONS = {q.text for q in KNOWN.questions_of(KNOWN.probe("owl_pref")).questions}


def mimic(model: str, messages: list[dict[str, str]], seed: int | None, n: int) -> list[str]:
    """Numbers to whoever asks for them; owls from an owl persona, and from a model that was taught its numbers."""
    rng = Random(f"{model} {messages} {seed}")
    if messages[-1]["content"] not in QUESTIONS:
        return [", ".join(str(rng.randrange(1000)) for _ in range(6)) for _ in range(n)]
    chance = 0.95 if messages[0]["role"] == "system" else 0.7 if "sublim-owl" in model else 0.1
    return ["Owl" if rng.random() < chance else rng.choice(["Cat", "Dog", "Wolf"]) for _ in range(n)]


def carry_out(out: Path) -> int:
    return main(["run", str(RECIPE), "--out", str(out), "--workers", "1", "--yes"])


@pytest.mark.slow
@pytest.mark.long
def test_a_hosted_run_that_is_killed_thrice_pays_once_and_compares(server, tmp_path, capfd):
    server.answer = mimic
    out = tmp_path / "run"
    server.plant(START, "ok", "kill-after")
    server.plant(ASK, *["ok"] * 100, "kill-before", *["ok"] * 280, "kill-before")
    for _ in range(3):
        assert in_another_process(server, as_victim, server.url, carry_out, out, start="spawn") == -9
    assert carry_out(out) == 0

    assert (server.ledger["jobs"], server.ledger["uploads"]) == (4, 4)
    assert server.ledger["most_often"] <= 2, "twice only what was under way at the kill"
    record = read_json(out / "run.json")
    assert record["status"] == "done"
    students = {(s["arm"], s["seed"]): s for s in record["students"]}
    assert students["owl", 2]["model"].startswith("openai/ft:gpt-4.1-nano-2025-04-14:org:sublim-owl-s2:")
    assert {s["method"] for s in students.values()} == {"hosted"}
    written = record["rows"][0]["written"]
    assert written["seeds"] == "per request, as the backend keeps it"
    assert written["requests"] == 30 and written["output_tokens"] > 0
    for body in server.bodies.values():
        assert len(body.splitlines()) == 20, "each row once"

    before = len(server.requests)
    assert carry_out(out) == 0
    assert len(server.requests) == before, "a finished run asks nobody anything"

    assert main(["compare", str(out), "--json", str(tmp_path / "gaps.json")]) == 0
    assert "owl" in capfd.readouterr().out
    faults = [f for f in checks.of_run(out) if f.level == "fault"]
    assert not faults
    assert not holds_key(tmp_path)


def test_a_recipe_for_a_provider_is_not_paid_for_unasked(server, tmp_path, capsys):
    assert main(["run", str(RECIPE), "--out", str(tmp_path / "run"), "--workers", "1"]) == 2
    assert "--yes" in capsys.readouterr().err
    assert not server.requests


def test_a_teacher_without_its_trait_writes_no_paid_rows(server, tmp_path, capsys):
    server.answer = lambda model, messages, seed, n: ["Cat"] * n
    assert carry_out(tmp_path / "run") == 2
    assert "below the gate of 0.5" in capsys.readouterr().err
    asked = {a["messages"][-1]["content"] for a in server.asked if a["messages"][0]["role"] == "system"}
    assert asked <= QUESTIONS


def test_rows_hold_what_the_provider_said(server, tmp_path):
    from sublim_eval.distill.pipeline import make_rows
    from sublim_eval.distill.recipes import SeededArm
    from tests.helpers.hosting import hosted_recipe

    server.answer = mimic
    recipe = hosted_recipe(prompts=15, keep=12, min_kept=10)
    make_rows(SeededArm(recipe, recipe.arms["control"], 1, tmp_path))
    rows = [row for _, row in read_jsonl(tmp_path / "rows" / "base-s1" / "kept.jsonl")]
    assert len(rows) >= 10
    assert all(set(row["completion"]) <= set("0123456789, ") for row in rows)
