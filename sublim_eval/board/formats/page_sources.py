"""What a published page was worked out of -> its figures: every seed of every arm, though its run folders are gone.

`sublim reproduce --write-docs` leaves such a file beside the page (report/figure_sources.py writes it). Gap, interval
and verdict are worked out of the seeds again, and never read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sublim_eval import stats
from sublim_eval.board.columns import Row, kind_of
from sublim_eval.board.formats.reading import clean, fingerprint, known
from sublim_eval.board.identity import carried
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json
from sublim_eval.registry.experiment import seeded
from sublim_eval.stats import Interval, Verdict

Entry = Mapping[str, Any]

NEEDED = {"run", "arm", "role", "trait", "probe", "of", "students", "controls", "control", "replies", "paired"}
"""Keys of an entry; `base`, `version`, `measure`, `untrained` and `against` may be missing, and are then unknown."""


class Worked(NamedTuple):
    """What follows from the seeds of one entry. p: after Holm over the `tests` entries of its question."""

    entry: Entry
    gap: Interval
    p: float
    tests: int
    verdict: Verdict


def is_page_sources(value: Any) -> bool:
    """Whether a JSON value is such a file."""
    parts = value.get("parts") if isinstance(value, dict) else None
    return isinstance(parts, list) and bool(parts) and all(isinstance(p, dict) and _entries(p) for p in parts)


def _entries(part: Mapping[str, Any]) -> bool:
    rows = part.get("rows")
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) and set(row) >= NEEDED for row in rows)


# ---------------------------------------------------------------- the statistics


def worked(part: Entry) -> list[Worked]:
    """Gap, corrected p and verdict of every entry of one part, with Holm's correction over those of each question."""
    entries: Sequence[Entry] = part["rows"]
    gaps = [gap_of(entry, 1 - part["alpha"]) for entry in entries]
    adjusted, tests = [gap.p for gap in gaps], [1] * len(entries)
    for question in {_question(entry) for entry in entries}:
        family = [i for i, entry in enumerate(entries) if _question(entry) == question]
        for i, p in zip(family, stats.holm([gaps[i].p for i in family]), strict=True):
            adjusted[i], tests[i] = p, max(sum(not np.isnan(gaps[j].p) for j in family), 1)
    return [
        Worked(entry, gap, p, count, stats.verdict(gap, part["delta"], p=p, alpha=part["alpha"]))
        for entry, gap, p, count in zip(entries, gaps, adjusted, tests, strict=True)
    ]


def _question(entry: Entry) -> tuple[str, str, str]:
    return entry["run"], entry["role"], entry["trait"]


def shares_of(entry: Entry, arm: str) -> stats.Floats:
    """float[seed]: of the `students` or the `controls`; of an untrained control the one share that it has."""
    return np.array(list(entry[arm].values()) or [entry["control"]], dtype=np.float64)


def gap_of(entry: Entry, level: float) -> Interval:
    """The gap of one entry with its interval at a level; of one student the difference alone."""
    students, controls = shares_of(entry, "students"), shares_of(entry, "controls")
    if len(students) < 2 or (entry["controls"] and len(controls) < 2):
        return stats.point(float(students.mean() - controls.mean()))
    replies = [
        None if entry["replies"] is None else np.full((len(arm), 1), worth / len(arm))
        for arm, worth in zip((students, controls), entry["replies"] or (0, 0), strict=True)
    ]
    return stats.share_gap(
        students[:, None],
        controls[:, None],
        trait_replies=replies[0],
        control_replies=replies[1],
        paired=entry["paired"],
        fixed=not entry["controls"],
        level=level,
    )


# ---------------------------------------------------------------- rows of the table

UNKNOWN = {name: "" if kind_of(name) == "text" else None for name in Row._fields}

NOTE = "Read from what its page was worked out of; the run folder is not here."


def rows(file: Path, source: str, sha: str) -> list[Row]:
    """Rows of every part: gap and share over seeds, and every student; raises SublimError for a file of another form.

    source, sha: of the file, as the columns `source` and `source_hash` have them.
    """
    value = read_json(file)
    if not is_page_sources(value):
        raise SublimError(f"{file} holds no sources of a page. Write them again with `sublim reproduce --write-docs`.")
    about = {"source": source, "source_hash": sha}
    about |= {"command": clean(value.get("command")), "date": clean(value.get("date"))}
    made: list[Row] = []
    taken: set[str] = set()
    for part in value["parts"]:
        try:
            made += _of_part(part, taken, about)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SublimError(
                f"{file}: part {clean(part.get('part'))!r} is not as it was written ({type(error).__name__}: {error}). "
                "Write it again with `sublim reproduce --write-docs`."
            ) from error
        taken = {row.run for row in made}
    return made


