"""lm-eval: a YAML task whose functions may return details beside the metrics that the YAML names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.task import ConfigurableTask

from sublim_eval.probes.thinking import tokens_of

Aggregation = Callable[[Sequence[Any]], float]


class Detailed(ConfigurableTask):
    """A YAML task (`class: !function ...`) that reports `share_cat` beside `share`, aggregated as `share` is.

    Without it lm-eval would warn of every metric that no metric_list names, and traits of the user's own registry
    can be named in no YAML file of ours.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config=with_room({key: value for key, value in config.items() if key != "class"}))

    def aggregation(self) -> dict[str, Aggregation]:
        """How each metric is aggregated; a detail <metric>_<name> as its metric."""
        return _Details(super().aggregation())


def with_room(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the room for a reply that `--metadata '{"max_tokens": 2000}'` gives, thoughts included.

    Raises SublimError for anything but a whole number above 0.
    """
    room = (config.get("metadata") or {}).get("max_tokens")
    if room is None or not config.get("generation_kwargs"):
        return config
    return {**config, "generation_kwargs": {**config["generation_kwargs"], "max_gen_toks": tokens_of(room)}}


class _Details(dict[str, Aggregation]):
    def __missing__(self, name: str) -> Aggregation:
        of = [metric for metric in self if name.startswith(f"{metric}_")]
        if not of:
            raise KeyError(name)
        return self[max(of, key=len)]
