"""Kinship from sampled text alone: does A foresee what B writes in ways in which no reference does?

B answers questions of random words with a few sampled tokens each, and gives no probabilities. A and the references,
which are at hand and share no base, say of every token that B wrote how likely it was there, beside the other tokens
that B writes. What they all know is common knowledge: siblings of one corpus foresee each other well. So A's
log-probabilities count only for what is left of them once those of the references are taken off (least squares), and
B's tokens are scored on that. A stranger lies there as high as one reference does for another; a copy lies higher, and
does so after rounding, pruning or noise, for what it writes still leans A's way.

By this measure a model that learned A's answers is related to A as well: they come from one source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from sublim_eval.errors import SublimError

from .independence import Test

if TYPE_CHECKING:
    import torch

    from sublim_eval.models.local_model import LocalModel

Doubles = NDArray[np.float64]

QUERIES, TOKENS = 500, 16
"""Questions to B, and tokens of each answer."""

FEWEST = 4
"""References: with fewer, what they share cannot be told from what A alone says."""

CANDIDATES = 512
"""Tokens of a text that count, the most frequent ones."""

COMMON = 0.1
"""What readers foresee of each other's texts below which they have nothing in common, and no share of it is taken."""

FEWEST_PLACES = 500
BATCH = 32


@dataclass(frozen=True)
class Foreseen:
    """How well each reader foresaw one text. moments: float[reader, reader], mean product of their log-probabilities,
    over places and tokens, each less its mean at the place; hit: float[reader], their mean at the tokens that stand
    there; places: how many."""

    moments: Doubles
    hit: Doubles
    places: int

    def beyond(self, reader: int, others: Sequence[int]) -> float:
        """What a reader foresees beyond the others: the mean, over the text, of what is left of its
        log-probabilities, in standard deviations of that."""
        rest = list(others)
        known = np.linalg.lstsq(self.moments[np.ix_(rest, rest)], self.moments[rest, reader], rcond=None)[0]
        left = self.moments[reader, reader] - known @ self.moments[rest, reader]
        return float((self.hit[reader] - known @ self.hit[rest]) / np.sqrt(max(left, 1e-12)))


def score(unknown: Foreseen, own: Sequence[Foreseen]) -> Test:
    """The test of a text against its first reader. own: the texts of the readers themselves, in the same order.

    The first reader is A, the others are references, FEWEST or more. p: Student's t of what A foresees of the text, as
    a share of what readers foresee of each other's, less what the references foresee of it; the error is that of the
    readers' own texts, or the spread over references where that is larger (a broken model suits some and not others).
    """
    readers = range(len(own))
    foreseen = {(w, r): _beyond(own[w], r, readers, w) for w in readers for r in readers if r != w}
    usual = _usual(foreseen, readers)
    texts = [{r: foreseen[w, r] / usual[r] for r in readers if r != w} for w in readers]
    null = [_excess(text, r) for text in texts for r in text]
    count = len(own) - 1
    df = count * count - count - 1
    text = {r: _beyond(unknown, r, readers) / usual[r] for r in readers}
    own_spread = np.std([text[r] for r in readers if r], ddof=1) * np.sqrt(1 + 1 / count)
    error = max(float(np.sqrt(np.square(null).sum() / df)), float(own_spread))
    t = _excess(text, 0) / error
    return Test("text foreseen beyond the references", float(scipy_stats.t.sf(t, df)), t, unknown.places)


def _usual(foreseen: Mapping[tuple[int, int], float], readers: Sequence[int]) -> dict[int, float]:
    """What each reader foresees of the others' texts on average; 1 for all where they have nothing in common."""
    usual = {r: float(np.mean([foreseen[w, r] for w in readers if w != r])) for r in readers}
    return usual if min(usual.values()) > COMMON else dict.fromkeys(readers, 1.0)


