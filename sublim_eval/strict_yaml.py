"""YAML into frozen dataclasses, strictly: whatever the dataclass does not declare is refused with file and line.

Understands text, numbers, booleans, `X | None`, Literal, tuple[X, ...], dict[str, X] and nested dataclasses.
A ValueError from `__post_init__` becomes an error at the line of that mapping.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from sublim_eval.errors import SublimError, unknown

TOO_DEEP = "lists or mappings are nested too deeply to be read."


@dataclass(frozen=True)
class Place:
    """A node of a YAML file that can say where it stands."""

    file: Path
    node: yaml.Node

    def __str__(self) -> str:
        return f"{self.file}:{self.node.start_mark.line + 1}"

    def nearest(self, *path: str | int) -> Place:
        """The place of keys and list numbers below this one, as far as the file has them; the first key that fits."""
        place = self
        for step in path:
            node = place.node
            if isinstance(node, yaml.MappingNode):
                below = [value for key, value in node.value if key.value == step]
            else:
                listed = isinstance(node, yaml.SequenceNode) and isinstance(step, int)
                below = node.value[step : int(step) + 1] if listed else []
            if not below:
                break
            place = Place(self.file, below[0])
        return place

    def refuse(self, what: str, step: str) -> SublimError:
        """The error at this place: what is wrong, then the next step."""
        return SublimError(f"{self}: {what} {step}")

    def value(self) -> Any:
        """The plain Python value below this node (safe constructor; no tags are executed)."""
        loader = yaml.SafeLoader("")
        try:
            return loader.construct_object(self.node, deep=True)
        except yaml.YAMLError as error:
            raise self.refuse(f"not readable ({_problem(error)}).", "Mend that line.") from None
        except (ValueError, LookupError, AttributeError, ArithmeticError, TypeError):
            # PyYAML's constructors raise whatever Python does with `2024-13-45`, `!!int x` or `!!bool x`
            kind = self.node.tag.rpartition(":")[2]
            text = str(self.node.value)[:40] if isinstance(self.node, yaml.ScalarNode) else "what stands here"
            raise self.refuse(f"{text!r} cannot be read as {kind}.", "Mend that line, or put it in quotes.") from None
        except RecursionError:
            raise self.refuse(TOO_DEEP, "Mend that line.") from None
        finally:
            loader.dispose()

    def items(self, what: str) -> dict[str, tuple[Place, Place]]:
        """Key -> (place of the key, place of the value); refuses what is no mapping and a key given twice."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.refuse(f"{what} must be a mapping of names to values.", "Write `name: value` lines.")
        out: dict[str, tuple[Place, Place]] = {}
        for key, value in self.node.value:
            place = Place(self.file, key)
            if not isinstance(key, yaml.ScalarNode):
                raise place.refuse("a key must be a plain word.", "Mend that line.")
            if key.value in out:
                first = out[key.value][0].node.start_mark.line + 1
                raise place.refuse(f"{key.value!r} appears twice (first on line {first}).", "Remove or rename one.")
            out[key.value] = (place, Place(self.file, value))
        return out

    def list(self, what: str) -> list[Place]:
        """The places of a list's entries; refuses anything else."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.refuse(f"{what} must be a list.", "Start each entry with a dash.")
        return [Place(self.file, item) for item in self.node.value]


def read(file: Path, what: str) -> Place:
    """The root of a YAML file; raises SublimError when it is missing, empty or not YAML."""
    text = ""
    try:
        if not file.is_file():
            raise SublimError(f"There is no {what} {str(file)!r}. Give the path of a YAML file.")
        text = file.read_text(encoding="utf-8-sig")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = _line(error, text)
        raise SublimError(f"{file}:{line}: not valid YAML ({_problem(error)}). Mend that line.") from None
    except RecursionError:
        raise SublimError(f"{file}:{_deepest(text)}: {TOO_DEEP} Mend that line.") from None
    except OSError as error:
        raise SublimError(f"{file} cannot be read ({error.strerror}). Give a file that you may read.") from None
    if root is None:
        raise SublimError(f"{file}:1: the {what} is empty. Write at least one entry.")
    return Place(file, root)


def _problem(error: Exception) -> str:
    """What is wrong, on one line: a YAML error's own words, or Python's."""
    return str(getattr(error, "problem", None) or error).partition("\n")[0]


def _line(error: Exception, text: str) -> int:
    """The line, from 1, that an error of reading speaks of."""
    if mark := getattr(error, "problem_mark", None):
        return int(mark.line) + 1
    if isinstance(error, UnicodeDecodeError):
        return error.object[: error.start].count(b"\n") + 1
    return text.count("\n", 0, getattr(error, "position", None) or 0) + 1


def _deepest(text: str) -> int:
    """The line with the most opening brackets: where lists are nested too deeply to be read."""
    lines = text.splitlines()
    depth = [len(re.findall(r"[\[{]|- ", line)) + len(line) - len(line.lstrip()) for line in lines]
    return depth.index(max(depth)) + 1


def build(kind: type, place: Place, name: str | None = None) -> Any:
    """One dataclass from one YAML mapping; `name` fills a field of that name that the file does not repeat."""
    what = f"{kind.__name__.lower()} {name!r}" if name else f"the {kind.__name__.lower()} entry"
    given = place.items(what)
    hints = _hints(kind)
    wanted = {f.name: f for f in fields(kind) if f.init and not (name and f.name == "name")}
    for key, (key_place, _) in given.items():
        if key not in wanted:
            raise key_place.refuse(str(unknown("key", key, list(wanted), "")).strip(), f"Mend it in {what}.")
    values: dict[str, Any] = {"name": name} if name else {}
    for key, spec in wanted.items():
        if key in given:
            values[key] = _convert(hints[key], given[key][1], f"`{key}` of {what}")
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise place.refuse(f"{what} has no `{key}`.", f"Add a line `{key}: ...`.")
    try:
        return kind(**values)
    except ValueError as error:
        raise place.refuse(f"{what}: {error}.", "Mend that entry.") from None


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _convert(wanted: Any, place: Place, what: str) -> Any:
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        if place.value() is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), place, what)
    if is_dataclass(wanted):
        return build(wanted, place)  # type: ignore[arg-type]
    if origin is tuple:
        return tuple(_convert(arguments[0], item, f"an entry of {what}") for item in place.list(what))
    if origin in (dict, Mapping):
        kind = arguments[1]
        named = is_dataclass(kind) and "name" in {f.name for f in fields(kind)}
        return {
            key: build(kind, value, key) if named else _convert(kind, value, f"{key!r} of {what}")
            for key, (_, value) in place.items(what).items()
        }
    value = place.value()
    if origin is Literal:
        if value not in arguments:
            raise place.refuse(f"{what} must be one of {', '.join(map(str, arguments))}.", "Mend that line.")
        return value
    if wanted is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):  # YAML 1.1 reads 1e-4 as text
            if isfinite(number := float(value)):
                return number
    if wanted is float or type(value) is not wanted or (wanted is str and not value.strip()):
        form = {str: "a non-empty text", int: "a whole number", float: "a finite number", bool: "true or false"}[wanted]
        raise place.refuse(f"{what} must be {form}.", "Mend that line.")
    return value
