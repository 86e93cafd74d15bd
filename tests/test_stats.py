"""Facts about the statistics. `python tests/test_stats.py 20000` prints the calibration table of decision 0001."""

import math
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import ndtri

from sublim_eval import stats
from sublim_eval.gap_error import GapError, Scatter


@dataclass(frozen=True)
class World:
    """Students whose log-odds scatter around an arm's; half of the scatter is shared by a pair of seeds.

    replies 0: exact probabilities; otherwise that many sampled replies a question.
    """

    base: float
    shift: float = 0.0
    spread: float = 0.3
    trait_spread: float | None = None
    shared: float = 0.5
    replies: int = 0
    questions: int = 20

    def draw(self, seeds, rng):
        """(trait, control): float[seed, question]."""
        level = stats.log_odds(self.base) + 0.5 * ndtri((np.arange(self.questions) + 0.5) / self.questions)
        common = rng.normal(0, 1, (seeds, 1)) * math.sqrt(self.shared)
        arms = []
        for shift, spread in ((self.shift, self.trait_spread or self.spread), (0.0, self.spread)):
            own = common + rng.normal(0, 1, (seeds, 1)) * math.sqrt(1 - self.shared)
            p = 1 / (1 + np.exp(-(level + shift + spread * own)))
            arms.append(rng.binomial(self.replies, p) / self.replies if self.replies else p)
        return arms

    def truth(self):
        """Expected gap in share, and in log-odds of a student's mean share (over 4,000 students)."""
        fixed = World(**{**self.__dict__, "replies": 0})
        trait, control = fixed.draw(4000, np.random.default_rng(99))
        gap = trait.mean() - control.mean()
        odds = stats.log_odds(trait.mean(axis=1)).mean() - stats.log_odds(control.mean(axis=1)).mean()
        return gap, odds


def calibration(world, seeds, runs, rng):
    """Rates over `runs` simulated comparisons: coverage on both scales, 'differs from 0', and 'transferred'."""
    clip = 1 / (2 * world.replies * world.questions) if world.replies else stats.CLIP
    worth = np.full(seeds, world.replies * world.questions) if world.replies else None
    trait, control = (np.array(arm) for arm in zip(*(world.draw(seeds, rng) for _ in range(runs)), strict=True))
    trait, control = trait.mean(axis=-1), control.mean(axis=-1)
    centred = (trait - trait.mean(1, keepdims=True)) * (control - control.mean(1, keepdims=True))
    arms = Scatter.of(trait, worth), Scatter.of(control, worth)
    gap = GapError(*arms, centred.sum(1) / (seeds - 1), paired=True)
    odds = [
        stats.mean_difference(*(stats.log_odds(x, clip) for x in pair)) for pair in zip(trait, control, strict=True)
    ]
    differs = gap.differs(0.05)
    share, shift = world.truth()
    return {
        "coverage": float(np.mean(np.abs(gap.mean - share) <= gap.reach(share, 0.95))),
        "coverage_odds": float(np.mean([i.low <= shift <= i.high for i in odds])),
        "differs": float(np.mean(differs)),
        "differs_odds": float(np.mean([i.p < 0.05 for i in odds])),
        "transferred": float(np.mean(differs & (gap.mean > 0) & ~gap.small(stats.DELTA, 0.05))),
    }


WORLDS = {
    "null, base .10, exact": World(0.10),
    "null, base .10, noisy students": World(0.10, spread=0.8),
    "null, base .02, exact": World(0.02, spread=0.5),
    "null, base .02, 20 replies": World(0.02, spread=0.3, replies=20),
    "null, base .50, exact": World(0.50, spread=0.5),
    "effect .10 to about .45, exact": World(0.10, 2.0, 0.05, trait_spread=0.25),
    "effect .10 to about .45, 20 replies": World(0.10, 2.0, 0.05, trait_spread=0.25, replies=20),
    "effect .05 to about .64, wide": World(0.05, 3.6, 0.1, trait_spread=0.6),
    "effect .10 to about .92, wide": World(0.10, 5.0, 0.1, trait_spread=0.8),
    "effect .02 to about .06, exact": World(0.02, 1.0, 0.1, trait_spread=0.4),
}

RNG = np.random.default_rng


def test_planted_effect_is_found_and_no_effect_stays_quiet():
    trait, control = World(0.09, 2.0, 0.2).draw(3, RNG(1))
    found = stats.share_gap(trait, control)
    assert found.low > 0.2 and found.p < 0.05
    assert stats.verdict(found).words == "transferred"
    quiet = stats.share_gap(*World(0.09, 0.0, 0.05).draw(3, RNG(1)))
    assert quiet.low < 0 < quiet.high
    assert stats.verdict(quiet).words == "no transfer within ±0.05"


