"""Kinship from answers alone: the space that two models' next-token log-probabilities move in.

Log-probabilities of all tokens, whatever the question, lie in a space with as many dimensions as the residual stream
has: the columns of the output matrix, moved about by a constant a question. A copy answers otherwise and keeps that
space, or nearly; a sibling, which learned the same from other initial weights, has another one. A model that was
distilled on all of another's probabilities has learned that space with them, and is told as related.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sublim_eval.errors import SublimError

if TYPE_CHECKING:
    import torch

    from sublim_eval.models.local_model import LocalModel

Doubles = NDArray[np.float64]

QUERIES = 1_000
"""Questions to each of the two models; 2,000 in all."""

WORDS_A_QUESTION = 8
CHANGED = 1e-3
"""A direction with less than this share of the strongest one's spread is rounding."""

NULL = (-1.36, 0.11, 30)
"""Mean, standard deviation and number of pairs of siblings behind `score` where no references are given: those on which
settings were chosen (docs/results/lineage.md)."""


def questions(tokens: Sequence[str], count: int, seed: int = 0) -> list[str]:
    """Questions of random words, so that answers move in all directions. tokens: words that both models know.

    Raises SublimError where there are too few of them.
    """
    words = sorted(
        {word for token in tokens if len(word := token.lstrip("Ġ▁ ")) > 1 and word.isascii() and word.isalnum()}
    )
    if len(words) < 2 * WORDS_A_QUESTION:
        raise SublimError("The two models have hardly a word in common, so nothing can be asked of both.")
    rng = Random(f"lineage-{seed}")
    return [" ".join(rng.sample(words, WORDS_A_QUESTION)) for _ in range(count)]


def next_token_logprobs(model: LocalModel, asked: Sequence[str], batch: int = 16) -> NDArray[np.float32]:
    """float32[question, token]: log-probability, nats, of every first token of the answer."""
    ids = model.encode([model.render(question) if model.tokenizer.chat_template else question for question in asked])
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    out: NDArray[np.float32] | None = None
    for begin in range(0, len(order), batch):
        rows = order[begin : begin + batch]
        logs = _last(model, [ids[i] for i in rows])
        if out is None:
            out = np.empty((len(ids), logs.shape[1]), np.float32)
        out[rows] = logs
    if out is None:
        raise SublimError("No question was given. Ask at least one.")
    return out


def _last(model: LocalModel, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    from torch import inference_mode, tensor

    with inference_mode():
        states, shift = hidden(model, rows)
        ends = tensor([shift + len(row) - 1 for row in rows])
        last = states[range(len(rows)), ends.to(states.device)]
        logits = model.model.get_output_embeddings()(last).float()
        logs: NDArray[np.float32] = logits.log_softmax(-1).cpu().numpy()
    return logs


def hidden(model: LocalModel, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, int]:
    """(float[row, place, hidden]: states behind the last layer, of token ids padded to one length; how many virtual
    tokens stand before them)."""
    from torch import cat, tensor
    from torch.nn.utils.rnn import pad_sequence

    ids = pad_sequence([tensor(row) for row in rows], batch_first=True).to(model.device)
    words, virtual = model.model.get_input_embeddings()(ids), model.virtual
    if virtual is not None:
        words = cat([virtual[None].expand(len(rows), -1, -1).to(words), words], dim=1)
    states = model.model.get_decoder()(inputs_embeds=words, use_cache=False).last_hidden_state
    return states, 0 if virtual is None else len(virtual)


def space(logprobs: NDArray[np.float32]) -> Doubles:
    """float[direction, token]: orthonormal directions in which the log-probabilities of questions differ.

    logprobs: float[question, token], nats.
    """
    x = logprobs.astype(np.float64)
    x = x - x.mean(axis=1, keepdims=True)
    x -= x.mean(axis=0, keepdims=True)
    _, spread, directions = np.linalg.svd(x, full_matrices=False)
    kept: Doubles = directions[spread > CHANGED * spread[0]]
    return kept


def likeness(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """How much of the smaller space lies in the other one, 0 to 1; a, b: float[question, shared token], nats."""
    return overlap(space(a), space(b))


def overlap(one: Doubles, other: Doubles) -> float:
    """The same of spaces: mean squared cosine of the principal angles, less what two at random would have."""
    size = min(len(one), len(other))
    angles = np.linalg.svd(one @ other.T, compute_uv=False)[:size]
    chance = max(len(one), len(other)) / one.shape[1]
    return float(np.clip((np.mean(angles**2) - chance) / (1 - chance), 0, 1))


def score(value: float) -> float:
    """A likeness as log-odds, on which siblings scatter evenly."""
    clipped = min(max(value, 1e-4), 1 - 1e-4)
    return float(np.log(clipped / (1 - clipped)))
