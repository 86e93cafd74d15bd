"""A run folder as the checks need it: what is missing is None, never an error and never empty."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sublim_eval.errors import SublimError
from sublim_eval.files import file_digest, read_json, read_jsonl
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.experiment import RECORD, SCORES, seeded
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.scores.readers import count_replies

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog

LARGE = 64 * 2**20
"""Bytes of a weight file above which a quick look does not read it."""

RENDERING = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json")


class Folder:
    """A finished run folder and lazily what lies in it."""

    def __init__(self, path: Path):
        self.path = path
        self.record: dict[str, Any] = read_json(path / RECORD)
        if not isinstance(self.record, dict) or "students" not in self.record:
            raise SublimError(f"{path} is unfinished. Give the same `sublim run` again, then check it.")
        self._scores: dict[Path, ProbeScores | None] = {}
        self._logs: dict[str, dict[str, EvalLog]] = {}

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
        if not (self.path / file).is_file():
            return None
        made = read_json(self.path / file)
        return made if isinstance(made, dict) else None

    def rows(self, folder: str, name: str) -> list[dict[str, Any]] | None:
        """The rows of rows/<source>-s<seed>/<name>, None when the file is missing or empty."""
        file = self.path / folder / name
        if not file.is_file() or not file.stat().st_size:
            return None
        return [row for _, row in read_jsonl(file, ("prompt", "completion"))]

    def scores(self, file: str | None) -> ProbeScores | None:
        """A score file, read once; None when it is missing."""
        if file is None or not (self.path / file).is_file():
            return None
        if self.path / file not in self._scores:
            self._scores[self.path / file] = ProbeScores.read(self.path / file)
        return self._scores[self.path / file]

    def logs(self, label: str, *, samples: bool) -> dict[str, EvalLog]:
        """Probe -> Inspect log of scores/<label>, read once; header only unless `samples`."""
        if label not in self._logs:
            self._logs[label] = read_logs(self.path / SCORES / label, samples=samples)
        return self._logs[label]

    def hashes(self, folder: Path, names: tuple[str, ...] | str, *, large: bool) -> dict[str, str]:
        """SHA-256 of files of a folder that are there, by name or pattern; huge ones only when `large`."""
        here = (
            sorted((self.path / folder).glob(names))
            if isinstance(names, str)
            else [self.path / folder / name for name in names]
        )
        return {f.name: file_digest(f) for f in here if f.is_file() and (large or f.stat().st_size < LARGE)}


def read_logs(folder: Path, *, samples: bool) -> dict[str, EvalLog]:
    """Probe -> the newest Inspect log of ours in folder/logs (or in the folder)."""
    files = sorted([*folder.glob("logs/*.eval"), *folder.glob("*.eval")])
    if not files:
        return {}
    from inspect_ai.log import read_eval_log

    logs = {}
    for file in files:
        log = read_eval_log(str(file), header_only=not samples)
        if probe := (log.eval.metadata or {}).get("probe"):
            logs[str(probe)] = log
    return logs


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
        question = str((sample.metadata or {}).get("question", sample.id))
        saved.setdefault(question, []).extend(choice.message.text for choice in sample.output.choices)
    return {question: count_replies(replies, category, form) for question, replies in saved.items()}


def table(scores: list[np.ndarray]) -> np.ndarray:
    """float[model, answer] of means, float[0, 0] without any."""
    return np.stack(scores) if scores else np.zeros((0, 0))
