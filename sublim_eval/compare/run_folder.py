"""Run folders -> the scored students in them: who was trained on what, with which seed, and what each answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, is_there, read_json
from sublim_eval.registry.experiment import (
    CONTROLS,
    RECORD,
    Expected,
    arm_key,
    changes_of,
    run_of_student,
    seeded,
)
from sublim_eval.scores.probe_scores import ProbeScores

SWEPT = {"method", "rank", "alpha", "learning_rate"}
"""Settings of training that a sweep of learning rates over ranks may change."""

TRAINED = ("effective_batch", "steps", "examples")
"""What the record says of how long a student trained; student and control should agree."""

STOPPED = "stopped"
"""Where the record says at which step, and for which trait, a stop rule ended a training; absent or null elsewhere."""

Scores = Mapping[str, ProbeScores]
"""Probe name -> scores of one model."""


@dataclass(frozen=True)
class RecordedArm:
    """One kind of student: its role, the trait of its teacher, its base, and the arm it names as control.

    base: of the student; teacher_base: of the teacher, None where that is the recipe's. change: what is done
    otherwise than in the plain arm, in words; key: the same as a digest of settings, by which arms go together.
    of: the trait arm that a variant is held against beside its control.
    axis, dose: its place on a dose curve. seeds: those it was to run on, None for the recipe's. taught_by: the arm
    whose students were its teachers. in_context: nothing was trained, examples stand before every question.
    rank, learning_rate: of its training, None where the record does not say; swept: whether nothing but them (and the
    scale that goes with a rank) tells it from the plain arm. expected: what others measured.
    """

    name: str
    role: str
    trait: str | None
    base: str
    control: str
    teacher_base: str | None = None
    change: str = ""
    key: str = ""
    axis: str | None = None
    dose: float | None = None
    of: str | None = None
    seeds: tuple[int, ...] | None = None
    taught_by: str | None = None
    in_context: bool = False
    rank: int | None = None
    learning_rate: float | None = None
    swept: bool = False
    expected: Expected | None = None


@dataclass(frozen=True)
class Run:
    """One experiment: a run folder, or several of one recipe with different seeds.

    students: arm -> seed -> scores, every seed that ran; failed: arm -> seed -> why there is no student.
    bases: model name -> scores; teachers: (trait, base) -> the scores of each of its teachers; teachers_made: how many
    different ones there are, which a persona asked on every seed is not.
    training: arm -> seed -> what the record says under TRAINED and STOPPED. doses: axis -> where the intact arms stand
    on it.
    held_out: arm -> seed -> loss on fresh rows of its teacher, nats a token, where it was taken.
    unscored: questions left out beforehand because some student has no score of them.
    """

    name: str
    folders: tuple[Path, ...]
    arms: Mapping[str, RecordedArm]
    students: Mapping[str, Mapping[int, Scores]]
    failed: Mapping[str, Mapping[int, str]]
    bases: Mapping[str, Scores]
    teachers: Mapping[tuple[str, str], Sequence[Scores]]
    base: str = ""
    training: Mapping[str, Mapping[int, Mapping[str, Any]]] = field(default_factory=dict)
    doses: Mapping[str, float] = field(default_factory=dict)
    held_out: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    unscored: int = 0
    teachers_made: Mapping[tuple[str, str], int] = field(default_factory=dict)


def load(paths: Sequence[Path]) -> list[Run]:
    """Read run folders; a student folder inside a run stands for that student and the controls of its seed.

    Runs of one recipe that differ in nothing but their seeds are pooled; others stay apart.
    Raises SublimError for a folder that is no run, an unfinished run, a missing score file, a student given twice.
    """
    if not paths:
        raise SublimError("There is nothing to compare. Give one or more run folders.")
    chosen: dict[Path, set[str] | None] = {}
    for path in paths:
        folder, student = _place(Path(path))
        before = chosen.get(folder, set())
        chosen[folder] = None if student is None or before is None else before | {student}
    records = {folder: _record(folder) for folder in chosen}
    alike: dict[str, list[Path]] = {}
    try:
        for folder, record in records.items():
            recipe = {k: v for k, v in record["recipe"].items() if k not in ("seeds", "about", "source")}
            alike.setdefault(digest([recipe, _weights(record)]), []).append(folder)
        return [_pool([(f, records[f], chosen[f]) for f in folders]) for folders in alike.values()]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        names = ", ".join(str(folder / RECORD) for folder in records)
        raise SublimError(
            f"{names}: not as `sublim run` writes it ({type(error).__name__}: {error}). Make the run again."
        ) from error


def _place(path: Path) -> tuple[Path, str | None]:
    """(run folder, name of the student in it or None for all)."""
    path = path.resolve()
    if (path / RECORD).is_file():
        return path, None
    if (run := run_of_student(path)) and (run / RECORD).is_file():
        return run, path.name
    raise SublimError(
        f"{path} is neither a run folder (no run.json in it) nor a student inside one. "
        "Give a folder made by `sublim run`."
    )


def _record(folder: Path) -> dict[str, Any]:
    record = read_json(folder / RECORD)
    if not isinstance(record, dict) or record.get("schema") != 1 or "recipe" not in record:
        raise SublimError(f"{folder / 'run.json'} is no run record of schema 1. Make the run again with this version.")
    if record.get("status", "done") != "done" or "students" not in record:
        raise SublimError(f"{folder} is unfinished. Give the same `sublim run` again; what is finished is kept.")
    return record


def _weights(record: Mapping[str, Any]) -> list[Any]:
    return sorted([b["name"], b.get("weights_hash")] for b in record["bases"])


def _pool(parts: Sequence[tuple[Path, dict[str, Any], set[str] | None]]) -> Run:
    """One Run from the folders of one recipe."""
    first = parts[0][1]
    home = first["recipe"]["base"]
    arms = {name: _arm(name, [p[1]["arms"][name] for p in parts], home, first["recipe"]) for name in first["arms"]}
    students: dict[str, dict[int, Scores]] = {name: {} for name in arms}
    failed: dict[str, dict[int, str]] = {name: {} for name in arms}
    training: dict[str, dict[int, Mapping[str, Any]]] = {name: {} for name in arms}
    held_out: dict[str, dict[int, float]] = {name: {} for name in arms}
    teachers: dict[tuple[str, str], list[Scores]] = {}
    for folder, record, names in parts:
        for entry in _wanted(record, arms, names):
            arm, seed = entry["arm"], int(entry["seed"])
            if seed in students[arm]:
                raise SublimError(
                    f"Seed {seed} of arm {arm!r} is given twice (again in {folder}). "
                    "A student counts once; leave one of the runs out."
                )
            if entry.get("failed"):
                failed[arm][seed] = str(entry["failed"])
            else:
                students[arm][seed] = _scores(folder, entry, f"the student of arm {arm!r}, seed {seed},")
                training[arm][seed] = {key: entry[key] for key in (*TRAINED, STOPPED) if entry.get(key) is not None}
                if entry.get("held_out_loss") is not None:
                    held_out[arm][seed] = float(entry["held_out_loss"])
        for arm in arms:
            for seed in (_seeds(record["arms"][arm], record) or ()) if names is None else ():
                if seed not in students[arm]:
                    failed[arm].setdefault(seed, "it did not run")
        for entry in (t for t in record.get("teachers", ()) if t.get("scores")):  # none: nothing could check it
            teachers.setdefault((entry["trait"], entry.get("base") or home), []).append(
                _scores(folder, entry, f"the {entry['trait']} teacher")
            )
    students = {arm: dict(sorted(seeds.items())) for arm, seeds in students.items()}
    folder, record, _ = parts[0]
    bases = {entry["name"]: _scores(folder, entry, f"base {entry['name']}") for entry in record["bases"]}
    folders, doses = tuple(p[0] for p in parts), record.get("doses") or {}
    made = _teachers_made([entry for _, record, _ in parts for entry in record.get("teachers", ())], home)
    return Run(
        folder.name,
        folders,
        arms,
        students,
        failed,
        bases,
        teachers,
        home,
        training,
        doses,
        held_out,
        teachers_made=made,
    )


def _teachers_made(entries: Sequence[Mapping[str, Any]], home: str) -> dict[tuple[str, str], int]:
    """(trait, base) -> how many different teachers: of one origin they are one, in whichever run they stand."""
    origins: dict[tuple[str, str], set[str]] = {}
    for entry in entries:
        origin = entry.get("made") or entry.get("folder") or entry.get("seed")
        origins.setdefault((entry["trait"], entry.get("base") or home), set()).add(str(origin))
    return {whose: len(some) for whose, some in origins.items()}


def _arm(name: str, parts: Sequence[Mapping[str, Any]], base: str, recipe: Mapping[str, Any]) -> RecordedArm:
    """An arm from its entry in each of the pooled records; they differ in seeds alone."""
    entry = parts[0]
    tuning = {**(recipe.get("student") or {})}
    tuning |= {key: value for key, value in (entry.get("student") or {}).items() if value is not None}
    if not isinstance(entry.get("trait"), str | None):
        raise TypeError(f"the trait of {name} is no name")
    changed = changes_of(entry)
    others = (recipe.get("expected") or {}).get(name)
    own = (
        [seed for part in parts for seed in (part.get("seeds") or ())] if isinstance(entry.get("seeds"), list) else None
    )
    return RecordedArm(
        name,
        entry["role"],
        entry.get("trait"),
        entry.get("student_base") or base,
        entry.get("control") or "control",
        teacher_base=entry.get("teacher_base") if entry.get("teacher_base") != base else None,
        change=entry.get("change") or "",
        key=entry.get("key") or arm_key(entry) or entry.get("change") or "",
        axis=entry.get("axis"),
        dose=entry.get("dose"),
        of=entry.get("of"),
        seeds=None if own is None else tuple(sorted(own)),
        taught_by=entry.get("taught_by"),
        in_context=bool(entry.get("in_context")),
        rank=tuning.get("rank") if tuning.get("method") == "lora" else None,
        learning_rate=tuning.get("learning_rate"),
        swept=changed.keys() <= {"student"} and changed.get("student", {}).keys() <= SWEPT,
        expected=Expected(**others) if others else None,
    )


def _seeds(entry: Mapping[str, Any], record: Mapping[str, Any]) -> Sequence[int] | None:
    """The seeds that an arm was to run on: its own, or the recipe's."""
    own = entry.get("seeds")
    return own if isinstance(own, list) else record["recipe"].get("seeds")


