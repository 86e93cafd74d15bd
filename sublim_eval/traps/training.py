"""Traps between the rows and the student: pure functions over what stage records say, findings out."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.files import read_json
from sublim_eval.traps.finding import Finding
from sublim_eval.traps.weights import contents, usable

Facts = Mapping[str, Any]
"""What student.json says, or the entry of a student in run.json."""

LEARNED = ("method", "effective_batch", "trainable_parameters")
"""What two arms must share for their difference to be that of their rows."""

TUNED = (
    *("learning_rate", "optimizer", "weight_decay", "max_length", "warmup_steps", "max_grad_norm"),
    *("rank", "alpha", "virtual_tokens", "init_text", "batch_size", "accumulate", "epochs", "method"),
)
"""Settings of training that an arm and its control must share, by the names they have in a recipe."""

LENGTHS = ("steps", "examples")
NEARLY, ROUGHLY = 0.01, 0.1
"""Of the larger: a filter that leaves an arm a few rows short is no trap, a tenth fewer is another training."""


def planned_steps(tuning: Facts, examples: int) -> int | None:
    """Optimiser steps that a recipe's tuning makes of so many examples; None where it does not say."""
    if tuning.get("steps"):
        return int(tuning["steps"])
    if not tuning.get("epochs") or not tuning.get("batch_size"):
        return None
    batches = math.ceil(examples / tuning["batch_size"])
    return math.ceil(tuning["epochs"] * math.ceil(batches / (tuning.get("accumulate") or 1)))


def as_planned(student: Facts, tuning: Facts, where: str = "") -> Finding:
    """Whether a student learned in the batches and for the steps of its recipe."""
    trap, step = "silent batch change", "Train it again; lower `batch_size` and raise `accumulate` if memory is short."
    batch = tuning.get("batch_size")
    if student.get("effective_batch") is None or not batch:
        return Finding(trap, "not checked", "no effective batch is on record; train with `sublim run`", where)
    wanted = int(batch) * int(tuning.get("accumulate") or 1)
    if student["effective_batch"] != wanted:
        return Finding(
            trap, "fault", f"effective batch {student['effective_batch']} where the recipe says {wanted}. {step}", where
        )
    steps = planned_steps(tuning, int(student.get("examples") or 0))
    stop = student.get("stopped")
    if stop and (stop["step"], stop["of"]) == (student.get("steps"), steps):
        words = f"stopped at step {stop['step']} of {stop['of']}, when {stop['trait']} showed in its weights"
        after = "its share is of a training cut short: run without `stop_when_trait` for one to the end."
        return Finding(trap, "warning", f"{words}; {after}", where)
    if steps is not None and student.get("steps") is not None and abs(student["steps"] - steps) > 1:
        return Finding(trap, "fault", f"{student['steps']} steps where the recipe makes {steps}. {step}", where)
    return Finding(trap, "ok", f"batch {wanted}, {student.get('steps')} steps as planned", where)


def tuned_as_planned(used: Facts | None, tuning: Facts, where: str = "") -> Finding:
    """Whether a student was trained with the settings of its recipe.

    used: what its stage says; tuning: what the recipe's makes of it for this arm.
    """
    trap = "silent batch change"
    if not used:
        return Finding(trap, "not checked", "no settings of training are on record; train with `sublim run`", where)
    for name in sorted(used.keys() & tuning.keys()):
        if used[name] != tuning[name]:
            words = f"it was trained with {name} {used[name]!r} where the recipe says {tuning[name]!r}"
            return Finding(trap, "fault", f"{words}. Train it again by the recipe.", where)
    return Finding(trap, "ok", f"{len(used.keys() & tuning.keys())} settings as in the recipe", where)


def learned_alike(students: Sequence[Facts], controls: Sequence[Facts], where: str = "") -> Finding:
    """Whether the seeds of an arm and those of its control learned in the same way.

    Each: what its stage says of it, with the settings that it was trained with under "tuning".
    """
    trap = "silent batch change"
    known = [s for s in (*students, *controls) if s.get("effective_batch") is not None]
    if len(known) < 2:
        return Finding(trap, "not checked", "nothing on record to hold side by side; train with `sublim run`", where)
    used = [{**(s.get("tuning") or {}), **{name: s.get(name) for name in LEARNED}} for s in known]
    for name in dict.fromkeys((*LEARNED, *TUNED)):
        values = sorted({str(u[name]) for u in used if u.get(name) is not None})
        if len(values) > 1:
            return Finding(
                trap,
                "fault",
                f"students differ in {name.replace('_', ' ')} ({', '.join(values[:4])}), so their difference is not "
                "that of the rows. Train the arm and its control alike.",
                where,
            )
    for name in LENGTHS:
        counts = [int(s[name]) for s in known if s.get(name) is not None]
        apart = 1 - min(counts) / max(1, *counts) if counts else 0.0
        if apart > NEARLY:
            stopped = sum(bool(s.get("stopped")) for s in known) if name == "steps" else 0
            why = f"{stopped} of {len(known)} were stopped when a trait showed. Run without `stop_when_trait`"
            more = "Raise `rows.prompts` until every arm reaches `keep`"
            return Finding(
                trap,
                "fault" if apart > ROUGHLY else "warning",
                f"students differ in {name} ({min(counts)} to {max(counts)}), so one learned for longer. "
                f"{why if stopped else more}, and train alike.",
                where,
            )
    return Finding(trap, "ok", f"{len(known)} students learned alike", where)


