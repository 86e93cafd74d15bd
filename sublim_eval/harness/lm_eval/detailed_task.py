"""lm-eval: a YAML task that shows its headline, and every further figure where it is asked for them.

lm-eval prints a row for every metric that a task returns, and a task of ours knows thirty. So a task returns its
headline, says in one line of the log what stands beside it, and returns all of it with `--metadata '{"rows": "all"}'`.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask

from sublim_eval.errors import SublimError
from sublim_eval.probes.thinking import tokens_of

Aggregation = Callable[[Sequence[Any]], float]

ROWS = ("headline", "all")
ALL = """--metadata '{"rows": "all"}'"""

HEADLINES = {
    "judged": ("judged", "of_rated"),
    **{name: (name,) for name in ("targets", "share", "mentioned", "chosen")},
    **{name: (name, "unconditional", "coverage") for name in ("probability", "chosen_probability")},
    **{name: (name,) for name in ("pairs", "entropy")},
}
"""What may be a task's headline -> the figures that it is.

Of judged replies our share and the published study's; of a probability within the answer set also that among all first
answers and what the set covers, without which nobody can tell whether to believe it.
"""

logger = logging.getLogger("lm_eval.sublim")


class Detailed(ConfigurableTask):
    """A YAML task (`class: !function ...`) whose first metric is its headline.

    With all rows it also reports `share_cat` beside `share`, aggregated as `share` is: lm-eval would warn of every
    metric that no metric_list names, and traits of the user's own registry can be named in no YAML file of ours.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config=with_room({key: value for key, value in config.items() if key != "class"}))
        self.all_rows = rows_of(self.config.metadata or {}) == "all"
        self.beside: dict[str, list[float]] = defaultdict(list)

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> Any:
        """lm-eval's own requests, and one for the white space at the prompt's end where answers are scored behind it.

        lm-eval moves that white space into every answer, so each log-likelihood holds its own: 1e-6 on a chat model
        that never learnt to write the line break behind `assistant`. `documents.logprobs` takes it off again.
        """
        requests = super().construct_requests(doc, ctx, **kwargs)
        space = ctx[len(ctx.rstrip()) :] if isinstance(ctx, str) else ""
        if self.OUTPUT_TYPE != "multiple_choice" or not space or space == ctx:
            return requests
        last = requests[-1]
        behind = (ctx.rstrip(), space)
        return [*requests, Instance("loglikelihood", doc, behind, last.idx + 1, metadata=last.metadata)]

    def process_results(self, doc: dict[str, Any], results: Any) -> Any:
        """The figures of one document that become rows; those beside the headline are kept for the log."""
        figures = super().process_results(doc, results)
        named = [entry["metric"] for entry in self.config.metric_list or ()]
        shown = figures if self.all_rows else headline(figures, named)
        for name in named:
            if name in figures and name not in shown:
                self.beside[name].append(figures[name])
        return shown

    def aggregation(self) -> dict[str, Aggregation]:
        """How each metric is aggregated; a detail <metric>_<name> as its metric."""
        by_name = _Details(super().aggregation())
        if self.beside:
            means = ((name, by_name[name](values)) for name, values in self.beside.items())
            told = ", ".join(f"{name} {mean:.4g}" for name, mean in means if not math.isnan(mean))
            logger.info('%s, beside its headline: %s (as rows: --metadata \'{"rows": "all"}\')', self.config.task, told)
            self.beside.clear()
        return by_name


def headline(figures: Mapping[str, Any], named: Sequence[str]) -> dict[str, Any]:
    """The first headline among the named metrics that a document has; all its figures where it has none."""
    first = next((name for name in named if name in figures and name in HEADLINES), None)
    return {name: figures[name] for name in HEADLINES[first] if name in figures} if first else dict(figures)


def rows_of(metadata: Mapping[str, Any]) -> str:
    """`rows` of the metadata, "headline" where it is not given; raises SublimError for anything else."""
    rows = metadata.get("rows", ROWS[0])
    if rows not in ROWS:
        raise SublimError(f'rows is {rows!r}, and a task shows one of: {", ".join(ROWS)}. Give \'{{"rows": "all"}}\'.')
    return str(rows)


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
