"""A run folder as the checks need it: what is missing is None, never an error and never empty."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sublim_eval.errors import SublimError
from sublim_eval.files import expanded, file_digest, files_in, is_there, read_json, read_jsonl
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.experiment import RECORD, SCORES, seeded
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.scores.readers import count_replies, open_log

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog

LARGE = 64 * 2**20
"""Bytes of a weight file above which a quick look does not read it."""

RENDERING = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json")


UNWRITTEN = ("stage.json", "begun.json", "abilities")
"""What a stage's list of files leaves out: the list itself, its forerunner, and what `sublim abilities` may add."""


class Folder:
    """A finished run folder and lazily what lies in it."""

    def __init__(self, path: Path):
        self.path = path
        self.record: dict[str, Any] = read_json(path / RECORD)
        if not isinstance(self.record, dict) or not isinstance(self.record.get("students"), list):
            raise SublimError(f"{path} is unfinished. Give the same `sublim run` again, then check it.")
        self._scores: dict[Path, ProbeScores | None] = {}
        self._logs: dict[str, dict[str, EvalLog]] = {}
        self._digests: dict[Path, str] = {}
        self.torn: dict[str, str] = {}
        """Log that cannot be read -> why, as far as logs were asked for."""
        self.broken: dict[str, str] = {}
        """Any other file that is not what its name says -> why, as far as it was asked for; read as missing."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """As run.json has it."""
        return self.record.get("recipe") or {}

    @cached_property
    def numbers(self) -> bool:
        """Whether rows are lists of numbers."""
        return self.recipe.get("modality", "numbers") == "numbers"

    @cached_property
    def arms(self) -> dict[str, dict[str, Any]]:
        """Arm -> its entry, `student_base` filled in."""
        base = self.recipe.get("base", "")
        return {n: {**a, "student_base": a.get("student_base") or base} for n, a in self.record["arms"].items()}

    @cached_property
    def students(self) -> list[dict[str, Any]]:
        """Every student that ran, with what its own stage says laid under the record."""
        students = []
        for entry in self.record["students"]:
            if not entry.get("failed"):
                stage = self.stage(Path(entry["folder"])) if entry.get("folder") else {}
                card = self.json(Path(entry["folder"]) / "student.json") if entry.get("folder") else None
                trained = (card or {}).get("seed")
                label = seeded(entry["arm"], entry["seed"])
                students.append({**stage, **entry, "trained_seed": trained, "label": label})
        return students

    def stage(self, folder: Path) -> dict[str, Any]:
        """What stage.json of a folder says; {} without one."""
        return self.json(folder / "stage.json") or {}

    def json(self, file: Path) -> dict[str, Any] | None:
        """A JSON object inside the run, None when it is missing."""
        if not is_there(self.path / file):
            return None
        try:
            made = read_json(self.path / file)
        except SublimError as error:
            self.broken[str(file)] = str(error)
            return None
        return made if isinstance(made, dict) else None

    def stage_record(self, folder: Path) -> dict[str, Any] | None:
        """stage.json of a folder, None where it is missing, broken or empty."""
        return self.json(folder / "stage.json") or None

    def folders(self, name: str) -> list[str]:
        """The folders in students/ or scores/, unfinished ones left out."""
        return sorted(f.name for f in (self.path / name).glob("*") if f.is_dir() and not f.name.startswith("."))

    def rows(self, folder: str, name: str) -> list[dict[str, Any]] | None:
        """The rows of rows/<source>-s<seed>/<name>, None when the file is missing or empty."""
        file = self.path / folder / name
        if not is_there(file) or not file.stat().st_size:
            return None
        try:
            return [row for _, row in read_jsonl(file, ("prompt", "completion"))]
        except SublimError as error:
            self.broken[f"{folder}/{name}"] = str(error)
            return None

    def scores(self, file: str | None) -> ProbeScores | None:
        """A score file, read once; None when it is missing or holds what no score can be."""
        if file is None or not is_there(self.path / file):
            return None
        if self.path / file not in self._scores:
            try:
                self._scores[self.path / file] = ProbeScores.read(self.path / file)
            except SublimError as error:
                self.broken[file], self._scores[self.path / file] = str(error), None
        return self._scores[self.path / file]

    def logs(self, label: str, *, samples: bool) -> dict[str, EvalLog]:
        """Probe -> Inspect log of scores/<label>, read once; header only unless `samples`."""
        if label not in self._logs:
            self._logs[label], torn = read_logs(self.path / SCORES / label, samples=samples)
            self.torn |= torn
        return self._logs[label]

    def hashes(self, folder: Path, names: tuple[str, ...] | str, *, large: bool) -> dict[str, str]:
        """SHA-256 of files of a folder that are there, by name or pattern; huge ones only when `large`."""
        here = (
            files_in(self.path / folder, names)
            if isinstance(names, str)
            else [self.path / folder / name for name in names]
        )
        return {f.name: self.digest(f) for f in here if is_there(f) and (large or f.stat().st_size < LARGE)}

    def digest(self, file: Path) -> str:
        """SHA-256 of a file, taken once."""
        if file not in self._digests:
            self._digests[file] = file_digest(file)
        return self._digests[file]

    def written(self, folder: Path, *, large: bool) -> dict[str, str | None]:
        """Every file of a stage by its path in it -> SHA-256, None for huge ones unless `large`.

        What the system or a later command may put there (UNWRITTEN, names with a dot in front) is left out.
        """
        return written(self.path / folder, self.digest, LARGE if not large else math.inf)


def written(here: Path, hashed: Callable[[Path], str] = file_digest, below: float = math.inf) -> dict[str, str | None]:
    """Every file of a folder that a stage may have written -> its hash, None for those of `below` bytes and more."""
    own = [f for f in files_in(here, "**/*") if not _later(f.relative_to(here))]
    return {f.relative_to(here).as_posix(): hashed(f) if f.stat().st_size < below else None for f in own}


def _later(file: Path) -> bool:
    """Whether a file of a stage is none that the stage wrote."""
    return file.parts[0] in UNWRITTEN or any(part.startswith(".") for part in file.parts)


def read_logs(folder: Path, *, samples: bool) -> tuple[dict[str, EvalLog], dict[str, str]]:
    """(probe -> the newest Inspect log of ours in folder/logs or in the folder; log that cannot be read -> why)."""
    files = files_in(folder, "logs/*.eval", "*.eval")
    logs, torn = {}, {}
    for file in files:
        try:
            log = read_log(file, samples=samples)
        except SublimError as error:
            torn[file.name] = str(error)
            continue
        if probe := (log.eval.metadata or {}).get("probe"):
            logs[str(probe)] = log
    return logs, torn


def read_log(file: Path, *, samples: bool) -> EvalLog:
    """An Inspect log, without its samples unless `samples`; raises SublimError where it is torn, empty or none."""
    return open_log(file, samples=samples)


def model_folder(log: EvalLog, beside: Path) -> Path | None:
    """The folder of the model that a log speaks of, where it is on this disk; beside: the log's own folder."""
    named = (log.eval.model_args or {}).get("model_path") or log.eval.model.partition("/")[2]
    places = [expanded(str(named)), *(parent / str(named) for parent in (beside, *beside.absolute().parents))]
    return next((place for place in places if (place / "config.json").is_file()), None)


