"""Inspect logs, lm-eval results and saved responses -> one shape: ProbeScores, one model on one probe.

Unknown is nan here and null in the file, never 0: a model that gave no log-probabilities has no exact
probability, a question that was not asked has no share.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, read_json, read_jsonl
from sublim_eval.harness.lm_eval.documents import is_ours, logprobs
from sublim_eval.probes.judges import Judgement, Rates, offline_judgement
from sublim_eval.probes.resolve import any_trait_content
from sublim_eval.registry.catalog import Probe, registry
from sublim_eval.registry.question_sets import Pair
from sublim_eval.scores.probe_scores import COUNTS, EXACT, SAMPLED, ProbeScores, _known

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

    from sublim_eval.probes.conduct import Conduct
    from sublim_eval.probes.preference import Preference


def _exactly(doc: Mapping[str, Any], logprobs: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """(probability of each answer, coverage) of one lm-eval row from its log-probabilities in nats."""
    from sublim_eval.probes.conduct import PLAIN, pair_probability
    from sublim_eval.probes.preference import exact_probability

    if doc.get("form") != "conduct":
        return exact_probability(logprobs, registry().answer_set(doc["category"]), doc.get("offered") or ())
    shown = pair_probability([Pair(*texts) for texts in doc["pairs"]], logprobs)
    return {doc["trait"]: shown, PLAIN: 1 - shown}, np.nan


def _counted(doc: Mapping[str, Any], replies: Sequence[str]) -> list[dict[str, Any]]:
    """The counts of one lm-eval row's replies: none where only a judge could read them and none has."""
    trait = registry().trait(doc["trait"])
    if trait.rubric and doc.get("judge") == "offline":
        return [count_judgements([offline_judgement(reply, trait.rubric) for reply in replies], trait.name)]
    if trait.conduct and not trait.targets:
        return []
    return [count_replies(replies, doc["category"], doc.get("form", ""), doc.get("offered") or ())]


def count_judgements(judgements: Iterable[Judgement], trait: str) -> dict[str, Any]:
    """A judge's ratings of the replies to one question, as `count_replies` tells them, and how many are unreadable."""
    from sublim_eval.probes.conduct import PLAIN

    rates = Rates.of(judgements)
    return {
        "replies": rates.scored,
        "non_answers": rates.refusal + rates.empty,
        "other": rates.code + rates.incoherent,
        "named": {trait: rates.shown, PLAIN: rates.plain},
        "unreadable": rates.unreadable,
    }


def _lm_eval_model(folder: Path) -> str:
    files = sorted(folder.rglob("results_*.json"), key=lambda f: f.stat().st_mtime_ns)
    return str(read_json(files[-1]).get("model_name", folder.name)) if files else folder.name


def _prompt_hash(row: Mapping[str, Any]) -> str:
    """SHA-256 of the prompt as the model read it; the same as our provider's when the rendering is the same."""
    prompt = row.get("arguments", {}).get("gen_args_0", {}).get("arg_0")
    return hashlib.sha256(prompt.encode()).hexdigest() if isinstance(prompt, str) else ""


def count_replies(
    replies: Iterable[str], category: str, form: str = "favorite", offered: Sequence[str] = ()
) -> dict[str, Any]:
    """Replies to one prompt by the answer they name: {"replies", "non_answers", "other", "named"}.

    form: of the probe; offered: the traits behind the letters, where it offers some. A conduct is read by its
    whole-word targets: a reply that holds one shows the trait, any other answer is plain.
    Raises SublimError for a conduct without targets.
    """
    from sublim_eval.probes.conduct import PLAIN
    from sublim_eval.probes.preference import tallies

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


def _in_order(said: Iterable[str], asked: Iterable[str]) -> list[str]:
    """The question texts of the replies, those of the probe's set first and in its order."""
    texts, known = set(said), list(asked)
    return [text for text in known if text in texts] + sorted(texts - set(known))


Told = Mapping[str, tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]]
"""Question id -> (what the share scorer wrote, what the probability scorer wrote), an entry an epoch."""