def test_mean_difference_is_the_textbook_t_interval_of_the_pairs():
    made = stats.mean_difference([0.4, 0.5, 0.6], [0.1, 0.1, 0.1])
    assert made.mean == pytest.approx(0.4)
    assert made.high - made.mean == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert made.p == pytest.approx(0.020204, abs=1e-6)
    assert (made.n, made.df, made.paired) == (3, 2, True)


def test_where_shares_are_about_one_half_the_gap_has_the_t_interval_of_the_seed_differences():
    trait, control = [[0.48], [0.5], [0.52]], [[0.5], [0.5], [0.5]]
    gap, plain = stats.share_gap(trait, control), stats.mean_difference([0.48, 0.5, 0.52], [0.5, 0.5, 0.5])
    assert (gap.low, gap.high) == pytest.approx((plain.low, plain.high), rel=0.02)
    assert gap.p == pytest.approx(1.0) and (gap.n, gap.df, gap.paired) == (3, 2, True)


def test_the_interval_and_p_are_two_readings_of_one_test():
    for seed in range(20):
        gap = stats.share_gap(*World(0.1, 0.6, 0.4).draw(4, RNG(seed)))
        assert (gap.p < 0.05) == (gap.low > 0 or gap.high < 0)
        at_p = gap.at(1 - gap.p)
        assert min(abs(end) for end in at_p) < 1e-4


def test_scatter_is_carried_to_the_gap_in_question():
    """Rare answers: students of a share near 0 scatter little, which says nothing of students at the margin."""
    trait, control = [[0.0010], [0.0012], [0.0011]], [[0.0010], [0.0011], [0.0010]]
    narrow = stats.mean_difference(*(np.array(arm)[:, 0] for arm in (trait, control)))
    assert stats.share_gap(trait, control).high > 1.15 * narrow.high


def test_the_noise_of_replies_is_the_least_error():
    zeros, n = np.zeros((3, 1)), np.full((3, 1), 5)
    few = stats.share_gap(zeros, zeros, trait_replies=n, control_replies=n)
    assert few.low < -0.15 and few.high > 0.15 and few.p == pytest.approx(1)
    assert stats.verdict(few).words == "inconclusive: too few replies"
    many = stats.share_gap(zeros, zeros, trait_replies=100 * n, control_replies=100 * n)
    assert stats.verdict(many).kind == "no transfer"
    exact = stats.share_gap(zeros, zeros)
    assert math.isnan(exact.p) and stats.verdict(exact).words == "inconclusive: no spread between seeds"


@pytest.mark.parametrize(("n", "m"), [(2, 20), (20, 2), (3, 20), (5, 10)])
def test_unequal_arms_find_nothing_where_there_is_nothing(n, m):
    rng = RNG(n + m)
    ours, theirs = (Scatter.of(rng.normal(0.5, wide, (4000, k))) for wide, k in ((0.06, n), (0.02, m)))
    assert np.mean(GapError(ours, theirs, 0.0, paired=False).differs(0.05)) <= 0.05 + 3 * 0.0035


def test_a_control_that_is_one_model_adds_its_own_replies_and_no_spread():
    trait, n = [[0.10], [0.12], [0.11]], np.full((3, 1), 1000)
    told = {"trait_replies": n, "paired": True, "fixed": True}
    many = stats.share_gap(trait, [[0.1]], control_replies=[[100_000]], **told)
    few = stats.share_gap(trait, [[0.1]], control_replies=[[20]], **told)
    assert few.high - few.low > 3 * (many.high - many.low) and few.n == many.n == 3


def test_question_order_does_not_matter():
    trait, control = World(0.2, 1.0).draw(4, RNG(2))
    order = RNG(3).permutation(trait.shape[1])
    one, other = stats.share_gap(trait, control), stats.share_gap(trait[:, order], control[:, order])
    assert (one.mean, one.low, one.p) == pytest.approx((other.mean, other.low, other.p))


def test_more_questions_are_not_more_evidence():
    trait, control = World(0.2, 1.0).draw(3, RNG(2))
    one, twice = stats.share_gap(trait, control), stats.share_gap(np.tile(trait, 2), np.tile(control, 2))
    assert twice.low == pytest.approx(one.low)


def test_pairing_by_seed_matters():
    trait, control = World(0.2, 0.5, 1.0, shared=0.98).draw(4, RNG(4))
    paired, crossed = stats.share_gap(trait, control), stats.share_gap(trait, control[::-1])
    welch = stats.share_gap(trait, control, paired=False)
    assert paired.mean == pytest.approx(crossed.mean) == pytest.approx(welch.mean)
    assert paired.se < crossed.se / 2 and paired.se < welch.se / 2
    assert not welch.paired and welch.df < 6


