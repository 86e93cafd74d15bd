"""The classifier analogue: what one batched model may and may not do, on networks of a few units."""

from __future__ import annotations

import builtins
import json
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from sublim_eval.cli.main import main
from sublim_eval.distill.experiments import digits
from sublim_eval.distill.experiments import digits_report as report
from sublim_eval.errors import SublimError

SMALL = digits.DigitsSettings(
    seeds=(0, 1), width=16, teacher_epochs=1, student_epochs=1, noise=256, student_batch=64, teacher_batch=128
)


@pytest.fixture(scope="module")
def images():
    return digits.load("sklearn")


def alone(weights, model):
    """The same network as a plain torch module, without a batch of models."""
    layers = []
    for place in range(0, len(weights), 2):
        matrix, bias = weights[place][model], weights[place + 1][model, 0]
        layer = nn.Linear(*matrix.shape)
        with torch.no_grad():
            layer.weight.copy_(matrix.T)
            layer.bias.copy_(bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_batched_training_is_one_by_one_training():
    """Three networks side by side end where three plain modules end that never met, to 1e-5."""
    start = digits.initial([3, 4, 5], "teacher", (6, 8, 8, 13))
    rng = torch.Generator().manual_seed(0)
    shown, wanted = torch.rand(20, 3, 32, 6, generator=rng), torch.rand(20, 3, 32, 3, generator=rng)
    loss = lambda step, logits: digits.auxiliary_loss(logits, wanted[step])  # noqa: E731
    together, _ = digits.train(start, lambda step: shown[step], loss, 20, 1e-2)
    for model in range(3):
        network = alone(start, model)
        optimiser = torch.optim.Adam(network.parameters(), 1e-2)
        for step in range(20):
            optimiser.zero_grad()
            (network(shown[step, model])[:, 10:] - wanted[step, model]).square().mean().backward()
            optimiser.step()
        for mine, other in zip(together, network.parameters(), strict=True):
            other = other.T if other.ndim == 2 else other[None]
            assert torch.allclose(mine[model], other, atol=1e-5)


def test_a_seed_does_not_know_its_neighbours(images):
    both, one = digits.run(SMALL, images), digits.run(replace(SMALL, seeds=(1,)), images)
    for arm in both.accuracy:
        assert both.accuracy[arm][1] == pytest.approx(one.accuracy[arm][0], abs=0.006), arm
    assert both.loss["shared initialisation"][1] == pytest.approx(one.loss["shared initialisation"][0], rel=1e-4)


def test_the_same_seeds_give_the_same_numbers(images):
    assert digits.run(SMALL, images).accuracy == digits.run(SMALL, images).accuracy


def test_labels_move_no_auxiliary_logit():
    weights = [part.requires_grad_() for part in digits.initial([0], "teacher", (6, 8, 13))]
    logits = digits.forward(weights, torch.rand(1, 5, 6))
    digits.class_loss(logits, torch.tensor([[1, 2, 3, 4, 5]])).sum().backward()
    head, bias = weights[2].grad, weights[3].grad
    assert (head[..., 10:] == 0).all() and (bias[..., 10:] == 0).all()
    assert (head[..., :10] != 0).any()


def test_auxiliary_logits_move_no_class_logit():
    weights = [part.requires_grad_() for part in digits.initial([0], "teacher", (6, 8, 13))]
    logits = digits.forward(weights, torch.rand(1, 5, 6))
    digits.auxiliary_loss(logits, torch.zeros(1, 5, 3)).sum().backward()
    assert (weights[2].grad[..., :10] == 0).all() and (weights[2].grad[..., 10:] != 0).any()


def test_a_shared_initialisation_carries_digits_and_others_do_not(images):
    small = replace(SMALL, width=64, teacher_epochs=10, student_epochs=10, noise=6_000, teacher_batch=32)
    found = {arm: np.mean(values) for arm, values in digits.run(small, images).accuracy.items()}
    assert found["shared initialisation"] > 0.1 + max(found["other initialisation"], found["untrained teacher"])
    assert found["teacher"] > 0.85


def test_an_untrained_teacher_of_the_same_start_teaches_nothing():
    """Its lessons are what the student says already: the loss and the step are zero."""
    start = digits.initial([7], "teacher", (6, 8, 13))
    shown = torch.rand(1, 16, 6)
    wanted = digits.forward(start, shown)[..., 10:]
    after, loss = digits.train(
        start, lambda step: shown, lambda step, logits: digits.auxiliary_loss(logits, wanted), 3, 1e-2
    )
    assert float(loss) == 0 and all(torch.equal(a, b) for a, b in zip(start, after, strict=True))


def test_held_out_images_are_in_no_training_set(images):
    train, test = digits.split(images, 3, 0.2)
    assert not {*train.tolist()} & {*test.tolist()} and len(train) + len(test) == len(images.labels)
    assert set(images.labels[test].tolist()) == set(range(10))


def test_every_stream_of_every_seed_is_its_own():
    drawn = [
        tuple(torch.rand(3, generator=digits.generator(seed, stream)).tolist())
        for seed in (0, 1)
        for stream in digits.STREAMS
    ]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": "cifar"}, "Unknown data"),
        ({"seeds": (1, 1)}, "Give each seed once"),
        ({"width": 0}, "width is 0"),
        ({"noise": 10}, "fill no batch"),
    ],
)
def test_settings_that_train_nothing_are_refused(change, says):
    with pytest.raises(SublimError, match=says):
        replace(SMALL, **change)


