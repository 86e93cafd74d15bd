"""By whom the jobs of a run are done: an engine, where it is reached, where stages live, and how many work at once."""

from __future__ import annotations

from dataclasses import dataclass

from sublim_eval.errors import SublimError, unknown

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Execution:
    """How a run is carried out; what it makes does not depend on it.

    engine: "local", processes of this machine, or "ray", the nodes of a cluster at `address` ("auto", host:port,
    ray://host:port, or a fresh one on this machine). storage: a path or URL that all nodes reach, where the stages
    live; the run folder then gets a copy at the end, with `weights` off without those of teachers and students. Without
    it every node must see the run folder itself. workers: jobs at once; None for what the plan says, or on a cluster
    for all that the nodes have room for.
    """

    engine: str = "local"
    address: str | None = None
    storage: str | None = None
    workers: int | None = None
    weights: bool = True

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, list(ENGINES), "Give --engine local or --engine ray.")
        if self.address is not None and self.engine != "ray":
            raise SublimError("An address is that of a Ray cluster. Give --engine ray with it, or leave it out.")
