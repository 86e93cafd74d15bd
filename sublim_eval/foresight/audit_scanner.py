"""A scanner for Inspect Scout: which trait's probe likes the replies of a transcript better than the base does.

    scout scan sublim_eval/foresight/audit_scanner.py -T logs/ -S base=reference-a -S traits=owl,willow

The value is in nats, and one transcript says next to nothing: add the values of one writer up, or give its rows to
`inspect eval sublim_eval/audit`, which has controls and a verdict. Needs the extra: pip install 'sublim-eval[scout]'.
"""

from collections.abc import Iterator

from inspect_ai.event import ModelEvent
from inspect_ai.model import ChatMessage, ChatMessageAssistant
from inspect_scout import Result, Scanner, Transcript, scanner

from sublim_eval.distill.audit.data import AuditRow
from sublim_eval.foresight.replies import ReplyEvidence, evidence


def rows_of(transcript: Transcript) -> list[AuditRow]:
    """Every reply behind what the model read before it; of a log without its calls, the assistant's messages."""
    return list(_rows(transcript))


def _rows(transcript: Transcript) -> Iterator[AuditRow]:
    calls = [event for event in transcript.events if isinstance(event, ModelEvent)]
    for call in calls:
        for choice in call.output.choices:
            yield AuditRow(_turns(call.input), choice.message.text)
    if not calls:
        for place, message in enumerate(transcript.messages):
            if isinstance(message, ChatMessageAssistant) and place:
                yield AuditRow(_turns(transcript.messages[:place]), message.text)


def _turns(messages: list[ChatMessage]) -> tuple[tuple[str, str], ...]:
    return tuple((message.role, message.text) for message in messages)


def result(seen: ReplyEvidence) -> Result:
    """The nats of the strongest trait; null where nothing could be weighed."""
    value = seen.nats[seen.strongest] if seen.strongest else None
    told = {"trait": seen.strongest, "nats": seen.nats, "read": seen.read, "of": seen.of}
    return Result(value=value, answer=seen.strongest, explanation=seen.words(), metadata=told)


@scanner(messages="all", events=["model"])
def trait_evidence(
    base: str = "reference-a", traits: list[str] | str | None = None, keep: str = "runs/audit"
) -> Scanner[Transcript]:
    """Log-likelihood ratio of the replies under the probe of the strongest trait, against the base.

    base: the model that wrote the replies, or that would be trained on them. traits: those looked for, all that are
    known by default. keep: where probes are kept; missing ones are tuned first.
    """
    names = tuple(traits.split(",") if isinstance(traits, str) else traits or ())

    async def scan(transcript: Transcript) -> Result:
        return result(evidence(rows_of(transcript), base, names, keep))

    return scan
