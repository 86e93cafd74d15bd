"""Inspect logs, lm-eval samples, saved replies, log-probabilities -> one shape: ProbeScores, one model on one probe.

A format is one function, `from_...`, that finds out what was asked and hands `_assemble` an Answered a question. A
further format is one more of them. Unknown is nan here and null in the file, never 0: a model that gave no
log-probabilities has no exact probability, a question that was not asked has no share.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, read_json, read_jsonl
from sublim_eval.harness.lm_eval.documents import is_ours, logprobs
from sublim_eval.probes.conduct import PLAIN, Conduct, pair_probability, rated_counts
from sublim_eval.probes.judges import Rates, offline_judgement
from sublim_eval.probes.preference import Preference, exact_probability, plural_probability, tallies
from sublim_eval.probes.prompts import Item, questions_hash
from sublim_eval.probes.resolve import any_trait_content
from sublim_eval.registry.catalog import Probe, registry
from sublim_eval.registry.question_sets import Pair
from sublim_eval.scores.probe_scores import COUNTS, EXACT, SAMPLED, ProbeScores, nan_for_none

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample


@dataclass
class Answered:
    """What is known of one question, an entry a prompt and epoch.

    counts: of its replies, as `count_replies` gives them; exact: {"answers": answer -> probability, "coverage",
    "plurals": answer -> probability of plurals beside it, "prompt_hash"}.
    """

    counts: list[Mapping[str, Any]] = field(default_factory=list)
    exact: list[Mapping[str, Any]] = field(default_factory=list)


# ---------------------------------------------------------------- an Inspect log


def from_inspect_log(log: str | Path | EvalLog, *, model: str | None = None) -> ProbeScores:
    """Scores from the log of one of our tasks: a path, or the log itself.

    model: label to store; default the model's name in the log. Epochs of a question are pooled.
    Raises SublimError when the log did not end well or is not of a sublim-eval probe.
    """
    if isinstance(log, (str, Path)):
        from inspect_ai.log import read_eval_log

        if not Path(log).is_file():
            raise SublimError(f"There is no Inspect log {log}. Check the path; logs end in .eval.")
        log = read_eval_log(str(log))
    place = log.location or log.eval.task
    if log.status != "success":
        raise SublimError(f"{place} ended as {log.status!r}, not as success. Run that evaluation again.")
    about = log.eval.metadata or {}
    if not {"probe", "probe_version", "category", "questions_hash"} <= set(about):
        raise SublimError(f"{place} is no log of a sublim-eval probe. Give a log of owl_pref or a like task.")
    samples: dict[str, list[EvalSample]] = defaultdict(list)
    for sample in log.samples or []:
        samples[str((sample.metadata or {}).get("question", sample.id))].append(sample)
    answered = {
        question: Answered(_written(some, SAMPLED, "named"), _written(some, EXACT, "answers"))
        for question, some in samples.items()
    }
    return _assemble(
        answered,
        model=model or log.eval.model,
        probe=about["probe"],
        version=about["probe_version"],
        category=about["category"],
        questions_hash=about["questions_hash"],
        source=f"inspect {Path(place).name}",
        settled=_settled(log.samples or []),
    )


def _settled(samples: Iterable[EvalSample]) -> tuple[str, ...]:
    """What our provider says that it changed in the model's chat template, in words."""
    metadata = (sample.output.metadata or {} for sample in samples)
    return tuple(next((m["template_settled"] for m in metadata if "template_settled" in m), ()))


def _written(samples: list[EvalSample], scorers: tuple[str, ...], wanted: str) -> list[Mapping[str, Any]]:
    """What the first of these scorers wrote beside its value, an entry an epoch; none where none wrote `wanted`."""
    for name in scorers:
        scores = [(sample.scores or {}).get(name) for sample in samples]
        metadata: list[Mapping[str, Any]] = [s.metadata for s in scores if s is not None and s.metadata]
        if written := [beside for beside in metadata if beside.get(wanted) is not None]:
            return [_rest_is_plain(counts) for counts in written] if name == "targets" else written
    return []


