"""The tidy table: one row says one number about one model, and everything that is needed to trust it.

A long table. Of a model on one of our probes there is a row for each answer (owl, eagle, ...) and measure (`share`,
`probability`); of somebody else's task a row for each of its metrics; of an arm of a run a row for each figure that
`sublim compare` works out over its seeds (`gap`, `log_odds`). Rows that may stand side by side have one `probe`,
`version`, `question_set` and `measure`.

Unknown is `None` of a number and `""` of text, never 0: in CSV an empty cell, in Parquet null, in JSON null.

column            kind   what it is (unit)
----------------  -----  ------------------------------------------------------------------------------------------
model             text   who was asked: `<run>/<arm>-s<seed>` of a student of a run, else the name without its harness's
                         prefix, so that Inspect and lm-eval name one student alike; of figures over seeds `<run>/<arm>`
base              text   the untrained model that it stems from, itself for a base
role              text   ROLES: base, teacher, control, student, or other (nothing is known of its training)
trait             text   what its teacher carried; "" for base, control and other
run               text   name of the run folder, with more of its path where two are called alike; "" outside of runs
arm               text   arm of the run; "" outside of runs
control           text   arm of the run that it is held against; "" for controls and outside of runs
seed              whole  student seed; None of a base, and of figures over seeds, whose `n` counts them
probe             text   our probe, or the name of somebody else's task
ours              flag   whether `probe` is one of our probes
version           text   of the probe or task, as its log says
question_set      text   12 hex digits: digest of what was asked and of which questions (a `--limit` gives another)
questions         whole  how many questions (of a foreign task: samples)
answer            text   the answer that the number is about ("plain" beside a conduct); "" for foreign tasks
measure           text   share: of sampled replies that give the answer (0 to 1, mean over questions);
                         probability: exact, of a first answer within the answer set (0 to 1, mean over questions);
                         gap: student minus control (share, -1 to 1); log_odds: the same in log-odds (unbounded);
                         other: as the foreign task calls its metric
value             number the number, in the unit of its measure
stderr            number its standard error as the harness reported it (same unit); None of our own measures
low, high         number its 95 % interval (same unit); None where there is none
interval          text   what the interval is over: "questions", "seeds", or "" without one
n                 whole  what the number is a mean over: replies of a share, questions of a probability, samples of a
                         foreign task, seeds of a gap
non_answers       number refusals and empty replies over all replies (0 to 1); None without replies
unreadable        whole  replies of which no judge said anything readable; they are not in `n`
coverage          number first answers that the answer set holds (0 to 1); None unless exact
p                 number of a gap, two-sided, after Holm's correction; None elsewhere
verdict           text   of a gap, in words, as `sublim compare` says it; "" elsewhere
sampling          text   JSON object of the settings that replies were drawn with (temperature, top_p, ...); "" unknown
prompt_hash       text   SHA-256 of the rendered prompts; "" where unknown
settled           text   what was changed in the chat template, in words
harness           text   inspect, lm-eval, replies (a score file outside of a run), run (our record), page (the sources
                         of a published page, whose run folders are not here), scout (a scan of logs) or compare
harness_version   text   of that harness
versions          text   JSON object: package -> version, as far as the source says
command           text   the command that makes the number again, as far as the source says
date              text   when it was measured, ISO 8601 in UTC; "" where the source does not say
source            text   the file that it was read from, as a path below the folders that were given, with slashes
source_hash       text   SHA-256 of that file's bytes
log               text   the Inspect log behind it, a path like `source`; "" without one
note              text   what a reader must know beside the number, in words

Rows of `harness` "compare" are over the seeds of an arm: `model` is `<run>/<arm>`, `seed` is None and `interval` is
"seeds" (of one student "questions", where its difference is over those). Beside `gap` and `log_odds` they hold the
arm's mean `share` or `probability`; of a control arm there is one for every trait that it is held against.

How to use it from Python:

    board = collect([Path("runs")])          # sublim_eval.board.collect
    board.rows                               # tuple[Row, ...], in a stable order
    board.left_out                           # tuple[LeftOut, ...]: source and why, in a sentence
    board.path(row.source)                   # the file on this disk
    board.scores(row)                        # ProbeScores by question, read again from its file; None of foreign tasks
    board.records                            # run -> its run.json as plain data (lineage, arms, hashes)
    board.comparisons                        # run -> Comparison: confusion, doses, every seed; rows `gap` come from it
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

Role = Literal["base", "teacher", "control", "student", "other"]

ROLES: tuple[str, ...] = get_args(Role)

Harness = Literal["inspect", "lm-eval", "replies", "run", "page", "scout", "compare"]

RECORDED = ("run", "page")
"""Harnesses under which the students of an arm stand that a row over seeds speaks of."""

Kind = Literal["text", "whole", "number", "flag"]


class Row(NamedTuple):
    """One number about one model; the module's docstring has meaning and unit of every column."""

    model: str
    base: str
    role: str
    trait: str
    run: str
    arm: str
    control: str
    seed: int | None
    probe: str
    ours: bool
    version: str
    question_set: str
    questions: int | None
    answer: str
    measure: str
    value: float | None
    stderr: float | None
    low: float | None
    high: float | None
    interval: str
    n: int | None
    non_answers: float | None
    unreadable: int | None
    coverage: float | None
    p: float | None
    verdict: str
    sampling: str
    prompt_hash: str
    settled: str
    harness: str
    harness_version: str
    versions: str
    command: str
    date: str
    source: str
    source_hash: str
    log: str
    note: str


COLUMNS: tuple[str, ...] = Row._fields

WHOLE = ("seed", "questions", "n", "unreadable")
NUMBERS = ("value", "stderr", "low", "high", "non_answers", "coverage", "p")
FLAGS = ("ours",)


def kind_of(column: str) -> Kind:
    """What a column holds: text, a whole number, a number, or a flag; the last three but flags may be unknown."""
    for kind, names in (("whole", WHOLE), ("number", NUMBERS), ("flag", FLAGS)):
        if column in names:
            return kind  # type: ignore[return-value]
    return "text"


class LeftOut(NamedTuple):
    """A file or row that is not in the table, and why in a sentence."""

    source: str
    why: str
