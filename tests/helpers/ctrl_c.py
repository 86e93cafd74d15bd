"""What a test needs to press Ctrl-C in another process."""

from __future__ import annotations

import signal


def heed_ctrl_c() -> None:
    """A job that a script started with & ignores SIGINT and so would its children; run in them before they begin."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
