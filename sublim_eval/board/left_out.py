"""What may not stand beside the rest: another version of a probe, the same file twice, a second measurement."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sublim_eval.board.columns import LeftOut
from sublim_eval.board.formats.reading import Reading
from sublim_eval.board.identity import Identity
from sublim_eval.registry.catalog import registry

Entry = tuple[Identity, Reading, str, str]
"""Whose reading, the reading, its source and the SHA-256 of that."""


def comparable(entries: Sequence[Entry]) -> tuple[list[Entry], list[LeftOut]]:
    """(entries that may stand side by side, the others with the reason); the order stays."""
    one_version, other_versions = _of_one_version(entries)
    once, again = _once(one_version)
    return once, [*other_versions, *again]


def _of_one_version(entries: Sequence[Entry]) -> tuple[list[Entry], list[LeftOut]]:
    """Of every task the version that the registry knows, or where it is not there the latest."""
    versions: dict[tuple[str, str], set[str]] = {}
    for _, reading, _, _ in entries:
        versions.setdefault(_task(reading), set()).add(reading.version)
    counts = {task: _counting(task[0], known) for task, known in versions.items()}
    kept = [entry for entry in entries if entry[1].version == counts[_task(entry[1])]]
    return kept, [
        LeftOut(
            source,
            f"{reading.probe} of version {reading.version or 'unknown'}, beside others of "
            f"{counts[_task(reading)] or 'unknown'}: figures of two versions mean two things. Measure it again.",
        )
        for _, reading, source, _ in entries
        if reading.version != counts[_task(reading)]
    ]


def _task(reading: Reading) -> tuple[str, str]:
    """A probe of ours is one in both harnesses; a task of others that only shares its name is another one in each."""
    return reading.probe, "" if reading.probe in registry().probes else reading.harness


def _counting(probe: str, versions: Iterable[str]) -> str:
    known = registry().probes.get(probe)
    there = set(versions)
    return known.version if known and known.version in there else max(there, key=_natural)


def _natural(version: str) -> list[tuple[int, str]]:
    """So that 10-A comes behind 9-B."""
    return [
        (int(part), "") if part.isdecimal() and len(part) < 20 else (-1, part) for part in re.split(r"(\d+)", version)
    ]


def _once(entries: Sequence[Entry]) -> tuple[list[Entry], list[LeftOut]]:
    """Every measurement once: the newest by its date, of equal dates the first."""
    first_file: dict[tuple[str, str, str], str] = {}
    newest: dict[tuple[object, ...], Entry] = {}
    gone: list[LeftOut] = []
    for entry in entries:
        who, reading, source, sha = entry
        same = first_file.setdefault((sha, reading.probe, reading.model), source)
        if same != source:
            gone.append(LeftOut(source, f"the same file as {same}. Give one of them."))
            continue
        key = (who.model, reading.probe, reading.question_set, reading.harness, reading.sampling, reading.prompt_hash)
        other = newest.get(key)
        if other is not None and other[1].date >= reading.date:
            gone.append(_second(entry, other))
        else:
            gone += [_second(other, entry)] if other is not None else []
            newest[key] = entry
    kept = {id(entry) for entry in newest.values()}
    return [entry for entry in entries if id(entry) in kept], gone


def _second(entry: Entry, counting: Entry) -> LeftOut:
    """Why one of two measurements does not count."""
    who, reading, source, _ = entry
    when = f" of {reading.date}" if reading.date else ""
    return LeftOut(
        source,
        f"{who.model} on {reading.probe}{when} was measured with these settings a second time in {counting[2]}, which "
        "counts. Leave out one of them.",
    )
