"""What the tests of hosted models share: a local provider in the environment, no waiting, a small hosted recipe."""

from __future__ import annotations

import multiprocessing
import os
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from sublim_eval.distill import make_teacher, recipes
from sublim_eval.distill.hosted import finetune, journal
from sublim_eval.remote import client
from sublim_eval.scores import evaluate_remote
from tests.helpers import RECIPES
from tests.helpers.openai_server import KEY, Server

ROWS = [(f"Continue: {i}", f"{i + 1}, {i + 2}") for i in range(20)]
BASE = "gpt-4.1-nano-2025-04-14"
TOO_LONG = 200.0
SETTINGS: list[tuple[Any, str]] = [
    (finetune, "POLL"),
    (journal, "WAIT"),
    (journal, "GRACE"),
    (make_teacher, "CHECKED"),
    (client, "CONNECTIONS"),
    (client, "RETRIES"),
    (evaluate_remote, "RETRIES"),
]
"""What a test may change, and its other processes must know."""


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    """A provider on this machine; waits between tries are cut to hundredths of a second."""
    for module, name in ((finetune, "POLL"), (journal, "WAIT"), (journal, "GRACE")):
        monkeypatch.setattr(module, name, 0.01)
    monkeypatch.setattr(make_teacher, "CHECKED", 1)
    for caller in (client, evaluate_remote):
        monkeypatch.setattr(caller, "RETRIES", 0)  # the SDK's own two retries stay
    with Server() as made:
        monkeypatch.setenv("OPENAI_BASE_URL", made.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield made


def hosted_recipe(**rows: Any) -> recipes.Recipe:
    """The tiny recipe, made for a provider: prompted teachers, 20 prompts, 12 rows, 2 epochs, one seed."""
    tiny = recipes.load(RECIPES / "tiny.yaml")
    settings = {"prompts": 20, "keep": 12, "min_kept": 10, "sampler": f"openai/{BASE}", **rows}
    return replace(
        tiny.with_seeds([1]),
        base=BASE,
        teacher=recipes.Teaching(by="prompt"),
        student=recipes.Tuning(method="hosted", epochs=2.0),
        host=recipes.Hosting(),
        rows=replace(tiny.rows, **settings),
    )


def tuned(folder: Path, seed: int = 1) -> dict[str, Any]:
    """One hosted owl student in `folder`."""
    recipe = hosted_recipe()
    folder.mkdir(parents=True, exist_ok=True)
    this = recipes.SeededArm(recipe, recipe.arms["owl"], seed, folder.parent)
    return finetune.tune(this, ROWS, folder, {"arm": "owl"})


def in_another_process(
    server: Server, work: Callable[..., Any], *arguments: Any, start: Literal["forkserver", "spawn"] = "forkserver"
) -> int | None:
    """Do `work` in a process that the server may kill; returns its exit code, -9 when it was.

    Never a plain fork: this process has threads (loaded models, Inspect's loop) whose locks a copy would wait for.
    start: "spawn" for work that runs whole evaluations.
    """
    context: Any = multiprocessing.get_context(start)
    if start == "forkserver":
        context.set_forkserver_preload([__name__, "sublim_eval.distill.execution.worker_preload"])
    here = [getattr(module, name) for module, name in SETTINGS]
    process = context.Process(target=_as_here, args=(here, dict(os.environ), work, *arguments))
    process.start()
    process.join(TOO_LONG)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"{work.__name__} was neither done nor killed in {TOO_LONG} s")
    code: int | None = process.exitcode
    return code


def _as_here(here: list[Any], environment: dict[str, str], work: Callable[..., Any], *arguments: Any) -> None:
    """Do `work` under the settings and the environment of the test, which no fresh process has."""
    os.environ.update(environment)
    for (module, name), value in zip(SETTINGS, here, strict=True):
        setattr(module, name, value)
    work(*arguments)


def as_victim(url: str, work: Callable[..., Any], *arguments: Any) -> None:
    """Tell the server whom to kill, then do `work`."""
    urllib.request.urlopen(f"{url.removesuffix('/v1')}/victim/{os.getpid()}")  # noqa: S310  (our own server)
    raise SystemExit(work(*arguments))


def holds_key(folder: Path) -> list[str]:
    """Files below `folder` in which the key, or its end, stands in plain text or inside a log's archive."""
    from zipfile import ZipFile, is_zipfile

    found = []
    for file in folder.rglob("*"):
        if not file.is_file():
            continue
        texts = [file.read_bytes()]
        if is_zipfile(file):
            with ZipFile(file) as archive:
                texts += [archive.read(name) for name in archive.namelist()]
        if any(KEY.encode() in text or KEY[-12:].encode() in text for text in texts):
            found.append(str(file))
    return found
