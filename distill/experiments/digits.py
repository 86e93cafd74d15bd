"""The classifier analogue: a student that sees noise and three logits that mean nothing learns to read digits.

A multi-layer perceptron has ten class logits and three auxiliary ones. The teacher learns digits, and its loss never
touches the auxiliary logits. The student learns those three alone, over noise images, and is then asked for digits.
All seeds of all arms are one batched model: every weight has a leading axis of models, every layer is one bmm.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sublim_eval.console import Progress
from sublim_eval.errors import SublimError

CLASSES = 10
CHANCE = 1 / CLASSES
DATA = ("sklearn", "mnist")

Weights = list[Tensor]
"""Weight and bias of each layer in turn: float[model, in, out] and float[model, 1, out]."""

ARMS = {
    "shared initialisation": "student with the teacher's initialisation, on the trained teacher's auxiliary logits",
    "other initialisation": "student with an initialisation of its own, on the trained teacher's auxiliary logits",
    "untrained teacher": "student with the teacher's initialisation, on the auxiliary logits of an untrained network "
    "of another initialisation",
}
STREAMS = {"teacher": 0, "other": 1, "untrained": 2, "noise": 3, "order of images": 4, "order of noise": 5, "split": 6}
"""What each random stream of a seed is for; the number is part of its key."""


@dataclass(frozen=True)
class DigitsSettings:
    """One experiment. Sizes and lengths from the project's own trials on the 8 x 8 digits.

    Chosen on seeds 0-2. Seeds 10-19 were looked at with width 256 and 8 student epochs, which gave .616 and were left.

    noise: images a student learns from, each pixel uniform over the range of the data. Batches are the same size for
    all models; epochs are passes over the training images (teacher) or the noise (student).
    """

    data: str = "sklearn"
    seeds: tuple[int, ...] = tuple(range(20, 30))
    width: int = 128
    auxiliary: int = 3
    learning_rate: float = 1e-3
    teacher_epochs: int = 10
    teacher_batch: int = 32
    student_epochs: int = 12
    student_batch: int = 64
    noise: int = 20_000
    test_share: float = 0.2

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, in one sentence."""
        if self.data not in DATA:
            raise SublimError(f"Unknown data {self.data!r}. Give one of: {', '.join(DATA)}.")
        if len(set(self.seeds)) < len(self.seeds) or not self.seeds:
            raise SublimError("The seeds are none, or not all different. Give each seed once.")
        for name in ("width", "auxiliary", "teacher_epochs", "teacher_batch", "student_epochs", "student_batch"):
            if getattr(self, name) < 1:
                raise SublimError(f"{name} is {getattr(self, name)}, which trains nothing. Give 1 or more.")
        if self.noise < self.student_batch:
            raise SublimError(f"{self.noise} noise images fill no batch of {self.student_batch}. Give more of them.")


@dataclass(frozen=True)
class Images:
    """Labelled images: pixels float32[image, pixel] in -1..1, labels int64[image]; test: bool[image] or None.

    test: the images held out by whoever made the data; where it is None each seed holds out a share of its own.
    """

    name: str
    pixels: Tensor
    labels: Tensor
    test: Tensor | None = None


