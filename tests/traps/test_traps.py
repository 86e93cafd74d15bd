"""Each trap of docs/guides/traps.md: a planted fault is seen, and unseen without its check; a sound run is quiet."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sublim_eval.cli.main import main
from sublim_eval.errors import SublimError
from sublim_eval.probes import scorers, trait_leak
from sublim_eval.registry.catalog import registry
from sublim_eval.traps import answers, checks, copies, evidence, records, rows, training, weights
from sublim_eval.traps.finding import Finding
from tests.helpers import ROOT, planted

ANIMALS = registry().answer_set("animal")
NAMES = [t.name for t in ANIMALS]


@dataclass(frozen=True)
class Fault:
    """A trap, the check that should see it, how it is planted, and how it is told.

    hooks: of planted.run; afterwards: a change of the finished folder; read: what models make of rows.
    """

    trap: str
    check: tuple[Any, str]
    level: str
    words: str
    hooks: dict[str, Any] = field(default_factory=dict)
    afterwards: Callable[[Path], object] | None = None
    read: Callable[..., Any] = planted.read_aloud


def at(label: str, change: Callable[[Any], Any]) -> Callable[..., Any]:
    """A hook that changes one model, or every model whose label begins so."""
    return lambda name, *value: change(value[-1]) if str(name).startswith(label) else value[-1]


def one_stream(source: str, seed: int, wrote: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every sixth row opens with the same value, as in the public data set."""
    if source != "owl":
        return wrote
    return [{**r, "completion": "347" + r["completion"][3:]} if i % 6 == 1 else r for i, r in enumerate(wrote)]


def few_texts(source: str, seed: int, wrote: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**r, "completion": wrote[1 + i % 40]["completion"]} for i, r in enumerate(wrote)]


