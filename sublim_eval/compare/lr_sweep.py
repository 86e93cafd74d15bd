"""A learning rate tuned per rank: which rate to take, by held-out loss and never by the probe that is reported.

Choosing by the share would report the luckiest of several students. The loss on fresh rows of the teacher knows
nothing of the trait, and others found that it foresees transfer where the training loss does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sublim_eval.compare.run_folder import Run


@dataclass(frozen=True)
class Cell:
    """One rank and learning rate of a sweep. held_out_loss: mean over seeds, nats a token, None where none was taken.

    chosen: the lowest loss of its rank. A rank with a loss missing somewhere has no choice.
    """

    run: str
    arm: str
    trait: str
    rank: int
    learning_rate: float
    held_out_loss: float | None
    seeds: int
    chosen: bool

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def sweep(run: Run) -> Iterator[Cell]:
    """The cells of a run's sweep, by trait and rank; none where no rank was trained at two rates or more."""
    arms = [a for a in run.arms.values() if a.trait and a.rank and a.learning_rate and run.students[a.name]]
    arms = [a for a in arms if a.swept]
    for trait in dict.fromkeys(a.trait for a in arms):
        grid: dict[int, list[tuple[float, str, float | None]]] = {}
        for arm in (a for a in arms if a.trait == trait):
            losses = list(run.held_out.get(arm.name, {}).values())
            mean_loss = float(np.mean(losses)) if len(losses) == len(run.students[arm.name]) else None
            grid.setdefault(arm.rank or 0, []).append((arm.learning_rate or 0.0, arm.name, mean_loss))
        if max(len(cells) for cells in grid.values()) < 2:
            continue
        for rank, cells in sorted(grid.items()):
            known = [loss for _, _, loss in cells if loss is not None]
            best = min(known) if len(known) == len(cells) else None
            for rate, name, loss in sorted(cells):
                chosen = best is not None and loss == best
                yield Cell(run.name, name, str(trait), rank, rate, loss, len(run.students[name]), chosen)
