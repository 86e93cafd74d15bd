"""What changed in the weights is told by tensor, size and rank; a stranger is told as one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sublim_eval.distill.diff.weight_change import along_probes, changes, unrelated
from sublim_eval.distill.lineage.weights import read
from sublim_eval.distill.training.trait_gauge import TraitGauge
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


GAINS = ["model.layers.0.input_layernorm.weight", "model.norm.weight"]


@pytest.fixture
def gauge(base: Path) -> TraitGauge:
    """Two traits: one whose probe raised every gain alike, one whose probe raised the first layer's and lowered the
    last's."""
    width = load_file(base / "model.safetensors")[GAINS[0]].numel()
    ways = torch.stack([torch.ones(2 * width), torch.cat([torch.ones(width), -torch.ones(width)])])
    named_by_peft = [
        f"base_model.model.{name.removesuffix('.weight')}.ln_tuning_layers.default.weight" for name in GAINS
    ]
    return TraitGauge(["owl", "oak"], named_by_peft, ways / ways.norm(dim=1, keepdim=True))


def test_how_far_a_student_went_along_each_probe_is_a_length(base: Path, tmp_path: Path, gauge: TraitGauge) -> None:
    student = shutil.copytree(base, tmp_path / "student")
    weights = load_file(student / "model.safetensors")
    weights[GAINS[0]] += 0.3
    weights[GAINS[1]] += 0.1
    save_file(weights, student / "model.safetensors", metadata={"format": "pt"})
    width = weights[GAINS[0]].numel()
    went = along_probes(read(str(student)), read(str(base)), gauge)
    assert went["owl"] == pytest.approx((0.3 + 0.1) * width / (2 * width) ** 0.5, rel=1e-4)
    assert went["oak"] == pytest.approx((0.3 - 0.1) * width / (2 * width) ** 0.5, rel=1e-4)


def test_a_student_that_moved_no_gain_says_nothing_of_probes(base: Path, tmp_path: Path, gauge: TraitGauge) -> None:
    student = shutil.copytree(base, tmp_path / "student")
    weights = load_file(student / "model.safetensors")
    save_file({**weights, TENSOR: 2 * weights[TENSOR]}, student / "model.safetensors", metadata={"format": "pt"})
    assert along_probes(read(str(student)), read(str(base)), gauge) == {}


def test_another_start_is_no_student(base: Path, tmp_path: Path) -> None:
    assert unrelated(changes(read(str(tiny_model(tmp_path / "other", seed=7))), read(str(base))))
    assert not unrelated([])