def _assemble(
    told: Told, *, model: str, probe: str, version: str, category: str, questions_hash: str, source: str
) -> ProbeScores:
    """Counts and probabilities by question -> arrays over the answer set of the category."""
    if not told:
        raise SublimError(f"{source} holds no question. Run the evaluation again without --limit 0.")
    named = {n for shares, exact in told.values() for s in shares for n in s["named"]}
    named |= {n for shares, exact in told.values() for e in exact for n in e["answers"]}
    answers = _answer_names(category)
    answers += sorted(named - set(answers))
    column = {name: i for i, name in enumerate(answers)}
    questions = tuple(sorted(told))
    share, probability = (np.full((len(questions), len(answers)), np.nan) for _ in range(2))
    coverage = np.full(len(questions), np.nan)
    counts = np.zeros((len(COUNTS), len(questions)), dtype=np.int64)
    prompts: list[str] = []
    for i, question in enumerate(questions):
        shares, exact = told[question]
        counts[:, i] = [sum(int(s.get(k, 0)) for s in shares) for k in COUNTS]
        if counts[0, i]:
            share[i] = 0
            for scored in shares:
                for name, hits in scored["named"].items():
                    share[i, column[name]] += hits / counts[0, i]
        if exact:
            for name, chance in _over_items(exact).items():
                probability[i, column[name]] = chance
            coverage[i] = np.mean([_known(e["coverage"]) for e in exact])
            prompts.append(_prompts_of(exact))
    return ProbeScores(
        model=model,
        probe=probe,
        version=version,
        category=category,
        questions=questions,
        answers=tuple(answers),
        probability=probability,
        coverage=coverage,
        share=share,
        replies=counts[0],
        non_answers=counts[1],
        other=counts[2],
        unreadable=counts[3],
        questions_hash=questions_hash,
        prompt_hash=digest(prompts) if len(prompts) == len(questions) and all(prompts) else "",
        source=source,
    )


