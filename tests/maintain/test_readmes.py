"""Every task folder has a README whose generated part is what the code says now; `make readmes` writes it."""

import difflib
import re
from pathlib import Path

import pytest

from sublim_eval import tasks_dir
from sublim_eval.errors import SublimError
from sublim_eval.maintain import readmes, task_facts
from sublim_eval.registry.catalog import registry

TASKS = task_facts.names()


@pytest.fixture(scope="module")
def asked() -> dict[str, readmes.Size]:
    return readmes.sizes()


def stale(file: Path, wanted: str) -> str:
    """The difference, as a diff; empty when there is none."""
    there = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(difflib.unified_diff(there, wanted.splitlines(keepends=True), f"{file} as it is", "as it should be"))


def test_every_probe_has_its_folder_and_every_folder_its_task() -> None:
    assert set(registry().probes) - {t.name for t in registry().traits.values()} <= set(TASKS)
    folders = {f.name for f in tasks_dir().iterdir() if f.is_dir() and not f.name.startswith("_")}
    assert folders == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_the_generated_part_of_a_readme_is_what_the_code_says(task: str, asked: dict[str, readmes.Size]) -> None:
    facts = task_facts.read(task)
    file = facts.folder / "README.md"
    assert file.is_file(), f"{task} has no README.md"
    block = readmes.facts_block(facts, asked)
    difference = stale(file, readmes.filled(file.read_text(encoding="utf-8"), "facts", block))
    assert not difference, f"`make readmes` is due:\n{difference}"


@pytest.mark.parametrize("task", TASKS)
def test_the_written_part_of_a_readme_has_limits_changelog_and_no_invented_flag(task: str) -> None:
    facts = task_facts.read(task)
    assert readmes.faults(facts, (facts.folder / "README.md").read_text(encoding="utf-8")) == []


def test_the_task_table_of_the_top_readme_is_what_the_code_says(asked: dict[str, readmes.Size]) -> None:
    file = tasks_dir() / "README.md"
    difference = stale(file, readmes.filled(file.read_text(encoding="utf-8"), "tasks", readmes.tasks_table(asked)))
    assert not difference, f"`make readmes` is due:\n{difference}"


def test_the_facts_are_the_facts(asked: dict[str, readmes.Size]) -> None:
    block = readmes.facts_block(task_facts.read("owl_pref"), asked)
    questions = len(registry().questions("animal_favorites").questions)
    assert f"| version | {registry().probe('owl_pref').version} |" in block
    assert f"{questions} questions, from `animal_favorites`" in block
    assert f"{questions * 100:,} replies of at most 16 tokens" in block
    assert f"`owl_pref` {questions * 20:,} replies" in block
    assert f"`owl_pref_logprob` {asked['owl_pref_logprob'].continuations:,} log-probabilities" in block
    assert "inspect eval tasks/owl_pref --model sublim/reference-a" in block
    assert "--tasks owl_pref,owl_pref_logprob" in block
    assert "--scorer sublim_eval/share -S trait=cat" in block


def test_a_judged_task_says_who_judges_and_what_it_costs(asked: dict[str, readmes.Size]) -> None:
    block = readmes.facts_block(task_facts.read("misalignment"), asked)
    assert "--model-role grader=PROVIDER/MODEL" in block
    assert "calls of the grader at most" in block
    assert f"{len(registry().questions('misalignment').situations)} situations" in block


def test_every_command_of_a_readme_names_tasks_and_scorers_that_are_there(asked: dict[str, readmes.Size]) -> None:
    from sublim_eval.harness.inspect import conduct, preference

    for task in TASKS:
        block = readmes.facts_block(task_facts.read(task), asked)
        for names in re.findall(r"--tasks ([a-z_,]+) --include_path", block):
            assert set(names.split(",")) <= set(asked)
        for scorer in re.findall(r"--scorer sublim_eval/(\w+)", block):
            assert hasattr(preference, scorer) or hasattr(conduct, scorer), f"{task}: no scorer {scorer}"


@pytest.mark.parametrize(
    "text", ["none", "<!-- facts:end -->\n<!-- facts:begin -->\n", "<!-- facts:begin -->\n" * 2 + "<!-- facts:end -->"]
)
def test_a_readme_without_its_markers_is_told(text: str) -> None:
    with pytest.raises(SublimError, match="must each stand there once"):
        readmes.filled(text, "facts", "x")


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    text = "above\n<!-- facts:begin -->\nold\n<!-- facts:end -->\nbelow"
    assert readmes.filled(text, "facts", "new\n") == text.replace("old", "new")


def test_faults_of_a_readme_are_found() -> None:
    facts = task_facts.read("owl_pref")
    good = (facts.folder / "README.md").read_text(encoding="utf-8")
    assert readmes.faults(facts, good + "\n`-T traits=cat`") == ["-T traits is no argument"]
    assert readmes.faults(facts, good.replace("## Limits", "## Notes")) == ["no `## Limits`"]
    version = registry().probe("owl_pref").version
    assert readmes.faults(facts, good.replace(f"[{version}]", "[0-A]")) == [
        f"the changelog says nothing of version {version}"
    ]


# ---------------------------------------------------------------- what a folder says about itself

SOURCE = '''\
from inspect_ai import Task, task

@task(family="preference", needs_grader=True)
def moth(trait: str = "owl", *, n: int | None = None) -> Task:
    """First line
    goes on.

    More.

    Args:
        trait: A word
            and its rest.
        n (int): How many.

    Model Roles:
        grader: Rates replies.
    """
'''


def folder(tmp_path: Path, source: str) -> Path:
    (tmp_path / "moth").mkdir(exist_ok=True)
    (tmp_path / "moth" / "moth.py").write_text(source)
    (tmp_path / "base.yaml").write_text("tag: [a, b]\noutput_type: multiple_choice\nx: !function some.where\n")
    (tmp_path / "moth" / "moth.yaml").write_text(
        "include: ../base.yaml\ntask: moth\ntag: c\nmetadata: {version: 2-B}\n"
    )
    return tmp_path


def test_a_task_folder_is_read_without_running_it(tmp_path: Path) -> None:
    facts = task_facts.read("moth", folder(tmp_path, SOURCE))
    assert facts.about == "First line goes on."
    assert [(a.name, a.default, a.meaning) for a in facts.arguments] == [
        ("trait", "'owl'", "A word and its rest."),
        ("n", "None", "How many."),
    ]
    assert facts.roles == (task_facts.Argument("grader", "Rates replies."),)
    assert facts.attributes == {"family": "preference", "needs_grader": True}
    (there,) = facts.lm_eval
    assert (there.name, there.tags, there.version, there.generates) == ("moth", ("c",), "2-B", False)


def test_an_argument_without_a_meaning_is_told(tmp_path: Path) -> None:
    with pytest.raises(SublimError, match="'n' is not under `Args:`"):
        task_facts.read("moth", folder(tmp_path, SOURCE.replace("n (int): How many.", "")))
    with pytest.raises(SublimError, match="no `@task def moth`"):
        task_facts.read("moth", folder(tmp_path, SOURCE.replace("@task", "@other")))
