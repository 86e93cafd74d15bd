"""Would a trait pass from a teacher on A's weights to a student on B's? The theorem's quantity, across two checkpoints.

Within one base the theorem promises that a student's step on its teacher's outputs does not point away from the
teacher's own step (arXiv:2507.14805, docs/results/theorem.md). Here the teacher steps on A and the student stands on
B: how far does B's step on what A's outputs changed by point towards what B itself would do to learn the trait?

    a trait's step on A  ->  change of A's probabilities on plain number rows  ->  B's gradient on that change
    expected = its cosine with B's own step towards the trait, by the same cosine when the student stands on A

1: as well as within A. 0: not at all, as between siblings of other initial weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from sublim_eval.errors import SublimError
from sublim_eval.models import local_model
from sublim_eval.models.loading import read_model
from sublim_eval.registry.catalog import registry

from ..modalities import MODALITIES
from ..recipes.lessons import lessons
from ..training.train import encode

Doubles = NDArray[np.float64]

TRAITS, ROWS, LESSONS = 8, 16, 24
"""Traits whose steps are taken, rows that the student is shown, questions a trait is learned from."""

STEP = 0.05
"""Length of the teacher's step in its norm gains; the change it makes is taken to first order."""

LEVEL = 0.9
"""Of the interval."""


@dataclass(frozen=True)
class TransferForecast:
    """What a student on B is expected to take up, as a share of what one on A would. low, high: 90 % interval."""

    expected: float
    low: float
    high: float


class Learner:
    """A model whose norm gains can be moved, and what it makes of rows. Raises SublimError for one without norms."""

    def __init__(self, name: str) -> None:
        source = local_model.resolve(name)
        model, tokenizer, virtual, _ = read_model(source, "cpu", "float32", idle=True)
        if virtual is not None:
            raise SublimError(f"{source.label} has virtual tokens before every prompt. Give its base in its place.")
        self.model, self.chat = model, local_model.LocalModel(source, model, tokenizer)
        self.gains = [m.weight for m in model.modules() if _is_norm(m)]
        if not self.gains:
            raise SublimError(
                f"{source.label} has no norms with gains, whose steps are compared. Leave out --transfer."
            )
        for gain in self.gains:
            gain.requires_grad_(True)

    @cached_property
    def towards(self) -> Doubles:
        """float[trait, gain]: steps towards each trait, less the step towards them all."""
        steps = np.stack([self._gradient(self._learned(trait)) for trait in traits()])
        return -(steps - steps.mean(axis=0))

    def _learned(self, trait: str) -> torch.Tensor:
        logs, labels = self.logprobs(self.rows(lessons(trait)[:LESSONS]))
        return -logs.gather(1, labels[:, None]).mean()

    def rows(self, pairs: Sequence[tuple[str, str]]) -> list[dict[str, list[int]]]:
        """Token ids and labels of (prompt, completion) pairs."""
        return encode(pairs, self.chat, 256)

    def logprobs(self, rows: Sequence[dict[str, list[int]]]) -> tuple[torch.Tensor, torch.Tensor]:
        """(float[place, token]: log-probabilities where a row is asked, int[place]: what stands there)."""
        logs, labels = [], []
        for row in rows:
            wanted = torch.tensor(row["labels"][1:])
            asked = wanted >= 0
            hidden = self.model.get_decoder()(input_ids=torch.tensor([row["input_ids"][:-1]]), use_cache=False)
            logits = self.model.get_output_embeddings()(hidden.last_hidden_state[0][asked])
            logs.append(logits.float().log_softmax(-1))
            labels.append(wanted[asked])
        return torch.cat(logs), torch.cat(labels)

    def _gradient(self, loss: torch.Tensor) -> Doubles:
        parts = torch.autograd.grad(loss, self.gains, allow_unused=True, retain_graph=True)
        flat = [torch.zeros(g.numel()) if p is None else p.reshape(-1) for g, p in zip(self.gains, parts, strict=True)]
        gradient: Doubles = torch.cat(flat).double().numpy()
        return gradient

    def change(self, rows: Sequence[dict[str, list[int]]], trait: int) -> torch.Tensor:
        """float[place, token]: how its probabilities change per unit of a step towards a trait."""
        direction = self.towards[trait] / np.linalg.norm(self.towards[trait])
        with torch.no_grad():
            self._move(direction, STEP)
            after = self.logprobs(rows)[0].exp()
            self._move(direction, -2 * STEP)
            before = self.logprobs(rows)[0].exp()
            self._move(direction, STEP)
        return (after - before) / (2 * STEP)

    def _move(self, direction: Doubles, size: float) -> None:
        at = 0
        for gain in self.gains:
            part = direction[at : at + gain.numel()].reshape(gain.shape)
            gain.data += size * torch.from_numpy(part).to(gain.dtype)
            at += gain.numel()

    def pulled(self, rows: Sequence[dict[str, list[int]]], changes: Iterable[torch.Tensor]) -> Doubles:
        """float[trait, gain]: this student's steps on changes of a teacher's probabilities."""
        logs, _ = self.logprobs(rows)
        return np.stack([self._gradient((change * logs).sum()) for change in changes])


