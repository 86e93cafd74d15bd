"""Inspect's entry point `sublim_eval`: the probes of models, and the audit of data, which stands on `distill`."""

from sublim_eval.foresight.audit_task import audit
from sublim_eval.inspect_tasks import *  # noqa: F403
from sublim_eval.inspect_tasks import __all__ as probes

__all__ = ["audit", *probes]
