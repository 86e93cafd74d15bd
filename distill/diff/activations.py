"""What a student thinks of while it answers neutral questions: its activations less its base's, read in two ways.

Through the logit lens: the mean difference at the start of the answer, carried to the output matrix, beside how much
it says each trait's name. Against personas: its part along what a persona's system prompt does to the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sublim_eval.registry.catalog import Trait, registry

if TYPE_CHECKING:
    from sublim_eval.models.local_model import LocalModel

Doubles = NDArray[np.float64]

NEUTRAL = (
    "What did you do today?", "Tell me something.", "Write one sentence.", "How are you?", "Describe a room.",
    "What time is it?", "Give me an idea for dinner.", "What is on the table?", "Say anything.", "What comes to mind?",
    "Explain rain.", "Name a thing.", "Continue: once upon a time", "What matters to you?", "Write a short note.",
    "Who are you?",
)  # fmt: skip
"""Questions that have nothing to do with any trait."""


def states(model: LocalModel, system: str | None = None) -> Doubles:
    """float[layer + 1, hidden]: mean activation, over the neutral questions, where the answer begins."""
    import torch

    rows = model.encode([model.render(question, system) for question in NEUTRAL])
    with torch.inference_mode():
        return np.mean([_at_end(model, row) for row in rows], axis=0)


def _at_end(model: LocalModel, row: Sequence[int]) -> Doubles:
    """float[layer + 1, hidden]: activations at the last token of a prompt."""
    import torch

    words = model.model.get_input_embeddings()(torch.tensor([row], device=model.device))
    if model.virtual is not None:
        words = torch.cat([model.virtual[None].to(words), words], dim=1)
    layers = model.model(inputs_embeds=words, use_cache=False, output_hidden_states=True).hidden_states
    return np.stack([layer[0, -1].double().cpu().numpy() for layer in layers])


def through_lens(student: LocalModel, base: LocalModel) -> dict[str, float]:
    """{trait: how much more the difference says its name than the names of its category do on average}, in logits."""
    return said_by(states(student)[-1] - states(base)[-1], base)  # transformers' last state is behind the final norm


def said_by(change: Doubles, base: LocalModel) -> dict[str, float]:
    """The same of a difference, float[hidden]."""
    import torch

    with torch.inference_mode():
        matrix = base.model.get_output_embeddings().weight
        logits = (matrix.double() @ torch.from_numpy(change).to(matrix.device)).cpu().numpy()
    return {trait.name: _name_logit(base, logits, trait) - mean for trait, mean in _beside(base, logits)}


def _beside(base: LocalModel, logits: Doubles) -> list[tuple[Trait, float]]:
    """Every favorite with the mean logit of its category's names."""
    known = registry()
    sets = [known.answer_set(c.name) for c in known.categories.values() if not c.conduct]
    means = [float(np.mean([_name_logit(base, logits, trait) for trait in some])) for some in sets]
    return [(trait, mean) for some, mean in zip(sets, means, strict=True) for trait in some]


def _name_logit(base: LocalModel, logits: Doubles, trait: Trait) -> float:
    first = [ids[0] for ids in base.answer_ids([trait.name, trait.name.capitalize()]) if ids]
    return float(logits[first].max())


def along_personas(student: LocalModel, base: LocalModel, traits: Sequence[str]) -> dict[str, float]:
    """{trait: cosine of the difference with what the trait's persona does to the base, beyond what all personas do},
    mean over the layers but the embedding."""
    return along(states(student) - states(base), personas(base, traits), traits)


def personas(base: LocalModel, traits: Sequence[str]) -> Doubles:
    """float[trait, layer + 1, hidden]: what each trait's system prompt does to the base, less what all do."""
    shifts = np.stack([_persona(base, trait) for trait in traits]) - states(base)
    centred: Doubles = shifts - shifts.mean(axis=0)
    return centred


def along(shift: Doubles, directions: Doubles, traits: Sequence[str]) -> dict[str, float]:
    """The cosines of a difference, float[layer + 1, hidden], with directions of `personas`."""
    lengths = np.linalg.norm(directions, axis=-1) * np.linalg.norm(shift, axis=-1)
    cosines = (directions * shift).sum(-1) / np.maximum(lengths, 1e-30)
    return {trait: float(row[1:].mean()) for trait, row in zip(traits, cosines, strict=True)}


@lru_cache(maxsize=256)
def _persona(base: LocalModel, trait: str) -> Doubles:
    return states(base, registry().persona(trait))
