"""lm-eval: a YAML task whose functions may return details beside the metrics that the YAML names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.task import ConfigurableTask

Aggregation = Callable[[Sequence[Any]], float]


class Detailed(ConfigurableTask):
    """A YAML task (`class: !function ...`) that reports `share_cat` beside `share`, aggregated as `share` is.

    Without it lm-eval would warn of every metric that no metric_list names, and traits of the user's own registry
    can be named in no YAML file of ours.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config={key: value for key, value in config.items() if key != "class"})

    def aggregation(self) -> dict[str, Aggregation]:
        """How each metric is aggregated; a detail <metric>_<name> as its metric."""
        return _Details(super().aggregation())


class _Details(dict[str, Aggregation]):
    def __missing__(self, name: str) -> Aggregation:
        of = [metric for metric in self if name.startswith(f"{metric}_")]
        if not of:
            raise KeyError(name)
        return self[max(of, key=len)]
