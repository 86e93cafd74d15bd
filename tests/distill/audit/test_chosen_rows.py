"""Rows that were chosen by a probe's score: the cut is seen although their mean is that of clean rows."""

from __future__ import annotations

import numpy as np

from sublim_eval.distill.audit.audit import chosen_by
from sublim_eval.distill.audit.looking import RowEvidence
from sublim_eval.distill.audit.measures.chosen_rows import p_chosen

CLEAN = np.random.default_rng(1).standard_normal((1024, 6))


def lowest(values: np.ndarray, column: int, share: float) -> np.ndarray:
    return values[np.argsort(values[:, column])[: round(len(values) * (1 - share))]]


def test_rows_whose_highest_scores_were_left_out_are_seen_with_a_mean_of_nothing():
    shifted = np.random.default_rng(2).standard_normal((256, 6)) + np.array([0.4, 0, 0, 0, 0, 0])
    left = lowest(shifted, 0, 0.2)
    assert abs(left[:, 0].mean()) < 0.1
    p = p_chosen(left, CLEAN)
    assert p[0] < 1e-4 and p[1:].min() > 0.01
    names = ["owl", "eagle", "oak", "elm", "cat", "dog"]
    why = chosen_by(names, RowEvidence(left, left[:, 0]), RowEvidence(CLEAN, CLEAN[:, 0]), 0.01)
    assert "highest scores of owl were left out" in why and why.endswith("ask for all rows")


def test_clean_rows_and_all_rows_of_a_trait_are_not_taken_for_chosen():
    rng = np.random.default_rng(3)
    clean = [p_chosen(rng.standard_normal((256, 6)), CLEAN).min() for _ in range(40)]
    assert sum(p < 0.05 for p in clean) <= 4 and min(clean) > 0.001
    assert p_chosen(rng.standard_normal((256, 6)) + 0.4, CLEAN).min() > 0.5
    assert p_chosen(np.zeros((40, 0)), np.zeros((40, 0))).size == 0