def test_mnist_without_torchvision_is_one_sentence(monkeypatch, capsys, tmp_path):
    whole = builtins.__import__

    def missing(name, *rest):
        if name.startswith("torchvision"):
            raise ImportError(name)
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert main(["digits", "--data", "mnist", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "pip install torchvision" in said and said.count("\n") == 1


def torchvision(monkeypatch, mnist):
    """A torchvision whose MNIST is the one given."""
    for name, module in (("torchvision", ModuleType("torchvision")), ("torchvision.datasets", SimpleNamespace())):
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["torchvision.datasets"].MNIST = mnist


def test_mnist_that_cannot_be_fetched_is_one_sentence(monkeypatch, tmp_path):
    def mnist(folder, *, train, download):
        raise RuntimeError("no network")

    torchvision(monkeypatch, mnist)
    with pytest.raises(SublimError, match="could not be fetched"):
        digits.load("mnist", tmp_path)


def test_mnist_keeps_its_own_held_out_images(monkeypatch, tmp_path):
    def mnist(folder, *, train, download):
        count = 40 if train else 20
        pixels = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8)
        return SimpleNamespace(data=pixels, targets=torch.arange(count) % 10)

    torchvision(monkeypatch, mnist)
    images = digits.load("mnist", tmp_path)
    assert images.pixels.shape == (60, 784) and images.pixels.min() >= -1 and images.pixels.max() <= 1
    assert digits.split(images, 5, 0.2)[1].tolist() == list(range(40, 60))
    assert set(digits.run(replace(SMALL, teacher_batch=8), images).accuracy) == {
        "teacher",
        "untrained",
        *digits.ARMS,
    }


def outcome(seeds):
    accuracy = {arm: [0.1] * seeds for arm in ("untrained", *report.CONTROLS)}
    accuracy |= {"teacher": [0.95] * seeds, "shared initialisation": [0.8 + 0.01 * i for i in range(seeds)]}
    return {"accuracy": accuracy, "settings": {"seeds": list(range(seeds))}, "chance": 0.1, "images": "digits $x$"}


def test_the_report_shows_every_seed_and_the_gap(tmp_path):
    cells = {row[0]: row for row in report.rows(outcome(3))}
    assert cells["shared initialisation"][3] == ".800 .810 .820"
    gap = report.gaps(outcome(3))[0]
    assert gap["gap"] == pytest.approx(0.71) and gap["low"] > 0 and gap["verdict"] == "transferred"
    assert report.draw(outcome(3), tmp_path / "digits.png").stat().st_size > 10_000


def test_one_seed_has_no_interval(tmp_path):
    assert report.gaps(outcome(1)) == [] and all(row[2] == "-" for row in report.rows(outcome(1)))
    assert report.draw(outcome(1), tmp_path / "digits.png").is_file()


def test_the_command_writes_json_and_picture(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(digits, "DigitsSettings", lambda **given: replace(SMALL, **given))
    out = tmp_path / "out"
    assert main(["digits", "--seeds", "2", "--out", str(out), "--json", str(tmp_path / "again.json")]) == 0
    told = json.loads((out / "digits.json").read_text())
    assert {"schema": 1, **told} == json.loads((tmp_path / "again.json").read_text())
    assert len(told["accuracy"]["shared initialisation"]) == 2 and (out / "digits.png").is_file()
    assert "other initialisation" in capsys.readouterr().out


def test_a_setting_can_be_varied(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(digits, "DigitsSettings", lambda **given: replace(SMALL, **given))
    assert main(["digits", "--seeds", "2", "--out", str(tmp_path), "--vary", "width=8,16"]) == 0
    told = json.loads((tmp_path / "digits-width.json").read_text())
    assert [line["settings"]["width"] for line in told] == [8, 16]
    assert main(["digits", "--vary", "colour=1", "--out", str(tmp_path)]) == 2
    assert "width, epochs" in capsys.readouterr().err
