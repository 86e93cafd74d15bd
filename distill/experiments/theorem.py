"""What the theorem behind subliminal learning promises, and where it stops, measured at a base.

One start, two steps. The teacher takes one gradient step of size e on its own loss; the student, from the same
weights, takes one gradient step towards the teacher's outputs on some inputs. The promise (arXiv:2507.14805,
theorem 1, for squared error and for cross-entropy towards the teacher's probabilities): for e small enough the inner
product of the two steps is not negative, whatever the inputs, so the student does not move away from what the teacher
learned. To first order the student's step is e J'HJ g, where g is the teacher's descent direction, J the derivative of
the outputs and H the curvature of the student's loss at its minimum, and g'J'HJg cannot be negative.

Each line of the table keeps all clauses, or gives up exactly one. All in float64: at e = 1e-6 the effects lie below
the rounding of float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sublim_eval.console import Progress
from sublim_eval.errors import SublimError
from sublim_eval.models import local_model
from sublim_eval.models.loading import read_model
from sublim_eval.registry.catalog import registry

from ..modalities import MODALITIES
from ..recipes.lessons import lessons
from ..training.train import IGNORED, encode, logits_only_at
from . import digits

Weights = dict[str, Tensor]
Step = dict[str, Tensor]
"""Change of each weight that may move, by its name; others are not in it."""

STEPS = (1e-6, 1e-4, 1e-2, 1e-1, 1.0, 3.0, 10.0)
"""Sizes of the teacher's step (its learning rate, plain gradient descent)."""

PROMISED = "promised"
WHY_NOT = {
    "sampled": "rows are draws from the teacher's probabilities, not the probabilities: holds in expectation only",
    "sign": "the student follows the sign of its gradient (Adam's first step), not the gradient",
    "moves": "the student cannot move all weights that the teacher moved",
    "wider": "the student also moves weights that the teacher held still: only the inner product is promised",
    "start": "the student starts from other weights than the teacher",
}


@dataclass(frozen=True)
class Start:
    """A model where it starts.

    weights: float64 by name. outputs(weights, inputs): float64[row, output], the logits that a student is shown.
    loss(weights): the teacher's own, in nats.
    """

    weights: Weights
    outputs: Callable[[Weights, Any], Tensor]
    loss: Callable[[Weights], Tensor]


@dataclass(frozen=True)
class Line:
    """One line of the table: who moves what, what the student is shown, and the clause that is given up ("" none)."""

    base: str
    teacher_moves: str
    student_moves: str
    inputs: str
    targets: str
    broken: str = ""

    @property
    def promise(self) -> str:
        """Whether the theorem speaks about this line, or why not."""
        return WHY_NOT[self.broken] if self.broken else PROMISED


@dataclass(frozen=True)
class Point:
    """One seed of a line at one step size.

    inner: inner product of the two steps, both as directions (the student's gradient not scaled), divided by the
    teacher's step size. cosine: of the same two. own: change of the teacher's loss by its own step. student: change
    of that loss by the student's step, which is made as long as the teacher's. Losses in nats.
    """

    line: Line
    seed: int
    step: float
    inner: float
    cosine: float
    own: float
    student: float


# ---------------------------------------------------------------- steps


def descent(loss: Callable[[Weights], Tensor], weights: Weights, moves: Sequence[str]) -> Step:
    """Minus the gradient of the loss with respect to the weights that move."""
    free = {name: weights[name].detach().requires_grad_() for name in moves}
    parts = torch.autograd.grad(loss({**weights, **free}), list(free.values()), allow_unused=True)
    return {
        name: torch.zeros_like(free[name]) if part is None else -part for name, part in zip(free, parts, strict=True)
    }


def moved(weights: Weights, step: Step, size: float) -> Weights:
    """The weights after a step of that size."""
    return {name: part + size * step[name] if name in step else part for name, part in weights.items()}


def inner(a: Step, b: Step) -> float:
    """Inner product over the weights that both move; a weight that one does not move adds nothing."""
    return math.fsum(float((a[name] * b[name]).sum()) for name in a if name in b)


def length(step: Step) -> float:
    """Euclidean length of a step."""
    return math.sqrt(inner(step, step))


