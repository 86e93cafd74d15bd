"""Traps between what a run wrote down and what lies there now: pure functions over records and hashes.

stage.json holds what a stage was made from (`inputs`, with their digest as `made`), what it found, and the hash of
every file; run.json repeats all but inputs and files. Whoever changes one of them leaves the others behind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from sublim_eval.files import digest
from sublim_eval.traps.finding import Finding

Facts = Mapping[str, Any]

OWN = frozenset({"inputs", "files", "made"})
"""Of stage.json: what is no finding of the stage."""

PLACED = frozenset({"folder", "arm", "seed", "trait", "base", "scores", "source"})
"""What run.json says of an entry by itself, from the recipe."""

AGAIN = "Give the same `sublim run` again, which makes it anew."


def stage_stands(
    stage: Facts | None,
    entry: Facts,
    now: Mapping[str, str | None],
    wanted: Iterable[str],
    where: str = "",
    *,
    recorded: bool = True,
) -> Finding:
    """Whether a folder is what its stage wrote and what run.json says of it.

    stage: stage.json, None where it is missing or no record; entry: run.json's line of it; now: file -> SHA-256, None
    where it was not taken; wanted: files that such a stage has to list; recorded: whether the run keeps such records.
    """
    trap = "edited afterwards"
    if stage is None:
        if recorded:
            return Finding(trap, "fault", f"stage.json is missing or broken, so nothing vouches for it. {AGAIN}", where)
        return Finding(trap, "not checked", "no stage.json says what was made; make it with `sublim run`", where)
    wrong = _record_at_odds(stage, entry) or _files_at_odds(stage, now, wanted)
    if wrong:
        return Finding(trap, "fault", f"{wrong}. {AGAIN}", where)
    files = stage["files"]
    added = [name for name in now if name not in files and not _checkpoint(name)]
    if added:
        return Finding(
            trap, "warning", f"{_some(added)} was put there afterwards. Move it away, or say where it is from.", where
        )
    unread = [name for name in files if now.get(name) is None]
    if unread:
        return Finding(trap, "not checked", f"{_some(unread)} is away or too large for a quick look", where)
    return Finding(trap, "ok", f"{len(files)} files are those that were made", where)


def _record_at_odds(stage: Facts, entry: Facts) -> str | None:
    """How stage.json contradicts itself or run.json, None where it does not."""
    inputs, made = stage.get("inputs"), stage.get("made")
    if not isinstance(inputs, Mapping) or made != digest(inputs):
        return "stage.json was edited: what it says it was made from does not give its digest"
    if entry.get("made") not in (None, made):
        return "stage.json is not the one that run.json speaks of: another folder was put in its place"
    for name in sorted(stage.keys() - OWN - PLACED):
        if name in entry and digest(entry[name]) != digest(stage[name]):
            return f"run.json says {name} {_short(entry[name])}, stage.json {_short(stage[name])}"
    return None


def _files_at_odds(stage: Facts, now: Mapping[str, str | None], wanted: Iterable[str]) -> str | None:
    """Which file is not what stage.json says of it, None where all are."""
    files = stage.get("files")
    if not isinstance(files, Mapping) or not files:
        return "stage.json lists no files, so any would do"
    unlisted = [name for name in wanted if name not in files]
    if unlisted:
        return f"stage.json does not list {unlisted[0]}"
    gone = [name for name in files if name not in now and not name.endswith(".safetensors")]
    if gone:  # weights may have been left at the run's storage
        return f"{_some(gone)} is gone"
    changed = [name for name, made in files.items() if now.get(name) not in (None, made)]
    return f"{_some(changed)} is not as it was made" if changed else None


def recipe_stands(record: Facts, where: str = "run.json") -> Finding:
    """Whether run.json's recipe is still the one that was run, by its digest, and its arms are the recipe's."""
    trap, recipe = "edited afterwards", record.get("recipe") or {}
    if not record.get("recipe_hash"):
        return Finding(trap, "not checked", "no digest of the recipe is on record; make it with `sublim run`", where)
    if digest(recipe) != record["recipe_hash"]:
        return Finding(trap, "fault", f"the recipe in run.json was edited: its digest is another. {AGAIN}", where)
    for name, arm in (record.get("arms") or {}).items():
        planned = (recipe.get("arms") or {}).get(name)
        if planned is None:
            return Finding(trap, "fault", f"run.json lists an arm {name} that its recipe does not know. {AGAIN}", where)
        other = next((k for k, v in planned.items() if k != "seeds" and digest(arm.get(k)) != digest(v)), None)
        if other:
            words = (
                f"arm {name} has {other} {_short(arm.get(other))} in run.json, {_short(planned[other])} in its recipe"
            )
            return Finding(trap, "fault", f"{words}. {AGAIN}", where)
    return Finding(trap, "ok", "the recipe is the one that was run", where)


def rows_counted(entry: Facts, kept: int, raw: int | None, where: str = "") -> Finding:
    """Whether as many rows lie there as were counted; raw: None where they were not read."""
    trap = "edited afterwards"
    for name, count in (("kept", kept), ("raw", raw)):
        if count is not None and entry.get(name) not in (None, count):
            words = f"{count} {name} rows lie there where {entry[name]} were counted"
            return Finding(trap, "fault", f"{words}. {AGAIN}", where)
    return Finding(trap, "ok", f"{kept} kept rows, as counted", where)


# ---------------------------------------------------------------- whose student it is


def lineage(card: Facts, adapter: Facts | None, wanted: Facts, where: str = "") -> Finding:
    """Whether student.json and adapter_config.json name the arm, trait and base that the record has at this place.

    wanted: of these "arm", "trait", "base" and "teacher_base" those that are known; adapter: None without one.
    """
    trap, step = "wrong lineage", "Put the right folder back, or give the same `sublim run` again."
    if not card and adapter is None:
        return Finding(
            trap, "not checked", "no student.json says whose student it is; make it with `sublim run`", where
        )
    for name, value in wanted.items():
        if name in card and card[name] != value:
            words = f"student.json says {name.replace('_', ' ')} {card[name]!r} where the record has {value!r}"
            return Finding(trap, "fault", f"{words}. {step}", where)
    base = card.get("base", wanted.get("base"))
    named = (adapter or {}).get("base_model_name_or_path")
    if named and base and not _same_model(str(named), str(base)):
        words = f"adapter_config.json adapts {named!r}, student.json or the record {base!r}"
        return Finding(trap, "fault", f"{words}: on the other base it is another model. {step}", where)
    return Finding(trap, "ok", f"{card.get('trait') or 'no trait'} on {base}, as recorded", where)


def _same_model(one: str, other: str) -> bool:
    """Whether two names may stand for one model: a folder by its last part, a settled base by what it was made of."""
    last = [PurePath(name).name.removeprefix("base-").rpartition("--")[2] for name in (one, other)]
    cached = "/" in other and f"/{other}/" in one.replace("--", "/")  # a hub's: models--org--name/snapshots/...
    return last[0] == last[1] or cached


def base_weights(trained_on: str, base: str, where: str = "") -> Finding:
    """Whether a student was trained on the weights that its run scored as its base; both are digests, '' unknown."""
    trap = "wrong lineage"
    if not trained_on or not base:
        return Finding(trap, "not checked", "no digest of the base is on record; make it with `sublim run`", where)
    if trained_on != base:
        words = "it was trained on other weights than those that the run scored as its base"
        return Finding(trap, "fault", f"{words}. Train it again on that base.", where)
    return Finding(trap, "ok", "trained on the base that the run scored", where)


# ---------------------------------------------------------------- who is listed


def complete(listed: Iterable[tuple[str, int]], planned: Iterable[tuple[str, int]], where: str = "run.json") -> Finding:
    """Whether every student that was to run is in the record; (arm, seed) each."""
    trap, there = "dropped students", set(listed)
    lacking = [f"{arm} with seed {seed}" for arm, seed in planned if (arm, seed) not in there]
    if lacking:
        words = f"{len(lacking)} students of the recipe are not listed: {', '.join(lacking[:4])}"
        return Finding(trap, "fault", f"{words}. Report every seed that was run, failed ones too.", where)
    return Finding(trap, "ok", f"all {len(there)} students of the recipe are listed", where)


def unlisted(folders: Iterable[str], known: Iterable[str], what: str, where: str = "") -> Finding:
    """Whether students or scores lie there that the record does not list."""
    trap, recorded = "dropped students", set(known)
    extra = sorted(name for name in folders if name not in recorded)
    if extra:
        words = f"{_some(extra)} lies there and is in no record: {what} that were left out of the figures?"
        return Finding(trap, "warning", f"{words} List them, or say why not.", where)
    return Finding(trap, "ok", f"no {what} beside those of the record", where)


def listed_once(students: Sequence[Facts], weights: Mapping[str, str], where: str = "run.json") -> Finding:
    """Whether no student stands in the record under several seeds or arms; weights: label -> digest of its weights."""
    trap = "same student twice"
    homes: dict[tuple[str, str], list[Facts]] = defaultdict(list)
    for student in students:
        marks = [("folder", student.get("folder")), ("digest", student.get("made"))]
        marks += [("weights", weights.get(str(student.get("label"))))]
        marks += [("score file", file) for file in (student.get("scores") or {}).values()]
        for kind, value in marks:
            if value:
                homes[kind, str(value)].append(student)
    for (kind, value), several in homes.items():
        if len(several) > 1:
            names = " and ".join(f"{s.get('arm')} seed {s.get('seed')}" for s in several[:3])
            again = len({s.get("arm") for s in several}) == 1 or kind in ("folder", "score file")
            words = f"{names} are one student: the same {kind}" + (f" {value}" if "/" in value else "")
            step = "Count it once, or train each with its own seed."
            return Finding(trap, "fault" if again else "warning", f"{words}. {step}", where)
    return Finding(trap, "ok", f"{len(students)} students have folders, weights and scores of their own", where)


def _checkpoint(name: str) -> bool:
    """Whether another trap speaks of such a file."""
    return name.startswith("checkpoint-") or name == "trainer_state.json"


def _some(names: Sequence[str]) -> str:
    return names[0] + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else text[:37] + "..."
