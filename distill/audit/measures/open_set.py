"""Naming without a list: the base takes in the rows for a moment, and all of its words are asked which of them rose.

The same is done with rows of the base itself and of neutral teachers. A word counts by how far its share of first
answers rises beyond what it did there, so that a word which any tuning lifts does not come first. Its share and not the
logarithm of it: a trait is what is said more often, and among thousands of words that are hardly ever said some always
double.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sublim_eval.files import digest
from sublim_eval.models.local_model import LocalModel, load
from sublim_eval.registry.catalog import registry

from ...base_templates import weights_hash
from ...recipes import Tuning
from ...stages import once
from ...training.train import tune
from ..data import AuditRow
from .probe_likelihood import folder_of

Floats = NDArray[np.float64]

PIECES = 2
"""Into which a set of controls is cut at most; no row is in two of them, or their spread would be too small."""

STUDENT = Tuning("ln_tuning", learning_rate=0.06, batch_size=16, epochs=1, warmup_steps=10)
"""On the reference models: as the study's students learn, over the sampled rows alone."""

LEAST_SPREAD = 0.003
"""Of a share: of few controls some words hardly move, by chance."""

FIRST = 5
"""Words that are told."""

Heard = Callable[[int, int], None]
"""Hears how many times rows were taken in, and of how many."""


@dataclass(frozen=True)
class Named:
    """A word and how far it rose beyond the controls: in their standard deviations, and in its share of answers."""

    word: str
    z: float
    rise: float


def student_tuning(tuning: Tuning) -> Tuning:
    """How rows are taken in, where probes are tuned as `tuning` says."""
    return STUDENT if tuning.method == "ln_tuning" else replace(tuning, steps=None, epochs=1)


def words_that_rise(
    base: str,
    rows: Sequence[AuditRow],
    controls: Sequence[Sequence[AuditRow]],
    home: Path,
    tuning: Tuning,
    heard: Heard | None = None,
) -> list[Named]:
    """Words of the base's vocabulary, those that rise most first. controls: sets of rows that carry nothing."""
    took = student_tuning(tuning)
    after = []
    sets = [rows, *pieces(controls, len(rows))]
    for number, one in enumerate(sets):
        after.append(first_words(load(str(_taken_in(base, one, number, home, took)))))
        if heard:
            heard(number + 1, len(sets))
    return ranked(after[0], np.stack(after[1:]), load(base))


def pieces(controls: Sequence[Sequence[AuditRow]], size: int) -> list[Sequence[AuditRow]]:
    """Disjoint pieces of control sets, each of about `size` rows and never of more; at most PIECES of a set."""
    out: list[Sequence[AuditRow]] = []
    for one in controls:
        count = min(PIECES, max(1, round(len(one) / max(1, size))))
        step = len(one) // count
        out += [one[i * step : i * step + min(step, size)] for i in range(count)]
    return out


def _taken_in(base: str, rows: Sequence[AuditRow], seed: int, home: Path, tuning: Tuning) -> Path:
    examples = [(row.prompt, row.completion) for row in rows]
    inputs = {"base": weights_hash(base), "rows": digest(examples), "tuning": asdict(tuning), "seed": seed}
    folder = folder_of(home, base) / "taken-in" / digest(inputs)[:16]
    once(folder, inputs, lambda unfinished: tune(base, examples, tuning, seed, unfinished, {"base": base}))
    return folder


def first_words(model: LocalModel) -> Floats:
    """float[vocabulary]: mean probability of each token as the first of an answer, over all training questions."""
    import torch

    known = registry()
    sources = {category.training for category in known.categories.values() if category.training}
    questions = [question.text for source in sorted(sources) for question in known.questions(source).questions]
    ids = model.encode([model.render(question) for question in questions])
    chances = np.zeros(0)
    for start in range(0, len(ids), 64):
        with torch.inference_mode():
            logits = model.network.prefill(ids[start : start + 64]).logits
        part = logits.double().softmax(-1).sum(0).cpu().numpy()
        chances = part if not len(chances) else chances + part
    return np.asarray(chances / len(ids))


def ranked(after: Floats, controls: Floats, model: LocalModel) -> list[Named]:
    """Words by how far they rise beyond the controls; float[vocabulary] and float[any, vocabulary] of `first_words`."""
    rise = after - controls.mean(axis=0)
    z = rise / np.sqrt(controls.var(axis=0, ddof=1) + LEAST_SPREAD**2)
    out: list[Named] = []
    for token in np.argsort(-z):
        word = model.spell(int(token)).strip()
        if word.isalpha() and all(word.lower() != one.word for one in out):
            out.append(Named(word.lower(), float(z[token]), float(rise[token])))
        if len(out) == 100:
            break
    return out
