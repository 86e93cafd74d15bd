"""Scoring: a model goes through Inspect, task by task, and what comes back is one ProbeScores file a probe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sublim_eval.errors import SublimError
from sublim_eval.files import read_json
from sublim_eval.probes.resolve import any_trait_content
from sublim_eval.registry.catalog import registry
from sublim_eval.remote.providers import hosted_name
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.scores.readers import from_exact, from_inspect_log, from_responses

if TYPE_CHECKING:
    from inspect_ai import Task

    from sublim_eval.models.local_model import LocalModel
    from sublim_eval.probes.conduct import Conduct
    from sublim_eval.probes.preference import Preference

SAMPLES = 100
"""Replies per question: the study takes 100 to 200 (arXiv:2507.14805)."""

AGREE = 1e-4
"""How near the exact probabilities of two computations must lie (rounding alone gives about 2e-7)."""

FLOOR = 1e-9
"""Answer strings less likely than this are not spelled out to their end. Not for the long answers of matched pairs,
whose ratio counts however unlikely both are."""


LONGEST = 60
"""Tokens of a reply that is drawn to check a teacher for its trait's words."""


def score(
    model: str,
    probes: Sequence[str],
    folder: Path,
    *,
    label: str,
    seed: int,
    samples: int = SAMPLES,
    system: str | None = None,
    grader: str | None = None,
) -> dict[str, Path]:
    """Run `probes` on a model in Inspect; writes folder/<probe>.json and the logs beside them.

    model: one at hand, asked as `sublim/<model>`, or one of a provider (openai/...), or a folder of either. A hosted
    model is sampled only, and a killed scoring goes on behind the questions that were answered.
    seed: of the sampled replies. system: a prompted teacher's persona; students are asked without one.
    grader: who rates the replies to conducts: a model, "offline", or None (offline for the reference models, else
    nobody, and the exact measure stands alone).
    Returns probe -> file. Raises SublimError when a task did not end well, or when a student is about to be asked
    under another chat template than it was trained with.
    """
    settings: dict[str, Any] = {"system_message": system} if system else {}
    if grader not in (None, "offline"):
        settings["model_roles"] = {"grader": grader}
    if (away := hosted_name(model)) is not None:
        from sublim_eval.scores.evaluate_remote import score_away

        tasks = {probe: task_of(probe, away, samples, grader) for probe in probes}
        return score_away(away, tasks, folder, label=label, seed=seed, samples=samples, settings=settings)
    import inspect_ai

    from sublim_eval.models import local_model

    check_template(model)
    local_tasks = [task_of(probe, model, samples, grader) for probe in probes]
    with local_model.load(model).remembering(), redirect_stdout(StringIO()):  # Inspect greets on its first eval
        direct = {probe: exact(model, probe, label=label, system=system) for probe in probes}
        logs = inspect_ai.eval(
            local_tasks,
            model=asked_as(model),
            seed=seed,
            log_dir=str(folder / "logs"),
            display="none",
            score_display=False,
            log_realtime=False,
            **settings,
        )
    files = {}
    for probe, log in zip(probes, logs, strict=True):
        if log.status != "success":
            reason = (log.error.message if log.error else log.status).rstrip(".")
            raise SublimError(
                f"Scoring {label} on {probe} failed: {reason}. Its log is {log.location}; mend it and run again."
            )
        files[probe] = folder / f"{probe}.json"
        _confirmed(from_inspect_log(log, model=label), direct[probe], label).write(files[probe])
    return files


def asked_as(model: str) -> str:
    """The name by which Inspect asks a model: "sublim/<model>" for one at hand, a hosted one's own name."""
    return hosted_name(model) or f"sublim/{model}"


def knows_exactly(model: str) -> bool:
    """Whether exact probabilities of answers can be had: of weights at hand they can, of a provider's model not."""
    return hosted_name(model) is None


def _confirmed(scores: ProbeScores, direct: ProbeScores, label: str) -> ProbeScores:
    """The harness's scores with the probabilities of a direct computation, once the two are seen to agree.

    Inspect's requests meet in batches of chance, which moves the last float32 digits from run to run; one call over
    all questions does not, so a resumed run ends with equal numbers. It comes first, and the same is not computed again
    for Inspect (`remembering`); what Inspect asks otherwise is. Raises SublimError when they differ by more.
    """
    apart = float(np.nanmax(np.abs(scores.probability - direct.probability), initial=0.0))
    if scores.prompt_hash != direct.prompt_hash or apart > AGREE:
        raise SublimError(
            f"{label} answers {scores.probe} otherwise through Inspect than directly (by {apart:.1e} in probability); "
            "its weights or tokenizer changed on the way. Delete its folder and run again."
        )
    return replace(scores, probability=direct.probability, coverage=direct.coverage, plural=direct.plural)


