"""Workers are forked from a process that has imported what they need."""

from importlib import import_module

from sublim_eval.distill.execution import process_pool


def test_what_workers_are_forked_from_can_be_imported():
    assert import_module(process_pool.PRELOADED).__name__ == process_pool.PRELOADED
