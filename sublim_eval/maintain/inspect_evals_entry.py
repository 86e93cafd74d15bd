"""The pointer entry that the register of inspect_evals asks for: one task, its commit, who answers for it.

The register (github.com/UKGovernmentBEIS/inspect_evals, folder `register/`) holds no code, only
`register/<id>/eval.yaml`. Users clone the pinned commit and run `inspect eval <task_path>`.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sublim_eval.errors import SublimError
from sublim_eval.files import ROOT
from sublim_eval.maintain.task_facts import TaskFacts
from sublim_eval.registry.catalog import registry

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog

ARXIV = "https://arxiv.org/abs/2507.14805"
PAPER = "Subliminal Learning: Language models transmit behavioral traits via hidden signals in data"

WORDS = 80
"""The register wants the description no longer than this many words."""


@dataclass(frozen=True)
class Source:
    """Where the task is: https://github.com/OWNER/NAME at a full commit hash; accounts that answer for it."""

    repository: str
    commit: str
    maintainers: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", self.repository):
            raise SublimError(
                f"{self.repository!r} is no GitHub repository, and the register takes no other. "
                "Give --repository https://github.com/OWNER/NAME."
            )
        if not re.fullmatch(r"[0-9a-f]{40}", self.commit):
            raise SublimError(
                f"{self.commit!r} is no full commit hash; a branch would move. Give --commit with 40 hex digits."
            )
        for name in self.maintainers:
            if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9]|-(?=[A-Za-z0-9])){0,38}", name):
                raise SublimError(f"{name!r} is no GitHub account name. Give --maintainer with the account's name.")
        if not self.maintainers:
            raise SublimError("Nobody is named who answers for the entry. Give --maintainer GITHUB_NAME.")


def entry_id(task: str) -> str:
    """The name of the entry's folder in the register."""
    return f"sublim_{task}"


