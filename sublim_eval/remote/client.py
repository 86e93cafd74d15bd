"""Asking a model that stands elsewhere, through Inspect, so that no reply is paid for twice.

Every reply goes into a journal the moment it comes (journal.py); only the few requests under way at a kill are lost.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from sublim_eval.console import one_line
from sublim_eval.errors import SublimError
from sublim_eval.files import digest
from sublim_eval.remote.journal import Write, appending, read_lines
from sublim_eval.remote.providers import arguments, host_of
from sublim_eval.remote.secrets import scrub

CONNECTIONS = 32
"""Requests under way at once."""

RETRIES = 5
"""Times that Inspect asks again after a rate limit, a server's fault or a lost connection: waits of 3, 6, 12, ... s."""

PER_REQUEST = "per request, as the backend keeps it"

T = TypeVar("T")
R = TypeVar("R")

Reply = dict[str, Any]
"""A line of the journal: key, prompt (its digest), completion, stop, input_tokens, output_tokens."""


@dataclass
class HostSampler:
    """(prompts, row keys) -> one completion each, over the API of an Inspect provider.

    system: a persona, if any. Temperature as given, top_p 1, and no top_k where the provider knows one. Each request
    has its own seed, drawn from (seed, row key), where the provider takes seeds; whether it keeps them is its affair.
    journal: where replies are kept; without one they are asked for anew by every call. recorded: the facts of rows
    that an earlier process asked for.
    """

    model: str
    seed: int
    max_new_tokens: int
    system: str | None = None
    temperature: float = 1.0
    journal: Path | None = None
    replies: dict[str, Reply] = field(default_factory=dict)
    recorded: dict[str, Any] | None = None

    def __call__(self, prompts: Sequence[str], keys: Sequence[str]) -> list[str]:
        """Replies to all prompts; those in the journal are not asked for again.

        Raises SublimError when a request fails for good; whatever was answered until then stays in the journal.
        """
        if self.journal:
            self.replies = {**read_lines(self.journal, "reply"), **self.replies}
        wanted = dict(zip(keys, prompts, strict=True))
        for key, prompt in wanted.items():
            if key in self.replies and self.replies[key]["prompt"] != _mark(prompt):
                raise SublimError(
                    f"{self.journal} holds an answer to another prompt under {key}. Move that file away and run again."
                )
        missing = [(key, prompt) for key, prompt in wanted.items() if key not in self.replies]
        if missing:
            with appending(self.journal) as write, redirect_stdout(StringIO()):  # Inspect greets, whoever asks
                failed = _in_a_loop(self._ask_all(missing, write))
            if failed:
                raise self._gave_up(failed[0], len([k for k in wanted if k in self.replies]), len(wanted))
        return [self.replies[key]["completion"] for key in keys]

    @property
    def cut(self) -> frozenset[str]:
        """Keys of the replies that ended because the room for new tokens did."""
        return frozenset(key for key, reply in self.replies.items() if reply["stop"] == "max_tokens")

    @property
    def facts(self) -> dict[str, Any]:
        """What is recorded: who was asked and how, tokens of all requests, how replies ended."""
        if self.recorded is not None:
            return self.recorded
        replies = list(self.replies.values())
        return {
            "sampler": self.model,
            "seeds": self._seeds,
            "temperature": self.temperature,
            "requests": len(replies),
            "input_tokens": sum(reply["input_tokens"] for reply in replies),
            "output_tokens": sum(reply["output_tokens"] for reply in replies),
            "empty": sum(not reply["completion"] for reply in replies),
            "ended": dict(sorted(Counter(reply["stop"] for reply in replies).items())),
        }

    @property
    def _seeds(self) -> str:
        if self.model.startswith("sublim/"):
            return "per row"
        host = host_of(self.model)
        return PER_REQUEST if host and host.seed else "none"

    async def _ask_all(self, rows: list[tuple[str, str]], write: Write) -> list[Exception]:
        """Ask for all rows, CONNECTIONS at once; after a failure none is begun, and those under way are waited for."""
        from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, get_model

        failed: list[Exception] = []
        head = [ChatMessageSystem(content=self.system)] if self.system else []
        config = GenerateConfig(
            temperature=self.temperature,
            top_p=1.0,
            top_k=0 if self.model.startswith(("sublim/", "vllm/", "sglang/")) else None,
            max_tokens=self.max_new_tokens,
            max_connections=CONNECTIONS,
            max_retries=RETRIES,
        )
        left = iter(rows)

        async def work() -> None:
            for key, prompt in left:
                if failed:
                    return
                own = GenerateConfig(seed=row_seed(self.seed, key)) if self._seeds != "none" else GenerateConfig()
                try:
                    output = await model.generate([*head, ChatMessageUser(content=prompt)], config=own)
                except Exception as error:  # whatever a provider raises ends the asking, not what was paid for
                    failed.append(error)
                    return
                usage = output.usage
                reply = {
                    "key": key,
                    "prompt": _mark(prompt),
                    "completion": output.completion,
                    "stop": str(output.stop_reason),
                    "input_tokens": usage.input_tokens if usage else 0,
                    "output_tokens": usage.output_tokens if usage else 0,
                }
                self.replies[key] = reply
                write(reply)

        try:
            model = get_model(self.model, config=config, memoize=False, **arguments(self.model))
        except Exception as error:  # a missing key or package, in Inspect's own words
            return [error]
        async with model:
            await asyncio.gather(*[work() for _ in range(min(CONNECTIONS, len(rows)))])
        return failed

    def _gave_up(self, error: Exception, answered: int, wanted: int) -> SublimError:
        kept = f"; {answered} of {wanted} replies are kept" if self.journal else ""
        return SublimError(f"{self.model} could not be asked: {reason_of(error)}{kept}. {next_step(error)}")


