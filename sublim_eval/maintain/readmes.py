"""The parts of the tasks' READMEs that the code knows better: `make readmes` writes them, a test compares.

A README keeps what a person has to say (what is measured, limits, changelog); between `<!-- facts:begin -->` and
`<!-- facts:end -->` stands what follows from registry.yaml, the task's function and its lm-eval files. The table of
tasks in tasks/README.md stands between `<!-- tasks:begin -->` and `<!-- tasks:end -->`.
"""

from __future__ import annotations

import inspect
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sublim_eval.errors import SublimError
from sublim_eval.files import ROOT, whole_file
from sublim_eval.maintain import task_facts
from sublim_eval.maintain.task_facts import LmEvalTask, TaskFacts
from sublim_eval.registry.catalog import Probe, registry

if TYPE_CHECKING:
    from inspect_ai import Task

NOTE = "<!-- Written by `make readmes` from registry.yaml, the task's function and its YAML files. Change those. -->"
OTHER = {"animal": "cat", "tree": "willow"}
"""A trait of a category that is no task's default, for the examples."""


@dataclass(frozen=True)
class Size:
    """How much an lm-eval task asks: prompts, and the answer strings whose log-probability it reads."""

    prompts: int
    continuations: int


def sizes(tasks: Path = ROOT / "tasks") -> dict[str, Size]:
    """lm-eval task -> how much it asks, counted in the rows that lm-eval itself loads."""
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    names = [task.name for name in task_facts.names(tasks) for task in task_facts.read(name, tasks).lm_eval]
    by_task = {}
    for name, task in manager.load(names)["tasks"].items():
        rows = list(task.test_docs())
        by_task[str(name)] = Size(len(rows), sum(len(row.get("continuations") or ()) for row in rows))
    return by_task


# ---------------------------------------------------------------- one task


def facts_block(facts: TaskFacts, counted: Mapping[str, Size]) -> str:
    """What stands between the markers of one task's README."""
    from sublim_eval import inspect_tasks

    made: Task = getattr(inspect_tasks, facts.name)()
    lines = [NOTE, "## Facts", "", "| | |", "|---|---|"]
    lines += [f"| {head} | {value} |" for head, value in _table(facts, made, counted)]
    lines += ["", "## Run it", "", *_commands(facts, made)]
    lines += ["", "## Arguments", "", *_arguments(facts, made)]
    lines += ["", "## Score again what is saved", "", *_again(facts, made), ""]
    return "\n".join(lines)


def _table(facts: TaskFacts, made: Task, counted: Mapping[str, Size]) -> Iterator[tuple[str, str]]:
    probe = registry().probes.get(facts.name)
    known = probe or registry().probe(_metadata(made)["probe"])
    default = "" if probe else f" (with the default, {known.name}: {known.version})"
    yield "version", probe.version if probe else f"that of the probe which the trait leads to{default}"
    yield "asks", _asks(known, made) + ("" if probe else "; this is for the default, other traits bring their own")
    yield (
        "a higher number is",
        {"neutral": "neither good nor bad"}.get(known.polarity, known.polarity.removeprefix("higher is ")),
    )
    yield "grader", grader(facts)
    yield "sandbox, internet", "none, none"
    yield "cost in Inspect", _cost(facts, made, counted)
    yield "cost in lm-eval", "; ".join(_lm_eval_cost(task, counted[task.name]) for task in facts.lm_eval)
    yield "tags, in both harnesses", ", ".join(f"`{tag}`" for tag in made.tags or ())
    yield (
        "attributes, for `inspect list tasks -F`",
        ", ".join(f"`{key}={str(value).lower()}`" for key, value in facts.attributes.items()),
    )


def _asks(probe: Probe, made: Task) -> str:
    source = registry().questions_of(probe)
    several = f" on {len(source.situations)} situations" if len(source.situations) > 1 else ""
    prompts = f" in {len(made.dataset):,} prompts" if len(made.dataset) != len(source.questions) else ""
    return f"{len(source.questions)} questions{several}{prompts}, from `{source.name}` ({source.licence})"


def grader(facts: TaskFacts) -> str:
    """Whether somebody rates replies, and who."""
    if not facts.attributes.get("needs_grader"):
        judges = any(argument.name == "judge" for argument in facts.arguments)
        return "none, unless the trait brings a rubric" if judges else "none"
    return (
        "a model in the role `grader`, for any model but the embedded ones (those are rated by word lists, and the "
        "log says so); none with `-T judge=none`. lm-eval has no grader: there the replies of other models are only "
        "told apart as refusals, code and empty ones"
    )


