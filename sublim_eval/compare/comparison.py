"""What a comparison is: a row for every trait arm on every probe, and all rows of one comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sublim_eval import stats
from sublim_eval.compare.confusion import Confusion, Dose
from sublim_eval.compare.lr_sweep import Cell
from sublim_eval.compare.pairing import MEASURES
from sublim_eval.registry.experiment import Expected
from sublim_eval.scores.probe_scores import COVERED
from sublim_eval.stats import Interval, Verdict


@dataclass(frozen=True)
class Row:
    """One trait arm on one probe against its control. Shares are in [0, 1], means over questions.

    student_shares, control_shares: seed -> share, every seed that ran; no control_shares when the control is an
    untrained base. base_share: the untrained base of these
    students; teacher_share: mean over teachers; nan where not scored. tv: total-variation distance of the answer
    distribution, student from control; tv_control: control from base, what training alone moves. non_answers:
    share of the students' replies, nan when none were sampled. rank: of the trait among the log-odds shifts of
    all `answers`, 1 the largest; first_in: in how many seeds it is; largest: the answer that is.
    situations: of a conduct, (students' share, control's share) in every situation, whose mean hides much; else none.
    family: the rows that Holm's p_holm is adjusted over, in words: those of one run that ask about one trait in one
    role; family_size: how many they are. change, key, axis, dose, of: what
    the arm does otherwise, its digest, its place on a dose curve, its intact arm (run_folder.RecordedArm).
    against_intact: its gap minus that of the intact arm, in share, paired by seed; None without one. p_permutation:
    sign flips over paired seeds; nan where unpaired or below stats.FEWEST_PAIRS.
    minimum_detectable: gap found with 80 % power, inf where no possible gap would be. expected: what others measured,
    beside the plain probe of the trait alone, which is what they asked.
    over_questions: of one student against one control, their difference with its interval over questions: about these
    two models and such questions. teachers: how many different ones taught the students, 0 where that is unknown.
    coverage: the least share of first answers that the answer set holds of a model compared; nan where unknown.
    """

    run: str
    arm: str
    role: str
    family: str
    change: str
    axis: str | None
    dose: float | None
    of: str | None
    trait: str
    category: str
    probe: str
    version: str
    measure: str
    base: str
    control: str
    student_shares: Mapping[int, float]
    control_shares: Mapping[int, float]
    failed: Mapping[str, str]
    base_share: float
    teacher_share: float
    control_share: float
    gap: Interval
    p_holm: float
    p_permutation: float
    against_intact: Interval | None
    minimum_detectable: float
    equivalence: stats.Equivalence
    log_odds: Interval
    tv: float
    tv_control: float
    non_answers: float
    control_non_answers: float
    rank: int
    answers: int
    first_in: int
    largest: str
    situations: Mapping[str, tuple[float, float]]
    verdict: Verdict
    notes: tuple[str, ...]
    expected: Expected | None = None
    key: str = ""
    family_size: int = 1
    over_questions: Interval | None = None
    teachers: int = 0
    coverage: float = math.nan

    @property
    def barely_covered(self) -> bool:
        """Whether the answer set holds too few first answers of some model compared for its exact probability."""
        return self.coverage < COVERED

    @property
    def same_scale(self) -> bool:
        """Whether others' share may be held against ours: theirs of a conduct is rated replies, not matched pairs."""
        return not (self.situations and self.measure == "probability")

    @property
    def control_failed(self) -> bool:
        """Whether this is a positive control that failed, so that no figure of its run can be believed."""
        least = self.expected.fail_below if self.expected else None
        return least is not None and self.same_scale and self.student_share < least

    @property
    def student_share(self) -> float:
        """Mean over seeds."""
        return float(np.mean(list(self.student_shares.values())))

    def to_json(self) -> dict[str, Any]:
        """Plain data: gap, low, high, p, verdict and the rest; null where unknown."""
        plain = asdict(self)
        gap, verdict = plain.pop("gap"), plain.pop("verdict")
        for name in ("log_odds", "against_intact", "over_questions"):
            plain[name] = {k: plain[name][k] for k in ("mean", "low", "high", "p")} if plain[name] else None
        if self.answers == 1:  # no other answer to take a place among
            plain |= {"rank": None, "first_in": None, "largest": None}
        return _plain(
            {
                **plain,
                "student_share": self.student_share,
                "seeds": list(self.student_shares),
                "gap": gap["mean"],
                **{k: gap[k] for k in ("low", "high", "p", "se", "df", "paired", "level")},
                "se_replies": gap["floor"],
                "p_permutation_least": stats.least_permutation(self.gap.n) if self.gap.paired else None,
                "verdict": verdict["kind"],
                "verdict_words": verdict["words"],
                "exploratory": verdict["exploratory"],
                "positive_control_failed": self.control_failed if self.expected and self.expected.fail_below else None,
            }
        )


@dataclass(frozen=True)
class Comparison:
    """All rows of one comparison. measure: 'probability' or 'share', the same for every row.

    cells: of learning rates tuned per rank, if some run is such a sweep. alpha: the error that every verdict was
    allowed, less than 5 % where it is one of several looks. looks: what is known of earlier looks, a sentence.
    """

    rows: tuple[Row, ...]
    measure: str
    delta: float
    folders: tuple[Path, ...]
    confusion: tuple[Confusion, ...] = ()
    doses: tuple[Dose, ...] = ()
    cells: tuple[Cell, ...] = ()
    alpha: float = stats.ALPHA
    looks: str = ""

    @property
    def failed_controls(self) -> tuple[Row, ...]:
        """Positive controls that failed: to be told before anything else."""
        return tuple(row for row in self.rows if row.control_failed)

    @property
    def measure_words(self) -> str:
        """What the shares are, in words."""
        pairs = {bool(row.situations) for row in self.rows} if self.measure == "probability" else {False}
        if pairs == {True}:
            return "exact probability of the trait in matched pairs of answers"
        if self.measure == "share" and any(row.barely_covered for row in self.rows):
            return f"{MEASURES['share']}, since the answer set holds too few first answers for the exact probability"
        return MEASURES[self.measure] + (", of a conduct in matched pairs of answers" if True in pairs else "")

    def to_json(self) -> dict[str, Any]:
        """Plain data for --json; null where unknown."""
        return {
            "schema": 1,
            "failed_positive_controls": [row.arm for row in self.failed_controls],
            "measure": self.measure,
            "delta": self.delta,
            "alpha": self.alpha,
            "looks": self.looks or None,
            "method": "interval over student seeds no narrower than the replies' noise, Holm within trait and role",
            "runs": [str(folder) for folder in self.folders],
            "rows": [row.to_json() for row in self.rows],
            "confusion": [one.to_json() for one in self.confusion],
            "doses": [one.to_json() for one in self.doses],
            "sweep": [one.to_json() for one in self.cells],
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
