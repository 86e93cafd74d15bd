"""Which model a name in a file means, so that a student is one student in every harness: an Identity."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from sublim_eval.board.columns import Role
from sublim_eval.board.formats.reading import clean
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.experiment import CONTROLS, STUDENTS, TEACHERS, seeded

LOCAL = ("sublim", "hf", "vllm", "sglang", "transformer_lens", "nnterp", "llama-cpp-python")
"""Engines of Inspect that run weights by their name or folder: what follows is the model, as lm-eval names it."""


class Identity(NamedTuple):
    """Who a model is; fields as the columns of the same name."""

    model: str
    base: str
    role: Role
    trait: str = ""
    run: str = ""
    arm: str = ""
    control: str = ""
    seed: int | None = None


class RunFolder(NamedTuple):
    """A run by its record. name: of the run on the board, no two alike."""

    folder: Path
    name: str
    record: Mapping[str, Any]


def of_record(run: RunFolder) -> dict[Path, Identity]:
    """Every score file that a record names -> whose scores they are.

    Raises KeyError, TypeError or ValueError for a record that is not as `sublim run` writes it.
    """
    files: dict[Path, Identity] = {}
    home = str(run.record["recipe"]["base"])
    for entry in run.record["bases"]:
        files |= _files(run, entry, _base(str(entry["name"])))
    for entry in run.record.get("teachers", ()):
        files |= _files(run, entry, _teacher(run, entry, home))
    for entry in run.record["students"]:
        if not entry.get("failed"):
            files |= _files(run, entry, _student(run, entry, home))
    return files


def _files(run: RunFolder, entry: Mapping[str, Any], who: Identity) -> dict[Path, Identity]:
    """The score files of an entry that lie in the run's folder, where alone a record may point."""
    named = [run.folder / str(file) for file in (entry.get("scores") or {}).values()]
    return {file: who for file in named if file.resolve().is_relative_to(run.folder.resolve())}


def _base(name: str) -> Identity:
    return Identity(clean(name), clean(name), "base")


def _teacher(run: RunFolder, entry: Mapping[str, Any], home: str) -> Identity:
    label = PurePosixPath(str(entry.get("folder") or seeded(str(entry["trait"]), int(entry.get("seed", 1))))).name
    base, trait = clean(entry.get("base") or home), clean(entry["trait"])
    return Identity(clean(f"{run.name}/{TEACHERS}/{label}"), base, "teacher", trait, run.name, seed=_seed(entry))


def _student(run: RunFolder, entry: Mapping[str, Any], home: str) -> Identity:
    """A student from its entry; its arm says what it is."""
    arm = run.record["arms"][entry["arm"]]
    control = arm["role"] in CONTROLS
    return Identity(
        clean(f"{run.name}/{seeded(str(entry['arm']), int(entry['seed']))}"),
        clean(arm.get("student_base") or entry.get("base") or home),
        "control" if control else "student",
        clean(arm.get("trait")),
        run.name,
        clean(entry["arm"]),
        "" if control else clean(arm.get("control") or "control"),
        _seed(entry),
    )


def carried(role: str, trait: str) -> str:
    """What the teacher of an arm carried that is asked for a trait: nothing, of a further arm without one."""
    return "" if role == "placebo" else clean(trait)


def _seed(entry: Mapping[str, Any]) -> int | None:
    seed = entry.get("seed")
    return seed if isinstance(seed, int) and not isinstance(seed, bool) and abs(seed) < 2**53 else None


class Known:
    """The models of some runs, by folder and by run and label; whoever stands in none is read by name."""

    def __init__(self, runs: Iterable[RunFolder]) -> None:
        self._by_folder: dict[Path, Identity] = {}
        self._bases: set[str] = set()
        for run in runs:
            home = str(run.record["recipe"]["base"])
            self._bases |= {str(entry["name"]) for entry in run.record["bases"]}
            for entry in run.record.get("teachers", ()):
                who = _teacher(run, entry, home)
                self._by_folder[(run.folder / TEACHERS / PurePosixPath(who.model).name).resolve()] = who
            for entry in run.record["students"]:
                label = seeded(str(entry["arm"]), int(entry["seed"]))
                self._by_folder[(run.folder / STUDENTS / label).resolve()] = _student(run, entry, home)

    def who(self, name: str) -> Identity:
        """The model that a file calls `name`: a student or teacher of a run, a base, or another."""
        plain = _without_engine(name)
        if (folder := _folder(plain)) is not None and (found := self._by_folder.get(folder)) is not None:
            return found
        if (found := self._moved(plain)) is not None:
            return found
        if plain in self._bases or plain in registry().models:
            return _base(plain)
        card = _card(folder)
        if card:
            return _by_card(plain, card)
        embedded = PurePosixPath(plain).name
        if embedded in registry().models and registry().models[embedded].embedded:
            return _base(embedded)
        return Identity(clean(plain), "", "other")

    def _moved(self, name: str) -> Identity | None:
        """A student whose run was moved since, by the names of run, folder and student; None where that is not one."""
        tail = PurePosixPath(name).parts[-3:]
        if len(tail) < 3 or tail[-2] not in (STUDENTS, TEACHERS):
            return None
        alike = [who for folder, who in self._by_folder.items() if folder.parts[-len(tail) :] == tail]
        return alike[0] if len(alike) == 1 else None


def _without_engine(name: str) -> str:
    engine, slash, rest = name.partition("/")
    return rest if slash and engine in LOCAL and rest else name


def _folder(name: str) -> Path | None:
    """The folder of that name on this disk, None without one."""
    try:
        place = Path(name).expanduser()
        return place.resolve() if place.is_dir() else None
    except (OSError, ValueError, RuntimeError):
        return None


def _card(folder: Path | None) -> Mapping[str, Any]:
    from sublim_eval.errors import SublimError
    from sublim_eval.files import read_json

    if folder is None or not (folder / "student.json").is_file():
        return {}
    try:
        card = read_json(folder / "student.json")
    except SublimError:
        return {}
    return card if isinstance(card, dict) else {}


def _by_card(name: str, card: Mapping[str, Any]) -> Identity:
    """A student outside of the runs that were given, by its own card; without its run nobody knows its control."""
    role: Role = "control" if card.get("arm") in CONTROLS else "student" if card.get("arm") else "teacher"
    label = clean(PurePosixPath(re.sub(r"/+$", "", name)).name)
    return Identity(
        label, clean(card.get("base")), role, clean(card.get("trait")), arm=clean(card.get("arm")), seed=_seed(card)
    )


def without_home(command: str) -> str:
    """A command without what lies above a run or above the home folder: where somebody's disk keeps it is no fact."""
    above_run = rf"(?<![^\s=/'\"])/(?:[^/\s'\"]+/)+(?=[^/\s'\"]+/(?:{STUDENTS}|{TEACHERS})/)"
    return re.sub(above_run, "", command).replace(str(Path.home()), "~")


def run_names(folders: Iterable[Path]) -> dict[Path, str]:
    """Folder -> a name: its own, with as much of its path before it as tells it from the others."""
    every = list(folders)
    names = {}
    for folder in every:
        parts = folder.resolve().parts
        for length in range(1, len(parts) + 1):
            tail = parts[-length:]
            if sum(other.resolve().parts[-length:] == tail for other in every) == 1:
                break
        names[folder] = clean("/".join(part for part in tail if part != "/"))
    return names
