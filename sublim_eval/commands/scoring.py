"""`sublim score`, `score-responses` and `compare`: models and replies into shares, shares into verdicts."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from sublim_eval.commands.terminal import say
from sublim_eval.errors import SublimError
from sublim_eval.records import read_jsonl, write_jsonl
from sublim_eval.registry import Probe, Trait, registry

if TYPE_CHECKING:
    from rich.console import Console


def score_responses(args: Namespace, console: Console) -> dict[str, Any]:
    """Score saved rows {"question", "response"}: share of replies that name the trait, non-answers counted apart."""
    from sublim_eval.scorers import classify, tally

    known = registry()
    probe = known.probe(args.probe)
    trait = _trait(probe, args.trait)
    answers = known.answer_set(probe.category)
    if args.out and args.out.resolve() == args.responses.resolve():
        raise SublimError(f"--out {args.out} is the input itself. Name another file.")
    rows = [row for _, row in read_jsonl(args.responses, ("question", "response"))]
    counts = tally((row["response"] for row in rows), answers)
    hits = counts.named.get(trait.name, 0)
    result = {
        "probe": probe.name,
        "version": probe.version,
        "trait": trait.name,
        "replies": counts.replies,
        "hits": hits,
        "share": counts.share(trait.name),
        "non_answers": counts.non_answers,
        "refusals": counts.refusals,
        "empty": counts.empty,
        "other": counts.other,
        "named": dict(counts.named),
    }
    say(console, f"{probe.name} {probe.version}: {trait.name} {result['share']:.3f} ({hits} of {len(rows)} replies)")
    say(console, f"  non-answers: {counts.non_answers} ({counts.refusals} refusals, {counts.empty} empty)")
    say(console, f"  other words: {counts.other}")
    say(console, f"  named: {', '.join(f'{name} {count}' for name, count in counts.named.items()) or 'none'}")
    if args.out:
        replies = ((row, classify(row["response"], answers)) for row in rows)
        write_jsonl(
            args.out,
            (
                {**row, "verdict": float(r.trait == trait.name), "answer": r.trait, "kind": r.kind, "reason": r.reason}
                for row, r in replies
            ),
        )
        say(console, f"  every verdict: {args.out}")
    return result


def _trait(probe: Probe, name: str | None) -> Trait:
    """The trait to count: the one given, else the probe's own; it must be one that the probe can tell."""
    known = registry()
    answers = known.answer_set(probe.category)
    names = ", ".join(t.name for t in answers)
    if not (name or probe.trait):
        raise SublimError(f"{probe.name} asks for any {probe.category}. Say which one counts with --trait: {names}.")
    trait = known.trait(name or probe.trait or "")
    if trait not in answers:
        raise SublimError(f"{trait.name} is no {probe.category}, which is what {probe.name} asks for. Choose: {names}.")
    return trait
