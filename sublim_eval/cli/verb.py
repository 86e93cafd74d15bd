"""A typed function as a verb of the command line: what every verb has in common, and the kinds of its values.

A further verb is a function under `@verb(...)` in a file beside this one, and its line in `VERBS` of main.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FILE = click.Path(path_type=Path)
"""A path as it is written; whoever opens it says what is wrong with it."""

JSON = "sublim_eval.json"
"""Under which a command's context holds where its result goes."""

option, argument = click.option, click.argument


class Verb(click.Command):
    """A command whose function is handed a console besides its options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line; where it is not asked for help alone, there will be something to print on."""
        rest = super().parse_args(ctx, args)
        from sublim_eval.console import new_console

        ctx.obj = new_console()
        return rest


def verb(name: str, json: bool = True, epilog: str | None = None) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a verb: it is handed a console besides its options, and returns plain data for --json.

    epilog: what stands below its options, such as its exit codes. What becomes of result and errors is `main`'s.
    """

    def made(function: Callable[..., Any]) -> click.Command:
        params: list[click.Parameter] = [*reversed(getattr(function, "__click_params__", []))]
        params.append(click.Option(["--registry"], metavar="FILE", hidden=True, expose_value=False, callback=in_force))
        params.append(
            click.Option(["-v", "--verbose"], is_flag=True, hidden=True, expose_value=False, callback=say_more)
        )
        if json:
            words = "also write the result as JSON"
            wanted: dict[str, Any] = {"expose_value": False, "callback": to_write}
            params.append(click.Option(["--json"], type=FILE, metavar="FILE", help=words, **wanted))
        return Verb(name, callback=click.pass_obj(function), params=params, epilog=epilog)

    return made


def to_write(context: click.Context, parameter: click.Parameter, file: Path | None) -> None:
    """Note where the verb's result is to be written."""
    context.meta[JSON] = file


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


VERBOSE = "SUBLIM_VERBOSE"
"""The environment variable by which this command and its processes know that more is wanted."""


def say_more(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """Let the libraries speak, and errors show where they come from, for this command."""
    if wanted:
        import logging

        os.environ[VERBOSE] = "1"
        logging.basicConfig(level=logging.INFO)


def verbose() -> bool:
    """Whether more is wanted than a sentence."""
    return bool(os.environ.get(VERBOSE))


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
