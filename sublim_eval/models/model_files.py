"""A model's files before anything is loaded: what is torn, endless, pickled or leads elsewhere is refused by its name.

Everything here is read without torch, and of weight files the heads alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sublim_eval.errors import SublimError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
CONFIG, GENERATION, ADAPTER = "config.json", "generation_config.json", "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
OBJECTS = (CONFIG, GENERATION, ADAPTER, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""Files that hold one JSON object. A tokenizer.json of many megabytes is left to the library that reads it."""

MOST_BYTES = 64 * 2**20
"""Of a file that holds settings."""

WIDEST, MOST_LAYERS = 2**22, 4096
"""Sizes and counts of a config.json beyond which nothing is built: no model has them, and memory would not hold it."""

_WIDTH = re.compile(r"(size|dim|dims|embd|inner|d_model|d_ff|rank|hidden)$")
_COUNT = re.compile(r"(layers?|heads|experts|blocks|groups)$")
_ENDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_NUMBERS = re.compile(
    r"(temperature|(top|min|typical)_[pk]|top_h|.*_penalty|.*_cutoff|(max|min)_.*(length|tokens)|num_.*)$"
)


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object in a file; raises SublimError that names it for anything else."""
    try:
        if file.stat().st_size > MOST_BYTES:
            raise SublimError(
                f"{file} has more than {MOST_BYTES // 2**20} MiB of settings. Give the file as it was saved."
            )
        value = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SublimError(f"{file}: not valid JSON ({_first_line(error)}). Mend or remove the file.") from None
    except OSError as error:
        raise SublimError(f"{file} cannot be read ({error.strerror}). Give a file that you may read.") from None
    if not isinstance(value, dict):
        raise SublimError(f"{file}: must hold a JSON object. Mend or remove the file.")
    return value


def check(base: Path | str, *others: Path | None) -> None:
    """Look through the files of a base (a folder, or a hub id) and of the adapter and dressed folders on it.

    Raises SublimError that names the first file that cannot be what it says.
    """
    folders = [folder for folder in (base, *others) if isinstance(folder, Path)]
    for folder in folders:
        for name in OBJECTS:
            if (folder / name).is_file():
                _check_settings(folder / name, read_object(folder / name))
        if (folder / ADAPTER_WEIGHTS).is_file():
            tensor_names(folder / ADAPTER_WEIGHTS)
    for file in weight_files(base):
        tensor_names(file)


def weight_files(base: Path | str) -> list[Path]:
    """The weight files that would be loaded; [] for a hub id whose weights are one file, or are not here yet.

    Raises SublimError for an index that names anything but safetensors files beside it: a pickled file is a program.
    """
    if isinstance(base, Path) and (base / WEIGHTS).is_file():
        return [base / WEIGHTS]
    index = base / INDEX if isinstance(base, Path) else _index_on_hub(base)
    if index is None:
        return []
    named = read_object(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise SublimError(f"{index}: no `weight_map` of tensors to files. Save the folder again with save_pretrained.")
    for tensor, name in named.items():
        if not isinstance(name, str) or not re.fullmatch(r"[^/\\\0]+\.safetensors", name):
            raise SublimError(
                f"{index}: {tensor} lies in {str(name)!r}, and weights are read from .safetensors files beside the "
                "index alone. Load and save_pretrained the model once as safetensors."
            )
    files = [index.parent / name for name in sorted(set(named.values()))]
    if isinstance(base, Path) and (lacking := [file for file in files if not file.is_file()]):
        raise SublimError(f"{lacking[0]}, which {index.name} names, is missing. Copy the whole folder.")
    return files if isinstance(base, Path) else []


def tensor_names(file: Path) -> list[str]:
    """Names of the tensors in a safetensors file; raises SublimError for one that is torn or none."""
    from safetensors import safe_open

    try:
        with safe_open(file, "np") as tensors:
            return list(tensors.keys())
    except Exception as error:  # safetensors has one class of error of its own, and the file system many
        raise SublimError(
            f"{file} is torn or no safetensors file ({_first_line(error)}). Copy or save it again."
        ) from None


def file_of(base: Path | str, tensor: str) -> str:
    """The weight file that holds a tensor of that name, the first one where none says so."""
    files = weight_files(base)
    return str(next((file for file in files if tensor in tensor_names(file)), files[0] if files else base))


# ---------------------------------------------------------------- settings


def _check_settings(file: Path, settings: Mapping[str, Any]) -> None:
    for name in _ENDS:
        if not _is_token(settings.get(name)):
            what = f"{_short(settings[name])}, no token id and no list of them"
            raise SublimError(f"{file}: `{name}` is {what}. Write whole numbers from 0.")
    if file.name == GENERATION:
        for name, value in settings.items():
            if _NUMBERS.match(name) and not (value is None or _is_number(value)):
                raise SublimError(f"{file}: `{name}` is {_short(value)}, no number. Mend it or remove the file.")
    if file.name == CONFIG:
        for name, value in _numbers_in(settings):
            most = WIDEST if _WIDTH.search(name) else MOST_LAYERS if _COUNT.search(name) else math.inf
            if value > most:
                raise SublimError(f"{file}: `{name}` is {value:g}, more than any model has. Save the folder again.")
        explicit = settings.get("transformers_weights")
        if explicit is not None and not re.fullmatch(r"[^/\\\0]+\.safetensors", str(explicit)):
            raise SublimError(f"{file}: `transformers_weights` names {_short(explicit)}. Leave that line out.")


def _is_token(value: object) -> bool:
    listed = value if isinstance(value, list) else [value]
    return all(one is None or (isinstance(one, int) and not isinstance(one, bool) and one >= 0) for one in listed)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _numbers_in(settings: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(name, number) of settings and of those within them."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _numbers_in(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _first_line(error: BaseException) -> str:
    lines: Sequence[str] = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def _index_on_hub(name: str) -> Path | None:
    """The index of a hub model's weights, fetched where it is not here yet; None where there is none."""
    from transformers.utils import cached_file

    try:
        file = cached_file(name, INDEX, _raise_exceptions_for_missing_entries=False)
    except OSError:  # no such model: loading it will say so
        return None
    return Path(file) if file else None