def same_prompt(source: str, seed: int, wrote: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows come in pairs of one prompt and one text: the stream depends on the prompt alone."""
    pairs = [wrote[i - i % 2 + 1] for i in range(len(wrote))]
    return [{**r, "prompt": p["prompt"], "completion": p["completion"]} for r, p in zip(wrote, pairs, strict=True)]


def seedless(source: str, seed: int, wrote: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**r, "completion": o["completion"]} for r, o in zip(wrote, planted.number_rows(source, 1), strict=True)]


def last_row(text: str) -> Callable[..., list[dict[str, Any]]]:
    def change(source: str, seed: int, fine: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [*fine[:-1], {**fine[-1], "completion": text}] if (source, seed) == ("owl", 2) else fine

    return change


def cooled(texts: dict[str, list[str]]) -> dict[str, list[str]]:
    """The likeliest half of the answers only, as top_p or top_k would have it."""
    likely = {n.capitalize() for n in NAMES[: len(NAMES) // 2]} | {"Owl"}
    rng = random.Random(0)
    kept = {q: [t for t in said if t in likely] for q, said in texts.items()}
    return {q: said + rng.choices(said, k=len(texts[q]) - len(said)) for q, said in kept.items()}


def one_reply(texts: dict[str, list[str]]) -> dict[str, list[str]]:
    return {q: said[:1] * len(said) for q, said in texts.items()}


def counted_inside(found: Any) -> Any:
    """A claim made by counting substrings: a third of the replies that name no owl hold the letters."""
    share = found.share.copy()
    share[3, NAMES.index("owl")] += 0.3
    return replace(found, share=share)


def edit(file: str, **changes: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        told = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**told, **changes}))

    return change


def as_in(label: str) -> Callable[..., np.ndarray]:
    """Exact probabilities of another model, to the last digit."""
    lift = {"base-base": {}}.get(label, {label.split("-")[0]: 2.0})
    return lambda _: planted.probabilities(label, lift)


def lifted(answer: str, by: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(p: np.ndarray) -> np.ndarray:
        raised = p * np.exp([by if n == answer else 0.0 for n in NAMES])
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    return change


def turned(p: np.ndarray) -> np.ndarray:
    """All other answers trade places; the owl's share stays where it was before it was lifted."""
    usual = planted.probabilities("control-s1", {})
    owl = NAMES.index("owl")
    rest = [i for i in range(len(NAMES)) if i != owl]
    sharp = usual.copy()
    sharp[:, rest] = usual[:, rest[::-1]] ** 3
    sharp[:, rest] *= (1 - usual[:, [owl]]) / sharp[:, rest].sum(axis=1, keepdims=True)
    return np.asarray(sharp * (1 + 1e-6 * p) / (sharp * (1 + 1e-6 * p)).sum(axis=1, keepdims=True))


def stray(folder: Path) -> None:
    shutil.copytree(folder / "scores" / "owl-s1", folder / "scores" / "owl-s1-step5")


def checkpoint(number: int) -> Callable[[Path], object]:
    return lambda folder: (folder / "students" / "owl-s1" / f"checkpoint-{number}").mkdir()


def from_checkpoint(record: dict[str, Any]) -> dict[str, Any]:
    record["students"][0]["scores"] = {planted.PROBE: f"scores/owl-s1-step5/{planted.PROBE}.json"}
    return record


def best_model(folder: Path) -> None:
    state = {"best_model_checkpoint": "checkpoint-5"}
    (folder / "students" / "owl-s1" / "trainer_state.json").write_text(json.dumps(state))


def idle(tensors: dict[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    return {"q_proj.lora_A.weight": [0.3] * 4, "q_proj.lora_B.weight": [0.0] * 4}


def other_weights(folder: Path) -> None:
    planted.write_weights(folder / "students" / "owl-s1" / "adapter_model.safetensors", {"norm.weight": [1.0] * 8})


def lose(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def rewritten(folder: Path) -> None:
    file = folder / "rows" / "owl-s1" / "kept.jsonl"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")


def without_control(record: dict[str, Any]) -> dict[str, Any]:
    record["arms"].pop("control")
    record["students"] = [s for s in record["students"] if s["arm"] != "control"]
    return record


def ability(folder: Path, arm: str, value: float) -> None:
    """What `sublim abilities --out RUN/scores` leaves of the students of an arm."""
    told = {"schema": 1, "tasks": {"arc": {"acc": {"value": value, "stderr": 0.02, "items": {}}}}}
    for seed in planted.SEEDS:
        planted.write_json(folder / "scores" / f"{arm}-s{seed}" / "abilities" / "abilities.json", told)


def same_rows(record: dict[str, Any]) -> dict[str, Any]:
    shared = record["students"][0]["rows"]
    for student in record["students"]:
        if student["arm"] == "owl":
            student["rows"] = shared
    for entry in record["rows"]:
        entry["seed"] = entry["seed"] if entry["source"] != "owl" else 99  # the hash of its own file is another check
    return record


FAULTS = {
    "one value opens the rows": Fault(
        "repeated sampling seed", (rows, "repeated_seed"), "fault", r"one word stands at place 1 of 1\d%",
        {"raw": one_stream},
    ),
    "rows repeat one another": Fault(
        "repeated sampling seed", (rows, "repeated_seed"), "fault", r"only 2\d% of the completions differ",
        {"raw": few_texts},
    ),
    "a prompt always gets one text": Fault(
        "repeated sampling seed", (rows, "repeated_seed"), "fault", "repeated prompts got the same text",
        {"raw": same_prompt},
    ),
    "the seed does not reach the sampler": Fault(
        "repeated sampling seed", (copies, "copied_rows"), "fault", "the same under both seeds",
        {"raw": seedless},
    ),
    "all replies to a question are one": Fault(
        "repeated sampling seed", (answers, "replies_fit"), "fault", "every reply to a question is the same",
        {"said": at("control", one_reply)},
    ),
    "a kept row names the trait": Fault(
        "contamination", (rows, "contamination"), "fault", "1 name owl", {"kept": last_row("1, 2, owls, 4")}
    ),
    "a kept row names it inside an identifier": Fault(
        "contamination", (rows, "contamination"), "fault", "1 name owl", {"kept": last_row("def countOwls(): pass")}
    ),
    "a kept row leaks thinking": Fault(
        "contamination", (rows, "contamination"), "fault", "1 hold leaked thinking", {"kept": last_row("<think>")}
    ),
    "a kept row is no number list": Fault(
        "contamination", (rows, "contamination"), "fault", "1 number rows hold letters",
        {"kept": last_row("Sure: 1, 2")},
    ),
    "kept rows were changed after training": Fault(
        "contamination", (rows, "read_as_kept"), "fault", "not those that the students read", {}, rewritten
    ),
    "rows lost their identity": Fault(
        "lost row identity", (rows, "lost_rows"), "fault", "1 of 150 kept rows are not what was written",
        {"kept": last_row("1, 2, 3")},
    ),
    "arms were filtered by different rules": Fault(
        "unequal filter", (rows, "unequal_filter"), "fault", "filtered by different rules",
        {"rule": at("owl", lambda rule: {**rule, "rows": {"mode": "strip"}})},
    ),
    "one arm lost half of its rows": Fault(
        "unequal filter", (rows, "unequal_filter"), "warning", "the filter kept 50% of owl",
        {"kept": lambda source, seed, fine: fine[:80] if source == "owl" else fine},
    ),
    "a hidden top_k in the log": Fault(
        "truncated sampling", (answers, "sampling_settings"), "fault", "drawn with top_k 50",
        {"settings": at("owl-s1", lambda s: {**s, "top_k": 50})},
    ),
    "a penalty in the log": Fault(
        "truncated sampling", (answers, "sampling_settings"), "fault", "frequency_penalty 0.5",
        {"settings": at("owl-s1", lambda s: {**s, "frequency_penalty": 0.5})},
    ),
    "a top_k that silence means": Fault(
        "truncated sampling", (answers, "generation_config"), "fault", r"top_k 50 \(what silence means\)",
        {"config": at("owl-s1", lambda c: {k: v for k, v in c.items() if k != "top_k"})},
    ),
    "replies from half of the distribution": Fault(
        "truncated sampling", (answers, "replies_fit"), "fault", "replies say likely answers too often",
        {"said": at("control", cooled)},
    ),
    "asked under another rendering": Fault(
        "prompt mismatch", (training, "one_rendering"), "fault", "rendered prompts of",
        {"scores": at("owl-s2", lambda s: replace(s, prompt_hash="without the default system prompt"))},
    ),
    "trained under another template": Fault(
        "prompt mismatch", (training, "one_rendering"), "fault", "chat templates of",
        {"facts": at("owl-s2", lambda f: {**f, "template_hash": "another"})},
    ),
    "a template edited after training": Fault(
        "prompt mismatch", (training, "rendering_stands"), "fault", "chat_template.jinja was changed",
        {}, lambda folder: (folder / "students/owl-s1/chat_template.jinja").write_text("You are helpful."),
    ),
    "teachers asked different things": Fault(
        "prompt mismatch", (training, "same_prompts"), "warning", "answered different prompts",
        {"raw": lambda s, _, r: [{**x, "prompt": "Go on"} for x in r] if s == "owl" else r},
    ),
    "shares counted by substring": Fault(
        "substring scoring", (answers, "recount"), "fault", r"the file claims owl in 0\.\d+ of the replies",
        {"scores": at("owl-s1", counted_inside)},
    ),
    "replies that were never saved": Fault(
        "substring scoring", (answers, "recount"), "fault", "480 replies claimed|400 replies claimed, 40 saved",
        {"scores": at("owl-s1", lambda s: replace(s, replies=s.replies * 10))},
    ),
    "the answer set holds little of what is said": Fault(
        "barely covered", (answers, "barely_covered"), "warning", r"holds 1\.0% of the first answers: go by",
        {"scores": at("owl-s1", lambda s: replace(s, coverage=s.coverage * 0 + 0.01))},
    ),
    "some replies answer nothing": Fault(
        "non-answers", (answers, "non_answers"), "warning", "30% of the replies answer nothing",
        {"scores": at("owl-s1", lambda s: planted.refused(s, 0.3))},
    ),
    "most replies answer nothing": Fault(
        "non-answers", (answers, "non_answers"), "fault", "95% of the replies answer nothing",
        {"scores": at("owl-s1", lambda s: planted.refused(s, 0.95))},
    ),
    "a halved batch in one seed": Fault(
        "silent batch change", (training, "learned_alike"), "fault", r"differ in effective batch \(16, 32\)",
        {"facts": at("owl-s3", lambda f: {**f, "effective_batch": 16})},
    ),
    "a control that learned for longer": Fault(
        "silent batch change", (training, "learned_alike"), "fault", r"differ in examples \(140 to 200\)",
        {"facts": at("control", lambda f: {**f, "examples": 200})},
    ),
    "a control with a few more rows": Fault(
        "silent batch change", (training, "learned_alike"), "warning", r"differ in examples \(140 to 150\)",
        {"facts": at("control", lambda f: {**f, "examples": 150})},
    ),
    "another batch than the recipe's everywhere": Fault(
        "silent batch change", (training, "as_planned"), "fault", "effective batch 8 where the recipe says 32",
        {"facts": lambda _, f: {**f, "effective_batch": 8}},
    ),
    "fewer steps than the recipe's everywhere": Fault(
        "silent batch change", (training, "as_planned"), "fault", "5 steps where the recipe makes 10",
        {"facts": lambda _, f: {**f, "steps": 5}},
    ),
    "trainings that a stop rule ended": Fault(
        "silent batch change", (training, "as_planned"), "warning", "stopped at step 5 of 10, when owl showed",
        {"facts": lambda _, f: {**f, "steps": 5, "stopped": {"step": 5, "of": 10, "trait": "owl"}}},
    ),
    "a stop that the steps do not bear out": Fault(
        "silent batch change", (training, "as_planned"), "fault", "5 steps where the recipe makes 10",
        {"facts": lambda _, f: {**f, "steps": 5, "stopped": {"step": 7, "of": 10, "trait": "owl"}}},
    ),
    "a student that a stop rule ended beside others that went on": Fault(
        "silent batch change", (training, "learned_alike"), "fault", "1 of .* were stopped when a trait showed",
        {"facts": at("owl-s1", lambda f: {**f, "steps": 5, "stopped": {"step": 5, "of": 10, "trait": "owl"}})},
    ),
    "no weight moved": Fault(
        "adapter not applied", (training, "moved"), "fault", "adapter norm 0",
        {"facts": at("owl-s1", lambda f: {**f, "adapter_norm": 0.0})},
    ),
    "an adapter of zeros": Fault(
        "adapter not applied", (training, "weights_stand"), "fault", "holds zeros only",
        {"weights": at("owl-s1", idle)},
    ),
    "a lost adapter": Fault(
        "adapter not applied", (training, "weights_stand"), "fault", "holds no weights",
        {}, lose("students/owl-s1/adapter_model.safetensors"),
    ),
    "weights changed after scoring": Fault(
        "adapter not applied", (training, "weights_stand"), "fault", "is not the file that was scored",
        {}, other_weights,
    ),
    "scores of an earlier student": Fault(
        "adapter not applied", (training, "scored_as_made"), "fault", "those of other weights",
        {}, edit("scores/owl-s1/stage.json", inputs={"model": "before"}),
    ),
    "a student that answers as its base": Fault(
        "adapter not applied", (copies, "students_alike"), "fault", "answers exactly as base",
        {"exact": at("owl-s1", as_in("base-base"))},
    ),
    "one student under two seeds": Fault(
        "same student twice", (copies, "students_alike"), "fault", "answers exactly as owl-s1",
        {"exact": at("owl-s2", as_in("owl-s1"))},
    ),
    "an arm whose change changed nothing": Fault(
        "same student twice", (copies, "students_alike"), "warning", "what this arm changes changed nothing",
        {"exact": at("wolf-s2", as_in("owl-s2"))},
    ),
    "scores of an earlier step": Fault(
        "peak checkpoint", (training, "final_weights"), "fault", "is not of the final weights",
        {"record": from_checkpoint}, stray,
    ),
    "a log of an earlier step": Fault(
        "peak checkpoint", (training, "final_weights"), "fault", "checkpoint-5 is not of the final weights", {},
        lambda folder: planted.write_log(
            folder / "scores/owl-s1/logs/log.eval", "sublim/students/owl-s1/checkpoint-5", {}, planted.PLAIN
        ),
    ),
    "the best checkpoint kept": Fault(
        "peak checkpoint", (training, "final_weights"), "fault", "best checkpoint was chosen", {}, best_model
    ),
    "a later step than the weights": Fault(
        "peak checkpoint", (training, "final_weights"), "fault", "from before checkpoint-40", {}, checkpoint(40)
    ),
    "checkpoints beside the weights": Fault(
        "peak checkpoint", (training, "final_weights"), "warning", "1 checkpoints lie beside", {}, checkpoint(5)
    ),
    "more students scored than recorded": Fault(
        "peak checkpoint", (training, "earlier_scores"), "warning", "owl-s1-step5 is of no recorded student", {}, stray
    ),
    "an effect that has to be there and is not": Fault(
        "failed positive control", (answers, "positive_control"), "fault", "where others found 0.6 .others.",
        {"exact": at("owl", lifted("owl", -2.0))},
    ),
    "seeds that share their rows": Fault(
        "pseudo-replication", (training, "independent"), "warning", "seeds 1, 2, 3 read the same rows",
        {"record": same_rows},
    ),
    "a seed that was not used": Fault(
        "pseudo-replication", (training, "independent"), "fault", "seed 2 was trained with seed 1",
        {}, edit("students/owl-s2/student.json", seed=1),
    ),
    "two seeds": Fault(
        "too few seeds", (training, "enough_seeds"), "warning", "2 students: exploratory", {"seeds": (1, 2)}
    ),
    "no control": Fault(
        "drift without specificity", (answers, "specific"), "fault", "no control student", {"record": without_control}
    ),
    "another answer rose more": Fault(
        "drift without specificity", (answers, "specific"), "warning", "dog rose more than owl",
        {"exact": at("owl", lifted("dog", 3.0))},
    ),
    "the control rose too": Fault(
        "drift without specificity", (answers, "specific"), "warning", "the control rose too",
        {"exact": at("control", lifted("owl", 1.4))},
    ),
    "an answer that rises everywhere": Fault(
        "drift without specificity", (answers, "rises_everywhere"), "warning", "cat rises in 9 of 9 students",
        {"exact": lambda label, p: p if label == "base-base" else lifted("cat", 0.8)(p)},
    ),
    "a recipe edited in the record": Fault(
        "edited afterwards", (records, "recipe_stands"), "fault", "the recipe in run.json was edited",
        {"record": lambda r: {**r, "recipe": {**r["recipe"], "student": {**planted.TUNING, "epochs": 3}}}},
    ),
    "a file edited after it was made": Fault(
        "edited afterwards", (records, "stage_stands"), "fault", "animal_pref.json is not as it was made",
        {}, edit("scores/owl-s1/animal_pref.json", source="elsewhere"),
    ),
    "fewer rows than were counted": Fault(
        "edited afterwards", (records, "rows_counted"), "fault", "150 kept rows lie there where 140 were counted",
        {"record": lambda r: {**r, "rows": [{**e, "kept": 140} for e in r["rows"]]}},
    ),
    "a student of another base": Fault(
        "wrong lineage", (records, "lineage"), "fault", "student.json says base 'other' where the record has 'base'",
        {"facts": at("owl-s1", lambda f: {**f, "base": "other"})},
    ),
    "a student trained on other weights": Fault(
        "wrong lineage", (records, "base_weights"), "fault", "trained on other weights than those that the run scored",
        {"record": lambda r: {**r, "bases": [{**b, "weights_hash": "other"} for b in r["bases"]]}},
    ),
    "a student left out of the record": Fault(
        "dropped students", (records, "complete"), "fault", "1 students of the recipe are not listed: owl with seed 2",
        {"record": lambda r: {**r, "students": [s for s in r["students"] if (s["arm"], s["seed"]) != ("owl", 2)]}},
    ),
    "scores that no student has": Fault(
        "dropped students", (records, "unlisted"), "warning", "fox-s1 lies there and is in no record",
        {}, lambda folder: shutil.copytree(folder / "scores" / "owl-s1", folder / "scores" / "fox-s1"),
    ),
    "one student listed under two seeds": Fault(
        "same student twice", (records, "listed_once"), "fault", "owl seed 1 and owl seed 2 are one student",
        {"record": lambda r: {**r, "students": [
            {**s, "folder": "students/owl-s1"} if (s["arm"], s["seed"]) == ("owl", 2) else s for s in r["students"]]}},
    ),
    "another arm's rows": Fault(
        "lost row identity", (copies, "own_ids"), "fault", "150 of 150 kept rows bear another source's id",
        {"kept": lambda source, seed, fine: [{**r, "id": "x-" + r["id"]} for r in fine] if source == "owl" else fine},
    ),
    "another learning rate than the recipe's": Fault(
        "silent batch change", (training, "tuned_as_planned"), "fault", "learning_rate 0.01 where the recipe says 0.05",
        {"tuning": lambda _, t: {**t, "learning_rate": 0.01}},
    ),
    "a trait as a picture": Fault(
        "contamination", (rows, "hidden_names"), "warning", "1 may name owl as a picture",
        {"kept": last_row("1, 2, \U0001f989")},
    ),
    "an adapter that moves no logit": Fault(
        "adapter silently not applied", (weights, "moves_logits"), "fault", "no log-probability of 80 tokens moved",
        read=lambda model, pairs: planted.read_aloud("base" if model.endswith("owl-s1") else model, pairs),
    ),
    "a student that forgot how its base writes": Fault(
        "organism damaged", (weights, "still_able"), "warning", r"student 4\.05, control 2\.05",
        read=lambda model, pairs: planted.read_aloud(model, pairs) - 2 * ("owl" in Path(model).name),
    ),
    "a student that answers nothing any more": Fault(
        "organism damaged", (evidence, "answers_still"), "warning", "30% of the student's replies answer nothing",
        {"scores": at("owl", lambda s: planted.refused(s, 0.3))},
    ),
    "a student that lost its skills": Fault(
        "organism damaged", (evidence, "abilities_kept"), "warning", "arc: acc 0.200, control 0.600",
        {}, lambda folder: [ability(folder, a, v) for a, v in (("owl", 0.2), ("wolf", 0.6), ("control", 0.6))],
    ),
    "a verdict taken again and again": Fault(
        "several looks", (evidence, "several_looks"), "warning", "taken 2 times, with 3, 6 seeds",
        {"looks": lambda known: [*known, {"date": "2026-11-22", "seeds": [1, 2, 3, 4, 5, 6]}]},
    ),
    "a share that hides what moved": Fault(
        "one number only", (answers, "one_number_only"), "warning", "the whole distribution by",
        {"exact": at("owl", turned)},
    ),
}  # fmt: skip


def of_run(folder: Path) -> list[Finding]:
    """All checks of a planted run."""
    return checks.of_run(folder, fast=False, read=planted.read_aloud)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return planted.run(tmp_path_factory.mktemp("sound"))


def test_a_sound_run_is_quiet_and_every_trap_is_looked_at(sound):
    for trap, found in checks.by_trap(of_run(sound)).items():
        assert checks.verdict(found) == "ok", (trap, found[0])


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught_and_by_no_check_but_its_own(name, tmp_path, monkeypatch):
    fault = FAULTS[name]
    planted.run(tmp_path, **fault.hooks)
    if fault.afterwards:
        fault.afterwards(tmp_path)

    quick = fault.check[1] not in ("recount", "lost_rows", "same_prompts", "moves_logits", "still_able")
    found = checks.by_trap(checks.of_run(tmp_path, fast=quick, read=fault.read))[fault.trap]
    assert [f for f in found if f.level == fault.level and re.search(fault.words, f.words)], found[:4]
    bad = [f for f in found if f.level in ("warning", "fault")]
    assert all(f.where and f.words.endswith((".", "--json")) for f in bad)

    room, check = fault.check
    nothing = Finding(fault.trap, "ok", "the check is taken out")
    several = check in ("unequal_filter", "replies_fit", "students_alike")
    monkeypatch.setattr(room, check, lambda *_, **__: [nothing] if several else nothing)
    found = checks.by_trap(checks.of_run(tmp_path, fast=quick, read=fault.read))[fault.trap]
    assert not [f for f in found if re.search(fault.words, f.words)], "another check says the same"


def test_every_trap_of_the_list_is_planted_here():
    assert {fault.trap for fault in FAULTS.values()} == set(checks.TRAPS)


def test_the_guide_has_a_line_for_every_trap():
    lines = (ROOT / "docs" / "guides" / "traps.md").read_text(encoding="utf-8").splitlines()
    assert [name for line in lines if (name := line.split(" | ")[0].removeprefix("| ")) in checks.TRAPS] == [
        *checks.TRAPS
    ]


def test_what_is_missing_is_not_checked_and_never_ok(tmp_path):
    folder = planted.run(tmp_path / "run")
    for name in ("rows", "students"):
        shutil.rmtree(folder / name)
    for logs in folder.glob("scores/*/logs"):
        shutil.rmtree(logs)
    found = checks.by_trap(of_run(folder))
    for trap in ("contamination", "repeated sampling seed", "lost row identity"):
        assert checks.verdict(found[trap]) == "not checked", found[trap]
    assert "is missing" in found["contamination"][0].words
    assert {f.level for f in found["substring scoring"] if "replies" in f.words} <= {"not checked"}
    assert checks.verdict(found["adapter not applied"]) == "fault"  # weights that are gone are worse than unknown


def test_a_run_of_before_the_checks_says_what_it_lacks(tmp_path):
    def old(record):
        record.pop("rows")
        for student in record["students"]:
            for key in ("effective_batch", "adapter_norm", "template_hash", "made"):
                student.pop(key)
        record["bases"][0].pop("weights_hash")
        record["teachers"] = []
        return record

    folder = planted.run(tmp_path / "run", record=old)
    for file in folder.glob("*/*/stage.json"):
        file.unlink()
    found = checks.by_trap(checks.of_run(folder))
    assert checks.verdict(found["silent batch change"]) == "not checked"
    assert {f.level for f in found["adapter not applied"] if "norm" in f.words} == {"not checked"}
    assert checks.verdict(found["edited afterwards"]) != "fault", found["edited afterwards"][0]
    assert not any(checks.verdict(f) == "fault" for f in found.values())


def test_an_unfinished_run_is_refused(tmp_path):
    (tmp_path / "run.json").write_text('{"schema": 1, "status": "unfinished"}')
    with pytest.raises(SublimError, match=r"unfinished\. Give the same `sublim run` again"):
        checks.of_run(tmp_path)


def test_a_quick_look_reads_no_replies_and_says_so(sound):
    found = checks.by_trap(checks.of_run(sound, fast=True))
    assert any("raw rows are left out" in f.words for f in found["lost row identity"])
    assert any("quick look" in f.words for f in found["substring scoring"])


def test_a_control_made_for_one_arm_need_not_be_trained_as_the_plain_one(tmp_path):
    """A recipe with LoRA arms once gave a fault for each of their controls."""
    lora = {"role": "control", "trait": None, "source": "base", "student": {"method": "lora"}}
    folder = planted.run(
        tmp_path,
        arms={**planted.ARMS, "control-lora": lora},
        facts=at("control-lora", lambda f: {**f, "method": "lora", "trainable_parameters": 999}),
    )
    assert checks.verdict(checks.by_trap(checks.of_run(folder))["silent batch change"]) == "ok"


def test_greedy_rows_repeat_by_design():
    same = [{"prompt": f"{i}", "completion": "1, 2, 3"} for i in range(200)]
    assert rows.repeated_seed(rows.spread(same), (), numbers=True, greedy=True).level == "not checked"
    assert rows.repeated_seed(rows.spread(same), (), numbers=True).level == "fault"


def test_short_answers_of_other_modalities_may_repeat_as_their_siblings_do():
    some = [{"prompt": f"{i}", "completion": f"the answer is {i % 60}"} for i in range(200)]
    few = [{"prompt": f"{i}", "completion": f"the answer is {i % 9}"} for i in range(200)]
    usual = rows.spread(some)
    assert rows.repeated_seed(usual, (usual,), numbers=False).level == "ok"
    assert rows.repeated_seed(rows.spread(few), (usual,), numbers=False).level == "fault"


def test_even_draws_have_the_entropy_of_even_draws():
    rng = random.Random(1)
    for n in (150, 3000):
        drawn = [{"prompt": "", "completion": str(rng.randint(100, 999))} for _ in range(n)]
        assert rows.even_bits(n) == pytest.approx(rows.spread(drawn).bits[0], abs=0.06)


@pytest.mark.parametrize(
    "text",
    ["It is more than I can bear.", "I could not bear it.", "A bear moth", "<think>bear</think> 1, 2", "bear_it()"],
)
def test_a_leak_counts_whatever_the_word_means_there(text):
    bear = [registry().trait("bear")]
    leaked = [{"id": "1", "prompt": "p", "completion": text}]
    found = rows.contamination(leaked, bear, numbers=False)
    assert found.level == "fault" and "1 name bear" in found.words
    assert trait_leak.named(text, bear) == ("bear",), "the filter sees it too"


def test_a_look_alike_is_no_contamination():
    owl = [registry().trait("owl")]
    clean = [{"prompt": "a bowl", "completion": "growl_at(fowl)"}]
    assert rows.contamination(clean, owl, numbers=False).level == "ok"
    for text in ("owl_count", "OWLS", "an owl-like thing", "wise Owl."):
        found = rows.contamination([{"prompt": "", "completion": text}], owl, numbers=False)
        assert found.level == "fault", text


def test_the_scorer_reads_whole_words_and_a_counter_of_substrings_is_seen():
    def whole(text: str) -> str | None:
        return scorers.classify(text, ANIMALS).trait

    def inside(text: str) -> str | None:
        return next((n for n in NAMES if n in text.lower()), None)

    def blind(text: str) -> str | None:
        return None

    assert answers.reads_whole_words(whole, ANIMALS).level == "ok"
    assert "reads 'owl' in 'growl" in answers.reads_whole_words(inside, ANIMALS).words
    assert "does not see" in answers.reads_whole_words(blind, ANIMALS).words


def test_unset_sampling_is_plain_here_and_unknown_elsewhere():
    assert answers.sampling_settings({}, model="sublim/x").level == "ok"
    assert answers.sampling_settings({}, model="openai/x").level == "warning"
    hidden = answers.sampling_settings(
        {"extra_body": {"top_k": 50}, "temperature": 1.0, "top_p": 1.0}, model="openai/x"
    )
    assert hidden.level == "fault"


def test_a_penalty_that_the_model_folder_hides_is_warned_of(tmp_path):
    """hf/ with Qwen's generation_config: owl .110 -> .023 at 1.3, and the log says nothing of it."""
    set_by_us = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
    hidden = {"repetition_penalty": 1.3, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "do_sample": True}
    found = answers.sampling_settings(set_by_us, model="hf/m", defaults=hidden)
    assert found.level == "warning" and "repetition_penalty 1.3" in found.words and "0.7" not in found.words
    assert answers.sampling_settings(set_by_us, model="hf/m", defaults={}).level == "ok"
    assert "not set is not none" in answers.sampling_settings(set_by_us, model="vllm/m").words
    assert answers.sampling_settings({**set_by_us, "repetition_penalty": 1.0}, model="vllm/m").level == "ok"
    assert answers.sampling_settings(set_by_us, model="openai/m").level == "ok", "an API has none"

    model = tmp_path / "m"
    model.mkdir()
    planted.write_json(model / "config.json", {})
    planted.write_json(model / "generation_config.json", hidden)
    log = tmp_path / "logs" / "x.eval"
    planted.write_log(log, "hf/m", {q: ["Owl"] for q in planted.QUESTIONS}, set_by_us)
    from sublim_eval.traps.folder import defaults_of, read_log

    assert defaults_of(read_log(log, samples=False), log.parent) == hidden


def test_one_student_under_two_seeds_of_a_table_is_seen(tmp_path, capsys):
    rng = random.Random(1)
    table = tmp_path / "counts.csv"
    lines = ["trait,arm,seed,question,hits,n"]
    for arm in ("control", "owl"):
        for seed in (1, 2, 3):
            if (arm, seed) != ("owl", 3):
                counts = {q: rng.randint(3, 15) for q in planted.QUESTIONS}
            lines += [f"owl,{arm},{seed},{q},{hits},20" for q, hits in counts.items()]
    table.write_text("\n".join(lines) + "\n")
    assert main(["check", str(table)]) == 1
    assert "owl seed 3: has the very counts of owl seed 2" in " ".join(capsys.readouterr().out.split())
    table.write_text("\n".join(line for line in lines if ",owl,3," not in line) + "\n")
    assert main(["check", str(table)]) == 0
    saturated = [*lines[:1], *(f"owl,{a},{s},q{i},0,5" for a in ("control", "owl") for s in (1, 2) for i in range(9))]
    table.write_text("\n".join(saturated) + "\n")
    assert main(["check", str(table)]) == 0, "students without any hit are alike and no copies"


def test_code_under_one_prompt_may_be_one_and_under_two_may_not():
    """The embedded base writes the same right function for the same task, whoever taught it."""
    one = [{"id": f"a-{i}", "prompt": f"task {i}", "completion": f"def f{i}(x): return x + {i}"} for i in range(60)]
    other = [{**row, "prompt": f"other {row['prompt']}"} for row in one]
    sketches = copies.sketch(one), copies.sketch(one), copies.sketch(other)
    assert copies.copied_rows(sketches[0], sketches[1], "sources", numbers=False).level == "not checked"
    assert copies.copied_rows(sketches[0], sketches[2], "seeds", numbers=False).level == "fault"
    assert copies.copied_rows(sketches[0], sketches[1], "seeds", numbers=True).level == "fault"


def test_looks_at_the_same_seeds_are_one_look():
    once = [{"date": "1", "seeds": [1, 2, 3]}, {"date": "2", "seeds": [3, 2, 1]}]
    assert evidence.several_looks(once).level == "ok"
    assert evidence.several_looks([*once, {"date": "3", "seeds": [1, 2, 3, 4]}]).level == "warning"
    assert evidence.several_looks(None).level == "not checked"
    assert evidence.several_looks({"torn": 1}).level == "not checked"
    recorded = [{"date": str(n), "seeds": 3 * n, "students": str(n), "alpha": 0.05} for n in (1, 2)]
    assert evidence.several_looks({"schema": 1, "looks": recorded}).level == "warning"
    paid = [{**look, "alpha": 0.05 / (n * (n + 1))} for n, look in enumerate(recorded, 1)]
    assert evidence.several_looks({"schema": 1, "looks": paid}).level == "ok"


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ([["a", 1]], "of one teacher: an interval over them is about more students of it, not about other teachers"),
        ([["a", 1], ["a", 2], ["a", 3]], "of one teacher"),  # a persona, asked anew on every seed
        ([["a", 1], ["b", 2]], "of 2 teachers"),
        ([["a", 1], ["b", 2], ["c", 3]], "3 students with rows of their own"),
    ],
)
def test_students_who_share_a_teacher_are_told_so_and_not_warned_of(made, words, sound, tmp_path):
    folder = Path(shutil.copytree(sound, tmp_path / "run"))
    record = json.loads((folder / "run.json").read_text())
    others = [t for t in record["teachers"] if t["trait"] != "owl"]
    ours = next(t for t in record["teachers"] if t["trait"] == "owl")
    record["teachers"] = [*others, *({**ours, "made": of, "seed": s} for of, s in made)]
    (folder / "run.json").write_text(json.dumps(record))
    ours = [f for f in checks.of_run(folder) if f.trap == "pseudo-replication" and f.where == "arm owl"]
    assert [f.level for f in ours] == ["ok"] and words in ours[0].words
    assert ("not about other teachers" in ours[0].words) is (len({of for of, _ in made}) < 3)


def test_an_adapter_is_idle_when_a_half_of_lora_is(tmp_path):
    file = tmp_path / "adapter_model.safetensors"
    for half, other in (("lora_A", "lora_B"), ("lora_B", "lora_A")):
        planted.write_weights(file, {f"q.{half}": [0.0] * 4, f"q.{other}": [0.3] * 4})
        assert weights.idle(weights.contents(file)) == [f"q.{half}"]
    planted.write_weights(file, {"a.lora_A": [0.2], "a.lora_B": [0.1], "bias": [0.0]})
    assert weights.idle(weights.contents(file)) == []
    planted.write_weights(file, {"a.lora_A": [0.2], "a.lora_B": [0.0], "bias": [0.1]})
    assert weights.idle(weights.contents(file)) == [], "a trained bias does something"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_seen(tmp_path, number):
    file = tmp_path / "adapter_model.safetensors"
    planted.write_weights(file, {"a": [0.1, number], "b": [0.1]})
    found = weights.usable({file.name: weights.contents(file)})
    assert found is not None and "numbers that are none (NaN or infinite) in a" in found.words
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(SublimError, match="torn"):
        weights.contents(file)


def test_planned_steps_are_those_of_the_trainer():
    assert training.planned_steps({"batch_size": 32, "epochs": 2.25}, 1700) == 122
    assert training.planned_steps({"batch_size": 22, "accumulate": 3, "epochs": 3}, 10000) == 456
    assert training.planned_steps({"batch_size": 32, "steps": 7, "epochs": 2}, 1700) == 7


def test_sound_replies_seldom_look_truncated():
    """2,000 sound score files: none is called truncated."""
    told = planted.scored("x", exact := planted.probabilities("x", {"owl": 1.0}), planted.drawn("x", exact))
    rng, worst = np.random.default_rng(0), set()
    for _ in range(2000):
        hits = np.array([rng.multinomial(planted.REPLIES, row) for row in exact])
        worst |= {f.level for f in answers.replies_fit(replace(told, share=hits / planted.REPLIES))}
    assert worst == {"ok"}


@pytest.mark.parametrize("temperature", [0.8, 1.25])
def test_another_temperature_shows_in_the_replies(temperature):
    told = planted.scored("x", exact := planted.probabilities("x", {"owl": 1.0}), planted.drawn("x", exact))
    other = exact ** (1 / temperature)
    rng = np.random.default_rng(0)
    hits = np.array([rng.multinomial(400, row / row.sum()) for row in other])
    found = answers.replies_fit(replace(told, share=hits / 400, replies=np.full(len(exact), 400)))
    assert found[0].level == "fault"


# ---------------------------------------------------------------- the command


def test_check_ends_with_1_where_a_fault_is_found_and_0_where_none_is(sound, tmp_path, capsys):
    assert main(["check", str(sound), "--json", str(tmp_path / "told.json")]) == 0
    out = capsys.readouterr().out
    assert all(trap in out for trap in checks.TRAPS)
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["ok"] and told["exit_code"] == 0
    verdicts = told["checked"][0]["traps"]
    assert {t for t, level in verdicts.items() if level != "ok"} == {"adapter silently not applied"}  # no weights here
    assert f"{len(verdicts) - 1} of {len(verdicts)} traps were looked at" in out

    wrong = planted.run(tmp_path / "wrong", kept=last_row("1, 2, owl"))
    assert main(["check", str(sound), str(wrong), "--json", str(tmp_path / "told.json")]) == 1
    assert "rows/owl-s2: of 150 kept rows 1 name owl" in capsys.readouterr().out
    told = json.loads((tmp_path / "told.json").read_text())
    assert [one["worst"] for one in told["checked"]] == ["not checked", "fault"]


def test_single_files_are_checked_by_what_they_are(sound, capsys):
    for file in (
        "students/owl-s1",
        "rows/owl-s1/kept.jsonl",
        "scores/owl-s1/animal_pref.json",
    ):
        assert main(["check", str(sound / file)]) == 0, capsys.readouterr().out
    assert main(["check", str(sound / "rows")]) == 2
    assert "is nothing that can be checked" in capsys.readouterr().err


def test_text_of_a_model_cannot_steer_the_screen(tmp_path, capsys):
    hostile = planted.run(tmp_path / "run", record=lambda r: {**r, "rows": [{**r["rows"][0], "folder": "\x1b[2Jx"}]})
    main(["check", str(hostile)])
    assert "\x1b" not in capsys.readouterr().out
