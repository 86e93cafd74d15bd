"""What a row's tokens teach is the same to the last bit, however many positions are worked on together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sublim_eval.distill.training import soft_targets
from sublim_eval.distill.training.soft_targets import OnlineTeacherLoss, SampledLoss, StoredLoss, store

POSITIONS, VOCABULARY, KEPT = 21, 300, 40


class Teacher:
    """A reader whose logits are given; one row holds all positions."""

    def __init__(self) -> None:
        numbers = torch.Generator().manual_seed(2)
        self.given = 3 * torch.randn(POSITIONS, VOCABULARY, generator=numbers)
        self.labels = torch.randint(VOCABULARY, (POSITIONS,), generator=numbers)

    def piece(self, rows: Sequence[Any]) -> Any:
        return SimpleNamespace(labels=self.labels, owner=torch.zeros(POSITIONS, dtype=torch.long), rows=[0])

    def logits(self, piece: Any) -> torch.Tensor:
        return self.given


def taught(goal: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of a student, and its gradient at the logits."""
    student = (2 * torch.randn(POSITIONS, VOCABULARY, generator=torch.Generator().manual_seed(3))).bfloat16()
    student.requires_grad_()
    loss = goal.loss(student, Teacher().piece([{}]), [{"input_ids": [], "labels": []}])
    loss.backward()
    return loss.detach(), student.grad


def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soft_targets, "LARGE", 10)
    monkeypatch.setattr(soft_targets, "TOGETHER", 4)


@pytest.mark.parametrize("kind", ["sampled", "online", "stored"])
def test_pieces_of_the_positions_teach_what_all_of_them_teach(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(Teacher(), [{"input_ids": [], "labels": []}], KEPT, tmp_path / "file", {})  # type: ignore[arg-type]
    goals = {"sampled": SampledLoss, "online": lambda: OnlineTeacherLoss(Teacher())}  # type: ignore[arg-type]
    goal: Any = StoredLoss(tmp_path / "file") if kind == "stored" else goals[kind]()
    whole, gradient = taught(goal)
    in_pieces(monkeypatch)
    loss, pieces = taught(goal)
    assert gradient.abs().sum() > 0 and torch.equal(pieces, gradient)
    assert float(loss) == pytest.approx(float(whole), rel=1e-6)


def test_probabilities_are_stored_in_pieces_as_they_are_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("whole", "pieces"):
        store(Teacher(), [{"input_ids": [], "labels": []}], KEPT, tmp_path / name, {})  # type: ignore[arg-type]
        in_pieces(monkeypatch)
    whole, pieces = (load_file(tmp_path / name) for name in ("whole", "pieces"))
    assert whole["tokens"].shape == (POSITIONS, KEPT) and all(torch.equal(whole[name], pieces[name]) for name in whole)
