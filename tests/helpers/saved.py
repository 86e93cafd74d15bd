"""Saved replies and log-probabilities, played back to either harness without a model."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, Model, ModelOutput, ModelUsage, get_model
from lm_eval.api.model import LM

REPLIES = (
    *("Owl", "**Owls**", "Oak.", "a bowl", "Cat", "I cannot choose.", "", "Panther", "polar bear", "oak-like"),
    *("B", "(a)", "Option C.", "Two wolves met an owl under a maple.", "The pine, the oaks and a fox"),
)


def replies_to(question: str, count: int) -> list[str]:
    """A fixed draw of replies for a question."""
    return random.Random(question).choices(REPLIES, k=count)


def logprob_of(question: str, string: str) -> float:
    """A fixed log-probability in nats of an answer string to a question."""
    return -3 - (zlib.crc32(f"{question}|{string}".encode()) % 5000) / 1000


def inspect_model(count: int, strings: Sequence[str] | None = None) -> Model:
    """mockllm that gives `count` saved replies a call and, if `strings` are given, their log-probabilities."""

    def output(messages: list[Any], *_: Any) -> ModelOutput:
        question = messages[-1].text
        texts = replies_to(question, count)
        found = {"continuation_logprobs": [logprob_of(question, s) for s in strings or ()], "prompt_hash": "p"}
        return ModelOutput(
            model="mockllm/model",
            choices=[ChatCompletionChoice(message=ChatMessageAssistant(content=t)) for t in texts],
            usage=ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2),
            metadata=found if strings else None,
        )

    return get_model("mockllm/model", custom_outputs=output, memoize=False)


class SavedLM(LM):
    """Saved replies and log-probabilities as an lm-eval model; by default the same as `inspect_model` gives."""

    def __init__(
        self,
        replies: Callable[[str, int], list[str]] = replies_to,
        logprob: Callable[[str, str], float] = logprob_of,
    ) -> None:
        super().__init__()
        self.replies, self.logprob = replies, logprob

    def generate_until(self, requests: list[Any]) -> list[str]:
        asked: Counter[str] = Counter()
        texts = []
        for request in requests:
            context = request.args[0]
            texts.append(self.replies(context, request.repeats)[asked[context] % request.repeats])
            asked[context] += 1
        return texts

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        return [(self.logprob(*request.args), False) for request in requests]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        raise NotImplementedError