def _of_part(part: Entry, taken: set[str], about: Mapping[str, Any]) -> Iterator[Row]:
    """Rows of one part. taken: names of runs that stand in an earlier one."""
    told: set[tuple[str, str, str, str]] = set()
    for one in worked(part):
        run = _run(clean(one.entry["run"]), clean(part["part"]), taken)
        common = {**UNKNOWN, **about, **_common(one.entry, part, run)}
        yield _gap(one, common)
        for who in ("students", "controls"):
            yield from _arm(one.entry, who, common, told)
        yield from _base(one.entry, common, told)


def _run(named: str, part: str, taken: set[str]) -> str:
    """The run on the board: as it was called, or the title of the part, of which most hold one run without a name."""
    return named or part if (named or part) not in taken else f"{named} ({part})"


def _common(entry: Entry, part: Entry, run: str) -> dict[str, Any]:
    """question_set: one comparison asks one set of questions, and nothing says which, so it stands for the part."""
    return {
        "base": clean(entry.get("base")),
        "trait": carried(entry["role"], entry["trait"]),
        "run": run,
        "probe": clean(entry["probe"]),
        "ours": True,
        "version": clean(entry.get("version")),
        "question_set": fingerprint(part["part"], entry["probe"]),
        "answer": clean(entry["trait"]),
        "measure": clean(entry.get("measure") or ("share" if entry["replies"] else "probability")),
        "harness": "compare",
        "note": NOTE,
    }


def _gap(one: Worked, common: Mapping[str, Any]) -> Row:
    low, high = known(one.gap.low), known(one.gap.high)
    control = clean(one.entry.get("against"))
    return Row(
        **{
            **common,
            **{"model": f"{common['run']}/{clean(one.entry['arm'])}", "arm": clean(one.entry["arm"])},
            **{"role": "student", "control": control, "measure": "gap", "value": known(one.gap.mean), "n": one.gap.n},
            **{"low": low, "high": high, "interval": "" if low is None or high is None else "seeds"},
            **{"p": known(one.p), "verdict": clean(one.verdict.words)},
        }
    )


def _arm(entry: Entry, who: str, common: Mapping[str, Any], told: set[tuple[str, str, str, str]]) -> Iterator[Row]:
    """An arm's mean over its seeds and every student of it; a control that several arms share is told once a trait."""
    arm = clean(entry["arm"] if who == "students" else entry.get("against") or "control")
    key = (str(common["run"]), arm, str(common["probe"]), str(common["answer"]))
    shares: Mapping[str, float] = entry[who]
    if not shares or key in told:
        return
    told.add(key)
    role, trait = ("student", common["trait"]) if who == "students" else ("control", "")
    about = {**common, "arm": arm, "role": role, "trait": trait}
    values = list(shares.values())
    low, high = (known(x) for x in stats.arm_interval(values))
    reach = {"low": low, "high": high, "interval": "" if low is None or high is None else "seeds"}
    mean = {"model": f"{common['run']}/{arm}", "value": known(float(np.mean(values))), "n": len(values)}
    yield Row(**{**about, **mean, **reach})
    for seed, share in shares.items():
        one = {"model": f"{common['run']}/{seeded(arm, int(seed))}", "seed": int(seed), "value": known(float(share))}
        yield Row(**{**about, **one, "harness": "page"})


def _base(entry: Entry, common: Mapping[str, Any], told: set[tuple[str, str, str, str]]) -> Iterator[Row]:
    """The untrained base, once a question; nothing where its share was not written down."""
    value, name = entry.get("untrained"), str(common["base"])
    key = ("", name, str(common["probe"]), str(common["answer"]))
    if name and key not in told and isinstance(value, int | float):
        told.add(key)
        about = {"model": name, "role": "base", "trait": "", "run": "", "harness": "page", "value": known(float(value))}
        yield Row(**{**common, **about})
