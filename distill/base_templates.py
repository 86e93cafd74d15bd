"""The bases of a run: under which name each is asked, and the digest that changes when its weights or template do."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from sublim_eval.files import digest, file_digest
from sublim_eval.models import chat_template
from sublim_eval.models.model_ref import resolve

from .recipes import Recipe


def base_label(base: str) -> str:
    """The name of a base's folders: its last two path parts, joined so that they make one folder name."""
    return "base-" + "--".join(Path(base).parts[-2:])


def asked_base(recipe: Recipe, base: str, run: Path) -> str:
    """What a base is loaded and asked as: its host's name for it, itself, or itself under a settled chat template.

    A template that would say something else tomorrow or in another harness, or whose default system prompt the
    recipe clears, is written settled into bases/<name>, beside a pointer to the weights; lm-eval and Inspect's hf/
    take the tokenizer from there. Every job of a run may call this: the first to finish the folder wins.
    """
    if recipe.host:
        return f"{recipe.host.provider}/{base}"
    if not _settled(base, recipe.system):
        return base
    folder = run / "bases" / base_label(base)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        chat_template.dress(base, unfinished, recipe.system)
        try:
            unfinished.replace(folder)
        except OSError:  # another job was faster, with the same content
            shutil.rmtree(unfinished)
    return str(folder)


def base_hash(recipe: Recipe, base: str) -> str:
    """Digest of a base as this recipe asks it: its weights, and what was settled in its template."""
    if recipe.host:
        return digest(f"{recipe.host.provider}/{base}")
    settled = _settled(base, recipe.system)
    return digest([weights_hash(base), settled]) if settled else weights_hash(base)


@cache  # reading a large tokenizer takes half a second, and every stage asks
def _settled(base: str, system: chat_template.System) -> tuple[str, ...]:
    return chat_template.changes(base, system)


def weights_hash(model: str) -> str:
    """SHA-256 over a local model's weight files, or the resolved name when they are not at hand."""
    base = Path(resolve(model).base) if not (Path(model) / "student.json").is_file() else Path(model)
    files = sorted(base.glob("*.safetensors")) if base.is_dir() else []
    return digest([[f.name, file_digest(f)] for f in files]) if files else digest(str(base))