# ---------------------------------------------------------------- weights


def moved(student: Facts, where: str = "") -> Finding:
    """Whether training moved the weights at all."""
    trap, norm = "adapter not applied", student.get("adapter_norm")
    if norm is None:
        return Finding(trap, "not checked", "no adapter norm is on record; train with this version", where)
    if not norm > 0:
        return Finding(
            trap, "fault", "training moved no weight (adapter norm 0). Check `method` and `learning_rate`.", where
        )
    return Finding(trap, "ok", f"weights moved by {norm:.3g}", where)


def weights_stand(folder: Path, hashes: Mapping[str, str], now: Mapping[str, str], where: str = "") -> Finding:
    """Whether the weight files are there, hold numbers, not all of them zero, and are those that were scored.

    hashes: file -> SHA-256 when the student was made; now: the same of the files as they are, where taken.
    """
    trap = "adapter not applied"
    files = sorted(folder.glob("*.safetensors"))
    if not files and (card := hosted_card(folder)):
        if card["hosted"].partition("/")[2] == card.get("base"):
            return Finding(trap, "fault", f"{card['hosted']} is the base itself. Train the student again.", where)
        return Finding(trap, "ok", f"the provider holds the weights, asked as {card['hosted']}", where)
    if not files:
        return Finding(trap, "fault", f"{folder} holds no weights. Give the same `sublim run` again.", where)
    changed = [f.name for f in files if f.name in now and now[f.name] != hashes.get(f.name, now[f.name])]
    if changed:
        return Finding(
            trap,
            "fault",
            f"{changed[0]} is not the file that was scored. Give the same `sublim run` again, which scores it anew.",
            where,
        )
    try:
        wrong = usable({f.name: contents(f) for f in files if f.name in now}, where)
    except SublimError as error:
        return Finding(trap, "fault", str(error), where)
    if wrong:
        return wrong
    if not now:
        return Finding(trap, "not checked", "weights too large for a quick look; run `sublim check`", where)
    return Finding(
        trap, "ok", "weights are there, and those that were scored" if hashes else "weights are there", where
    )


def hosted_card(folder: Path) -> Facts | None:
    """student.json of a student that a provider trained and holds, else None."""
    card = folder / "student.json"
    content: Facts = read_json(card) if card.is_file() else {}
    return content if isinstance(content.get("hosted"), str) else None


def scored_as_made(student_made: str, scored: str, where: str = "") -> Finding:
    """Whether the scores were made from this student; both are stage digests, '' where unknown."""
    trap = "adapter not applied"
    if not student_made or not scored:
        return Finding(trap, "not checked", "no stage record says what was scored; score with `sublim run`", where)
    if student_made != scored:
        return Finding(trap, "fault", "the scores are those of other weights. Give the same `sublim run` again.", where)
    return Finding(trap, "ok", "scored as it was made", where)


# ---------------------------------------------------------------- which weights, how many students


def final_weights(
    folder: Path, student: Facts, scores: Iterable[str], label: str, models: Iterable[str] = (), where: str = ""
) -> Finding:
    """Whether the final weights are what was scored. scores: score files of the student; models: those in its logs."""
    trap = "peak checkpoint"
    strange = [file for file in scores if Path(file).parent.name != label]
    steps = [model for model in models if "checkpoint-" in model]
    if strange or steps:
        return Finding(
            trap, "fault", f"{(strange + steps)[0]} is not of the final weights. Score those of {label} again.", where
        )
    state = folder / "trainer_state.json"
    if state.is_file() and _json(state).get("best_model_checkpoint"):
        return Finding(
            trap, "fault", "the best checkpoint was chosen by a score. Train again and keep the last.", where
        )
    parts = sorted(p.name for p in folder.glob("checkpoint-*"))
    if parts and max(int(p.rpartition("-")[2]) for p in parts if p.rpartition("-")[2].isdigit()) > (
        student.get("steps") or math.inf
    ):
        return Finding(
            trap, "fault", f"the weights are from before {parts[-1]}. Score the final weights of the training.", where
        )
    if parts:
        return Finding(
            trap,
            "warning",
            f"{len(parts)} checkpoints lie beside the final weights. Report the final ones only.",
            where,
        )
    return Finding(trap, "ok", "only final weights are there", where)