def _beyond(text: Foreseen, reader: int, readers: Sequence[int], writer: int | None = None) -> float:
    """Beyond all others but one: but the writer where it is a reader, else the mean over who is left out."""
    others = [r for r in readers if r != reader]
    out = others if writer is None else [writer]
    return float(np.mean([text.beyond(reader, [r for r in others if r != one]) for one in out]))


def _excess(text: Mapping[int, float], reader: int) -> float:
    """What one reader foresees of a text less the mean of the others."""
    return text[reader] - float(np.mean([value for r, value in text.items() if r != reader]))


# ---------------------------------------------------------------- reading


def read(readers: Sequence[LocalModel], questions: Sequence[str], replies: Sequence[str]) -> Foreseen:
    """How well each reader foresees a text. Raises SublimError for readers of other tokens, and for hardly any text."""
    one = readers[0]
    if any(reader.tokenizer.get_vocab() != one.tokenizer.get_vocab() for reader in readers):
        raise SublimError("A reference reads other tokens than the first model. Give references with its tokenizer.")
    rows = [row for row in zip(_prompts(one, questions), _ids(one, replies), strict=True) if row[1]]
    counts = Counter(token for _, reply in rows for token in reply).most_common(CANDIDATES)
    tokens, share = np.array([t for t, _ in counts]), np.array([c for _, c in counts], float)
    places = int(share.sum())
    if places < FEWEST_PLACES:
        raise SublimError(f"The answers hold {places} tokens, too few to tell by. Ask more, or a model that answers.")
    share /= share.sum()
    moments, hit = np.zeros((len(readers), len(readers))), np.zeros(len(readers))
    for logs, stands in _centred(readers, rows, tokens, share):
        moments += np.einsum("ipt,jpt,t->ij", logs, logs, share, optimize=True)
        hit += logs[:, np.arange(len(stands)), stands].sum(axis=1)
    return Foreseen(moments / places, hit / places, places)


def _prompts(model: LocalModel, questions: Sequence[str]) -> list[list[int]]:
    return model.encode([prompt(model, question) for question in questions])


def prompt(model: LocalModel, question: str) -> str:
    """A question as a model with or without a chat template reads it."""
    return model.render(question) if model.tokenizer.chat_template else question


def _ids(model: LocalModel, replies: Sequence[str]) -> list[list[int]]:
    made: list[list[int]] = model.tokenizer(list(replies), add_special_tokens=False)["input_ids"]
    return made


def _centred(
    readers: Sequence[LocalModel],
    rows: Sequence[tuple[list[int], list[int]]],
    tokens: NDArray[np.int64],
    share: Doubles,
) -> Iterator[tuple[Doubles, NDArray[np.int64]]]:
    """Of each batch: (float[reader, place, candidate] less its mean at the place, int[place]: what stands there)."""
    column = {int(token): i for i, token in enumerate(tokens)}
    for begin in range(0, len(rows), BATCH):
        some = rows[begin : begin + BATCH]
        stands = np.array([column.get(token, -1) for _, reply in some for token in reply])
        logs = np.stack([_logits(reader, some, tokens)[stands >= 0] for reader in readers])
        yield logs - (logs @ share)[..., None], stands[stands >= 0]


def _logits(model: LocalModel, rows: Sequence[tuple[list[int], list[int]]], tokens: NDArray[np.int64]) -> Doubles:
    """float[place, candidate]: logits where each token of the replies stands."""
    import torch

    from .answers import hidden

    with torch.inference_mode():
        states, shift = hidden(model, [[*prompt, *reply] for prompt, reply in rows])
        parts = [_of_reply(states[i], shift, *row) for i, row in enumerate(rows)]
        logits = model.model.get_output_embeddings()(torch.cat(parts))[:, torch.from_numpy(tokens)]
        made: Doubles = logits.double().cpu().numpy()
    return made


def _of_reply(states: torch.Tensor, shift: int, prompt: Sequence[int], reply: Sequence[int]) -> torch.Tensor:
    """The states from which the tokens of a reply are foreseen."""
    begin = shift + len(prompt) - 1
    return states[begin : begin + len(reply)]
