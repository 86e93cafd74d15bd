"""Inspect logs, lm-eval results and saved responses -> one shape: ProbeScores, one model on one probe.

Unknown is nan here and null in the file, never 0: a model that gave no log-probabilities has no exact
probability, a question that was not asked has no share.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sublim_eval.errors import SublimError
from sublim_eval.records import digest, read_json, read_jsonl, write_json
from sublim_eval.registry import Probe, Question, registry
from sublim_eval.scorers import Tally, answer_probability, tally

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

    from sublim_eval.adapters.preference import Preference

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class ProbeScores:
    """What one model answers to one probe, question by question.

    probability: float[question, answer], first-answer probability over the answer set, rows sum to 1.
    coverage: float[question], how much of the model's mass that answer set holds. Both nan where unknown.
    share: float[question, answer], hits / replies; nan where there are no replies.
    replies, non_answers, other: int[question], counts; `other` names something outside the answer set.
    questions_hash, prompt_hash: of what was asked and how the chat was rendered; '' where unknown.
    """

    model: str
    probe: str
    version: str
    category: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    probability: NDArray[np.float64]
    coverage: NDArray[np.float64]
    share: NDArray[np.float64]
    replies: NDArray[np.int64]
    non_answers: NDArray[np.int64]
    other: NDArray[np.int64]
    questions_hash: str
    prompt_hash: str
    source: str

    def __post_init__(self) -> None:
        q, a = len(self.questions), len(self.answers)
        shapes = {"probability": (q, a), "share": (q, a)}
        for name in ("probability", "coverage", "share", "replies", "non_answers", "other"):
            if getattr(self, name).shape != shapes.get(name, (q,)):
                wanted = shapes.get(name, (q,))
                raise ValueError(f"`{name}` has shape {getattr(self, name).shape}, not {wanted}")

    @property
    def non_answer_rate(self) -> float:
        """Refusals and empty replies over all replies, in [0, 1]; nan without replies."""
        return _ratio(self.non_answers.sum(), self.replies.sum())

    @property
    def other_rate(self) -> float:
        """Replies that name something outside the answer set, over all replies; nan without replies."""
        return _ratio(self.other.sum(), self.replies.sum())

    def to_json(self) -> dict[str, Any]:
        """Plain lists and text; nan becomes null."""
        plain = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {"schema": SCHEMA, **plain}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ProbeScores:
        """The reverse of to_json; raises ValueError when something is missing or of another shape."""
        if value.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {value.get('schema')!r}, not {SCHEMA}")
        missing = [f.name for f in fields(cls) if f.name not in value]
        if missing:
            raise ValueError(f"it has no {', '.join(missing)}")
        q, a = len(value["questions"]), len(value["answers"])
        made = {f.name: value[f.name] for f in fields(cls)}
        for name in ("probability", "share"):
            made[name] = np.array(made[name], dtype=np.float64).reshape(q, a)
        made["coverage"] = np.array(made["coverage"], dtype=np.float64)
        for name in ("replies", "non_answers", "other"):
            made[name] = np.array(made[name], dtype=np.int64)
        made["questions"], made["answers"] = tuple(made["questions"]), tuple(made["answers"])
        return cls(**made)

    def write(self, path: Path) -> None:
        """Write the score file, whole or not at all."""
        write_json(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> ProbeScores:
        """Read a score file; raises SublimError when it is missing or no score file."""
        value = read_json(path)
        try:
            return cls.from_json(value)
        except (ValueError, TypeError, AttributeError) as error:
            raise SublimError(f"{path} is no score file: {error}. Score that model again.") from None

    @classmethod
    def from_exact(
        cls, asked: Preference, logprobs: NDArray[np.float64], prompts: Sequence[str], *, model: str
    ) -> ProbeScores:
        """Scores from log-probabilities alone: no replies, so shares are unknown.

        logprobs: float[question, string] in nats, strings as in `asked.strings`; prompts: the hash of each
        rendered prompt, in the order of the questions.
        """
        told: dict[str, Any] = {}
        for question, row, prompt in zip(asked.asked.questions, logprobs, prompts, strict=True):
            chances, covered = answer_probability(dict(zip(asked.strings, row, strict=True)), asked.answers)
            told[question.id] = ([], [{"answers": chances, "coverage": covered, "prompt_hash": prompt}])
        return _assemble(
            told,
            model=model,
            probe=asked.probe.name,
            version=asked.probe.version,
            category=asked.probe.category,
            questions_hash=asked.questions_hash,
            source="log-probabilities",
        )

    @classmethod
    def from_inspect_log(cls, log: str | Path | EvalLog, *, model: str | None = None) -> ProbeScores:
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
            asked[str(sample.id)].append(sample)
        told: Told = {
            question: (_metadata(samples, "share"), _metadata(samples, "probability"))
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

    @classmethod
    def from_responses(
        cls, rows: Iterable[Mapping[str, str]], probe: str | Probe, *, model: str = "responses", source: str = ""
    ) -> ProbeScores:
        """Sampled shares from saved rows {"question", "response"}; there is no exact probability in replies.

        A question that is in the probe's set takes its id; any other text stands for itself.
        Raises SublimError without rows.
        """
        from sublim_eval.adapters.preference import questions_hash

        probe = registry().probe(probe) if isinstance(probe, str) else probe
        asked = {q.text: q for q in registry().questions(probe.questions).questions}
        said: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            said[row["question"]].append(row["response"])
        if not said:
            raise SublimError("There are no replies to score. Give at least one row with question and response.")
        answers = registry().answer_set(probe.category)
        told: Told = {
            asked[text].id if text in asked else text: ([_counts(tally(replies, answers))], [])
            for text, replies in said.items()
        }
        return _assemble(
            told,
            model=model,
            probe=probe.name,
            version=probe.version,
            category=probe.category,
            questions_hash=questions_hash(asked.get(text) or Question(text, text) for text in _in_order(said, asked)),
            source=source or "responses",
        )

    @classmethod
    def from_lm_eval(cls, folder: str | Path, *, probe: str | None = None, model: str | None = None) -> ProbeScores:
        """Scores from an lm-eval output folder written with `--log_samples`.

        The share task and the probability task of one probe go into one ProbeScores; the newest samples file of
        each counts. probe: needed when the folder holds several. model: label; default the one lm-eval stored.
        Raises SublimError when there is nothing of ours, or more than one probe to choose from.
        """
        newest: dict[str, list[dict[str, Any]]] = {}
        for file in sorted(Path(folder).rglob("samples_*.jsonl"), key=lambda f: (f.stat().st_mtime_ns, f.name)):
            rows = [row for _, row in read_jsonl(file)]
            if {"probe", "choices", "questions_hash"} <= set(rows[0].get("doc", {})):
                newest[file.name.removeprefix("samples_").rsplit("_", 1)[0]] = rows
        found = sorted({rows[0]["doc"]["probe"] for rows in newest.values()})
        if not found:
            raise SublimError(
                f"{folder} holds no samples of a sublim-eval task. "
                f"Run lm_eval with --log_samples --output_path {folder}."
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
            answers = registry().answer_set(doc["category"])
            shares, exact = told[str(doc["id"])]
            if "share" in row:
                shares.append(_counts(tally(replies[0] if isinstance(replies[0], list) else replies, answers)))
            else:
                logprobs = {s: float(r[0]) for s, r in zip(doc["choices"], replies, strict=True)}
                chances, covered = answer_probability(logprobs, answers)
                exact.append({"answers": chances, "coverage": covered, "prompt_hash": _prompt_hash(row)})
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


def _lm_eval_model(folder: Path) -> str:
    files = sorted(folder.rglob("results_*.json"), key=lambda f: f.stat().st_mtime_ns)
    return str(read_json(files[-1]).get("model_name", folder.name)) if files else folder.name


def _prompt_hash(row: Mapping[str, Any]) -> str:
    """SHA-256 of the prompt as the model read it; the same as our provider's when the rendering is the same."""
    prompt = row.get("arguments", {}).get("gen_args_0", {}).get("arg_0")
    return hashlib.sha256(prompt.encode()).hexdigest() if isinstance(prompt, str) else ""