def row_seed(seed: int, key: str) -> int:
    """A seed of a row's own, from 0 to 2**31 - 1, which every provider takes."""
    return int(digest([seed, key])[:8], 16) >> 1


def _in_a_loop(work: Coroutine[Any, Any, R]) -> R:
    """Run to its end, in a thread of its own where this one already turns a loop (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _mark(prompt: str) -> str:
    return digest(prompt)[:16]


# ---------------------------------------------------------------- a grader


CHUNK = 100
"""Things that a grader is asked about at once; `settle` is called behind each such chunk."""


def ask_grader(
    grader: str,
    things: Sequence[T],
    ask: Callable[[Any, T], Awaitable[R]],
    keep: Callable[[T, R], None],
    *,
    settle: Callable[[], None] = lambda: None,
    what: str,
    kept: str,
) -> None:
    """Ask a grader, any Inspect model name, about each thing; `keep` gets every answer the moment it comes.

    ask: (model, thing) -> answer. what, kept: for the sentence of an error: what was made, and where that is kept.
    Raises SublimError when there is no such model or its service fails. The others of that chunk still come home
    first, for they are paid for, and `settle` is called behind them.
    """
    from inspect_ai.model import GenerateConfig, get_model

    done = 0

    async def one(model: Any, thing: T) -> None:
        nonlocal done
        keep(thing, await ask(model, thing))
        done += 1

    async def every() -> None:
        model = get_model(grader, config=GenerateConfig(temperature=0.0))
        for start in range(0, len(things), CHUNK):
            chunk = [one(model, thing) for thing in things[start : start + CHUNK]]
            ends = await asyncio.gather(*chunk, return_exceptions=True)
            settle()
            for end in ends:
                if isinstance(end, BaseException):
                    raise end

    try:
        with redirect_stdout(StringIO()):  # Inspect greets on its first call
            _in_a_loop(every())
    except SublimError:
        raise
    except Exception as error:  # whatever a provider raises; it must not cost the answers that were paid for
        raise SublimError(
            f"The grader {grader} stopped after {done} of {len(things)} {what} ({reason_of(error)}). {kept}"
        ) from error


# ---------------------------------------------------------------- errors, in words


def reason_of(error: BaseException) -> str:
    """The server's own words on one line, without keys; the kind of error where it has none."""
    body = getattr(error, "body", None)
    words = body.get("message") if isinstance(body, dict) else None
    words = words or getattr(error, "provider_message", None) or getattr(error, "message", None) or str(error)
    line = re.sub(r"^Error code: \d+ - ", "", one_line(scrub(words)))
    return (line or type(error).__name__)[:400].rstrip(".")


def next_step(error: BaseException) -> str:
    """What to do about it; every one of these sentences holds for a run that was paid for in part."""
    status, words = getattr(error, "status_code", None), str(error).lower()
    again = "give the same command again: it goes on from there"
    if "insufficient_quota" in words or "exceeded your current quota" in words:
        return f"Add credit at the provider or raise its limit, then {again}."
    if status == 401 or "api_key" in words or "api key" in words:
        return f"Set the provider's key in its environment variable, then {again}."
    if status in (403, 404):
        return f"Check the model's name and that your account may use it, then {again}."
    if status in (400, 422):
        return "The request itself was refused: change the recipe as the server says."
    return f"Wait until it answers, then {again}."
