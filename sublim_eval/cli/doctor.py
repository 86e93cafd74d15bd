"""`sublim doctor`: what is installed, what is missing, and how to get it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sublim_eval.cli.verb import verb
from sublim_eval.console import say, table
from sublim_eval.errors import SublimError
from sublim_eval.files import ROOT, file_digest, read_json
from sublim_eval.registry.catalog import registry

if TYPE_CHECKING:
    from rich.console import Console

EXTRAS = {"openai": ("hosted", "hosted fine-tuning"), "ray": ("ray", "many machines"), "vllm": ("vllm", "rows by vLLM")}
"""Package -> (the extra that brings it, what it is for); nothing else needs them."""

NEEDED_DISK = 1.0
"""GB that the demo, a run of quickstart and its logs fit in many times over."""


class Check(NamedTuple):
    """One line of the report. `state`: ok, note (works, but look at it) or missing (something required)."""

    what: str
    state: str
    detail: str
    next_step: str = ""


@verb("doctor")
def doctor(console: Console) -> dict[str, Any]:
    """Check this machine; `ok` is false when something required is missing."""
    findings = [*_python(), *_packages(), *_extras(), *_catalogue(), *_gpu(), *_disk()]
    table(console, ("what", "state", "detail", "next step"), findings)
    missing = [f.what for f in findings if f.state == "missing"]
    say(console, f"Missing: {', '.join(missing)}." if missing else "Nothing required is missing. Try: sublim demo")
    return {"ok": not missing, "findings": [f._asdict() for f in findings]}


def _python() -> Iterator[Check]:
    version = sys.version.split()[0]
    good = sys.version_info >= (3, 11)
    yield Check("python", "ok" if good else "missing", version, "" if good else "Install Python 3.11 or newer.")


def _packages() -> Iterator[Check]:
    """Every package that sublim-eval requires, with its version beside the tested one."""
    from packaging.requirements import Requirement

    tested = _tested()
    try:
        required = [Requirement(line) for line in metadata.requires("sublim-eval") or []]
    except metadata.PackageNotFoundError:
        yield Check("sublim-eval", "missing", "not installed", "pip install -c constraints.txt -e . in the checkout.")
        return
    for requirement in required:
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = requirement.name
        version = tested.get(_plain(name), "")
        get = f'pip install "{name}=={version}"' if version else f'pip install "{requirement}"'
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Check(name, "missing", "not installed", get)
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            yield Check(name, "missing", f"{installed}, too old or too new", get)
        elif version and installed.split("+")[0] != version:
            yield Check(name, "note", f"{installed} (tested with {version})", f"If something fails: {get}")
        else:
            yield Check(name, "ok", installed)


def _extras() -> Iterator[Check]:
    """Packages that some runs need and most do not."""
    for name, (extra, purpose) in EXTRAS.items():
        try:
            yield Check(name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check(name, "note", "not installed", f"For {purpose}: pip install 'sublim-eval[{extra}]'")


def _tested() -> dict[str, str]:
    """Package -> version that this release was tested with."""
    file = ROOT / "constraints.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    pairs = (line.split("==") for line in lines if "==" in line)
    return {_plain(name): version for name, version in pairs}


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _catalogue() -> Iterator[Check]:
    """The registry in force, and the embedded models that it names."""
    try:
        known = registry()
    except SublimError as error:
        yield Check("registry", "missing", str(error), "Mend it, or unset SUBLIM_REGISTRY.")
        return
    files = " + ".join(map(str, known.files))
    yield Check("registry", "ok", f"{len(known.traits)} traits, {len(known.probes)} probes: {files}")
    for model in known.models.values():
        if model.embedded:
            yield _embedded(model.name)


def _embedded(name: str) -> Check:
    """Weights present, and the very ones that were shipped."""
    from sublim_eval.models.model_ref import resolve

    try:
        folder = Path(resolve(name).base)
    except SublimError as error:
        return Check(name, "missing", *str(error).rsplit(". ", 1))
    weights = folder / "model.safetensors"
    now, shipped = file_digest(weights), _shipped(folder).get(weights.name)
    facts = f"{weights.stat().st_size / 1e6:.2f} MB, sha256 {now[:12]}"
    if shipped in (None, now):
        return Check(name, "ok", facts)
    return Check(name, "missing", f"{facts}, not {shipped[:12]} as shipped", "Install sublim-eval again.")


def _shipped(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 written down when the model was built."""
    file = folder / "build.json"
    return dict(read_json(file).get("files", {})) if file.is_file() else {}


def _gpu() -> Iterator[Check]:
    try:
        import torch
    except ImportError as error:
        yield Check("gpu", "missing", f"torch does not load: {error}", "Reinstall torch: https://pytorch.org")
        return
    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory / 1e9
        yield Check("gpu", "ok", f"{torch.cuda.get_device_name(0)}, {total:.0f} GB")
    elif torch.backends.mps.is_available():
        yield Check("gpu", "ok", "Apple GPU")
    else:
        yield Check("gpu", "note", "none", "The embedded models need none; a 7B student needs about 24 GB.")


def _disk() -> Iterator[Check]:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    enough = free >= NEEDED_DISK
    step = "" if enough else f"Free {NEEDED_DISK:.0f} GB, or choose another folder with --out."
    yield Check("disk", "ok" if enough else "missing", f"{free:.1f} GB free here", step)