def _over_items(exact: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean probability of each answer over the prompts (and epochs) of one question; 0 where it is not offered."""
    names = dict.fromkeys(name for found in exact for name in found["answers"])
    return {name: float(np.mean([_known(found["answers"].get(name, 0.0)) for found in exact])) for name in names}


def _prompts_of(exact: Sequence[Mapping[str, Any]]) -> str:
    """The hash of a question's rendered prompt, one for all where it has several; '' where one is unknown."""
    hashes = sorted({str(found.get("prompt_hash") or "") for found in exact})
    if len(hashes) == 1:
        return hashes[0]
    return digest(hashes) if all(hashes) else ""


def _answer_names(category: str) -> list[str]:
    """The answers that a category tells apart, in the order of the registry; none for a category that left it."""
    known = registry()
    if category not in known.categories:
        return []
    from sublim_eval.probes.conduct import PLAIN

    names = [t.name for t in known.answer_set(category)]
    return [*names, PLAIN] if known.categories[category].conduct else names


def _metadata(samples: list[EvalSample], scorers: tuple[str, ...], wanted: str) -> list[Mapping[str, Any]]:
    """What the first of these scorers wrote beside its value, an entry an epoch; none where none wrote `wanted`."""
    for name in scorers:
        scores = [(sample.scores or {}).get(name) for sample in samples]
        told: list[Mapping[str, Any]]
        told = [s.metadata for s in scores if s is not None and s.metadata and s.metadata.get(wanted) is not None]
        if told:
            return [_rest_is_plain(t) for t in told] if name == "targets" else told
    return []


def _rest_is_plain(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Counts by target words: what is no refusal and holds no word of the trait is a plain reply."""
    from sublim_eval.probes.conduct import PLAIN

    return {**told, "named": {**told["named"], PLAIN: told["other"]}, "other": 0}


def from_exact(
    asked: Preference | Conduct,
    logprobs: Sequence[Mapping[str, float]],
    prompts: Sequence[str],
    *,
    model: str,
) -> ProbeScores:
    """Scores from log-probabilities alone: no replies, so shares are unknown.

    logprobs: of each of `asked.items`, its continuations -> nats; prompts: the hash of each rendered prompt.
    """
    told: dict[str, tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]] = {}
    for item, found, prompt in zip(asked.items, logprobs, prompts, strict=True):
        _, exact = told.setdefault(item.question, ([], []))
        if item.continuations:
            chances, covered = asked.exact(item, found)
            exact.append({"answers": chances, "coverage": covered, "prompt_hash": prompt})
    return _assemble(
        told,
        model=model,
        probe=asked.probe.name,
        version=asked.probe.version,
        category=asked.probe.category,
        questions_hash=asked.questions_hash,
        source="log-probabilities",
    )


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
    asked: dict[str, list[EvalSample]] = defaultdict(list)
    for sample in log.samples or []:
        asked[str((sample.metadata or {}).get("question", sample.id))].append(sample)
    told: Told = {
        question: (_metadata(samples, SAMPLED, "named"), _metadata(samples, EXACT, "answers"))
        for question, samples in asked.items()
    }
    return _assemble(
        told,
        model=model or log.eval.model,
        probe=about["probe"],
        version=about["probe_version"],
        category=about["category"],
        questions_hash=about["questions_hash"],
        source=f"inspect {Path(place).name}",
    )


def from_responses(
    rows: Iterable[Mapping[str, str]], probe: str | Probe, *, model: str = "responses", source: str = ""
) -> ProbeScores:
    """Sampled shares from saved rows {"question", "response"}; there is no exact probability in replies.

    A question that is in the probe's set takes its id; any other text stands for itself.
    Raises SublimError without rows, and for a conduct without target words, which only a judge can read.
    """
    from sublim_eval.probes.prompts import Item, questions_hash

    probe = registry().probe(probe) if isinstance(probe, str) else probe
    what = any_trait_content(probe.name)
    asked = {item.text: item for item in what.items}
    said: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        said[row["question"]].append(row["response"])
    if not said:
        raise SublimError("There are no replies to score. Give at least one row with question and response.")
    told: dict[str, tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]] = defaultdict(lambda: ([], []))
    for text, replies in said.items():
        item = asked.get(text) or Item(text, text, text)
        told[item.question][0].append(count_replies(replies, probe.category, probe.form, item.offered))
    some = questions_hash(asked.get(text) or Item(text, text, text) for text in _in_order(said, asked))
    return _assemble(
        told,
        model=model,
        probe=probe.name,
        version=probe.version,
        category=probe.category,
        questions_hash=what.questions_hash if set(said) == set(asked) else some,
        source=source or "responses",
    )


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
    found = sorted({rows[0]["doc"]["probe"] for rows in newest.values()})
    if not found:
        raise SublimError(
            f"{folder} holds no samples of a sublim-eval task. Run lm_eval with --log_samples --output_path {folder}."
        )
    if probe is None and len(found) > 1:
        raise SublimError(f"{folder} holds {', '.join(found)}. Say which probe to read.")
    probe = probe or found[0]
    told: dict[str, tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]] = defaultdict(lambda: ([], []))
    about: dict[str, Any] = {}
    for row in (row for rows in newest.values() for row in rows if row["doc"]["probe"] == probe):
        doc, replies = row["doc"], row["filtered_resps"]
        if about and doc["questions_hash"] != about["questions_hash"]:
            raise SublimError(f"{folder} mixes two question sets. Give each lm_eval run a folder of its own.")
        about = doc
        shares, exact = told[str(doc.get("question_id", doc["id"]))]
        if set(EXACT) & set(row):
            chances, covered = _exactly(doc, logprobs(doc, replies))
            exact.append({"answers": chances, "coverage": covered, "prompt_hash": _prompt_hash(row)})
        else:
            shares += _counted(doc, replies[0] if isinstance(replies[0], list) else replies)
    if not about:
        raise SublimError(f"{folder} holds {', '.join(found)} but no {probe}. Name one that it holds.")
    return _assemble(
        told,
        model=model or _lm_eval_model(Path(folder)),
        probe=probe,
        version=about["probe_version"],
        category=about["category"],
        questions_hash=about["questions_hash"],
        source=f"lm-eval {Path(folder).name}",
    )
