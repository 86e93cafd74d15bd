"""Tasks of other people's suites, asked of our models: lm-eval by its Python interface, Inspect by its own.

Every task either comes back with its metrics, or raises NotMeasured with what stood in the way and the next step.
What a harness prints, tracebacks included, goes into a file of the task, so that nothing is lost.
"""

from __future__ import annotations

import logging
import math
import os
import shlex
import sys
import traceback
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.models.model_ref import Source, resolve

SAME = 1e-6
"""A metric whose value is the mean of its items within this is compared item by item."""

OFFLINE = "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"


class NotMeasured(SublimError):
    """A task that could not be asked or did not end well; the message ends with the next step."""


@dataclass(frozen=True)
class MetricValue:
    """One metric: its value, its standard error over items (nan where unknown), and the value of every item.

    items: item id -> value; empty where the metric is no mean over items.
    """

    value: float
    stderr: float
    items: Mapping[str, float] = field(default_factory=dict)


class Asker:
    """One model, loaded once a harness, and asked one task after another.

    model: as `resolve` takes it; limit: items a task (None: all); logs: folder for what the harnesses write.
    """

    def __init__(self, model: str, limit: int | None, logs: Path) -> None:
        self.model, self.limit, self.logs = model, limit, logs
        self.source = resolve(model)

    def ask(self, task: str) -> dict[str, MetricValue]:
        """The metrics of one task, `lm_eval/NAME-or-FILE` or `inspect/NAME-or-FILE`; raises NotMeasured."""
        harness, _, name = task.partition("/")
        log = self.logs / f"{task.replace('/', '--')}.log"
        with _written_to(log):
            try:
                metrics = self._lm_eval(name) if harness == "lm_eval" else self._inspect(name)
            except NotMeasured:
                raise
            except Exception as error:  # somebody else's task: whatever it raises is told, and the next one runs
                traceback.print_exc()
                raise NotMeasured(explain(task, error, self.command(task), log)) from error
        if not metrics:
            raise NotMeasured(f"{task} gave no number. See {log}.")
        return metrics

    def command(self, task: str) -> str:
        """The command that asks the same by hand."""
        harness, _, name = task.partition("/")
        limit = ["--limit", str(self.limit)] if self.limit else []
        if harness == "inspect":
            return shlex.join(["inspect", "eval", name, "--model", f"sublim/{self.model}", *limit])
        words = ["lm_eval", "run", "--tasks", name, "--model", "hf", "--model_args", model_args(self.source)]
        return shlex.join([*words, "--apply_chat_template", "--batch_size", str(batch_size(self.source)), *limit])

    # ------------------------------------------------------------ lm-eval

    @cached_property
    def _loaded(self) -> Any:
        """The model as lm-eval holds it."""
        import torch
        from lm_eval.models.huggingface import HFLM

        device = "cuda" if torch.cuda.is_available() else "cpu"
        adapter = {"peft": str(self.source.adapter)} if self.source.adapter else {}
        settings: dict[str, Any] = {"device": device, "batch_size": batch_size(self.source), **adapter}
        return HFLM(pretrained=str(self.source.base), tokenizer=str(self.source.tokenizer), **settings)

    def _lm_eval(self, name: str) -> dict[str, MetricValue]:
        from lm_eval import simple_evaluate

        file = Path(name)
        manager = _lm_eval_tasks(str(file.parent) if file.is_file() else None)
        if not file.is_file() and name not in manager.all_tasks:
            raise NotMeasured(f"lm-eval knows no task {name!r}. Look it up: lm_eval ls tasks; or give a YAML file.")
        results = simple_evaluate(
            self._loaded,
            tasks=[name],
            task_manager=manager,
            limit=self.limit,
            apply_chat_template=self._loaded.tokenizer.chat_template is not None,
            bootstrap_iters=100,
        )
        return read_lm_eval(results or {})

    # ------------------------------------------------------------ Inspect

    def _inspect(self, name: str) -> dict[str, MetricValue]:
        import inspect_ai

        package, slash, _ = name.partition("/")
        is_file = Path(name.partition("@")[0]).is_file()
        if slash and not is_file and not find_spec(package):
            raise NotMeasured(f"The package {package} is not installed. Get it: pip install {package}.")
        if package == "inspect_evals":  # a part of it that does not load says which package it lacks
            import_module("inspect_evals._registry")
        (log,) = inspect_ai.eval(
            _relative(name) if is_file else name,
            model=f"sublim/{self.model}",
            limit=self.limit,
            log_dir=str(self.logs),
            display="none",
            log_realtime=False,
        )
        if log.status != "success":
            print(log.error.traceback if log.error else "")
            why = log.error.message.strip().splitlines()[-1] if log.error else "no reason given"
            raise NotMeasured(f"{name} ended as {log.status!r} ({why}). Look at {log.location}.")
        return read_inspect(log)