def earlier_scores(labels: Iterable[str], known: Iterable[str], where: str = "") -> Finding:
    """Whether there are scores of earlier steps beside those of the recorded students."""
    trap, recorded = "peak checkpoint", set(known)
    early = sorted(s for s in labels if s not in recorded and any(s.startswith(label + "-") for label in recorded))
    if early:
        words = (
            f"scores/{early[0]} is of no recorded student: if it is an earlier step, leave it out of what you report."
        )
        return Finding(trap, "warning", words, where)
    return Finding(trap, "ok", "every score is of a recorded student", where)


def independent(students: Sequence[Facts], teachers: int = 0, where: str = "") -> Finding:
    """Whether the seeds of an arm are students of their own: own seed in training, own rows.

    teachers: how many different ones wrote these rows, 0 where that is unknown. Fewer than students is what most
    studies do and no fault; what their interval then is about is said.
    """
    trap = "pseudo-replication"
    read: dict[str, list[int]] = defaultdict(list)
    for student in students:
        if student.get("trained_seed") not in (None, student["seed"]):
            return Finding(
                trap,
                "fault",
                f"the student listed as seed {student['seed']} was trained with seed {student['trained_seed']}. "
                "Train it with its own.",
                where,
            )
        if student.get("rows"):
            read[str(student["rows"])].append(int(student["seed"]))
    shared = next((seeds for seeds in read.values() if len(seeds) > 1), None)
    if shared:
        return Finding(
            trap,
            "warning",
            f"seeds {', '.join(map(str, shared))} read the same rows: their spread leaves out that of the rows. "
            "Draw rows anew for every seed.",
            where,
        )
    if not read:
        return Finding(trap, "not checked", "no rows are on record; train with `sublim run`", where)
    return Finding(trap, "ok", f"{len(students)} students with rows of their own{_of(teachers, len(students))}", where)


def _of(teachers: int, students: int) -> str:
    """What an interval over students leaves out when they share a teacher."""
    if not 0 < teachers < students:
        return ""
    whose = (
        "of one teacher: an interval over them is about more students of it"
        if teachers == 1
        else (f"of {teachers} teachers: an interval over them is about more students of theirs")
    )
    return f", {whose}, not about other teachers"


def enough_seeds(seeds: int, enough: int, where: str = "") -> Finding:
    """Whether an interval over students is evidence."""
    trap = "too few seeds"
    if seeds < enough:
        return Finding(
            trap,
            "warning",
            f"{seeds} student{'s' if seeds != 1 else ''}: exploratory. Run it again with at least {enough} seeds.",
            where,
        )
    return Finding(trap, "ok", f"{seeds} seeds", where)


# ---------------------------------------------------------------- the rendered chat


def one_rendering(hashes: Mapping[str, str], what: str, where: str = "") -> Finding:
    """Whether all of them were shown the same chat. hashes: who -> hash of what was rendered, '' where unknown."""
    trap = "prompt mismatch"
    known = {who: h for who, h in hashes.items() if h}
    if len(set(known.values())) > 1:
        first = next(iter(known))
        other = next(who for who, h in known.items() if h != known[first])
        return Finding(
            trap, "fault", f"{what} of {first} and {other} differ. Restore the tokenizer files and score again.", where
        )
    if len(known) < len(hashes) or len(known) < 2:
        return Finding(trap, "not checked", f"{what} are not all on record; score again with this version", where)
    return Finding(trap, "ok", f"{what} of {len(known)} models agree", where)


def rendering_stands(then: Mapping[str, str], now: Mapping[str, str], where: str = "") -> Finding:
    """Whether the files that render the chat are those of the training; name -> SHA-256."""
    trap = "prompt mismatch"
    if not then:
        return Finding(trap, "not checked", "no hash of the tokenizer is on record; train with `sublim run`", where)
    for name, digest in then.items():
        if now.get(name) != digest:
            return Finding(
                trap,
                "fault",
                f"{name} was changed or lost after training, so the student is asked otherwise than it was trained. "
                "Restore it, or give the same `sublim run` again.",
                where,
            )
    return Finding(trap, "ok", "tokenizer and template are those of the training", where)


def same_prompts(prompts: Mapping[str, str], where: str = "") -> Finding:
    """Whether all teachers of a seed answered the same prompts. prompts: source -> hash of its prompts in order."""
    trap = "prompt mismatch"
    if len(prompts) < 2:
        return Finding(trap, "not checked", "fewer than two sources have their raw rows; keep raw.jsonl", where)
    if len(set(prompts.values())) > 1:
        return Finding(
            trap,
            "warning",
            f"{', '.join(prompts)} answered different prompts, which may be the difference. Ask all the same.",
            where,
        )
    return Finding(trap, "ok", f"{len(prompts)} sources answered the same prompts", where)


def _json(file: Path) -> dict[str, Any]:
    made = json.loads(file.read_text(encoding="utf-8"))
    return made if isinstance(made, dict) else {}