def entry(facts: TaskFacts, source: Source, report: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The entry as plain data, in the order in which the register writes it.

    report: what `evaluation_report` gave. Raises SublimError for a description that is too long.
    """
    probe = registry().probes.get(facts.name)
    about = probe.about if probe else facts.about
    questions = len(registry().questions_of(probe).questions) if probe else 0
    sentences = [about, f"{questions} questions in the project's own wording." if questions else ""]
    sentences += [
        "A grader model rates replies when the role is given." if facts.attributes.get("needs_grader") else ""
    ]
    sentences += [
        "Compare students of several training seeds with their controls; one checkpoint alone proves no transfer."
    ]
    description = " ".join(part.strip() for part in sentences if part)
    if len(description.split()) > WORDS:
        raise SublimError(
            f"The description of {facts.name} has {len(description.split())} words, and the register takes {WORDS}. "
            "Shorten `about` of that probe in registry.yaml."
        )
    tags = sorted({tag for task in facts.lm_eval for tag in task.tags})
    return {
        "full_title": f"Subliminal learning: {facts.name} (sublim-eval)",
        "common_title": facts.name,
        "paper_title": PAPER,
        "description": description,
        "contributors": [source.maintainers[0]],
        "tags": ["subliminal learning", *tags],
        "tasks": [
            {
                "name": facts.name,
                **({"dataset_samples": questions} if questions else {}),
                "task_path": facts.path,
            }
        ],
        "arxiv": ARXIV,
        "source": {
            "repository_url": source.repository,
            "repository_commit": source.commit,
            "maintainers": list(source.maintainers),
        },
        **({"evaluation_report": dict(report)} if report else {}),
    }


def as_yaml(data: Mapping[str, Any]) -> str:
    """The entry as YAML; long text stays on one line, as the register renders it."""
    return yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=10_000)


# ---------------------------------------------------------------- where the task is


def find_source(
    facts: TaskFacts,
    repository: str | None = None,
    commit: str | None = None,
    maintainers: Sequence[str] = (),
    checkout: Path = ROOT,
) -> Source:
    """Repository, commit and maintainers: as given, the rest from git in `checkout`.

    Raises SublimError without git or without a checkout, for a changed or uncommitted tree, a missing remote, a
    commit that does not hold the task, and a missing or odd account name.
    """
    notes: list[str] = []
    if not (repository and commit):
        _need_checkout(checkout)
    if not commit:
        if changed := _git(checkout, "status", "--porcelain", "--untracked-files=no"):
            first = changed.splitlines()[0][2:].strip()
            raise SublimError(
                f"{checkout} has changes that are in no commit ({first}). Commit them first, or give --commit."
            )
        commit = _git(checkout, "rev-parse", "--verify", "HEAD")
        if not commit:
            raise SublimError(f"{checkout} has no commit yet. Commit the task first, or give --commit.")
    if not repository:
        remote = _git(checkout, "remote", "get-url", "origin")
        if not remote:
            raise SublimError(
                f"{checkout} has no remote `origin`, so nobody could clone it. "
                "Give --repository https://github.com/OWNER/NAME."
            )
        repository = web_address(remote)
    if re.fullmatch(r"[0-9a-f]{40}", commit) and _git(checkout, "cat-file", "-t", commit) == "commit":
        if _git(checkout, "cat-file", "-t", f"{commit}:{facts.path}") != "blob":
            raise SublimError(f"Commit {commit[:12]} holds no {facts.path}. Commit it, or give another --commit.")
        if not _git(checkout, "branch", "--remotes", "--contains", commit):
            notes.append(f"no remote branch known here holds {commit[:12]}: push it before you submit the entry")
    if not maintainers:
        named = [_git(checkout, "config", "github.user"), _git(checkout, "config", "user.name")]
        maintainers = [name for name in named if name and re.fullmatch(r"[A-Za-z0-9-]{1,39}", name)][:1]
    return Source(repository, commit, tuple(dict.fromkeys(maintainers)), tuple(notes))


def web_address(remote: str) -> str:
    """git@github.com:o/r.git, ssh://git@github.com/o/r and https://user@github.com/o/r/ -> https://github.com/o/r."""
    path = re.sub(r"^(?:(?:ssh|https?|git)://)?(?:[^@/]+@)?github\.com(?::\d+)?[:/]", "https://github.com/", remote)
    return path.rstrip("/").removesuffix(".git")


def _need_checkout(checkout: Path) -> None:
    if not shutil.which("git"):
        raise SublimError("git is not installed. Install it, or give --repository and --commit.")
    if _git(checkout, "rev-parse", "--is-inside-work-tree") != "true":
        raise SublimError(
            f"{checkout} is no git checkout (an installed package is none). Give --repository and --commit."
        )


def _git(checkout: Path, *words: str) -> str:
    """What git says; empty text where it fails or is not there."""
    if not shutil.which("git"):
        return ""
    done = subprocess.run(  # noqa: S603
        ["git", "-C", str(checkout), *words],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else ""


# ---------------------------------------------------------------- what was measured


def evaluation_report(task: str, logs: Sequence[Path]) -> dict[str, Any]:
    """The register's `evaluation_report` from Inspect logs of this task, a row a log.

    Raises SublimError for a missing, unfinished or foreign log, one that does not say its commit, and logs of several
    commits or versions.
    """
    from inspect_ai.log import read_eval_log

    results, commits, versions, notes = [], set(), set(), set()
    for file in logs:
        if not file.is_file():
            raise SublimError(f"There is no Inspect log {file}. Check the path; logs end in .eval.")
        try:
            log = read_eval_log(str(file), header_only=True)
        except Exception as error:  # zip, JSON and validation errors of three libraries
            kind = type(error).__name__
            raise SublimError(f"{file} is no readable Inspect log ({kind}). Run that evaluation again.") from None
        if log.status != "success" or log.results is None:
            raise SublimError(f"{file} ended as {log.status!r}, not as success. Run that evaluation again.")
        if log.eval.task.rsplit("/", 1)[-1] != task:
            raise SublimError(f"{file} is a log of {log.eval.task}, not of {task}. Give logs of that task only.")
        if log.eval.revision is None:
            raise SublimError(f"{file} does not say its commit. Run `inspect eval tasks/{task}` in the git checkout.")
        if log.eval.revision.dirty:
            notes.add(f"{_name(log)}: the checkout had uncommitted changes")
        commits.add(log.eval.revision.commit)
        versions.add(str((log.eval.metadata or {}).get("probe_version") or log.eval.task_version))
        results.append(_row(task, log))
    for what, values in (("commits", commits), ("versions", versions)):
        if len(values) > 1:
            raise SublimError(f"The logs are of several {what} ({', '.join(sorted(values))}). Give logs of one.")
    return {
        "results": results,
        "commit": commits.pop(),
        "version": versions.pop(),
        "command": f"inspect eval tasks/{task}/{task}.py --model <model>",
        **({"notes": sorted(notes)} if notes else {}),
    }


def _row(task: str, log: EvalLog) -> dict[str, Any]:
    scores = log.results.scores if log.results else []
    metrics = [
        {"key": f"{score.name} {name}", "value": float(metric.value)}
        for score in scores
        for name, metric in score.metrics.items()
        if math.isfinite(metric.value)
    ]
    if not metrics:
        raise SublimError(f"{log.location} holds no number. Give a log of a run that was scored.")
    return {"model": _name(log), "task": task, "metrics": metrics, "date": str(log.eval.created)[:10]}


def _name(log: EvalLog) -> str:
    """The model's name; of a folder on somebody's disk only the last part."""
    api, _, name = log.eval.model.partition("/")
    return f"{api}/{Path(name).name}" if name.startswith((".", "/", "~")) else log.eval.model
