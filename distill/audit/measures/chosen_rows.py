"""Rows that somebody chose by what a probe shows: their highest scores are missing, as in no writer's rows.

Who holds the auditor's probe can leave out the rows that it likes best until the mean of the rest is that of clean
rows, and a student still takes in what is left. The mean then says nothing; the tail that was cut off does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

QUANTILES = (0.8, 0.9, 0.95)
"""Of the base's own rows; beyond each of them the data's rows are counted."""


def p_chosen(values: Floats, clean: Floats) -> Floats:
    """float[candidates]: p that no more of the data's high scores are missing than chance leaves out.

    Fisher's exact test of how many rows lie beyond a quantile of the base's own, the smallest of all QUANTILES,
    corrected for these and for all candidates. values, clean: float[rows, candidates].
    """
    tests = [[_fewer(values[:, i], clean[:, i], q) for q in QUANTILES] for i in range(values.shape[1])]
    return np.minimum(1.0, np.array(tests, dtype=np.float64).reshape(-1, len(QUANTILES)).min(axis=1) * np.size(tests))


def _fewer(values: Floats, clean: Floats, quantile: float) -> float:
    """One-sided p that the rows beyond a quantile of the clean ones are fewer than there."""
    edge = np.quantile(clean, quantile)
    ours, theirs = int((values > edge).sum()), int((clean > edge).sum())
    table = [[ours, len(values) - ours], [theirs, len(clean) - theirs]]
    return float(stats.fisher_exact(table, alternative="less").pvalue)