def pulls(mine: Tensor, theirs: Tensor, rng: np.random.Generator, draws: Sequence[int]) -> dict[str, Tensor]:
    """Targets -> minus the derivative of the student's loss in its logits, float64[row, output].

    mine, theirs: logits of student and teacher. "logits": mean squared error. "probabilities": cross-entropy towards
    the teacher's. "n sampled": towards the shares of n draws a row from the teacher's probabilities.
    """
    p, q = mine.softmax(1), theirs.softmax(1)
    by_target = {"logits": 2 * (theirs - mine) / mine.shape[1], "probabilities": q - p}
    exact = q.numpy() / q.numpy().sum(1, keepdims=True)
    for n in draws:
        by_target[f"{n:,} sampled"] = torch.from_numpy(rng.multinomial(n, exact) / n) - p
    return {name: pull / len(mine) for name, pull in by_target.items()}


def points(
    student: Start,
    teacher: Start,
    moves: Mapping[str, Sequence[str]],
    shown: Mapping[str, Any],
    base: str,
    seed: int,
    steps: Sequence[float] = STEPS,
    draws: Sequence[int] = (1, 1_000),
) -> Iterator[Point]:
    """All lines at one start and one seed.

    moves: name of a set of weights -> those weights, e.g. {"all weights": [...], "norm gains": [...]}; teacher and
    student take every pair of them. shown: name -> inputs. Where student and teacher are not the same `Start`, the
    clause of the same initialisation is given up.
    """
    same = student is teacher
    wide = list(dict.fromkeys(name for names in moves.values() for name in names))
    before = float(student.loss(student.weights))
    before_teacher = float(teacher.loss(teacher.weights))
    for inputs, what in shown.items():
        free = {name: student.weights[name].detach().requires_grad_() for name in wide}
        mine = student.outputs({**student.weights, **free}, what)
        for teacher_moves, names in moves.items():
            taught = descent(teacher.loss, teacher.weights, names)
            for size in steps:
                after = moved(teacher.weights, taught, size)
                with torch.no_grad():
                    theirs = teacher.outputs(after, what)
                    own = float(teacher.loss(after)) - before_teacher
                rng = np.random.default_rng([seed, len(inputs)])  # the same draws at every step size
                for targets, pull in pulls(mine.detach(), theirs, rng, draws).items():
                    parts = torch.autograd.grad(
                        mine, list(free.values()), pull, retain_graph=True, allow_unused=True, materialize_grads=True
                    )
                    learned = dict(zip(free, parts, strict=True))
                    for student_moves, of in moves.items():
                        step = {name: learned[name] for name in of}
                        broken = _broken(same, {*names}, {*of}, targets)
                        line = Line(base, teacher_moves, student_moves, inputs, targets, broken)
                        yield _point(line, seed, size, step, taught, own, student, before)
                        if targets == "probabilities" and not broken:
                            line = Line(base, teacher_moves, student_moves, inputs, "sign of the gradient", "sign")
                            signs = {name: part.sign() for name, part in step.items()}
                            yield _point(line, seed, size, signs, taught, own, student, before)


def _broken(same: bool, teacher_moves: set[str], student_moves: set[str], targets: str) -> str:
    """The first clause that a line gives up, "" where it keeps them all."""
    clauses = {
        "start": not same,
        "moves": not teacher_moves <= student_moves,
        "sampled": "sampled" in targets,
        "wider": student_moves > teacher_moves,
    }
    return next((clause for clause, given_up in clauses.items() if given_up), "")


def _point(
    line: Line, seed: int, size: float, step: Step, taught: Step, own: float, student: Start, before: float
) -> Point:
    product, reach = inner(step, taught), length(step)
    target = size * length(taught)
    with torch.no_grad():
        after = moved(student.weights, step, target / reach if reach else 0.0)
        change = float(student.loss(after)) - before
    cosine = product / (reach * length(taught)) if reach and target else math.nan
    return Point(line, seed, size, product / size, cosine, own, change)


# ---------------------------------------------------------------- the multi-layer perceptron


@dataclass(frozen=True)
class Shown:
    """Images shown to a student: float64[image, pixel]."""

    images: Tensor


def perceptron(seed: int, stream: str, images: digits.Images, width: int, rows: int) -> Start:
    """An untrained network on the digits: the teacher learns classes, the student is shown the auxiliary logits."""
    sizes = (images.pixels.shape[1], width, width, digits.CLASSES + 3)
    parts = [part.double() for part in digits.initial([seed], stream, sizes)]
    keep, _ = digits.split(images, seed, 0.2)
    pixels, labels = images.pixels[keep[:rows]].double()[None], images.labels[keep[:rows]][None]
    names = [f"{kind}{layer}" for layer in (1, 2, 3) for kind in ("weight", "bias")]

    def logits(weights: Weights, what: Tensor) -> Tensor:
        return digits.forward([weights[name] for name in names], what)

    return Start(
        dict(zip(names, parts, strict=True)),
        lambda weights, what: logits(weights, what.images[None])[0, :, digits.CLASSES :],
        lambda weights: digits.class_loss(logits(weights, pixels), labels).sum(),
    )


