"""Models that stand elsewhere: which names mean one, and what its provider does with a seed or with many choices.

A name such as openai/gpt-4.1-nano goes to Inspect's provider of that name and can only be sampled; every other name
is a model whose weights are at hand (sources.py). No torch, no Inspect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.errors import SublimError
from sublim_eval.files import read_json

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Host:
    """What Inspect's provider passes on: a `seed` per request or not, and the most replies of one request."""

    seed: bool = False
    choices: int = 1


SEEDED = Host(seed=True)
HOSTS = {
    "openai": Host(seed=True, choices=128),
    "azureai": Host(seed=True, choices=128),
    "vllm": Host(seed=True, choices=128),
    "sglang": Host(seed=True, choices=128),
    "google": Host(choices=8),
    **dict.fromkeys(("openai-api", "together", "groq", "mistral", "grok", "fireworks", "deepseek"), SEEDED),
    **dict.fromkeys(("openrouter", "ollama", "llama-cpp-python", "sambanova", "hf-inference-providers"), SEEDED),
    **dict.fromkeys(("anthropic", "bedrock", "cloudflare", "perplexity", "moonshot", "hf", "mockllm"), Host()),
}
"""Inspect's providers, read in the source of 0.3.285. `choices` is 1 wherever a server may ignore `n` in silence."""

WEIGHTS_AT_HAND = ("openai/gpt-oss", "google/gemma", "google/flan", "google/t5", "google/recurrentgemma")
"""Beginnings of names that are hub ids although their organisation is also a provider."""

NO_SEED = re.compile(r"(openai|azureai)/(o\d|gpt-5|codex)")
"""Models that Inspect asks through OpenAI's responses API, which takes no seed and no `n`."""


def host_of(model: str) -> Host | None:
    """The provider of a model that stands elsewhere; None for a folder, a hub id, an embedded or a sublim/ model."""
    provider, _, name = model.partition("/")
    if provider not in HOSTS or not name or model.startswith(WEIGHTS_AT_HAND) or Path(model).is_dir():
        return None
    return Host() if NO_SEED.match(model) else HOSTS[provider]


def arguments(model: str) -> dict[str, Any]:
    """Model arguments for Inspect: OpenAI's chat completions, which take a seed and `n`, wherever the model has them.

    Left alone, Inspect asks every OpenAI model whose name it does not know through the responses API.
    """
    return {"responses_api": False} if model.startswith("openai/") and not NO_SEED.match(model) else {}


def hosted_name(model: str | Path) -> str | None:
    """The name under which a provider knows a model: of openai/gpt-4.1-nano itself, of a folder what its card says.

    A hosted student's folder holds no weights, only student.json with "hosted". None where the weights are at hand.
    Raises SublimError for a card that names something no provider serves.
    """
    card = Path(model) / "student.json"
    if card.is_file():
        name = read_json(card).get("hosted")
        if name is None:
            return None
        if not isinstance(name, str) or host_of(name) is None:
            raise SublimError(
                f"{card} says that its model is hosted as {name!r}, which is no model of a known provider. "
                'Write "hosted": "openai/ft:..." there, or train the student again.'
            )
        return name
    return str(model) if host_of(str(model)) else None


def rounds(samples: int, model: str) -> tuple[int, int]:
    """(requests a question, replies of each) that give exactly so many replies within what the provider honours."""
    host = host_of(model)
    most = host.choices if host else samples
    return next((n, samples // n) for n in range(1, samples + 1) if samples % n == 0 and samples // n <= most)