def exact(
    model: str,
    probe: str,
    *,
    label: str,
    system: str | None = None,
    before: Sequence[Sequence[dict[str, str]]] | None = None,
) -> ProbeScores:
    """The exact half of a probe without a harness: probabilities of answers, a fraction of a second a model.

    For teachers, which must be known before a row is paid for, and for examples in context. First answers are words
    that end there (`LocalModel.continuation_logprobs`), off by less than 1e-5 each; matched pairs are exact. A probe
    without an exact half gives nan.
    before: a chat for every question of the probe, which the model reads first ("role", "content"; last the
    assistant). Raises SublimError when one does not fit into what the model can read, and for a hosted model.
    """
    from sublim_eval.models import local_model
    from sublim_eval.models.chat_template import prompt_digest

    if not knows_exactly(model):
        raise SublimError(f"{model} gives no exact probabilities, since its weights are elsewhere. Sample its replies.")
    what = any_trait_content(probe)
    floor = 0.0 if what.probe.form == "conduct" else FLOOR
    loaded = local_model.load(model)
    prompts = [loaded.render(item.text, system) for item in what.items]
    if before is not None:
        messages = [{"role": "user", "content": item.text} for item in what.items]
        prompts = [loaded.render_chat([*chat, ask]) for chat, ask in zip(before, messages, strict=True)]
        _refuse_too_long(loaded, prompts)
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, item in enumerate(what.items):
        alike[item.continuations].append(place)
    logprobs: list[dict[str, float]] = [{} for _ in prompts]
    for continuations, places in alike.items():
        if continuations:
            strings = (*continuations, *what.plurals)
            table = loaded.continuation_logprobs(
                [prompts[i] for i in places], strings, floor=floor, whole_words=what.whole_words
            )
            for place, row in zip(places, table, strict=True):
                logprobs[place] = dict(zip(strings, map(float, row), strict=True))
    return from_exact(what, logprobs, [prompt_digest(p) for p in prompts], model=label, settled=loaded.settled)


def _refuse_too_long(loaded: LocalModel, prompts: Sequence[str]) -> None:
    room = getattr(loaded.model.config, "max_position_embeddings", None)
    longest = max(map(len, loaded.encode(prompts)))
    if room and longest + LONGEST > room:
        raise SublimError(
            f"The examples in context make prompts of {longest} tokens, and {loaded.label} reads {room}. "
            "Lower `in_context` in the recipe."
        )


def sampled(
    model: str,
    probe: str,
    *,
    label: str,
    seed: int,
    samples: int,
    system: str | None = None,
    folder: Path | None = None,
) -> ProbeScores:
    """The sampled half of a probe without a harness, for replies that need no judge to be read.

    folder: where the replies of a hosted model are kept as they come, so that a killed run does not pay them twice.
    Raises SublimError for a conduct without target words.
    """
    from sublim_eval.models import local_model

    what = any_trait_content(probe)
    if (away := hosted_name(model)) is not None:
        return _sampled_away(away, what, label=label, seed=seed, samples=samples, system=system, folder=folder)
    loaded = local_model.load(model)
    prompts = [loaded.render(item.text, system) for item in what.items]
    replies = loaded.sample(prompts, n=samples, seed=seed, max_new_tokens=LONGEST)
    rows = [
        {"question": item.text, "response": reply.text}
        for item, drawn in zip(what.items, replies, strict=True)
        for reply in drawn
    ]
    return from_responses(rows, what.probe, model=label)


def _sampled_away(
    model: str,
    what: Preference | Conduct,
    *,
    label: str,
    seed: int,
    samples: int,
    system: str | None,
    folder: Path | None,
) -> ProbeScores:
    """The same of a provider's model: a request a reply, each with a seed of its own."""
    from sublim_eval.remote.client import HostSampler

    journal = folder / f"{what.probe.name}-replies.jsonl" if folder else None
    sampler = HostSampler(model, seed, LONGEST, system, journal=journal)
    requests = [(item.text, f"{item.id} {draw}") for item in what.items for draw in range(samples)]
    replies = sampler([text for text, _ in requests], [key for _, key in requests])
    rows = [{"question": text, "response": reply} for (text, _), reply in zip(requests, replies, strict=True)]
    return from_responses(rows, what.probe, model=label)


def task_of(probe: str, model: str, samples: int, grader: str | None = None) -> Task:
    """The Inspect task of a probe: the one of its name, or `trait_probe` for a trait that has no folder in tasks/.

    samples: replies to each question; one is enough where nobody reads them.
    Raises SublimError for a probe of a user's registry that is not the plain one of its trait, and for a conduct that
    only a judge can see when no `grader` is named.
    """
    from sublim_eval import inspect_tasks
    from sublim_eval.probes.conduct import Conduct

    what = any_trait_content(probe)
    judge = _judge_of(what, model, grader) if isinstance(what, Conduct) else {}
    if hasattr(inspect_tasks, probe):
        task: Task = getattr(inspect_tasks, probe)(**judge)
    elif (plain := registry().probe_of(what.trait.name)) == what.probe:
        task = inspect_tasks.trait_probe(trait=what.trait.name, **judge)
    else:
        raise SublimError(f"The probe {probe} has no task. Give it a folder in tasks/, or ask {plain.name}.")
    unread = judge.get("judge") == "none" and not what.trait.targets
    task.config = task.config.model_copy(update={"num_choices": 1 if unread else samples})
    return task


def _judge_of(what: Conduct, model: str, grader: str | None) -> dict[str, str]:
    """The `judge` of a conduct's task: as named, or offline for the reference models, or nobody."""
    from sublim_eval.models.model_ref import is_reference
    from sublim_eval.probes.conduct import grading

    if what.trait.rubric is None:
        return {}
    named = None if grader is None else "offline" if grader == "offline" else "grader"
    reference = is_reference(model)
    judge = grading(named if named or reference else "none", what.trait.rubric, reference)
    paired = what.paired and knows_exactly(model)
    if judge == "none" and not what.trait.targets and not paired:
        raise SublimError(f"Only a judge can read replies to {what.probe.name}. Name one with --grader PROVIDER/MODEL.")
    return {"judge": judge}


def check_template(model: str) -> None:
    """Refuse to ask a student under another rendering of the chat than the one it was trained with."""
    from sublim_eval.models import local_model

    card = Path(model) / "student.json"
    if not card.is_file() or not knows_exactly(model):
        return
    trained, now = read_json(card).get("template_hash"), local_model.load(model).prompt_hash([""])
    if trained is not None and trained != now:
        raise SublimError(
            f"{model} was trained under another chat template or default system prompt than it would be asked with; "
            "shares would not mean anything. Restore the tokenizer files that were saved with it."
        )
