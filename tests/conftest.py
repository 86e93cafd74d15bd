"""What every test may rely on: no network, no registry of the user's own, one thread a process."""

import gc
import os
import sys
from pathlib import Path

import pytest

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", INSPECT_DISPLAY="none", OMP_NUM_THREADS="1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
for name in ("SUBLIM_REGISTRY", "INSPECT_EVAL_MODEL"):
    os.environ.pop(name, None)
os.fsync = lambda file: None  # no test pulls the plug, and waiting for the disk costs 16 ms a file

HERE = Path(__file__).parent
LONGEST = [HERE / name for name in (HERE / "longest_first.txt").read_text(encoding="utf-8").split()]
"""Files of five processor seconds and more, the longest first: begun last, one of them leaves a core without work."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if gone := [file for file in LONGEST if not file.is_file()]:
        raise pytest.UsageError(f"tests/longest_first.txt names files that are gone: {gone}. Take them out.")
    place = {file: at for at, file in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session", autouse=True)
def no_inventory() -> None:
    """lm-eval lists all installed packages with every result, a second each time; no test looks at that list."""
    from torch.utils import collect_env

    collect_env.get_pip_packages = lambda *_: ("pip3", "")


@pytest.fixture(scope="session", autouse=True)
def few_of_lm_evals_tasks() -> None:
    """Of its own 14,000 task files, which lm-eval reads with every command (10 s), it has those of MMLU here."""
    import lm_eval.tasks
    from lm_eval.tasks._index import TaskIndex

    home, files_in = Path(lm_eval.tasks.__file__).parent, TaskIndex._iter_yaml_files
    TaskIndex._iter_yaml_files = staticmethod(lambda root: files_in(root / "mmlu" if root == home else root))


def no_live_view() -> None:
    """Inspect copies every event into a database for whoever watches an evaluation live: a tenth of its time."""
    from inspect_ai._eval.task.log import TaskLogger

    begin = TaskLogger.init

    async def unwatched(self: TaskLogger) -> None:
        self.eval.config.log_realtime = False
        await begin(self)

    TaskLogger.init = unwatched


class Libraries:
    """What is imported stays: a garbage collection need not look through its million objects again (0.3 s each)."""

    def __init__(self) -> None:
        self.modules = 0

    def pytest_collection(self) -> None:
        gc.disable()

    def pytest_collection_finish(self) -> None:
        gc.enable()
        if "inspect_ai" in sys.modules:
            no_live_view()

    def pytest_runtest_setup(self) -> None:
        if len(sys.modules) > self.modules + 20:
            gc.collect()
            gc.freeze()
            self.modules = len(sys.modules)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Libraries())