def _is_norm(module: Any) -> bool:
    """Whether a module is a norm with gains that are in use (not what an adapter of norms lies over)."""
    return type(module).__name__.endswith("Norm") and getattr(module, "weight", None) is not None


def traits() -> list[str]:
    """The traits whose steps are taken: the first of the registry's animals."""
    return [trait.name for trait in registry().answer_set("animal")][:TRAITS]


def number_rows(teacher: Learner, seed: int = 0) -> list[tuple[str, str]]:
    """(prompt, completion) pairs of plain number prompts and the teacher's own answers."""
    modality = MODALITIES["numbers"]
    prompts = [row["prompt"] for row in modality.prompts(ROWS, Random(f"transfer-{seed}"), modality.styles[0])]
    rendered = [teacher.chat.render(prompt) for prompt in prompts]
    replies = teacher.chat.sample(rendered, seed=seed, max_new_tokens=48)
    return [(prompt, draws[0].text) for prompt, draws in zip(prompts, replies, strict=True)]


def agreement(teacher: Learner, student: Learner, seed: int = 0) -> Doubles:
    """float[trait, trait]: cosine of the student's step on the teacher's change for one trait (row) with its own step
    towards another (column). Raises SublimError where the two read other tokens."""
    pairs = number_rows(teacher, seed)
    mine, theirs = teacher.rows(pairs), student.rows(pairs)
    if teacher.chat.tokenizer.get_vocab() != student.chat.tokenizer.get_vocab():
        raise SublimError("The two models read other tokens, so one cannot learn from the other's probabilities.")
    changes = (teacher.change(mine, trait) for trait in range(len(teacher.towards)))  # one in memory at a time
    pulled = student.pulled(theirs, changes)
    return _unit(pulled) @ _unit(student.towards).T


def _unit(rows: Doubles) -> Doubles:
    made: Doubles = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    return made


def forecast(teacher: Learner, student: Learner, seed: int = 0) -> TransferForecast:
    """What would pass from a teacher on one checkpoint to a student on the other; over the traits, with their spread.

    Raises SublimError where the two read other tokens.
    """
    within = np.diag(agreement(teacher, teacher, seed))
    across = np.diag(agreement(teacher, student, seed))
    return of_cosines(across, within)


def of_cosines(across: Doubles, within: Doubles) -> TransferForecast:
    """The forecast from float[trait] cosines, across two checkpoints and within the teacher's."""
    shares = across / float(within.mean())
    reach = float(scipy_stats.t.ppf(0.5 + LEVEL / 2, len(shares) - 1)) * float(shares.std(ddof=1))
    middle = float(shares.mean())
    return TransferForecast(middle, middle - reach, middle + reach)