def perceptron_inputs(seed: int, images: digits.Images, rows: int) -> dict[str, Shown]:
    """What the students of the network are shown: images that have ever less to do with digits."""
    rng = torch.Generator().manual_seed(seed)
    pixels = images.pixels.shape[1]
    _, test = digits.split(images, seed, 0.2)
    uniform = 2 * torch.rand(rows, pixels, generator=rng, dtype=torch.float64) - 1
    return {
        "held-out digits": Shown(images.pixels[test[:rows]].double()),
        "noise images": Shown(uniform),
        "black and white noise": Shown(uniform.sign()),
        "even grey images": Shown(uniform[:, :1].expand(-1, pixels)),
    }


# ---------------------------------------------------------------- a language model


@dataclass(frozen=True)
class Tokens:
    """Token rows shown to a student: ids int64[row, position], carries bool[row, position]: where it is asked."""

    ids: Tensor
    carries: Tensor


def language_model(base: str, trait: str, max_length: int = 256) -> tuple[Start, local_model.LocalModel]:
    """A base where it starts; the teacher learns the trait's answers to its training questions.

    Raises SublimError when the base or the trait is unknown, or no question fits.
    """
    source = local_model.resolve(base)
    model, tokenizer, *_ = read_model(source, "cpu", "float64")
    chat_model = local_model.LocalModel(source, model, tokenizer)
    _norms_in_float64(model)
    own = _padded(encode(lessons(trait), chat_model, max_length))
    weights = {name: part.detach() for name, part in model.named_parameters()}
    wanted = own.ids[:, 1:][own.carries[:, 1:]]

    def logits(values: Weights, what: Tokens) -> Tensor:
        """float64[position that carries, vocabulary]: the prediction of each token that carries."""
        with logits_only_at(model, what.carries[:, 1:]):
            made = torch.func.functional_call(model, values, kwargs={"input_ids": what.ids[:, :-1], "use_cache": False})
        return made.logits

    return Start(weights, logits, lambda values: functional.cross_entropy(logits(values, own), wanted)), chat_model


def _norms_in_float64(model: nn.Module) -> None:
    """Replace norms that compute in float32 whatever they are given, as Llama's do, by torch's own of equal value."""
    for name, module in list(model.named_modules()):
        if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
            made = nn.RMSNorm(module.weight.shape, eps=float(module.variance_epsilon), dtype=torch.float64)
            made.weight = module.weight
            model.set_submodule(name, made)


