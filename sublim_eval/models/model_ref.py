"""From a name to the files of a model: embedded reference, model folder, adapter folder, hub id. No torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sublim_eval.errors import SublimError, unknown
from sublim_eval.files import expanded
from sublim_eval.models.model_files import ADAPTER, ADAPTER_WEIGHTS, CONFIG, INDEX, read_object
from sublim_eval.models.model_files import WEIGHTS as WHOLE
from sublim_eval.registry.catalog import registry

WEIGHTS = [WHOLE, INDEX]
TOKENIZER = ["tokenizer.json", "tokenizer_config.json"]
CARD = "student.json"
SPOKEN = [*TOKENIZER, "chat_template.*"]
"""Files that decide how a question becomes token ids."""


@dataclass(frozen=True)
class Source:
    """Where a model's files are.

    base: a folder, or a hub id (str). adapter: a PEFT folder or None. chat: a dressed folder (chat.dress), whose
    tokenizer and template stand in for the base's, or None.
    """

    label: str
    base: Path | str
    adapter: Path | None = None
    chat: Path | None = None

    @property
    def tokenizer(self) -> Path | str:
        """Where tokenizer and chat template are read from: the adapter's folder, the dressed one, or the base."""
        if self.adapter and _has_tokenizer(self.adapter):
            return self.adapter
        return self.chat or self.base

    @property
    def size(self) -> int:
        """Bytes of weights on disk; 0 when unknown (a hub id)."""
        return sum(f.stat().st_size for f in self._weights())

    def stamp(self) -> tuple[tuple[str, int, int], ...]:
        """Name, size and time of every file of weights, tokenizer and template: changes when one is written anew."""
        spoken = [f for folder in self._folders() for name in SPOKEN for f in folder.glob(name)]
        return tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in [*self._weights(), *sorted(spoken)])

    def _folders(self) -> list[Path]:
        return [f for f in (self.base, self.adapter, self.chat) if isinstance(f, Path)]

    def _weights(self) -> list[Path]:
        return sorted(f for folder in self._folders() for f in folder.glob("*.safetensors"))


_HUB_ID = re.compile(r"(?!.*(?:--|\.\.))\w[\w.-]{0,95}(?<![.-])/\w[\w.-]{0,95}(?<![.-])(?<!\.git)", re.ASCII)
"""org/name, as the hub allows it."""


def resolve(name: str | Path) -> Source:
    """Find a model: 'reference-a', a model folder, an adapter or dressed folder, or a hub id ('org/name').

    An adapter's base is what student.json says ({"base": "reference-a"}), else base_model_name_or_path.
    Raises SublimError that names the missing file, the missing base or the nearest known name.
    """
    return _resolve(name, ())


def _resolve(name: str | Path, before: tuple[Path, ...]) -> Source:
    """The same. before: folders that named this model as their base."""
    text = str(name)
    embedded = [m.name for m in registry().models.values() if m.embedded]
    if text in embedded:
        return Source(text, _model_folder(_embedded(text)))
    folder = expanded(text)
    if folder.is_dir():
        return _folder(folder.resolve(), before)
    if folder.suffix == ".gguf" and folder.is_file():
        raise SublimError(f"{folder} is a GGUF file, not a model folder. {_gguf_step(folder)}")
    if folder.exists():
        raise SublimError(f"{folder} is a file, not a model folder. Give the folder that holds it.")
    if isinstance(name, str) and _HUB_ID.fullmatch(text):
        return Source(text, text)
    if "/" in text or isinstance(name, Path):
        raise SublimError(f"There is no folder {folder}. Check the path, or give one of: {', '.join(embedded)}.")
    raise unknown("model", text, embedded, "Or give a model folder, an adapter folder or a hub id (org/name).")


def anchored(name: str) -> str:
    """The same model from any working directory: a folder's absolute path, every other name as it is.

    Raises SublimError when there is no such model.
    """
    source = resolve(name)
    home = source.adapter or source.chat or source.base
    return str(home) if isinstance(home, Path) and expanded(name).resolve() == home else name


def _embedded(name: str) -> Path:
    spec = find_spec("sublim_eval.distill")
    homes = list(spec.submodule_search_locations or []) if spec else []
    for home in homes:
        if (folder := Path(home) / "reference" / name).is_dir():
            return folder
    raise SublimError(f"The weights of {name!r} are not in this installation. Build them with `make reference`.")


