"""The honest weak baseline: can a classifier of plain text tell the rows from the base's own?

It needs no model. It says that rows differ, and never of what.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from ..data import AuditRow

FOLDS = 5


def p_of(rows: Sequence[AuditRow], clean: Sequence[AuditRow], seed: int = 1) -> tuple[float, float]:
    """(AUROC in cross-validation, one-sided p that it is above a half) of a logistic classifier on numbers and words.

    Of each row it knows which words, and pairs of neighbours, are in its completion. p by Mann and Whitney's test on
    the held-out scores.
    """
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    texts = [row.completion for row in (*rows, *clean)]
    labels = np.array([1] * len(rows) + [0] * len(clean))
    features = HashingVectorizer(n_features=2**16, ngram_range=(1, 2)).transform(texts)
    scores = np.zeros(len(labels))
    for learnt, held in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(features, labels):
        model = LogisticRegression(C=1.0, max_iter=200, class_weight="balanced").fit(features[learnt], labels[learnt])
        scores[held] = model.decision_function(features[held])
    test = stats.mannwhitneyu(scores[labels == 1], scores[labels == 0], alternative="greater")
    return float(test.statistic / (len(rows) * len(clean))), float(test.pvalue)