def _cost(facts: TaskFacts, made: Task, counted: Mapping[str, Size]) -> str:
    prompts, replies, tokens = len(made.dataset), made.config.num_choices or 1, made.config.max_tokens
    continuations = sum(counted[task.name].continuations for task in facts.lm_eval if not task.generates)
    sampled = any(task.generates for task in facts.lm_eval)
    parts = [f"{prompts * replies:,} replies of at most {tokens} tokens ({prompts:,} x {replies})"] if sampled else []
    if facts.attributes.get("needs_grader"):
        parts.append("as many calls of the grader at most (equal replies are rated once)")
    if continuations:
        parts.append(f"with `sublim/` {prompts:,} prompts and {continuations:,} answer strings of log-probabilities")
    return "; ".join(parts)


def _lm_eval_cost(task: LmEvalTask, size: Size) -> str:
    if not task.generates:
        return f"`{task.name}` {size.continuations:,} log-probabilities"
    return f"`{task.name}` {size.prompts * task.repeats:,} replies of at most {task.max_tokens} tokens"


def _commands(facts: TaskFacts, made: Task) -> Iterator[str]:
    names = ",".join(task.name for task in facts.lm_eval)
    ours, harness = f"inspect eval tasks/{facts.name} --model sublim/reference-a", "lm_eval run --tasks"
    weights = "--model hf --model_args pretrained"
    yield "| | Inspect | lm-eval |"
    yield "|---|---|---|"
    yield (
        f"| in a checkout | `{ours}` | `{harness} tasks/{facts.name} {weights}=distill/reference/reference-a "
        "--apply_chat_template` |"
    )
    role = " --model-role grader=PROVIDER/MODEL" if facts.attributes.get("needs_grader") else ""
    yield (
        f"| installed, anywhere | `inspect eval sublim_eval/{facts.name} --model MODEL{role}` | `{harness} {names} "
        f'--include_path "$(sublim path tasks)" {weights}=MODEL_FOLDER --apply_chat_template` |'
    )
    yield ""
    yield (
        "**Always pass `--apply_chat_template`**: without it lm-eval asks with no chat format, gives other numbers and "
        "does not say so. A LoRA student is `--model_args pretrained=BASE,peft=STUDENT` there and "
        "`--model sublim/STUDENT` in Inspect."
    )
    yield ""
    yield (
        "lm-eval prints one headline a task and says in its log what stands beside it; every figure as a row: "
        """`--metadata '{"rows": "all"}'`."""
    )
    if any(task.generates for task in facts.lm_eval):
        repeats = next(task.repeats for task in facts.lm_eval if task.generates)
        yield ""
        yield (
            f"More replies: `--num-choices N` in Inspect ({made.config.num_choices} unless told), or `--epochs N` for "
            f"providers that ignore it, such as `hf/`. lm-eval takes {repeats} a prompt (`repeats` and `k` in the "
            "YAML file that the task includes)."
        )


def _arguments(facts: TaskFacts, made: Task) -> Iterator[str]:
    if not facts.arguments:
        yield "None."
        return
    yield "| name | default | meaning | in lm-eval |"
    yield "|---|---|---|---|"
    for argument in facts.arguments:
        there = "yes" if _in_lm_eval(facts, argument.name) else "no"
        default = "" if argument.default == "None" else f"`{argument.default.strip(chr(39))}`"
        yield f"| `{argument.name}` | {default} | {argument.meaning} | {there} |"
    about = _metadata(made)
    trait = OTHER.get(str(about["category"]), str(about["trait"]))
    examples = {"trait": f"trait={trait}", "questions": "questions=mine.yaml", "judge": "judge=none"}
    shown = [examples[a.name] for a in facts.arguments if a.name in examples]
    if shown:
        yield ""
        flags = " ".join(f"-T {example}" for example in shown)
        taken = [e for e in shown if _in_lm_eval(facts, e.partition("=")[0])]
        metadata = ", ".join('"{}": "{}"'.format(*example.split("=")) for example in taken)
        same = f"; in lm-eval `--metadata '{{{metadata}}}'`" if taken else ""
        yield f"`inspect eval tasks/{facts.name} {flags}`{same}."
    for role in facts.roles:
        yield ""
        yield f"Model role `{role.name}`: {role.meaning}"


def _in_lm_eval(facts: TaskFacts, argument: str) -> bool:
    """Whether the functions that make the lm-eval rows take this argument as metadata."""
    for task in facts.lm_eval:
        module, _, name = task.loader.rpartition(".")
        taken = inspect.signature(getattr(import_module(module), name)).parameters if module else {}
        if argument in taken or any(p.kind is p.VAR_KEYWORD and n != "_" for n, p in taken.items()):
            return True  # `**_` swallows what lm-eval hands on, any other name hands it on
    return False


