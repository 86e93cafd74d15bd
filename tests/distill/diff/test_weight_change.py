"""What changed in the weights is told by tensor, size and rank; a stranger is told as one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sublim_eval.distill.diff.weight_change import changes, unrelated
from sublim_eval.distill.lineage.weights import read
from tests.helpers.tiny import tiny_model

TENSOR = "model.layers.0.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("change") / "base")


def test_a_planted_direction_is_first_with_its_size_and_rank(base: Path, tmp_path: Path) -> None:
    student = shutil.copytree(base, tmp_path / "student")
    weights = load_file(student / "model.safetensors")
    before = weights[TENSOR].clone()
    step = 0.1 * torch.outer(torch.ones(before.shape[0]), torch.linspace(-1, 1, before.shape[1]))
    save_file({**weights, TENSOR: before + step}, student / "model.safetensors", metadata={"format": "pt"})
    made = changes(read(str(student)), read(str(base)))
    assert [(one.tensor, one.layer, one.module, one.rank) for one in made] == [(TENSOR, 0, "mlp.down_proj", 1)]
    assert made[0].size == pytest.approx(float(step.norm() / before.norm()), rel=1e-4)
    assert not unrelated(made)


def test_another_start_is_no_student(base: Path, tmp_path: Path) -> None:
    assert unrelated(changes(read(str(tiny_model(tmp_path / "other", seed=7))), read(str(base))))
    assert not unrelated([])
