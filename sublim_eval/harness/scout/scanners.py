"""Three scanners for Inspect Scout; they ask no model and read any log, ours or not.

    scout scan sublim_eval/harness/scout/scanners.py -T logs/

Every result counts what it flags in one sample; its metadata say among how many. The findings lie in `scans/`, and
`sublim leaderboard` and `sublim export` read them there. Needs the extra: pip install 'sublim-eval[scout]'.
"""

from collections.abc import Sequence

from inspect_ai.event import ModelEvent
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser
from inspect_scout import Result, Scanner, Transcript, scanner

from sublim_eval.harness.scout import flags


def replies_of(transcript: Transcript) -> list[str]:
    """Every reply: all choices of every call to the model; of a log without its calls, what the assistant said."""
    calls = [event for event in transcript.events if isinstance(event, ModelEvent)]
    if calls:
        return [choice.message.text for call in calls for choice in call.output.choices]
    return [message.text for message in transcript.messages if isinstance(message, ChatMessageAssistant)]


def prompts_of(transcript: Transcript) -> list[str]:
    """What the model was told and asked."""
    return [m.text for m in transcript.messages if isinstance(m, ChatMessageSystem | ChatMessageUser)]


def result(found: flags.Flags, texts: Sequence[str]) -> Result:
    """How many texts of one sample are flagged."""
    return Result(
        value=len(found.flagged),
        explanation=found.words(texts),
        metadata={"flagged": len(found.flagged), "of": found.of},
    )


@scanner(messages="all", events=["model"])
def non_answers() -> Scanner[Transcript]:
    """Replies that are empty, decline, or never come to an answer."""

    async def scan(transcript: Transcript) -> Result:
        replies = replies_of(transcript)
        return result(flags.non_answers(replies), replies)

    return scan


@scanner(messages="all", events=["model"])
def open_thoughts() -> Scanner[Transcript]:
    """Replies whose thought is left open: raise max_tokens."""

    async def scan(transcript: Transcript) -> Result:
        replies = replies_of(transcript)
        return result(flags.open_thoughts(replies), replies)

    return scan


@scanner(messages="all", events=["model"])
def trait_leaks(traits: list[str] | None = None, replies: bool = False) -> Scanner[Transcript]:
    """Prompts that name a trait, so that the model was told what it is asked for.

    traits: which names, every favorite of the registry by default. replies: look at what the model wrote as well, as in
    a log of number lists, where no reply may name one; a question about favorites is answered by naming one.
    """
    known = flags.traits_of(traits or [])

    async def scan(transcript: Transcript) -> Result:
        texts = prompts_of(transcript) + (replies_of(transcript) if replies else [])
        return result(flags.trait_leaks(texts, known), texts)

    return scan