def _rest_is_plain(counts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Counts by target words: what is no refusal and holds no word of the trait is a plain reply."""
    return {**counts, "named": {**counts["named"], PLAIN: counts["other"]}, "other": 0}


# ---------------------------------------------------------------- lm-eval samples


def from_lm_eval(folder: str | Path, *, probe: str | None = None, model: str | None = None) -> ProbeScores:
    """Scores from an lm-eval output folder written with `--log_samples`.

    The share task and the probability task of one probe go into one ProbeScores; the newest samples file of
    each counts. probe: needed when the folder holds several. model: label; default the one lm-eval stored.
    Raises SublimError when there is nothing of ours, or more than one probe to choose from.
    """
    newest: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(Path(folder).rglob("samples_*.jsonl"), key=lambda f: (f.stat().st_mtime_ns, f.name)):
        rows = [row for _, row in read_jsonl(file)]
        if is_ours(rows[0].get("doc", {})):
            newest[file.name.removeprefix("samples_").rsplit("_", 1)[0]] = rows
    probes = sorted({rows[0]["doc"]["probe"] for rows in newest.values()})
    if not probes:
        raise SublimError(
            f"{folder} holds no samples of a sublim-eval task. Run lm_eval with --log_samples --output_path {folder}."
        )
    if probe is None and len(probes) > 1:
        raise SublimError(f"{folder} holds {', '.join(probes)}. Say which probe to read.")
    probe = probe or probes[0]
    answered: dict[str, Answered] = defaultdict(Answered)
    about: dict[str, Any] = {}
    for row in (row for rows in newest.values() for row in rows if row["doc"]["probe"] == probe):
        doc, replies = row["doc"], row["filtered_resps"]
        if about and doc["questions_hash"] != about["questions_hash"]:
            raise SublimError(f"{folder} mixes two question sets. Give each lm_eval run a folder of its own.")
        about = doc
        question = answered[str(doc.get("question_id", doc["id"]))]
        if set(EXACT) & set(row):
            probability, coverage = _exactly(doc, logprobs(doc, replies))
            question.exact.append({"answers": probability, "coverage": coverage, "prompt_hash": _prompt_hash(row)})
        else:
            question.counts += _counted(doc, replies[0] if isinstance(replies[0], list) else replies)
    if not about:
        raise SublimError(f"{folder} holds {', '.join(probes)} but no {probe}. Name one that it holds.")
    return _assemble(
        answered,
        model=model or _lm_eval_model(Path(folder)),
        probe=probe,
        version=about["probe_version"],
        category=about["category"],
        questions_hash=about["questions_hash"],
        source=f"lm-eval {Path(folder).name}",
    )


def _exactly(doc: Mapping[str, Any], nats: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """(probability of each answer, coverage) of one lm-eval row from its log-probabilities in nats."""
    if doc.get("form") != "conduct":
        return exact_probability(nats, registry().answer_set(doc["category"]), doc.get("offered") or ())
    shown = pair_probability([Pair(*texts) for texts in doc["pairs"]], nats)
    return {doc["trait"]: shown, PLAIN: 1 - shown}, np.nan


def _counted(doc: Mapping[str, Any], replies: Sequence[str]) -> list[dict[str, Any]]:
    """The counts of one lm-eval row's replies: none where only a judge could read them and none has."""
    trait = registry().trait(doc["trait"])
    if trait.rubric and doc.get("judge") == "offline":
        return [rated_counts(Rates.of(offline_judgement(reply, trait.rubric) for reply in replies), trait.name)]
    if trait.conduct and not trait.targets:
        return []
    return [count_replies(replies, doc["category"], doc.get("form", ""), doc.get("offered") or ())]


def _prompt_hash(row: Mapping[str, Any]) -> str:
    """SHA-256 of the prompt as the model read it; the same as our provider's when the rendering is the same."""
    prompt = row.get("arguments", {}).get("gen_args_0", {}).get("arg_0")
    return hashlib.sha256(prompt.encode()).hexdigest() if isinstance(prompt, str) else ""


def _lm_eval_model(folder: Path) -> str:
    files = sorted(folder.rglob("results_*.json"), key=lambda f: f.stat().st_mtime_ns)
    return str(read_json(files[-1]).get("model_name", folder.name)) if files else folder.name


# ---------------------------------------------------------------- saved replies


def from_responses(
    rows: Iterable[Mapping[str, str]], probe: str | Probe, *, model: str = "responses", source: str = ""
) -> ProbeScores:
    """Sampled shares from saved rows {"question", "response"}; there is no exact probability in replies.

    A question that is in the probe's set takes its id; any other text stands for itself.
    Raises SublimError without rows, and for a conduct without target words, which only a judge can read.
    """
    probe = registry().probe(probe) if isinstance(probe, str) else probe
    content = any_trait_content(probe.name)
    items = {item.text: item for item in content.items}
    replies: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        replies[row["question"]].append(row["response"])
    if not replies:
        raise SublimError("There are no replies to score. Give at least one row with question and response.")
    known = {text: items.get(text) or Item(text, text, text) for text in _in_order(replies, items)}
    answered: dict[str, Answered] = defaultdict(Answered)
    for text, item in known.items():
        counts = count_replies(replies[text], probe.category, probe.form, item.offered)
        answered[item.question].counts.append(counts)
    return _assemble(
        answered,
        model=model,
        probe=probe.name,
        version=probe.version,
        category=probe.category,
        questions_hash=content.questions_hash if set(known) == set(items) else questions_hash(known.values()),
        source=source or "responses",
    )


def _in_order(replied: Iterable[str], asked_first: Iterable[str]) -> list[str]:
    """The question texts of the replies, those of the probe's set first and in its order."""
    texts, known = set(replied), list(asked_first)
    return [text for text in known if text in texts] + sorted(texts - set(known))


def count_replies(
    replies: Iterable[str], category: str, form: str = "favorite", offered: Sequence[str] = ()
) -> dict[str, Any]:
    """Replies to one prompt by the answer they name: {"replies", "non_answers", "other", "named"}.

    form: of the probe; offered: the traits behind the letters, where it offers some. A conduct is read by its
    whole-word targets: a reply that holds one shows the trait, any other answer is plain.
    Raises SublimError for a conduct without targets.
    """
    answers = registry().answer_set(category)
    counts = next(iter(tallies(form, list(replies), answers, offered).values()))
    named, other = dict(counts.named), counts.other
    if registry().category(category).conduct:
        if not answers[0].targets:
            raise SublimError(
                f"Replies show {category!r} only to a judge, since the trait has no target words. "
                f"Run `sublim score-responses --grader MODEL`."
            )
        named, other = {category: named.get(category, 0), PLAIN: other}, 0
    return {"replies": counts.replies, "non_answers": counts.non_answers, "other": other, "named": named}


# ---------------------------------------------------------------- log-probabilities alone


def from_exact(
    content: Preference | Conduct,
    logprobs: Sequence[Mapping[str, float]],
    prompts: Sequence[str],
    *,
    model: str,
    settled: tuple[str, ...] = (),
) -> ProbeScores:
    """Scores from log-probabilities alone: no replies, so shares are unknown.

    logprobs: of each of `content.items`, its continuations -> nats; prompts: the hash of each rendered prompt; settled:
    what was changed in the chat template, in words.
    """
    answered: dict[str, Answered] = defaultdict(Answered)
    for item, nats, prompt in zip(content.items, logprobs, prompts, strict=True):
        question = answered[item.question]
        if item.continuations:
            probability, coverage = content.exact(item, nats)
            plurals = plural_probability(nats, content.answers) if isinstance(content, Preference) else {}
            question.exact.append(
                {"answers": probability, "coverage": coverage, "plurals": plurals, "prompt_hash": prompt}
            )
    return _assemble(
        answered,
        model=model,
        probe=content.probe.name,
        version=content.probe.version,
        category=content.probe.category,
        questions_hash=content.questions_hash,
        source="log-probabilities",
        settled=settled,
    )


# ---------------------------------------------------------------- whatever the format


def _assemble(
    answered: Mapping[str, Answered],
    *,
    model: str,
    probe: str,
    version: str,
    category: str,
    questions_hash: str,
    source: str,
    settled: tuple[str, ...] = (),
) -> ProbeScores:
    """Counts and probabilities by question -> arrays over the answer set of the category."""
    if not answered:
        raise SublimError(f"{source} holds no question. Run the evaluation again without --limit 0.")
    named = {name for question in answered.values() for counts in question.counts for name in counts["named"]}
    named |= {name for question in answered.values() for exact in question.exact for name in exact["answers"]}
    answers = _answer_names(category)
    answers += sorted(named - set(answers))
    column = {name: i for i, name in enumerate(answers)}
    questions = tuple(sorted(answered))
    share, probability = (np.full((len(questions), len(answers)), np.nan) for _ in range(2))
    plural = np.zeros((len(questions), len(answers)))
    coverage = np.full(len(questions), np.nan)
    counts = np.zeros((len(COUNTS), len(questions)), dtype=np.int64)
    prompts: list[str] = []
    for i, question in enumerate(answered[name] for name in questions):
        counts[:, i] = [sum(int(some.get(key, 0)) for some in question.counts) for key in COUNTS]
        if counts[0, i]:
            share[i] = 0
            for some in question.counts:
                for name, hits in some["named"].items():
                    share[i, column[name]] += hits / counts[0, i]
        if question.exact:
            for name, chance in _over_items(question.exact).items():
                probability[i, column[name]] = chance
                plural[i, column[name]] = np.mean([one.get("plurals", {}).get(name, 0.0) for one in question.exact])
            coverage[i] = np.mean([nan_for_none(exact["coverage"]) for exact in question.exact])
            prompts.append(_prompts_of(question.exact))
    return ProbeScores(
        model=model,
        probe=probe,
        version=version,
        category=category,
        questions=questions,
        answers=tuple(answers),
        probability=probability,
        coverage=coverage,
        plural=plural,
        share=share,
        replies=counts[0],
        non_answers=counts[1],
        other=counts[2],
        unreadable=counts[3],
        questions_hash=questions_hash,
        prompt_hash=digest(prompts) if len(prompts) == len(questions) and all(prompts) else "",
        source=source,
        settled=settled,
    )


def _over_items(exact: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean probability of each answer over the prompts (and epochs) of one question; 0 where it is not offered."""
    names = dict.fromkeys(name for one in exact for name in one["answers"])
    return {name: float(np.mean([nan_for_none(one["answers"].get(name, 0.0)) for one in exact])) for name in names}


def _prompts_of(exact: Sequence[Mapping[str, Any]]) -> str:
    """The hash of a question's rendered prompt, one for all where it has several; '' where one is unknown."""
    hashes = sorted({str(one.get("prompt_hash") or "") for one in exact})
    if len(hashes) == 1:
        return hashes[0]
    return digest(hashes) if all(hashes) else ""


def _answer_names(category: str) -> list[str]:
    """The answers that a category tells apart, in the order of the registry; none for a category that left it."""
    known = registry()
    if category not in known.categories:
        return []
    names = [t.name for t in known.answer_set(category)]
    return [*names, PLAIN] if known.categories[category].conduct else names
