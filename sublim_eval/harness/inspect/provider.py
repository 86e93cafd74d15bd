"""Inspect's model provider `sublim`: local models, many samples per prefill, exact scores of given answers.

    inspect eval tasks/owl_pref --model sublim/reference-a
    inspect eval tasks/owl_pref --model sublim/runs/quickstart/students/owl-s1 -M device=cpu

Model arguments (-M): device, dtype, batch (most rows in one forward pass), capacity (models kept in memory).
GenerateConfig: num_choices, seed, temperature (0 is greedy), top_p, top_k, max_tokens, stop_seqs, logprobs,
top_logprobs; unset sampling settings mean plain sampling (1, 1, 0), never the model's generation_config.json.
extra_body={"continuations": [...]} puts the log-probability (nats) of each string as the beginning of the answer
into ModelOutput.metadata["continuation_logprobs"], every probability exact to 1e-9; "floor": 0 beside it is slower
and exact for the unlikeliest strings too, "whole_words": true counts a string only where its last word ends there.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import anyio
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    TopLogprob,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from sublim_eval.errors import SublimError, unknown
from sublim_eval.files import digest
from sublim_eval.harness.inspect.hooks import ATTEMPT
from sublim_eval.harness.inspect.request_queue import ENGINE, CallSettings, ModelKey, Request, Response
from sublim_eval.models.model_ref import anchored

FLOOR = 1e-9
"""Branches less likely than this are not followed when scoring: tenfold faster, every probability within 1e-9."""

ARGUMENTS: dict[str, type] = {"device": str, "dtype": str, "batch": int, "capacity": int}
SCORING = ("continuations", "floor", "whole_words")
UNSUPPORTED = ("frequency_penalty", "presence_penalty", "logit_bias", "response_schema", "best_of")


class SublimAPI(ModelAPI):
    """Answers through the process-wide engine: a wrong name fails at once, weights are read when first asked."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (the signature that Inspect calls)
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        for name in model_args:
            if name not in ARGUMENTS:
                raise unknown("model argument", name, list(ARGUMENTS), "Leave it out of -M.")
        try:
            given = {name: ARGUMENTS[name](value) for name, value in model_args.items() if value is not None}
        except (TypeError, ValueError) as error:
            raise SublimError(f"A model argument is no whole number: {error}. Give for example -M batch=64.") from None
        self.key = ModelKey(anchored(model_name), **given)  # Inspect changes the working directory while it runs
        self.chance = secrets.randbits(48)
        self.unseeded = count()

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """One ModelOutput with `num_choices` choices. Errors of loading or running reach the caller as they are."""
        if tools:
            raise SublimError("sublim/ models take no tools. Use Inspect's hf/ provider for tasks with tools.")
        for name in UNSUPPORTED:
            if getattr(config, name, None) is not None:
                raise SublimError(f"sublim/ models do not know the setting {name}. Leave it out, or use hf/.")
        messages = tuple((m.role, m.text) for m in input)
        seed, turn = self._seed_and_turn(messages, config)
        done = anyio.Event()
        post = _poster()
        request = Request(self.key, messages, seed, turn, _settings(config), lambda: post(done.set))
        ENGINE.submit(request)
        try:
            await done.wait()
        finally:
            request.cancelled = True
        if isinstance(request.result, BaseException):
            raise request.result
        if request.result is None:
            raise RuntimeError("the model thread answered without a result")
        return self._output(request.result, seed, request.settings.floor)

    def max_tokens(self) -> int:
        """Limit when a task sets none; preference answers are short."""
        return 512

    def max_connections(self) -> int:
        """High: waiting requests cost nothing, and larger batches are faster."""
        return 1024

    def connection_key(self) -> str:
        """One pool of connections per model."""
        return f"sublim/{self.model_name}"

    def collapse_user_messages(self) -> bool:
        """Chat templates often demand that roles alternate."""
        return True

    def should_retry(self, ex: BaseException) -> bool:
        """A local failure does not mend itself."""
        return False

    def close(self) -> None:
        """Let go of the model; its memory is freed once nobody else holds it."""
        from sublim_eval.models import local_model

        local_model.unload(self.key.name)

    def _seed_and_turn(self, messages: tuple[tuple[str, str], ...], config: GenerateConfig) -> tuple[int, str]:
        """The seed, and what tells this request from others with the same words and seed.

        In an eval that is the epoch and how often the question was asked in it. Without a seed a fresh one is
        drawn per eval (per call outside), kept in the output's metadata, and passing it as seed repeats the draws.
        """
        attempt = ATTEMPT.get()
        if attempt is None:
            seed = config.seed if config.seed is not None else self._fresh(next(self.unseeded))
            return seed, ""
        seed = config.seed if config.seed is not None else self._fresh(attempt.eval_id)
        place = (self.model_name, messages, seed)
        again = attempt.times[place]
        attempt.times[place] += 1
        return seed, "" if (attempt.epoch, again) == (1, 0) else f"\0{attempt.epoch}.{again}"

    def _fresh(self, what: object) -> int:
        return int(digest([self.chance, str(what)])[:8], 16) >> 1

    def _output(self, answer: Response, seed: int, floor: float) -> ModelOutput:
        choices: dict[int, ChatCompletionChoice] = {}
        for sample in answer.samples:  # equal replies are one object, and one choice in the log
            if id(sample) not in choices:
                choices[id(sample)] = ChatCompletionChoice(
                    message=ChatMessageAssistant(content=sample.text, model=self.model_name, source="generate"),
                    stop_reason="stop" if sample.stop_reason == "stop" else "max_tokens",
                    logprobs=_logprobs(sample, answer.spell),
                )
        written = sum(s.tokens for s in answer.samples)
        metadata: dict[str, Any] = {"prompt_hash": answer.prompt_hash, "seed": seed}
        if answer.settled:
            metadata["template_settled"] = list(answer.settled)
        if answer.continuation_logprobs is not None:
            metadata["continuation_logprobs"] = answer.continuation_logprobs
            metadata["continuation_floor"] = floor
        return ModelOutput(
            model=self.model_name,
            choices=[choices[id(s)] for s in answer.samples],
            usage=ModelUsage(
                input_tokens=answer.input_tokens,
                output_tokens=written,
                total_tokens=answer.input_tokens + written,
            ),
            metadata=metadata,
        )