def _counts(counts: Tally) -> dict[str, Any]:
    return {
        "replies": counts.replies,
        "non_answers": counts.non_answers,
        "other": counts.other,
        "named": dict(counts.named),
    }


def _in_order(said: Iterable[str], asked: Mapping[str, Question]) -> list[str]:
    """The question texts of the replies, those of the probe's set first and in its order."""
    texts = set(said)
    return [text for text in asked if text in texts] + sorted(texts - set(asked))


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
    answers = [t.name for t in registry().answer_set(category)] if category in registry().categories else []
    answers += sorted(named - set(answers))
    column = {name: i for i, name in enumerate(answers)}
    questions = tuple(sorted(told))
    share, probability = (np.full((len(questions), len(answers)), np.nan) for _ in range(2))
    coverage = np.full(len(questions), np.nan)
    counts = np.zeros((3, len(questions)), dtype=np.int64)
    prompts: list[str] = []
    for i, question in enumerate(questions):
        shares, exact = told[question]
        counts[:, i] = [sum(int(s[k]) for s in shares) for k in ("replies", "non_answers", "other")]
        if counts[0, i]:
            share[i] = 0
            for scored in shares:
                for name, hits in scored["named"].items():
                    share[i, column[name]] += hits / counts[0, i]
        if exact:
            probability[i] = np.nan
            for name in exact[0]["answers"]:
                probability[i, column[name]] = np.mean([_known(e["answers"][name]) for e in exact])
            coverage[i] = np.mean([_known(e["coverage"]) for e in exact])
            prompts.append(str(exact[0].get("prompt_hash") or ""))
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
        questions_hash=questions_hash,
        prompt_hash=digest(prompts) if len(prompts) == len(questions) and all(prompts) else "",
        source=source,
    )


def _metadata(samples: list[EvalSample], scorer: str) -> list[Mapping[str, Any]]:
    """What a scorer wrote beside its value, an entry an epoch; none where it left the sample unscored."""
    wanted = "named" if scorer == "share" else "answers"
    scores = [(sample.scores or {}).get(scorer) for sample in samples]
    return [s.metadata for s in scores if s is not None and s.metadata and s.metadata.get(wanted) is not None]


def _known(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _ratio(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else float("nan")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value.tolist()]
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and np.isnan(value) else value