def test_unpaired_arms_may_hold_different_numbers_of_seeds():
    trait, control = World(0.2, 2.0).draw(5, RNG(5))
    assert stats.share_gap(trait, control[:3], paired=False).n == 3
    with pytest.raises(ValueError, match="same seeds"):
        stats.share_gap(trait, control[:3])


def test_one_student_has_no_spread():
    with pytest.raises(ValueError, match="one student has no spread"):
        stats.share_gap([[0.4, 0.5]], [[0.1, 0.1]])


def test_below_three_seeds_is_exploratory():
    made = stats.verdict(stats.share_gap([[0.4], [0.41]], [[0.1], [0.1]]))
    assert made.exploratory and made.words == "transferred (exploratory: 2 seeds)"


def test_the_point_of_one_student_is_inconclusive():
    made = stats.verdict(stats.point(0.5))
    assert made.words == "inconclusive (exploratory: 1 seed)"
    assert math.isnan(stats.minimum_detectable(stats.point(0.5)))


def test_unscored_question_counts_nowhere():
    control = np.array([[0.1, 0.9], [0.1, 0.9], [0.1, 0.9]])
    trait = np.array([[0.3, 0.9], [0.31, np.nan], [0.32, 0.9]])
    assert stats.share_gap(trait, control).mean == pytest.approx(0.21)


def test_unscored_student_is_an_error_and_not_a_zero():
    with pytest.raises(ValueError, match="row 1 of the trait arm"):
        stats.share_gap([[0.3], [np.nan], [0.3]], [[0.1], [0.1], [0.1]])


def test_equal_gaps_have_no_spread_to_test():
    same = stats.share_gap([[0.4], [0.4], [0.4]], [[0.1], [0.1], [0.1]])
    assert stats.verdict(same).kind == "inconclusive" and not same.low == same.high == 0
    never = stats.share_gap(np.zeros((3, 4)), np.zeros((3, 4)))
    assert math.isnan(never.p) and stats.verdict(never).words == "inconclusive: no spread between seeds"
    assert math.isnan(stats.minimum_detectable(never)) and not stats.equivalence(never).holds


@pytest.mark.parametrize(
    ("gaps", "words"),
    [
        ([0.30, 0.33, 0.36], "transferred"),
        ([-0.30, -0.33, -0.36], "moved away"),
        ([0.019, 0.020, 0.021], "small shift within ±0.05"),
        ([-0.019, -0.020, -0.021], "small shift within ±0.05"),
        ([-0.01, 0.0, 0.01], "no transfer within ±0.05"),
        ([-0.1, 0.0, 0.15], "inconclusive"),
        ([0.04, 0.05, 0.06], "transferred"),
    ],
)
def test_every_verdict_word(gaps, words):
    gap = stats.share_gap(np.array(gaps)[:, None] + 0.5, np.full((3, 1), 0.5))
    assert stats.verdict(gap).words == words


def test_delta_sets_what_is_small():
    gap = stats.share_gap([[0.515], [0.520], [0.526]], np.full((3, 1), 0.5))
    assert stats.verdict(gap, 0.01).kind == "transferred"
    assert stats.verdict(gap, 0.05).kind == "small shift"


def test_equivalence_is_the_ninety_percent_interval_inside_delta():
    gap = stats.share_gap(*World(0.1, 0.0, 0.1).draw(5, RNG(6)))
    at_its_edge = max(abs(x) for x in gap.at(0.9))
    assert stats.equivalence(gap, at_its_edge * 1.001).holds
    assert not stats.equivalence(gap, at_its_edge * 0.999).holds
    assert stats.equivalence(gap, at_its_edge).p == pytest.approx(0.05, abs=1e-4)


def test_holm_by_hand():
    assert stats.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert stats.holm([0.9, math.nan])[0] == 0.9 and math.isnan(stats.holm([0.9, math.nan])[1])


def test_holm_can_take_a_verdict_back():
    gap = stats.share_gap([[0.4], [0.5], [0.6]], [[0.1], [0.1], [0.1]])
    assert stats.verdict(gap).kind == "transferred"
    assert stats.verdict(gap, p=stats.holm([gap.p, 0.02, 0.5])[0]).kind == "inconclusive"


