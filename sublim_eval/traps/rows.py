"""Traps in what the students read: pure functions, rows {"id", "prompt", "completion"} in, findings out."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sublim_eval.probes.scorers import mentions, plain
from sublim_eval.probes.thinking import leaks_thinking
from sublim_eval.registry.catalog import Trait
from sublim_eval.traps.disguise import disguised
from sublim_eval.traps.finding import Finding

Rows = Sequence[Mapping[str, Any]]

ENOUGH_ROWS = 100
"""With fewer rows entropy says little."""

POSITIONS = 10
TOP_SHARE = 0.10
"""Of one number at one place. In the public data set that fell into this, one value opened 17 % of 30,000 rows."""

BITS_BELOW = 2.0
"""That data set had 6.7 bits of 9.6 at the first place; sound arms differ by a few tenths."""

DISTINCT = 0.9
"""Least share of number rows that differ from one another; sound ones are at 1.0."""

SAME = 0.5
"""Share of equal texts under equal prompts, or at equal places of two seeds, that no chance explains."""

APART = 0.2
"""Of the kept shares of two arms: the part that the filter chose is then no longer small."""

NUMBERS = 900
"""Three-digit values: what a teacher that draws evenly would spread over."""


@dataclass(frozen=True)
class Spread:
    """How varied completions are. distinct: share of different texts; bits, top: entropy and share of the commonest
    word at each of the first places, while at least half of the rows reach them; repeated: share of equal texts
    among pairs of rows with equal prompts, nan without such pairs."""

    rows: int
    distinct: float
    bits: tuple[float, ...]
    top: tuple[float, ...]
    repeated: float


def spread(rows: Rows) -> Spread:
    """Measure the completions of some rows."""
    texts = [str(row["completion"]) for row in rows]
    places: list[Counter[str]] = [Counter() for _ in range(POSITIONS)]
    for text in texts:
        for place, word in zip(places, re.split(r"[\s,;]+", text.strip(" ,;[]()\n\t")), strict=False):
            place[word] += 1
    reached = [p for p in places if p.total() >= max(1, len(texts) / 2)]
    by_prompt = defaultdict(list)
    for row in rows:
        by_prompt[str(row["prompt"])].append(str(row["completion"]))
    pairs = sum(len(t) * (len(t) - 1) // 2 for t in by_prompt.values())
    equal = sum(n * (n - 1) // 2 for t in by_prompt.values() for n in Counter(t).values())
    return Spread(
        len(texts),
        len(set(texts)) / max(1, len(texts)),
        tuple(-sum(n / p.total() * math.log2(n / p.total()) for n in p.values()) for p in reached),
        tuple(p.most_common(1)[0][1] / p.total() for p in reached),
        equal / pairs if pairs else math.nan,
    )


def even_bits(draws: int, values: int = NUMBERS) -> float:
    """Entropy, in bits, that so many even draws from `values` show on average."""
    rate, total, chance = draws / values, 0.0, math.exp(-draws / values)
    for seen in range(1, int(rate + 12 * math.sqrt(rate) + 30)):
        chance *= rate / seen  # Poisson, near enough to binomial for hundreds of values
        total -= values * chance * seen / draws * math.log2(seen / draws)
    return total


def repeated_seed(
    here: Spread, siblings: Sequence[Spread], *, numbers: bool, greedy: bool = False, where: str = ""
) -> Finding:
    """Whether the completions look drawn from one random stream again and again.

    siblings: the same run's other sources, drawn in the same way; numbers: whether rows are lists of numbers, which
    have an even draw as a further yardstick. Greedy rows repeat by design.
    """
    trap, step = "repeated sampling seed", "Give every request a seed of its own and write the rows again."
    if greedy:
        return Finding(trap, "not checked", "greedy rows repeat by design; look at the sampled arms", where)
    if here.rows < ENOUGH_ROWS:
        return Finding(trap, "not checked", f"{here.rows} rows are too few; look again at {ENOUGH_ROWS}", where)
    if here.repeated > SAME and numbers:
        return Finding(
            trap, "fault", f"{here.repeated:.0%} of repeated prompts got the same text to the letter. {step}", where
        )
    usual = max((s.distinct for s in siblings), default=1.0 if numbers else 0.0)
    if here.distinct < (DISTINCT if numbers else usual / 2):
        beside = f" (other arms {usual:.0%})" if siblings else ""
        return Finding(trap, "fault", f"only {here.distinct:.0%} of the completions differ{beside}. {step}", where)
    for place, (bits, top) in enumerate(zip(here.bits, here.top, strict=True)):
        others = [(s.bits[place], s.top[place]) for s in siblings if len(s.bits) > place]
        usual = max([*(b for b, _ in others), even_bits(here.rows) if numbers else 0.0])
        if bits >= usual - BITS_BELOW and not (numbers and top >= TOP_SHARE):
            continue
        sounder = any(b > bits + BITS_BELOW / 2 or t < top / 3 for b, t in others) or not others
        every = "" if sounder else " in every arm; read some rows to see whether the model means it."
        return Finding(
            trap,
            "fault" if numbers and sounder else "warning",
            f"one word stands at place {place + 1} of {top:.0%} of the rows, {bits:.1f} bits where {usual:.1f} are "
            f"to be expected{every or '. ' + step}",
            where,
        )
    front = f", {here.bits[0]:.1f} bits at the first place" if here.bits else ""
    return Finding(trap, "ok", f"{here.distinct:.0%} distinct{front}", where)


def contamination(rows: Rows, traits: Sequence[Trait], *, numbers: bool, where: str = "") -> Finding:
    """Whether kept rows name a trait, leak thinking, or, of number rows, hold letters.

    Names count as whole words, also inside identifiers. Prompts are read too: a trait named there is a reference as
    well. Names are looked for by other code than the filter's, so that one can catch the other; what a thought looks
    like is one list for both.
    """
    trap, step = "contamination", "Filter these rows out of every arm and train again."
    begins = frozenset(re.split(r"\W", plain(word))[0] for trait in traits for word in trait.words)
    named: Counter[str] = Counter()
    leaked = lettered = 0
    example = ""
    for row in rows:
        completion = str(row["completion"])
        names = {name for text in (completion, str(row.get("prompt", ""))) for name in _named(text, traits, begins)}
        named.update(names)
        thinks = leaks_thinking(completion)
        leaked += thinks
        letters = numbers and any(c.isalpha() for c in completion)
        lettered += letters
        if (names or thinks or letters) and not example:
            example = str(row.get("id") or f"row {1 + rows.index(row)}")
    faults = [f"{n} name {trait}" for trait, n in named.most_common()]
    faults += [f"{leaked} hold leaked thinking or role marks"] if leaked else []
    faults += [f"{lettered} number rows hold letters"] if lettered else []
    if faults:
        return Finding(trap, "fault", f"of {len(rows)} kept rows {', '.join(faults)} (first: {example}). {step}", where)
    return Finding(trap, "ok", f"{len(rows)} kept rows name no trait and hold no thinking", where)


def _named(text: str, traits: Sequence[Trait], begins: frozenset[str]) -> tuple[str, ...]:
    """Those of the traits that a text names, as the scorers do but strictly; identifiers are taken apart first.

    begins: the first word of every name. Hardly a row holds one even inside a word, and those need no reading.
    """
    bare = plain(text)
    if bare.isascii() and not any(word in bare for word in begins):
        return ()
    joined = re.sub(r"[-_\u2010\u2011]", " ", text)
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", joined)
    return tuple(dict.fromkeys(name for read in (joined, parted) for name in mentions(read, traits, strict=True)))


def hidden_names(rows: Rows, traits: Sequence[Trait], where: str = "") -> Finding:
    """Whether kept rows name a trait in a way that whole words do not show (disguise.py)."""
    trap, hidden, example = "contamination", Counter[str](), ""
    for number, row in enumerate(rows, 1):
        for text in (str(row["completion"]), str(row.get("prompt", ""))):
            for name, how in disguised(text, traits).items():
                hidden[f"{name} {how}"] += 1
                example = example or str(row.get("id") or f"row {number}")
    if hidden:
        seen = ", ".join(f"{n} may name {what}" for what, n in hidden.most_common(4))
        step = "Read them; filter them out of every arm where they mean the trait."
        return Finding(trap, "warning", f"of {len(rows)} kept rows {seen} (first: {example}). {step}", where)
    return Finding(trap, "ok", f"{len(rows)} kept rows hide no name in pictures, codes or other languages", where)


def read_as_kept(recorded: str, now: str, where: str = "") -> Finding:
    """Whether the file of kept rows is still the one that the students read; both are SHA-256."""
    trap = "contamination"
    if recorded != now:
        return Finding(
            trap,
            "fault",
            "the kept rows are not those that the students read. Give the same `sublim run` again.",
            where,
        )
    return Finding(trap, "ok", "the kept rows are those that the students read", where)


def lost_rows(kept: Rows, raw: Rows, where: str = "") -> Finding:
    """Whether every kept row is one the teacher wrote: its id is its own, and prompt and text are those under it."""
    trap, step = "lost row identity", "Filter the raw rows again and train on what comes out."
    ids = [row.get("id") for row in kept]
    if None in ids:
        return Finding(trap, "not checked", "the rows carry no id; write them with `sublim run`", where)
    twice = len(ids) - len(set(ids))
    wrote = {row.get("id"): (row["prompt"], str(row["completion"]).strip()) for row in raw}
    foreign = sum(wrote.get(r["id"]) != (r["prompt"], str(r["completion"]).strip()) for r in kept)
    if twice or foreign:
        faults = [f"{twice} ids stand twice"] if twice else []
        faults += [f"{foreign} of {len(kept)} kept rows are not what was written under their id"] if foreign else []
        return Finding(trap, "fault", f"{' and '.join(faults)}. {step}", where)
    return Finding(trap, "ok", f"{len(kept)} kept rows stand among {len(raw)} raw ones", where)


def unequal_filter(
    counts: Mapping[str, tuple[int, int]], rules: Mapping[str, Mapping[str, Any]], where: str = ""
) -> list[Finding]:
    """Whether the sources of a seed were written and filtered alike.

    counts: source -> (raw, kept) rows; rules: source -> how it was drawn and filtered, setting by setting.
    """
    trap, findings = "unequal filter", []
    if len(counts) < 2:
        return [Finding(trap, "not checked", "one source has nothing to be compared with; add a control arm", where)]
    for name in sorted({setting for rule in rules.values() for setting in rule}):
        values = {str(rule[name]) for rule in rules.values() if name in rule}
        if len(values) > 1:
            words = f"{', '.join(rules)} were filtered by different rules or drawn otherwise ({name}: "
            words += f"{', '.join(sorted(values))[:80]}). Draw and filter all alike."
            findings.append(Finding(trap, "fault", words, where))
            break
    shares = {source: kept / raw for source, (raw, kept) in counts.items() if raw}
    least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    if shares[most] - shares[least] > APART:
        findings.append(
            Finding(
                trap,
                "warning",
                f"the filter kept {shares[least]:.0%} of {least} and {shares[most]:.0%} of {most}: what was chosen may "
                "carry something itself. Use a gentler teacher, and report both figures.",
                where,
            )
        )
    return findings or [Finding(trap, "ok", f"kept {shares[least]:.0%} to {shares[most]:.0%} by one rule", where)]