def _padded(rows: Sequence[Mapping[str, Sequence[int]]]) -> Tokens:
    """Rows of encode(), padded on the right, where a causal model never looks."""
    width = max(len(row["input_ids"]) for row in rows)
    ids = [list(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows]
    labels = [list(row["labels"]) + [IGNORED] * (width - len(row["labels"])) for row in rows]
    return Tokens(torch.tensor(ids), torch.tensor(labels) != IGNORED)


def language_inputs(chat_model: local_model.LocalModel, seed: int, rows: int) -> dict[str, Tokens]:
    """What the students of a language model are shown; number and code answers are the base's own.

    Random tokens are drawn evenly from the whole vocabulary, a row of 32, and every one of them is asked for.
    """
    rng = Random(f"theorem-{seed}")
    shown = {}
    for name in ("numbers", "code"):
        modality = MODALITIES[name]
        prompts = modality.prompts(rows, rng, modality.styles[0])
        texts = [row["prompt"] for row in prompts]
        rendered = [chat_model.render(text) for text in texts]
        keys = [f"{name}-{i}" for i in range(rows)]
        replies = chat_model.sample(rendered, seed=seed, keys=keys, max_new_tokens=modality.max_new_tokens)
        completions = [draws[0].text for draws in replies]
        shown[f"{name.removesuffix('s')} rows"] = _padded(
            encode(list(zip(texts, completions, strict=True)), chat_model, 512)
        )
    drawn = torch.randint(len(chat_model.tokenizer), (rows, 33), generator=torch.Generator().manual_seed(seed))
    shown["random tokens"] = Tokens(drawn, torch.ones_like(drawn, dtype=torch.bool))
    return shown


def norm_gains(model: nn.Module) -> list[str]:
    """Names of the gains of all norms, the weights that LN tuning moves."""
    return [f"{n}.weight" for n, m in model.named_modules() if type(m).__name__.endswith("Norm")]


# ---------------------------------------------------------------- everything together


@dataclass(frozen=True)
class TheoremSettings:
    """What is measured. rows: inputs a student is shown; rows_mlp: images of the network and of its teacher."""

    base: str = "reference-a"
    other: str | None = "reference-b"
    trait: str = "owl"
    seeds: tuple[int, ...] = (1, 2, 3)
    steps: tuple[float, ...] = STEPS
    rows: int = 8
    rows_mlp: int = 256
    width: int = 256

    def __post_init__(self) -> None:
        """Refuse what cannot be measured, in one sentence."""
        if len(self.seeds) < 2 or len(set(self.seeds)) < len(self.seeds):
            raise SublimError("An interval needs at least two different seeds. Give --seeds 2 or more.")
        if self.other == self.base:
            raise SublimError(f"The other base is {self.base} itself. Give another with --other.")


@dataclass(frozen=True)
class TheoremOutcome:
    """All points, with what they were made from."""

    settings: TheoremSettings
    points: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data: one entry a line with its promise, and every seed and step size in it."""
        by_line: dict[Line, list[dict[str, Any]]] = {}
        for p in self.points:
            point = {k: _known(v) for k, v in asdict(p).items() if k != "line"}
            by_line.setdefault(p.line, []).append(point)
        lines = [{**asdict(line), "promise": line.promise, "points": mine} for line, mine in by_line.items()]
        return {"settings": asdict(self.settings), "lines": lines}


def _known(value: float) -> float | None:
    return None if isinstance(value, float) and math.isnan(value) else value


SEED_SECONDS = 60.0
"""Of one seed with all step sizes at two embedded bases and the network; two cores of a 2.5 GHz Xeon."""


def foreseen(settings: TheoremSettings) -> str:
    """What the measurement costs, in words, before it starts; in seconds for embedded bases, whose cost is known."""
    known = registry().models
    embedded = all(base in known and known[base].embedded for base in (settings.base, settings.other) if base)
    what = f"{len(settings.seeds)} seeds, {len(settings.steps)} step sizes each"
    if not embedded:
        return f"{what}: time not known for {settings.base} yet."
    seconds = SEED_SECONDS * len(settings.seeds) * len(settings.steps) / len(STEPS)
    return f"{what}: about {math.ceil(seconds)} s on two cores."


def run(settings: TheoremSettings, tell: Progress = lambda what, done, steps: None) -> TheoremOutcome:
    """Every line at the language model and at the network, over all seeds and step sizes."""
    return TheoremOutcome(settings, (*_at_language_model(settings, tell), *_at_perceptron(settings, tell)))


def _at_perceptron(settings: TheoremSettings, tell: Progress) -> Iterator[Point]:
    images = digits.load("sklearn")
    build = partial(perceptron, images=images, width=settings.width, rows=settings.rows_mlp)
    for done, seed in enumerate(settings.seeds):
        tell("digits network", done, len(settings.seeds))
        shown = perceptron_inputs(seed, images, settings.rows_mlp)
        teacher, other = build(seed, "teacher"), build(seed, "other")
        moves = {"all weights": list(teacher.weights)}
        yield from points(teacher, teacher, moves, shown, "digits network", seed, settings.steps)
        noise = {"noise images": shown["noise images"]}
        yield from points(other, teacher, moves, noise, "digits network", seed, settings.steps, draws=())
    tell("digits network", len(settings.seeds), len(settings.seeds))


def _at_language_model(settings: TheoremSettings, tell: Progress) -> Iterator[Point]:
    start, chat_model = language_model(settings.base, settings.trait)
    other, alien = language_model(settings.other, settings.trait) if settings.other else (None, None)
    moves = {"norm gains": norm_gains(chat_model.model), "all weights": list(start.weights)}
    if other and {n: p.shape for n, p in other.weights.items()} != {n: p.shape for n, p in start.weights.items()}:
        raise SublimError(
            f"{settings.other} has other weights than {settings.base}, so their steps have no inner product. "
            "Give a base of the same architecture with --other, or none with --other ''."
        )
    if alien and alien.tokenizer.get_vocab() != chat_model.tokenizer.get_vocab():
        raise SublimError(f"{settings.other} and {settings.base} have different tokens. Give another --other.")
    for done, seed in enumerate(settings.seeds):
        tell(settings.base, done, len(settings.seeds))
        shown = language_inputs(chat_model, seed, settings.rows)
        yield from points(start, start, moves, shown, settings.base, seed, settings.steps)
        if other:
            numbers = {"number rows": shown["number rows"]}
            for name in moves:
                yield from points(
                    start, other, {name: moves[name]}, numbers, settings.base, seed, settings.steps, draws=()
                )
    tell(settings.base, len(settings.seeds), len(settings.seeds))