@cache
def _lm_eval_tasks(folder: str | None) -> Any:
    """lm-eval's own tasks with those of a folder. It reads 14,000 files for them, so once a folder."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=folder)


def model_args(source: Source) -> str:
    """What lm-eval's --model_args needs for a model or a base with its adapter, and for a chat template of its own."""
    adapter = f",peft={source.adapter}" if source.adapter else ""
    own = source.tokenizer != source.base and _template(source.tokenizer) != _template(source.base)
    return f"pretrained={source.base}{adapter}" + (f",tokenizer={source.tokenizer}" if own else "")


def _template(home: Path | str) -> str | None:
    """The chat template saved in a folder; None for a hub id, which is not looked up."""
    file = Path(home) / "chat_template.jinja"
    return file.read_text(encoding="utf-8") if isinstance(home, Path) and file.is_file() else None


def batch_size(source: Source) -> int:
    """1 for a prompt-tuned student: lm-eval pads between its virtual tokens and the prompt; 16 for all others."""
    import json

    if source.adapter is None:
        return 16
    card = json.loads((source.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    return 1 if card.get("peft_type") == "PROMPT_TUNING" else 16


def read_lm_eval(results: Mapping[str, Any]) -> dict[str, MetricValue]:
    """The metrics of an lm-eval result: of its groups where it has some, else of each of its tasks."""
    groups = results.get("groups") or results.get("results") or {}
    several = len(groups) > 1
    metrics = {}
    for task, numbers in groups.items():
        for key, value in numbers.items():
            metric, comma, filter_ = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, (int, float)):
                continue
            stderr = numbers.get(f"{metric}_stderr,{filter_}")
            items = dict(_lm_eval_items(results, task, metric, filter_))
            name = metric if filter_ == "none" else f"{metric} ({filter_})"
            error = float(stderr) if isinstance(stderr, (int, float)) else math.nan
            metrics[f"{task} {name}" if several else name] = _measured(float(value), error, items)
    return metrics


def _lm_eval_items(results: Mapping[str, Any], task: str, metric: str, filter_: str) -> Iterator[tuple[str, float]]:
    below = [task, *results.get("group_subtasks", {}).get(task, ())]
    for part in list(below):  # a group of groups, such as mmlu
        below += [deeper for deeper in results.get("group_subtasks", {}).get(part, ()) if deeper not in below]
    for part in below:
        for row in results.get("samples", {}).get(part, ()):
            if row.get("filter", "none") == filter_ and isinstance(row.get(metric), (int, float)):
                yield f"{part} {row['doc_id']}", float(row[metric])


ERRORS = ("stderr", "std", "var")
"""Metrics of Inspect that say how sure another one is."""


def _with_stderr(names: Iterable[str]) -> str | None:
    """Which metric of a scorer is the mean over its samples, and so the one that its standard error belongs to.

    Inspect names it `accuracy` or `mean`; a scorer with a single metric means that one. None where neither is so.
    """
    figures = [name for name in names if name not in ERRORS]
    means = [name for name in figures if name in ("accuracy", "mean")]
    return means[0] if means else figures[0] if len(figures) == 1 else None


def read_inspect(log: Any) -> dict[str, MetricValue]:
    """The metrics of an Inspect log, one a scorer and metric; a standard error stands beside the mean it belongs to."""
    from inspect_ai.scorer import value_to_float

    number = value_to_float()
    metrics = {}
    for score in log.results.scores if log.results else ():
        epochs: dict[str, list[float]] = defaultdict(list)
        for sample in log.samples or ():
            given = (sample.scores or {}).get(score.scorer)
            if given is not None and not isinstance(given.value, (dict, list)):
                epochs[str(sample.id)].append(float(number(given.value)))
        items = {name: math.fsum(values) / len(values) for name, values in epochs.items()}
        whose = _with_stderr(score.metrics)
        stderr = score.metrics["stderr"].value if "stderr" in score.metrics else math.nan
        for name, metric in score.metrics.items():
            if name not in ERRORS and math.isfinite(metric.value):
                own = (float(stderr), items) if whose == name else (math.nan, {})
                metrics[f"{score.name} {name}"] = _measured(float(metric.value), *own)
    return metrics


def _measured(value: float, stderr: float, items: dict[str, float]) -> MetricValue:
    """With its items where the value is their mean; a standard error that the harness left out is made from them."""
    n = len(items)
    mean = math.fsum(items.values()) / n if n else math.nan
    if not (abs(mean - value) < SAME):
        return MetricValue(value, stderr)
    if math.isnan(stderr) and n > 1:
        stderr = math.sqrt(math.fsum((v - mean) ** 2 for v in items.values()) / (n - 1) / n)
    return MetricValue(value, stderr, items)


# ---------------------------------------------------------------- what stood in the way


def explain(task: str, error: BaseException, command: str, log: Path) -> str:
    """One sentence on why a task could not be asked, and the next step."""
    chain = [error, *_causes(error)]
    missing = next((e for e in chain if isinstance(e, ModuleNotFoundError)), None)
    if missing is not None:
        return f"{task} needs the package {missing.name}, which is not installed. Get it: pip install {missing.name}."
    if any(_is_network(e) for e in chain):
        why = " ".join(str(error).split())[:200]
        if switched := [name for name in OFFLINE if os.environ.get(name, "0").lower() in ("1", "true", "yes", "on")]:
            step = f"Unset {' and '.join(switched)} on a machine with internet access"
        else:
            step = "Give the command again where there is internet access"
        return f"The data of {task} could not be fetched ({why}). {step}; what was fetched once stays in the cache."
    why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return f"{task} failed ({why}). The whole of it is in {log}; by hand: {command}."


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = error.__cause__ or error.__context__
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _is_network(error: BaseException) -> bool:
    """Whether an exception of the hub, of requests, httpx or the standard library says: not reached."""
    names = {kind.__name__ for kind in type(error).__mro__}
    network = {"ConnectionError", "ConnectError", "ConnectTimeout", "Timeout", "TimeoutException", "gaierror"}
    network |= {"OfflineModeIsEnabled", "LocalEntryNotFoundError", "DatasetNotFoundError"}
    network |= {"HfHubHTTPError", "URLError", "HTTPError"}
    return bool(names & network)


def _relative(name: str) -> str:
    """Inspect finds task files below the working folder only by a relative path, others with an explicit @task."""
    file, at, task = name.partition("@")
    return f"{os.path.relpath(file)}{at}{task}" if not at else name


@contextmanager
def _written_to(file: Path) -> Iterator[None]:
    """All that is printed or logged goes to `file`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    screen = sys.stderr
    with file.open("w", encoding="utf-8") as out, redirect_stdout(out), redirect_stderr(out):
        _point_logs(screen, out)
        try:
            yield
        finally:  # handlers that a harness made meanwhile hold the file, which is about to be closed
            _point_logs(out, screen)


def _point_logs(old: Any, new: Any) -> None:
    """Every log handler that writes to one stream writes to another."""
    loggers = [logging.root, *(log for log in logging.root.manager.loggerDict.values())]
    for log in loggers:
        for handler in log.handlers if isinstance(log, logging.Logger) else ():
            if isinstance(handler, logging.StreamHandler) and vars(handler).get("stream") is old:
                handler.stream = new  # setStream would flush first, and a lazy handler flushes a file closed long ago
