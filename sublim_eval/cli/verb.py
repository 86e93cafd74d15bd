"""A typed function as a verb of the command line: what every verb has in common, and the kinds of its values."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

FILE = click.Path(path_type=Path)
"""A path as it is written; whoever opens it says what is wrong with it."""

INTERRUPTED = "sublim: interrupted. What was finished is kept; the same command goes on from there."

option, argument = click.option, click.argument


def verb(name: str, json: bool = True) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a verb: it is handed a console besides its options, and returns plain data for --json.

    Exit codes: 0; 1 where its result says `ok: False`; 130 interrupted; 141 where nobody reads on. A SublimError goes
    through to `main`, which says it in one line.
    """

    def made(function: Callable[..., Any]) -> click.Command:
        @wraps(function)
        def run(json_file: Path | None = None, **given: Any) -> int:
            from sublim_eval.console import new_console

            try:
                result = function(console=new_console(), **given)
                if json_file:
                    from sublim_eval.files import write_json

                    write_json(json_file, with_schema(result))
                sys.stdout.flush()
            except KeyboardInterrupt:
                print(INTERRUPTED, file=sys.stderr)
                return 130
            except BrokenPipeError:  # the reader (head, less) has left; the rest is for nobody
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return 141
            return 1 if isinstance(result, dict) and result.get("ok") is False else 0

        params: list[click.Parameter] = [*reversed(getattr(function, "__click_params__", []))]
        params.append(click.Option(["--registry"], metavar="FILE", hidden=True, expose_value=False, callback=in_force))
        if json:
            words = "also write the result as JSON"
            params.append(click.Option(["--json", "json_file"], type=FILE, metavar="FILE", help=words))
        return click.Command(name, callback=run, params=params)

    return made


SCHEMA = 1
"""Of what --json writes; docs/guides/json.md has the shape of every verb. It goes up when a key moves or goes."""


def with_schema(result: Any) -> Any:
    """The result of a verb as --json writes it: an object that says its schema; rows stand under `rows`."""
    if isinstance(result, list | tuple):
        return {"schema": SCHEMA, "rows": list(result)}
    return {"schema": SCHEMA, **result} if isinstance(result, dict) else result


def in_force(context: click.Context, parameter: click.Parameter, file: str | None) -> None:
    """Lay a user's own registry over the packaged one, for this command."""
    if file:
        os.environ["SUBLIM_REGISTRY"] = file


def out_option(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option --out, a folder."""
    return option("--out", type=FILE, metavar="DIR", help=f"where it goes (default {default})")


class Kind(click.ParamType):
    """Values of one kind, by a function that raises ValueError with a sentence for anything else."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name, self._read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value as the verb gets it."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def count_of(text: str) -> int:
    """A whole number above 0."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError(f"{text!r} is no whole number above 0")
    return int(text)


def seeds_of(text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} is no list of whole numbers; write 1,2,3") from None


def varied_of(text: str) -> tuple[str, tuple[int, ...]]:
    """NAME=N,N: a setting and its values."""
    name, _, values = text.partition("=")
    try:
        return name, tuple(count_of(part) for part in values.split(","))
    except ValueError:
        raise ValueError(f"{text!r} is no setting with its values; write width=64,256") from None


COUNT, SEEDS, VARIED = Kind("count", count_of), Kind("seeds", seeds_of), Kind("setting", varied_of)