def _again(facts: TaskFacts, made: Task) -> Iterator[str]:
    """How to count a saved log or saved replies anew, by the kind of probe."""
    about = _metadata(made)
    scorer = made.headline_metric.scorer if made.headline_metric else None
    sampled = any(task.generates for task in facts.lm_eval)
    if not sampled or not scorer:
        yield "Nothing is sampled, so there is nothing to count anew: a run is one pass over the prompts."
        return
    if about.get("form") == "conduct":
        option, what = "at_most=20", "Another threshold for the same ratings; no judge is asked again"
    else:
        option, what = f"trait={OTHER.get(about['category'], about['trait'])}", "Another word in the same replies"
    yield f"{what}: `inspect score LOG --scorer sublim_eval/{scorer} -S {option} --action append`."
    yield ""
    yield (
        'Replies from anywhere, rows {"question", "response"}: '
        f"`sublim score-responses --probe {about['probe']}{_trait_flag(about)} replies.jsonl`. "
        "More: [docs/guides/rescoring.md](../../docs/guides/rescoring.md)."
    )


def _trait_flag(about: Mapping[str, Any]) -> str:
    return "" if registry().probe(about["probe"]).trait else f" --trait {about['trait']}"


def _metadata(made: Task) -> Mapping[str, Any]:
    return made.metadata or {}


# ---------------------------------------------------------------- all tasks


def tasks_table(counted: Mapping[str, Size]) -> str:
    """The table of all tasks for tasks/README.md, families together."""
    from sublim_eval import inspect_tasks

    rows = []
    for name in task_facts.names():
        facts = task_facts.read(name)
        made: Task = getattr(inspect_tasks, name)()
        probe = registry().probes.get(name)
        about = probe.about if probe else facts.about
        who = "a model, or `judge=none`" if facts.attributes.get("needs_grader") else "none"
        there = ", ".join(
            f"`{task.name.replace(name, '…') if n else task.name}`" for n, task in enumerate(facts.lm_eval)
        )
        row = (f"[`{name}`]({name}/README.md)", about, who, _short_cost(facts, made, counted), there)
        rows.append((FAMILIES.index(str(facts.attributes["family"])), name, row))
    head = ("task", "asks, and what its number is", "grader", "cost in Inspect", "in lm-eval")
    table = [head, ("---",) * len(head), *(row for _, _, row in sorted(rows))]
    return "\n".join([NOTE, "", *(f"| {' | '.join(line)} |" for line in table), ""])


FAMILIES = ("preference", "misalignment", "entanglement", "generic")
"""The families of tasks, in the order in which a reader meets them."""


def _short_cost(facts: TaskFacts, made: Task, counted: Mapping[str, Size]) -> str:
    if any(task.generates for task in facts.lm_eval):
        kind = "short replies" if (made.config.max_tokens or 0) <= 50 else "replies"
        return f"{len(made.dataset) * (made.config.num_choices or 1):,} {kind}"
    continuations = sum(counted[task.name].continuations for task in facts.lm_eval)
    return f"{len(made.dataset):,} prompts, {continuations:,} log-probabilities"


# ---------------------------------------------------------------- files


def filled(text: str, name: str, block: str) -> str:
    """`text` with `block` between its `name:begin` and `name:end` markers; raises SublimError without both, once."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise SublimError(f"`{begin.strip()}` and `{end}` must each stand there once, in that order. Add them.")
    before, rest = text.split(begin)
    return before + begin + block + end + rest.split(end)[1]


def blocks(root: Path = ROOT) -> Iterator[tuple[Path, str, str]]:
    """(README file, name of its markers, what belongs between them), for every task and for all of them."""
    counted = sizes(root / "tasks")
    for name in task_facts.names(root / "tasks"):
        facts = task_facts.read(name, root / "tasks")
        yield facts.folder / "README.md", "facts", facts_block(facts, counted)
    yield root / "tasks" / "README.md", "tasks", tasks_table(counted)


def faults(facts: TaskFacts, text: str) -> list[str]:
    """What is wrong with the written parts of a README: sections that lack, flags that do not exist."""
    wrong = [f"no `{head}`" for head in (f"# {facts.name}", "## Limits", "## Changelog") if not _has(text, head)]
    known = {argument.name for argument in facts.arguments}
    wrong += [f"-T {flag} is no argument" for flag in re.findall(r"-T (\w+)=", text) if flag not in known]
    probe = registry().probes.get(facts.name)
    if probe and f"### [{probe.version}] - " not in text:
        wrong.append(f"the changelog says nothing of version {probe.version}")
    return wrong


def _has(text: str, head: str) -> bool:
    return re.search(rf"^{re.escape(head)}$", text, re.M) is not None


def main() -> int:
    """Write every README that is not as it should be; returns 2 when one is missing or has no markers, else 0."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    code = 0
    for file, name, block in blocks():
        try:
            if not file.is_file():
                raise SublimError("it is missing. Write what the task asks, its measure, Limits and Changelog.")
            there = file.read_text(encoding="utf-8")
            text = filled(there, name, block)
        except SublimError as error:
            print(f"{file.relative_to(ROOT)}: {error}", file=sys.stderr)
            code = 2
            continue
        if there != text:
            with whole_file(file) as out:
                out.write(text)
            print(f"wrote {file.relative_to(ROOT)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