def defaults_of(log: EvalLog, beside: Path) -> dict[str, Any] | None:
    """What generation_config.json of a log's model says, {} where that folder has none; None where it is not here."""
    folder = model_folder(log, beside)
    if folder is None:
        return None
    file = folder / "generation_config.json"
    value = read_json(file) if is_there(file) else {}
    return value if isinstance(value, dict) else {}


def settings_of(log: EvalLog) -> dict[str, Any]:
    """The generation settings in force: of the model, under those of the task and the command line."""
    given = log.eval.model_generate_config.model_dump(exclude_none=True)
    return given | log.plan.config.model_dump(exclude_none=True)


def counted(log: EvalLog) -> dict[str, dict[str, Any]] | None:
    """Question -> its saved replies, read anew with whole words; None where whole words cannot read them.

    A conduct is read by a judge, and an essay's letters by what was offered, which the log does not hold.
    """
    about = log.eval.metadata or {}
    category, form = str(about.get("category", "")), str(about.get("form", "favorite"))
    if category not in registry().categories or registry().category(category).conduct or form == "essay":
        return None
    saved: dict[str, list[str]] = {}
    for sample in log.samples or []:
        if sample.error:  # not counted in the scores either
            continue
        question = str((sample.metadata or {}).get("question", sample.id))
        saved.setdefault(question, []).extend(choice.message.text for choice in sample.output.choices)
    return {question: count_replies(replies, category, form) for question, replies in saved.items()}


def table(scores: list[np.ndarray]) -> np.ndarray:
    """float[model, answer] of means, float[0, 0] without any."""
    return np.stack(scores) if scores else np.zeros((0, 0))