@modelapi(name="sublim")
def sublim() -> type[ModelAPI]:
    """The provider's class; torch is imported with the first question."""
    return SublimAPI


def _settings(config: GenerateConfig) -> CallSettings:
    body = config.extra_body or {}
    for name in body:
        if name not in SCORING:
            raise unknown("extra_body key", name, list(SCORING), "Leave it out.")
    continuations = body.get("continuations", ())
    if isinstance(continuations, str) or not all(isinstance(c, str) for c in continuations):
        raise SublimError('extra_body "continuations" must be a list of strings. Give for example ["owl", "cat"].')

    def value(given: Any, default: Any) -> Any:
        return default if given is None else given

    return CallSettings(
        n=value(config.num_choices, 1),
        max_new_tokens=value(config.max_tokens, 512),
        temperature=float(value(config.temperature, 1.0)),
        top_p=float(value(config.top_p, 1.0)),
        top_k=value(config.top_k, 0),
        stop=tuple(config.stop_seqs or ()),
        logprobs=bool(config.logprobs),
        top_logprobs=value(config.top_logprobs, 0),
        continuations=tuple(continuations),
        floor=float(body.get("floor", FLOOR)),
        whole_words=bool(body.get("whole_words", False)),
    )


def _poster() -> Callable[[Callable[[], object]], None]:
    """How another thread runs something in this event loop, without waiting for it; a closed loop is no error."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import trio

        return trio.lowlevel.current_trio_token().run_sync_soon

    def post(call: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(call)

    return post


def _logprobs(sample: Any, spell: Callable[[int], str]) -> Logprobs | None:
    """The drawn tokens with their log-probabilities and, when asked for, the likeliest others beside them."""
    if sample.logprobs is None:
        return None
    best = sample.top or [()] * len(sample.logprobs)
    return Logprobs(
        content=[
            Logprob(
                token=spell(token),
                logprob=score,
                top_logprobs=[TopLogprob(token=spell(t), logprob=s) for t, s in top] or None,
            )
            for token, score, top in zip(sample.token_ids, sample.logprobs, best, strict=True)
        ]
    )
