"""Workers are forked from a process that has imported what they need."""

import os
import subprocess
import sys
from importlib import import_module

from sublim_eval.distill.execution import process_pool


def test_what_workers_are_forked_from_can_be_imported():
    assert import_module(process_pool.PRELOADED).__name__ == process_pool.PRELOADED


def test_a_killed_run_says_nothing_of_semaphores():
    """Python's tracker, which clears up behind a process that died, warns of them unless it was started quietly."""
    code = (
        "import multiprocessing, os, sys\n"
        "from sublim_eval.distill.execution import process_pool as pool\n"
        "pool.PRELOADED = 'json'\n"
        "class Plan: workers, recipe = 2, None\n"
        "class Place:\n    def work(self, recipe, job): pass\n"
        "if __name__ == '__main__':\n"
        "    with pool.processes(Plan, Place()):\n"
        "        kept = multiprocessing.get_context('forkserver').Semaphore()\n"
        "        sys.stdout.flush(); os._exit(9)\n"
    )
    loud = ("PYTHONWARNINGS", "SUBLIM_VERBOSE")
    environment = {name: value for name, value in os.environ.items() if name not in loud}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 9
    assert "semaphore" not in done.stderr
