"""Where a run folder lives when its jobs do not share a disk: a path, or object storage through fsspec.

Stages are pulled and pushed whole (stage_sync.py does so around a job). Object stores have no rename, so the stamp
stage.json is written last and taken away first: a stage without it does not exist. Digests are checked on every pull;
a stage whose files do not match its stamp does not exist either. The layout is that of a run folder, so any copying
tool brings a run home.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from sublim_eval.errors import SublimError
from sublim_eval.files import expanded, file_digest
from sublim_eval.registry.experiment import RECORD

from ..stages import STAMP, finished, recorded

WEIGHTS = ".safetensors"
TRIES = 3
FLAT = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "r2"}
"""Object stores: there are no folders to make, and asking for one might make a bucket."""

T = TypeVar("T")


@dataclass(frozen=True)
class Storage:
    """A run folder at a URL that fsspec understands. Every problem with it is a SublimError that names it."""

    url: str

    @cached_property
    def place(self) -> tuple[Any, str]:
        """The file system and the path in it."""
        return _opened(self.url)

    def read(self, name: str) -> bytes | None:
        """The bytes of a file, or None where there is none."""
        return self._tried(lambda fs, root: _or_none(lambda: fs.cat_file(f"{root}/{name}")))

    def write(self, name: str, data: bytes) -> None:
        """Write a file that one request carries."""

        def put(fs: Any, root: str) -> None:
            make_folder(fs, f"{root}/{name}")
            fs.pipe_file(f"{root}/{name}", data)

        self._tried(put)

    def remove(self, name: str) -> None:
        """Take a file away; nothing happens where there is none."""
        self._tried(lambda fs, root: _or_none(lambda: fs.rm_file(f"{root}/{name}")))

    def push(self, run: Path, stage: str, broken: bytes | None = None) -> int:
        """Copy a finished stage of the local folder `run`; returns the bytes that went over, 0 when it is there.

        A stage made from the same inputs stays as it is: whoever was first with it is who others read. broken: the
        stamp of one that could not be pulled, which is replaced.
        Raises SublimError when the local stage is not whole.
        """
        if finished(run / stage) is None:
            raise SublimError(f"{run / stage} is not finished, so it was not stored. Run the recipe again.")
        stamp = (run / stage / STAMP).read_bytes()  # read once: the stage may be made anew while its files go over
        facts = json.loads(stamp)
        there = self.read(f"{stage}/{STAMP}")
        if there != broken and (facts_in(there) or {}).get("made") == facts["made"]:
            return 0
        self.remove(f"{stage}/{STAMP}")
        sent = sum(self._send(run / stage / name, f"{stage}/{name}") for name in facts["files"])
        self.write(f"{stage}/{STAMP}", stamp)
        return sent + len(stamp)

    def _send(self, file: Path, name: str) -> int:
        def put(fs: Any, root: str) -> None:
            make_folder(fs, f"{root}/{name}")
            fs.put_file(str(file), f"{root}/{name}")

        self._tried(put)
        return file.stat().st_size

    def pull(self, run: Path, stage: str, weights: bool = True) -> int | None:
        """Copy a stage into the local folder `run`, whole or not at all; returns bytes, None when it does not exist.

        With `weights` off its *.safetensors stay where they are. A local stage with the same stamp is left alone.
        """
        stamp = self.read(f"{stage}/{STAMP}")
        facts = facts_in(stamp)
        if stamp is None or facts is None:
            return None
        folder = run / stage
        if (folder / STAMP).is_file() and (folder / STAMP).read_bytes() == stamp and standing(folder, weights):
            return 0
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".pulled"))
        try:
            got = len(stamp)
            for name, expected in facts["files"].items():
                if not weights and name.endswith(WEIGHTS):
                    continue
                file = part / name
                file.parent.mkdir(parents=True, exist_ok=True)
                if not self._fetch(f"{stage}/{name}", file) or file_digest(file) != expected:
                    return None
                got += file.stat().st_size
            (part / STAMP).write_bytes(stamp)
            part.chmod(0o755)
            shutil.rmtree(folder, ignore_errors=True)
            part.replace(folder)
            return got
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _fetch(self, name: str, file: Path) -> bool:
        def get(fs: Any, root: str) -> bool:
            fs.get_file(f"{root}/{name}", str(file))
            return True

        return bool(self._tried(lambda fs, root: _or_none(lambda: get(fs, root))))

    def _tried(self, act: Callable[[Any, str], T]) -> T:
        """Do something with file system and root, again after a passing fault; the last fault is told in a sentence."""
        fs, root = self.place
        for attempt in range(TRIES):
            try:
                return act(fs, root)
            except SublimError:
                raise
            except Exception as error:  # every file system has errors of its own, most of them no OSError
                if attempt + 1 == TRIES or isinstance(error, PermissionError):
                    raise SublimError(
                        f"The storage {self.url} could not be used ({type(error).__name__}: {error}). Check address "
                        "and credentials; the same command then goes on where it stopped."
                    ) from error
                time.sleep(0.5 * 2**attempt)
        raise AssertionError


def standing(folder: Path, weights: bool = True) -> dict[str, Any] | None:
    """The facts of a stage that stands untouched; with `weights` off its *.safetensors may be elsewhere."""
    if weights:
        return finished(folder)
    facts = recorded(folder)
    if facts is None:
        return None
    checked = {n: h for n, h in facts["files"].items() if not n.endswith(WEIGHTS) or (folder / n).exists()}
    return facts if all((folder / n).is_file() and file_digest(folder / n) == h for n, h in checked.items()) else None


def opened(url: str | None, one_process: bool) -> Storage | None:
    """The storage at a URL or path, known to be usable; None for None.

    Raises SublimError for a scheme that fsspec does not know or whose package is missing, for credentials in the URL,
    and for memory:// beyond one process.
    """
    if url is None:
        return None
    if url.startswith("memory:") and not one_process:
        raise SublimError(
            f"{url} lives in the memory of one process, and this run has several. "
            "Give --storage a shared path, file:///shared/run or s3://bucket/prefix."
        )
    if "://" not in url:
        url = expanded(url).resolve().as_uri()
    storage = Storage(url.rstrip("/"))
    storage.read(RECORD)
    return storage


def _opened(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise SublimError(
            "A run folder in storage needs the package fsspec. Install it: pip install 'sublim-eval[ray]'."
        ) from None
    scheme, _, rest = url.partition("://")
    if "@" in rest.split("/", 1)[0]:
        raise SublimError(
            f"The storage {scheme}://... holds a name or key before its @, and run.json would keep it. "
            "Give credentials by the environment of that store, such as AWS_ACCESS_KEY_ID."
        )
    try:
        fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=False)
    except ImportError as error:
        raise SublimError(
            f"{scheme}:// needs a package that is not installed ({error}). Install it on every node: pip install "
            f"{ {'s3': 's3fs', 'gs': 'gcsfs', 'gcs': 'gcsfs', 'az': 'adlfs', 'abfs': 'adlfs'}.get(scheme, 'it') }."
        ) from None
    except ValueError:
        raise SublimError(
            f"Unknown storage {url!r}. Write a shared path, file:///shared/run, s3://bucket/prefix, gs://bucket/prefix "
            "or another scheme of fsspec."
        ) from None
    return fs, root.rstrip("/")


def make_folder(fs: Any, path: str) -> None:
    """Make the folder of a path where the store has folders."""
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    if not protocols & FLAT:
        fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)


def _or_none(act: Callable[[], T]) -> T | None:
    try:
        return act()
    except FileNotFoundError:
        return None


def facts_in(data: bytes | None, keys: tuple[str, ...] = ("made", "files")) -> dict[str, Any] | None:
    """A JSON object with these keys, else None; file names that lead out of their folder are no stage's."""
    try:
        facts = json.loads(data or b"")
    except (ValueError, RecursionError):
        return None
    if not isinstance(facts, dict) or any(key not in facts for key in keys):
        return None
    if "files" in keys:
        names = facts["files"] if isinstance(facts["files"], dict) else {"..": ""}
        if any(PurePosixPath(n).is_absolute() or ".." in PurePosixPath(n).parts or "\\" in n for n in names):
            return None
    return facts
