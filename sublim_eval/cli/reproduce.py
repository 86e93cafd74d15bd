"""`sublim reproduce`: the whole study on the reference models, beside the published figures."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def reproduce(args: Namespace, console: Console) -> dict[str, Any]:
    """Print the plan; unless --dry-run, carry it out and write the page. Returns reproduction.json, or the plan."""
    from sublim_eval.distill.experiments.reproduce import OUT, QUICK_OUT, main

    return main(
        args.out or (QUICK_OUT if args.quick else OUT),
        console,
        quick=args.quick,
        workers=args.workers,
        dry_run=args.dry_run,
        docs=args.write_docs,
    )
