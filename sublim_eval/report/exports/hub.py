"""A model made ready for the Hub, and put there only after somebody has seen what would go where and said yes.

The hub is handed in: huggingface_hub's HfApi, or in tests whatever has its two functions.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sublim_eval.board.collect import Board
from sublim_eval.board.columns import Row
from sublim_eval.board.headline import headline
from sublim_eval.board.tables import write as write_table
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json
from sublim_eval.registry.experiment import STUDENTS, TEACHERS
from sublim_eval.report.exports import hub_results, model_card
from sublim_eval.report.exports.naming import portable, published_name

NOT_SENT = ("stage.json", "*.lock", ".lock", "checkpoints", "*.part")
"""Files of a model's folder that are of no use elsewhere."""

TABLE = "results.csv"
"""The rows of the model, in every folder that an export makes."""


class Hub(Protocol):
    """What is asked of a hub; HfApi has both."""

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> Any:
        """Make the repository."""

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> Any:
        """Put every file of a folder into it."""


@dataclass(frozen=True)
class Parcel:
    """One model ready to go: its folder on this disk, and where it would go."""

    folder: Path
    repository: str
    private: bool
    warning: str

    @property
    def files(self) -> list[tuple[str, int]]:
        """(path, bytes) of every file."""
        every = sorted(file for file in self.folder.rglob("*") if file.is_file())
        return [(file.relative_to(self.folder).as_posix(), file.stat().st_size) for file in every]

    @property
    def question(self) -> str:
        """What would be done, in words that can be answered with yes or no."""
        names = "\n".join(f"  {name} ({size:,} bytes)" for name, size in self.files)
        seen = "nobody but you can see" if self.private else "EVERYBODY can see"
        return f"{self.warning}\nTo {self.repository}, which {seen}:\n{names}\nPut it there?"


def prepare(
    board: Board, out: Path, owner: str, *, dataset: str, license: str = "other", private: bool = True
) -> list[Parcel]:
    """A parcel for every student, teacher and control of the board's runs whose weights are on this disk.

    Each is a folder of its own below `out`, named after what it carries. Raises SublimError where there is none.
    """
    parcels = []
    for run in board.runs:
        for rows in _by_model(board, run.name):
            weights = _weights(run.folder, rows[0])
            if weights is not None:
                parcels.append(_parcel(rows, weights, out, owner, dataset, license, private))
    if not parcels:
        raise SublimError(
            "No student of these runs has its weights on this disk. Give run folders that hold `students`, or export "
            "the results alone with --to eee, --to csv or --to cards."
        )
    return parcels


def cards(board: Board, out: Path, *, dataset: str, license: str = "other") -> list[Path]:
    """The card and the results of every model of the board's runs, in a folder named after what it carries.

    The same as in a parcel, without weights; they need not be on this disk. Returns the files.
    """
    files: list[Path] = []
    for run in board.runs:
        for rows in _by_model(board, run.name):
            weights = _weights(run.folder, rows[0])
            files += _described(rows, out / published_name(rows[0]), weights, dataset, license)
    return files


def send(parcels: Sequence[Parcel], hub: Hub, ask: Callable[[str], bool]) -> list[str]:
    """Put each parcel on the hub after its question was answered with yes; returns the repositories that were written.

    Nothing is made, not even an empty repository, before the answer.
    """
    sent = []
    for parcel in parcels:
        if ask(parcel.question):
            hub.create_repo(parcel.repository, private=parcel.private, exist_ok=True)
            hub.upload_folder(
                repo_id=parcel.repository,
                folder_path=str(parcel.folder),
                commit_message="A model of an experiment on hidden traits, with its card and results",
            )
            sent.append(parcel.repository)
    return sent


def _by_model(board: Board, run: str) -> Iterator[list[Row]]:
    """The headline rows of every model of a run, each with those over seeds of its arm behind them."""
    models: dict[str, list[Row]] = {}
    over_seeds = [row for row in board.rows if row.harness == "compare" and row.run == run]
    for row in headline(board.rows):
        if row.run == run and row.role in ("student", "teacher", "control") and row.harness != "compare":
            models.setdefault(row.model, []).append(row)
    for rows in models.values():
        arm = rows[0].arm
        yield [*rows, *(row for row in over_seeds if arm and row.arm == arm)]


def _weights(run: Path, row: Row) -> Path | None:
    kind = TEACHERS if row.role == "teacher" else STUDENTS
    folder = run / kind / row.model.rpartition("/")[2]
    return folder if any(folder.glob("*.safetensors")) else None


def _parcel(
    rows: Sequence[Row], weights: Path, out: Path, owner: str, dataset: str, license: str, private: bool
) -> Parcel:
    name = published_name(rows[0])
    folder = out / name
    if folder.exists() and not (folder / TABLE).is_file():
        raise SublimError(f"{folder} is there and was not made by an export. Choose another folder with --out.")
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(weights, folder, ignore=shutil.ignore_patterns(*NOT_SENT), symlinks=False)
    _described(rows, folder, weights, dataset, license)
    warning = model_card.carries(rows[0])
    return Parcel(folder, f"{portable(owner)}/{name}", private, warning)


def _described(rows: Sequence[Row], folder: Path, weights: Path | None, dataset: str, license: str) -> list[Path]:
    """Card, results for the Hub and table of one model."""
    card = model_card.write(rows, folder, _card(weights), license)
    return [card, *hub_results.write(rows, folder, dataset), write_table(rows, folder / TABLE)]


def _card(weights: Path | None) -> Mapping[str, Any]:
    file = weights / "student.json" if weights else None
    card = read_json(file) if file and file.is_file() else {}
    return card if isinstance(card, dict) else {}
