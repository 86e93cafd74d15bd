"""One planted run and its pages, made once for all tests of the pages."""

import pytest

from sublim_eval.board.collect import collect
from sublim_eval.report.site.build import build
from sublim_eval.report.site.facts import Check
from sublim_eval.traps.finding import TRAPS
from tests.helpers import planted

HUGE = "<script>window.ran = 1</script>" * 40_000
"""A reply of more than a million characters."""


def one_is_huge(label, replies):
    """The first reply of one student is HUGE."""
    if label != "owl-s1":
        return replies
    first = next(iter(replies))
    return {**replies, first: [HUGE, *list(replies[first])[1:]]}


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return planted.run(tmp_path_factory.mktemp("given") / "quick", said=one_is_huge)


@pytest.fixture(scope="session")
def board(run):
    return collect([run])


@pytest.fixture(scope="session")
def site(board, tmp_path_factory):
    checks = {"quick": [Check(trap, about, "ok", [("ok", "here", "seen")]) for trap, about in TRAPS.items()]}
    return build(board, tmp_path_factory.mktemp("site") / "out", checks=checks).page.parent