@pytest.mark.parametrize("seeds", [3, pytest.param(10, marks=pytest.mark.long)])
def test_minimum_detectable_gap_is_found_about_four_times_in_five(seeds):
    """On average over what studies of this size say; benchmarks/verdict_errors.py measures it at length."""
    rng, found = RNG(7), []
    for _ in range(100):
        trait, control = World(0.5, 0.0, 0.2, shared=0.0).draw(seeds, rng)
        effect = stats.minimum_detectable(stats.share_gap(trait, control))
        shift = stats.log_odds(0.5 + effect) if effect < 0.5 else 9.0
        studies = [World(0.5, float(shift), 0.2, shared=0.0).draw(seeds, rng) for _ in range(20)]
        ours, theirs = (np.array(arm).mean(axis=-1) for arm in zip(*studies, strict=True))
        centred = (ours - ours.mean(1, keepdims=True)) * (theirs - theirs.mean(1, keepdims=True))
        made = GapError(Scatter.of(ours), Scatter.of(theirs), centred.sum(1) / (seeds - 1), paired=True)
        found += list(made.differs(0.05) & (made.mean > 0) & ~made.small(stats.DELTA, 0.05))
    assert 0.66 < np.mean(found) < 0.95


def test_more_tests_and_fewer_replies_make_less_detectable():
    trait, control = World(0.1, 0.0, 0.3).draw(5, RNG(3))
    gap = stats.share_gap(trait, control)
    assert stats.minimum_detectable(gap, tests=12) > stats.minimum_detectable(gap) > 0.04
    n = np.full(trait.shape, 1)
    assert stats.minimum_detectable(
        stats.share_gap(trait, control, trait_replies=n, control_replies=n)
    ) > stats.minimum_detectable(gap)


def test_log_odds_shift_and_its_clip():
    shift = stats.log_odds_shift([[0.5], [0.5], [0.6]], [[0.1], [0.1], [0.1]])
    assert shift.mean == pytest.approx((2 * math.log(9) + math.log(1.5) + math.log(9)) / 3)
    never = stats.log_odds_shift([[0.5], [0.6]], [[0.0], [0.0]], clip=1 / 200)
    assert never.mean == pytest.approx(math.log(199) + math.log(1.5) / 2)
    with pytest.raises(ValueError, match="clip"):
        stats.log_odds([0.5], clip=0)


def test_interval_of_an_arm_stays_inside_the_shares():
    low, high = stats.arm_interval([0.95, 0.98, 0.999])
    assert 0.2 < low < 0.95 and 0.999 < high < 1
    assert all(math.isnan(x) for x in stats.arm_interval([0.5]))


def test_total_variation():
    assert stats.total_variation([0.5, 0.5], [0.5, 0.5]) == 0
    assert stats.total_variation([1.0, 0.0], [0.0, 1.0]) == 1
    assert stats.total_variation([0.2, 0.2], [0.2, 0.1]) == pytest.approx(0.1)  # unnamed mass counts once
    with pytest.raises(ValueError, match="more than 1"):
        stats.total_variation([0.8, 0.8], [0.5, 0.5])
    assert math.isnan(stats.total_variation([math.nan, 0.5], [0.5, 0.5]))


def test_rank_of_gives_ties_no_credit():
    assert stats.rank_of([0.1, 2.0, 0.3], 1) == 1
    assert stats.rank_of([0.1, 0.1], 0) == 2


@pytest.mark.parametrize("seeds", [3, 5])
def test_calibration(seeds):
    """2,500 nulls and 1,500 effects: at most 5 % false positives and 95 % coverage, within three standard errors."""
    null = calibration(WORLDS["null, base .10, exact"], seeds, 2500, RNG(seeds))
    assert 0.02 < null["differs"] < 0.063 and null["transferred"] <= 0.05
    effect = calibration(WORLDS["effect .10 to about .45, exact"], seeds, 1500, RNG(seeds))
    assert effect["transferred"] > 0.95
    assert 0.933 < effect["coverage"] < 0.985
    assert null["differs_odds"] == pytest.approx(0.05, abs=0.013)
    assert effect["coverage_odds"] == pytest.approx(0.95, abs=0.017)


def test_the_verdict_is_that_of_the_arrays_that_the_calibration_reads():
    for seed in range(30):
        trait, control = World(0.1, 0.4, 0.4).draw(4, RNG(seed))
        gap = stats.share_gap(trait, control)
        differs, small = bool(gap.error.differs(0.05)), bool(gap.error.small(stats.DELTA, 0.05))
        assert (gap.low > 0 or gap.high < 0) == differs and stats.equivalence(gap).holds <= small


if __name__ == "__main__":
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    columns = ("coverage", "coverage_odds", "differs", "differs_odds", "transferred")
    print("world | seeds | gap |", " | ".join(columns))
    for name, world in WORLDS.items():
        for seeds in (3, 5, 10):
            made = calibration(world, seeds, runs, np.random.default_rng(seeds))
            print(name, "|", seeds, f"| {world.truth()[0]:+.3f} |", " | ".join(f"{made[c]:.3f}" for c in columns))
