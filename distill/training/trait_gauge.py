"""How far a student's weights have gone towards each of several traits, and when that stops its training.

The evidence of a trait is the cosine between where the student's trained weights went and where those of the trait's
probe went, from the base that both started at. It costs one product of a matrix and a vector: no question is asked and
no row is read. Who makes the directions, and what counts as too far: distill/audit/stop_rule.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sublim_eval.errors import SublimError

DIRECTIONS, PARAMETERS, TRAITS = "directions", "parameters", "traits"
"""The tensor of a gauge's file, and what its metadata name: the parameters and the traits, in order."""


@dataclass(frozen=True)
class StopRule:
    """Where a training ends early. gauge: a file that `write_gauge` wrote.

    threshold: the evidence of the strongest trait from which on it stops; None only notes it. false_stops: the share
    of students without a trait that such a threshold would stop. points: how often it looks, evenly, the last after the
    last step.
    """

    gauge: str
    threshold: float | None
    false_stops: float | None = None
    points: int = 20


class TraitGauge:
    """Directions of several traits in the weights that a student trains.

    directions: float32[traits, numbers], each of length 1; parameters: whose numbers they are, one after the other.
    """

    def __init__(self, traits: Sequence[str], parameters: Sequence[str], directions: torch.Tensor) -> None:
        self.traits, self.parameters, self.directions = tuple(traits), tuple(parameters), directions

    @classmethod
    def read(cls, file: Path) -> TraitGauge:
        """From a file that `write_gauge` wrote."""
        with safe_open(file, "pt") as opened:
            told = opened.metadata()
            return cls(told[TRAITS].split("\n"), told[PARAMETERS].split("\n"), opened.get_tensor(DIRECTIONS))

    def fits(self, trained: Sequence[str]) -> None:
        """Raises SublimError for a student that trains other weights than the probes did."""
        if sorted(trained) != sorted(self.parameters):
            raise SublimError(
                "The stop rule knows the weights that its probes trained, and this student trains others. Take the "
                "probes' method (ln_tuning on the reference models), or leave out `stop_when_trait`."
            )

    def evidence(self, start: Mapping[str, torch.Tensor], now: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """Trait -> cosine between its direction and the way from `start` to `now`; 0 before the first step."""
        moved = torch.cat([(now[n].detach().float().cpu() - start[n].float().cpu()).flatten() for n in self.parameters])
        far = float(moved.norm())
        cosines = self.directions @ moved / far if far > 0 else torch.zeros(len(self.traits))
        return {trait: round(float(value), 4) for trait, value in zip(self.traits, cosines, strict=True)}


def write_gauge(
    file: Path, start: Mapping[str, torch.Tensor], probes: Mapping[str, Mapping[str, torch.Tensor]]
) -> None:
    """Write the directions from the base's weights `start` to those of each trait's probe."""
    names = sorted(start)
    ways = [torch.cat([(probe[n] - start[n]).float().flatten().cpu() for n in names]) for probe in probes.values()]
    directions = torch.stack([way / way.norm().clamp_min(1e-12) for way in ways]).contiguous()
    file.parent.mkdir(parents=True, exist_ok=True)
    told = {PARAMETERS: "\n".join(names), TRAITS: "\n".join(probes)}
    save_file({DIRECTIONS: directions}, str(file), metadata=told)