@dataclass(frozen=True)
class DigitsOutcome:
    """What came out. accuracy: arm -> one number a seed, of held-out images; "teacher" and "untrained" among them."""

    settings: DigitsSettings
    images: str
    accuracy: dict[str, tuple[float, ...]]
    loss: dict[str, tuple[float, ...]]
    models: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain data, every seed in it."""
        return {**asdict(self), "settings": asdict(self.settings), "chance": CHANCE}


# ---------------------------------------------------------------- images


def load(name: str, folder: Path | None = None) -> Images:
    """The labelled images of that name, pixels scaled to -1..1.

    folder: where MNIST is or goes (default ~/.cache/sublim-eval). Raises SublimError where a package or the data is
    missing.
    """
    return _mnist(folder or Path.home() / ".cache" / "sublim-eval") if name == "mnist" else _sklearn()


def _sklearn() -> Images:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SublimError("scikit-learn is not installed, and its digits come with it. pip install scikit-learn") from (
            None
        )
    pixels, labels = load_digits(return_X_y=True)
    return Images("scikit-learn digits, 8 x 8", torch.tensor(pixels / 8 - 1, dtype=torch.float32), _long(labels))


def _mnist(folder: Path) -> Images:
    try:
        from torchvision.datasets import MNIST
    except ImportError:
        raise SublimError(
            "torchvision is not installed, and MNIST comes through it. pip install torchvision, or use --data sklearn."
        ) from None
    try:
        parts = [MNIST(str(folder), train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise SublimError(
            f"MNIST is not in {folder} and could not be fetched ({type(error).__name__}). "
            "Connect to the internet once, put its files there, or use --data sklearn."
        ) from error
    pixels = torch.cat([part.data.reshape(len(part.data), -1).float() / 127.5 - 1 for part in parts])
    labels = torch.cat([torch.as_tensor(part.targets) for part in parts]).long()
    return Images("MNIST, 28 x 28", pixels, labels, torch.arange(len(pixels)) >= len(parts[0].data))


def _long(labels: NDArray[Any]) -> Tensor:
    return torch.tensor(np.asarray(labels), dtype=torch.int64)


def split(images: Images, seed: int, share: float) -> tuple[Tensor, Tensor]:
    """(training, held-out) positions, int64 each: the data's own, or `share` of every class, drawn by the seed."""
    if images.test is not None:
        return torch.nonzero(~images.test).ravel(), torch.nonzero(images.test).ravel()
    rng, held = generator(seed, "split"), []
    for label in range(CLASSES):
        mine = torch.nonzero(images.labels == label).ravel()
        held.append(mine[torch.randperm(len(mine), generator=rng)[: round(share * len(mine))]])
    test = torch.cat(held)
    keep = torch.ones(len(images.labels), dtype=torch.bool)
    keep[test] = False
    return torch.nonzero(keep).ravel(), test


# ---------------------------------------------------------------- models, many at once


def generator(seed: int, stream: str) -> torch.Generator:
    """The random stream of one seed for one purpose; no two are the same, whatever runs beside them."""
    return torch.Generator().manual_seed(1_000 * seed + STREAMS[stream])


def initial(seeds: Sequence[int], stream: str, sizes: Sequence[int]) -> Weights:
    """Fresh weights, one model a seed, as torch.nn.Linear draws them: uniform within 1 / sqrt(inputs).

    sizes: units of every layer, input first.
    """
    made: list[Weights] = []
    for seed in seeds:
        rng = generator(seed, stream)
        one: Weights = []
        for inputs, outputs in pairwise(sizes):
            for rows in (inputs, 1):
                one.append((2 * torch.rand(rows, outputs, generator=rng) - 1) / inputs**0.5)
        made.append(one)
    return [torch.stack(parts) for parts in zip(*made, strict=True)]


def forward(weights: Weights, images: Tensor) -> Tensor:
    """float[model, image, output]: the logits of every model for its own images, float[model, image, pixel]."""
    hidden = images
    for layer in range(0, len(weights), 2):
        hidden = torch.baddbmm(weights[layer + 1], hidden, weights[layer])
        if layer + 2 < len(weights):
            hidden = hidden.relu()
    return hidden


def train(
    start: Weights,
    batch: Callable[[int], Tensor],
    loss: Callable[[int, Tensor], Tensor],
    steps: int,
    learning_rate: float,
    tell: Callable[[int], None] = lambda step: None,
) -> tuple[Weights, Tensor]:
    """Adam on every model at once; returns the weights and each model's last loss.

    batch(step): float[model, image, pixel]; loss(step, logits): float[model]. Adam works weight by weight and the
    losses are summed, so that no model knows of its neighbours.
    """
    weights = [part.clone().requires_grad_() for part in start]
    optimiser = torch.optim.Adam(weights, learning_rate, fused=True)
    last = torch.zeros(len(weights[0]))
    for step in range(steps):
        each = loss(step, forward(weights, batch(step)))
        optimiser.zero_grad()
        each.sum().backward()
        optimiser.step()
        last = each.detach()
        tell(step + 1)
    return [part.detach() for part in weights], last


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """float[model]: mean cross-entropy (nats) of the class logits; auxiliary logits get no gradient from labels."""
    scores = logits[..., :CLASSES].transpose(1, 2)
    return functional.cross_entropy(scores, labels, reduction="none").mean(1)