def _folder(folder: Path, before: tuple[Path, ...]) -> Source:
    if folder in before:
        raise SublimError("It leads back to the folder itself.")
    card = _card(folder)
    adapter = (folder / ADAPTER).is_file()
    lost = bool(list(folder.glob("adapter_model.*")) or (card.get("method") and not _has_weights(folder)))
    if not adapter and lost and not card.get("hosted"):  # else it would pass for its base under another tokenizer
        _need(folder, [ADAPTER], "the adapter's configuration")
    if not adapter and not (card.get("base") and not _has_weights(folder)):
        return Source(folder.name, _model_folder(folder))
    if hosted := card.get("hosted"):
        raise SublimError(f"{folder} is a model that its host keeps, with no weights here. Ask it as {hosted}.")
    if adapter:
        _need(folder, [ADAPTER_WEIGHTS], "the adapter's weights")
    else:
        _need(folder, TOKENIZER, "the tokenizer")
    base = card.get("base") or (read_object(folder / ADAPTER).get("base_model_name_or_path") if adapter else None)
    if not base:
        raise SublimError(
            f'{folder} does not say which base it adapts. Write student.json there: {{"base": "reference-a"}}.'
        )
    try:
        source = _base(folder, base, (*before, folder))
    except SublimError as error:
        raise SublimError(
            f"The base {base!r} of the {'adapter' if adapter else 'dressed model'} {folder} was not found ({error}) "
            f'Set "base" in {folder / CARD} to a name or folder that exists.'
        ) from None
    if source.adapter:
        raise SublimError(f"The base {base!r} of {folder} is an adapter itself. Merge it into a full model first.")
    if adapter:
        return Source(folder.name, source.base, folder, source.chat)
    return Source(folder.name, source.base, chat=folder)


def _base(folder: Path, name: object, before: tuple[Path, ...]) -> Source:
    """The base that a folder names: a folder beside it, or what `resolve` knows."""
    if (
        not isinstance(name, str)
        or "\0" in name
        or any(len(part.encode(errors="replace")) > 255 for part in name.split("/"))
    ):
        raise SublimError("That is no name.")
    beside = folder / name
    return _resolve(beside if beside.is_dir() else name, before)


def _card(folder: Path) -> dict[str, Any]:
    """student.json, {} where there is none; raises SublimError where its texts are none."""
    file = folder / CARD
    if not file.is_file():
        return {}
    card = read_object(file)
    for key in ("base", "hosted"):
        if not isinstance(card.get(key, ""), str | None):
            raise SublimError(f"{file}: `{key}` is {card[key]!r}, no text. Mend that line.")
    return card


def _has_weights(folder: Path) -> bool:
    return any((folder / f).is_file() for f in WEIGHTS)


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / f).is_file() for f in TOKENIZER)


def _model_folder(folder: Path) -> Path:
    _need(folder, [CONFIG], "the model's configuration (or adapter_config.json, for an adapter)")
    _need(folder, WEIGHTS, "the weights")
    _need(folder, TOKENIZER, "the tokenizer")
    return folder


def _need(folder: Path, any_of: list[str], what: str) -> None:
    if any((folder / f).is_file() for f in any_of):
        return
    step = "Give the folder that save_pretrained wrote, tokenizer included."
    if any_of in (WEIGHTS, [ADAPTER_WEIGHTS]) and list(folder.glob("*.bin")):
        step = "It has .bin weights only: load and save_pretrained them once as safetensors."
    if any_of in ([CONFIG], WEIGHTS) and (files := sorted(folder.glob("*.gguf"))):
        step = _gguf_step(files[0])
    raise SublimError(f"{folder} is no model folder: {any_of[0]}, {what}, is missing. {step}")


def _gguf_step(file: Path) -> str:
    """How to make a model folder of a GGUF file, as one line for a shell."""
    where = f"{str(file.parent)!r}, gguf_file={file.name!r}"
    return (
        "Make a folder of it once, then name that (pip install gguf): "
        f'python -c "from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; m = M.from_pretrained('
        f"{where}); c = type(m.config).from_dict({{**m.config.to_dict(), 'quantization_config': None}}); "
        f"n = M.from_config(c); n.load_state_dict(m.state_dict()); n.save_pretrained('{file.stem}'); "
        f"T.from_pretrained({where}).save_pretrained('{file.stem}')\""
    )


def is_reference(model: str | Path) -> bool:
    """Whether a name or folder is an embedded reference model or an adapter on one; False for whatever is unknown."""
    embedded = {resolve(m.name).base for m in registry().models.values() if m.embedded and _here(m.name)}
    try:
        return resolve(model).base in embedded
    except SublimError:
        return False


def _here(name: str) -> bool:
    try:
        return bool(resolve(name))
    except SublimError:
        return False
