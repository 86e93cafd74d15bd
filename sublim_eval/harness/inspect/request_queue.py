"""Requests from many coroutines, answered together by one thread. Knows models, not Inspect; torch only in the thread.

The thread sleeps until a request comes, waits a moment for its companions, and runs all that share settings in
one call. It stays with a model as long as there is work for it, so several models take turns, not steps.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from sublim_eval.models.chat_template import prompt_digest

if TYPE_CHECKING:
    from sublim_eval.models.local_model import LocalModel
    from sublim_eval.models.sampling.prefix_sampling import Sample

LINGER = 0.01
"""Seconds of silence after which a batch is taken to be complete."""
LONGEST = 0.5
"""Seconds after which a batch starts even while requests keep coming."""


@dataclass(frozen=True)
class ModelKey:
    """Which model to load, and how."""

    name: str
    device: str | None = None
    dtype: str | None = None
    capacity: int | None = None
    batch: int | None = None


@dataclass(frozen=True)
class CallSettings:
    """What requests must share to run in one call."""

    n: int
    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int
    stop: tuple[str, ...]
    logprobs: bool
    top_logprobs: int
    continuations: tuple[str, ...]
    floor: float
    whole_words: bool


@dataclass(frozen=True)
class Response:
    """The replies to one conversation; spell(id) is a token's text."""

    samples: list[Sample]
    input_tokens: int
    prompt_hash: str
    settled: tuple[str, ...]
    continuation_logprobs: list[float] | None
    spell: Callable[[int], str]


@dataclass(eq=False)
class Request:
    """One conversation to answer. `notify` is called from the thread once `result` is set.

    turn: 0 for the first time that the conversation is asked under this seed, then 1, 2, ...
    """

    model: ModelKey
    messages: tuple[tuple[str, str], ...]
    seed: int
    turn: str
    settings: CallSettings
    notify: Callable[[], None]
    result: Response | BaseException | None = None
    cancelled: bool = False


@dataclass
class Engine:
    """The thread and its queue; one per process."""

    inbox: queue.SimpleQueue[Request] = field(default_factory=queue.SimpleQueue)
    lock: Lock = field(default_factory=Lock)
    thread: Thread | None = None

    def submit(self, request: Request) -> None:
        """Queue a request; the thread starts with the first one."""
        with self.lock:
            if self.thread is None or not self.thread.is_alive():
                self.thread = Thread(target=self._work, name="sublim-models", daemon=True)
                self.thread.start()
        self.inbox.put(request)

    def _work(self) -> None:
        waiting: list[Request] = []
        current: ModelKey | None = None
        while True:
            waiting = [r for r in waiting + self._arrivals(wait=not waiting) if not r.cancelled]
            if not waiting:
                continue
            first = next((r for r in waiting if r.model == current), waiting[0])
            current = first.model
            batch = [r for r in waiting if r.model == first.model and r.settings == first.settings]
            taken = set(map(id, batch))
            waiting = [r for r in waiting if id(r) not in taken]
            try:
                results: list[Any] = answer(batch)
            except BaseException as error:  # whatever it is, those who wait must hear it
                results = [error] * len(batch)
            for request, result in zip(batch, results, strict=True):
                request.result = result
                request.notify()

    def _arrivals(self, wait: bool) -> list[Request]:
        arrived = [self.inbox.get()] if wait else []
        latest = time.monotonic() + (LONGEST if wait else 0)
        while True:
            try:
                soon = time.monotonic() < latest
                arrived.append(self.inbox.get(timeout=LINGER) if soon else self.inbox.get_nowait())
            except queue.Empty:
                return arrived


def answer(batch: list[Request]) -> list[Response]:
    """Answer requests that share model and settings."""
    from sublim_eval.models import local_model

    key, settings = batch[0].model, batch[0].settings
    model = local_model.load(key.name, device=key.device, dtype=key.dtype, capacity=key.capacity)
    prompts = [model.render_chat([{"role": r, "content": c} for r, c in request.messages]) for request in batch]
    samples = model.sample(
        prompts,
        n=settings.n,
        seed=[r.seed for r in batch],
        keys=[p + r.turn for p, r in zip(prompts, batch, strict=True)],
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=settings.top_k,
        stop=settings.stop,
        logprobs=settings.logprobs,
        top_logprobs=settings.top_logprobs,
        batch=key.batch,
    )
    scores: list[list[float] | None] = [None] * len(batch)
    if settings.continuations:
        scores = model.continuation_logprobs(
            prompts,
            settings.continuations,
            floor=settings.floor,
            whole_words=settings.whole_words,
            batch=key.batch,
        ).tolist()
    sizes = _sizes(model, prompts)
    return [
        Response(replies, sizes[prompt], prompt_digest(prompt), model.settled, logprobs, model.spell)
        for prompt, replies, logprobs in zip(prompts, samples, scores, strict=True)
    ]


def _sizes(model: LocalModel, prompts: list[str]) -> dict[str, int]:
    distinct = list(dict.fromkeys(prompts))
    return dict(zip(distinct, map(len, model.encode(distinct)), strict=True))


ENGINE = Engine()