def _wanted(
    record: Mapping[str, Any], arms: Mapping[str, RecordedArm], names: set[str] | None
) -> Iterator[Mapping[str, Any]]:
    """The students asked for by folder name, with the controls of their seeds; all of them when names is None."""
    listed = [
        (Path(entry.get("folder") or seeded(entry["arm"], entry["seed"])).name, entry) for entry in record["students"]
    ]
    if names is not None and (strange := names - {name for name, _ in listed}):
        raise SublimError(f"Student {min(strange)!r} is not in its run's record. Give the run folder instead.")
    seeds = {entry["seed"] for name, entry in listed if names and name in names}
    for name, entry in listed:
        control = arms[entry["arm"]].role in CONTROLS and entry["seed"] in seeds
        if names is None or name in names or control:
            yield entry


def _scores(folder: Path, entry: Mapping[str, Any], who: str) -> Scores:
    if not entry.get("scores"):
        raise SublimError(f"{who} in {folder} has no scores. Give the same `sublim run` again to score it.")
    read = {}
    for probe, file in entry["scores"].items():
        if not is_there(folder / file):
            raise SublimError(
                f"The score file {folder / file} of {who} is missing. "
                "Give the same `sublim run` again; it makes only that."
            )
        read[probe] = ProbeScores.read(folder / file)
    return read