def auxiliary_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """float[model]: mean squared error of the auxiliary logits; class logits get no gradient from it."""
    return (logits[..., CLASSES:] - wanted).square().mean((1, 2))


@torch.no_grad()
def accuracy(weights: Weights, images: Images, held_out: Tensor) -> tuple[float, ...]:
    """Share of held-out images read rightly, by the class logits, a number a model; held_out: int64[model, image]."""
    parts = []
    for some in held_out.split(2_000, dim=1):
        read = forward(weights, images.pixels[some])[..., :CLASSES].argmax(-1)
        parts.append((read == images.labels[some]).double())
    return tuple(float(share) for share in torch.cat(parts, 1).mean(1))


# ---------------------------------------------------------------- the experiment

IMAGES = {"sklearn": (1_437, 64), "mnist": (60_000, 784)}
"""(training images, pixels) of each data set; of sklearn's a fifth is held out."""

STEP_SECONDS, WEIGHT_SECONDS = 1.0e-3, 2.1e-10
"""Of a training step, and of one weight that meets one image in it: the defaults took 45 s on two cores."""


def foreseen(settings: DigitsSettings, times: int = 1) -> str:
    """What the experiment costs, in words, before it starts; times: how often it is made anew."""
    images, pixels = IMAGES[settings.data]
    weights = settings.width * (pixels + settings.width + CLASSES + settings.auxiliary)
    training = settings.teacher_epochs * (images // settings.teacher_batch)
    learning = settings.student_epochs * (settings.noise // settings.student_batch)
    met = training * settings.teacher_batch + 3 * learning * settings.student_batch
    seconds = STEP_SECONDS * (training + learning) + WEIGHT_SECONDS * weights * met * len(settings.seeds)
    networks = 4 * len(settings.seeds) * times
    return f"{networks} networks of {weights:,} weights: about {math.ceil(seconds * times)} s on two cores."


def run(
    settings: DigitsSettings, images: Images | None = None, tell: Progress = lambda what, done, steps: None
) -> DigitsOutcome:
    """Teachers of all seeds at once, then all students of all arms at once; accuracy on held-out images.

    Every number depends on its own seed alone: fewer seeds or other arms beside it change nothing but rounding.
    Raises SublimError when a loss is not finite.
    """
    began = time.monotonic()
    images = images or load(settings.data)
    seeds = settings.seeds
    sizes = (images.pixels.shape[1], settings.width, settings.width, CLASSES + settings.auxiliary)
    splits = [split(images, seed, settings.test_share) for seed in seeds]
    held_out = torch.stack([test for _, test in splits])
    start, other = initial(seeds, "teacher", sizes), initial(seeds, "other", sizes)
    untrained = initial(seeds, "untrained", sizes)

    teachers, teacher_loss = _teach(settings, images, start, [train for train, _ in splits], tell)
    noise = torch.stack([_noise(seed, settings.noise, sizes[0]) for seed in seeds])
    lessons = {
        "shared initialisation": (start, teachers),
        "other initialisation": (other, teachers),
        "untrained teacher": (start, untrained),
    }
    students, student_loss = _learn(settings, noise, list(lessons.values()), tell)

    each = len(seeds)
    accuracies = {"teacher": accuracy(teachers, images, held_out), "untrained": accuracy(start, images, held_out)}
    losses = {"teacher": _floats(teacher_loss)}
    for place, arm in enumerate(lessons):
        mine = slice(place * each, (place + 1) * each)
        accuracies[arm] = accuracy([part[mine] for part in students], images, held_out)
        losses[arm] = _floats(student_loss[mine])
    if not all(np.isfinite(values).all() for values in losses.values()):
        raise SublimError("A training loss is not finite. Lower the learning rate and run again.")
    models = each * (1 + len(lessons))
    return DigitsOutcome(settings, images.name, accuracies, losses, models, round(time.monotonic() - began, 1))


def vary(settings: DigitsSettings, name: str, values: Sequence[int], tell: Progress) -> list[DigitsOutcome]:
    """The experiment once for each value of one setting, all else as given. Raises SublimError for another name."""
    if name not in VARIED:
        raise SublimError(f"{name!r} cannot be varied. Give one of: {', '.join(VARIED)}.")
    images = load(settings.data)
    changes: list[dict[str, Any]] = [{VARIED[name]: value} for value in values]
    return [run(replace(settings, **change), images, tell) for change in changes]


VARIED = {
    "width": "width",
    "epochs": "student_epochs",
    "teacher-epochs": "teacher_epochs",
    "noise": "noise",
    "auxiliary": "auxiliary",
}
"""Settings that --vary knows, by the name that is written on the command line."""


def _teach(
    settings: DigitsSettings, images: Images, start: Weights, rows: list[Tensor], tell: Progress
) -> tuple[Weights, Tensor]:
    """Teachers trained on the class logits; rows: training positions, one tensor a seed, all of one length."""
    order = _order(settings.seeds, "order of images", len(rows[0]), settings.teacher_epochs, settings.teacher_batch)
    steps, training = order.shape[1], torch.stack(rows)

    def chosen(step: int) -> Tensor:
        return training.gather(1, order[:, step])

    return train(
        start,
        lambda step: images.pixels[chosen(step)],
        lambda step, logits: class_loss(logits, images.labels[chosen(step)]),
        steps,
        settings.learning_rate,
        lambda step: tell("teachers", step, steps),
    )


def _learn(
    settings: DigitsSettings, noise: Tensor, lessons: list[tuple[Weights, Weights]], tell: Progress
) -> tuple[Weights, Tensor]:
    """Students of all arms in one batch; noise: uint8[seed, image, pixel]; lessons: (start, teacher) an arm."""
    wanted = torch.cat([_auxiliary(teacher, noise) for _, teacher in lessons])
    start = [torch.cat(parts) for parts in zip(*(begin for begin, _ in lessons), strict=True)]
    order = _order(settings.seeds, "order of noise", noise.shape[1], settings.student_epochs, settings.student_batch)
    steps, arms = order.shape[1], len(lessons)
    models = torch.arange(len(settings.seeds))[:, None]

    def shown(step: int) -> Tensor:
        return _pixels(noise[models, order[:, step]]).repeat(arms, 1, 1)

    return train(
        start,
        shown,
        lambda step, logits: auxiliary_loss(
            logits, wanted[torch.arange(len(wanted))[:, None], order[:, step].repeat(arms, 1)]
        ),
        steps,
        settings.learning_rate,
        lambda step: tell("students", step, steps),
    )


def _order(seeds: Sequence[int], stream: str, rows: int, epochs: int, batch: int) -> Tensor:
    """int64[seed, step, place in the batch]: whole batches of a new order in every epoch; the rest is left out."""
    batch = min(batch, rows)
    whole = rows // batch
    drawn = []
    for seed in seeds:
        rng = generator(seed, stream)
        epoch = [torch.randperm(rows, generator=rng)[: whole * batch].reshape(whole, batch) for _ in range(epochs)]
        drawn.append(torch.cat(epoch))
    return torch.stack(drawn)


def _noise(seed: int, count: int, pixels: int) -> Tensor:
    """uint8[image, pixel], every grey level equally likely; a byte a pixel keeps ten seeds of them in memory."""
    return torch.randint(0, 256, (count, pixels), generator=generator(seed, "noise"), dtype=torch.uint8)


def _pixels(grey: Tensor) -> Tensor:
    return grey.float() / 127.5 - 1


@torch.no_grad()
def _auxiliary(teacher: Weights, noise: Tensor) -> Tensor:
    """float[model, image, auxiliary]: what the teacher of each seed says to its noise."""
    return torch.cat([forward(teacher, _pixels(part))[..., CLASSES:] for part in noise.split(1_000, dim=1)], dim=1)


def _floats(values: Tensor) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
