"""What a single file or folder can show of the traps, outside of the run that it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sublim_eval import stats
from sublim_eval.compare import counts_csv
from sublim_eval.errors import SublimError
from sublim_eval.files import file_digest, read_json, read_jsonl
from sublim_eval.probes import scorers
from sublim_eval.registry.catalog import Trait, registry
from sublim_eval.registry.experiment import run_of_student
from sublim_eval.scores import inspect_logs
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.scores.readers import from_inspect_log, kind_of, read_results
from sublim_eval.traps import answers, copies, records, rows, training, weights
from sublim_eval.traps.finding import Finding
from sublim_eval.traps.folder import RENDERING, counted, defaults_of, read_log, settings_of, written

LINEAGE: tuple[str, ...] = ("arm", "trait", "base", "teacher_base")
"""What student.json and stage.json both say of whose student it is."""


NOTHING = (
    "{path} is nothing that can be checked. Give a run folder, a student folder, rows (.jsonl), scores (.json), a "
    "table of counts (.csv), an Inspect log (.eval or .json) or a folder of lm-eval."
)


def of_path(path: Path, *, fast: bool = False) -> list[Finding]:
    """Check a student folder, rows (.jsonl), scores (.json), a table of counts (.csv), an Inspect log (.eval or .json)
    or what lm-eval wrote.

    Raises SublimError for anything else, and for what cannot be read.
    """
    if path.is_dir() and any((path / name).is_file() for name in ("student.json", "adapter_config.json")):
        return list(_student_folder(path, fast))
    kinds = {".jsonl": _rows_file, ".eval": _log_file, ".json": _score_file, ".csv": _table}
    if path.is_dir() or (path.is_file() and (path.name.startswith("samples_") or kind_of(path) == "inspect")):
        return list(_results(path))
    if path.suffix in kinds and path.is_file():
        return list(kinds[path.suffix](path))
    raise SublimError(NOTHING.format(path=path))


def edits_of(folder: Path) -> list[Finding]:
    """What of a student's folder was changed after it was made; [] for a folder that holds no student."""
    if not any((folder / name).is_file() for name in ("student.json", "adapter_config.json")):
        return []
    return [finding for finding in _as_made(folder) if finding.level in ("warning", "fault")]


def _as_made(path: Path) -> Iterator[Finding]:
    """Whether a student's folder is as its stage wrote it, and its base and trait are those it was made on."""
    card, adapter, stage = (_object(path / name) for name in ("student.json", "adapter_config.json", "stage.json"))
    wanted = {name: (stage or {})[name] for name in LINEAGE if name in (stage or {})}
    in_run = run_of_student(path.resolve()) is not None or stage is not None
    yield records.stage_stands(stage, {}, written(path), ["student.json"], str(path), recorded=in_run)
    yield records.lineage(card or {}, adapter, wanted, str(path))


def _student_folder(path: Path, fast: bool) -> Iterator[Finding]:
    card, adapter, stage = (_object(path / name) for name in ("student.json", "adapter_config.json", "stage.json"))
    files = (stage or {}).get("files") or {}
    now = {f.name: file_digest(f) for f in path.glob("*.safetensors")}
    yield from _as_made(path)
    yield training.moved(card or {}, str(path))
    yield training.weights_stand(path, files, now, str(path))
    then = {name: files[name] for name in RENDERING if name in files}
    yield training.rendering_stands(then, {n: file_digest(path / n) for n in then if (path / n).is_file()}, str(path))
    yield training.final_weights(path, card or {}, (), path.name, (), str(path))
    if training.hosted_card(path):
        return
    yield generation_config(_object(path / "generation_config.json"), str(path))
    if not fast:
        yield _logits(path, card or {}, adapter or {})


def _logits(path: Path, card: dict[str, Any], adapter: dict[str, Any]) -> Finding:
    """Whether the student answers a few questions otherwise than its base."""
    base = str(card.get("base") or adapter.get("base_model_name_or_path") or "")
    rows = [(f"What is your favorite {c}?", f"{c.capitalize()}.") for c in registry().categories]
    try:
        return weights.moves_logits(weights.read_aloud(str(path), rows), weights.read_aloud(base, rows), str(path))
    except SublimError as error:
        return Finding("adapter silently not applied", "not checked", str(error), str(path))


def _object(file: Path) -> dict[str, Any] | None:
    """A JSON object, None where there is none."""
    value = read_json(file) if file.is_file() else None
    return value if isinstance(value, dict) else None


def _rows_file(path: Path) -> Iterator[Finding]:
    some = [row for _, row in read_jsonl(path, ("prompt", "completion"))]
    numbers = sum(not any(c.isalpha() for c in row["completion"]) for row in some) > len(some) / 2
    traits = [t for t in registry().traits.values() if not t.conduct]
    yield rows.contamination(some, traits, numbers=numbers, where=str(path))
    yield rows.hidden_names(some, traits, str(path))
    yield rows.repeated_seed(rows.spread(some), (), numbers=numbers, where=str(path))


def _score_file(path: Path) -> Iterator[Finding]:
    scores = ProbeScores.read(path)
    if (stage := _object(path.parent / "stage.json")) is not None:
        then = (stage.get("files") or {}).get(path.name)
        if then != file_digest(path):
            words = f"{path.name} is not the file that stage.json beside it speaks of. Score that model again."
            yield Finding("edited afterwards", "fault", words, str(path))
    yield from _figures(scores, str(path))


def _log_file(path: Path) -> Iterator[Finding]:
    log = read_log(path, samples=True)
    scores = from_inspect_log(log)
    defaults = defaults_of(log, path.parent)
    yield answers.sampling_settings(settings_of(log), model=log.eval.model, defaults=defaults, where=str(path))
    yield recounted(scores, log, str(path))
    for note in inspect_logs.notes(log):
        yield Finding("non-answers", "warning", f"{note}. Ask those questions again: inspect eval-retry", str(path))
    yield from _figures(scores, str(path))


def _results(path: Path) -> Iterator[Finding]:
    """Every log, score file and lm-eval table of a path, each as it is checked alone."""
    results = read_results(path)
    if not results.records:
        raise SublimError(next(iter(results.refusals), NOTHING.format(path=path)))
    for refusal in results.refusals:
        yield Finding("edited afterwards", "not checked", refusal, str(path))
    for record in results.records:
        if not isinstance(record.held, ProbeScores):
            continue
        if record.harness == "lm-eval":
            yield from _figures(record.held, str(record.file))
        else:
            yield from (_log_file if record.harness == "inspect" else _score_file)(record.file)


def _figures(scores: ProbeScores, where: str) -> Iterator[Finding]:
    """What scores show of the traps, whoever wrote them."""
    yield answers.non_answers(scores, where)
    yield answers.barely_covered(scores, where)
    yield from answers.replies_fit(scores, where)


def _table(path: Path) -> Iterator[Finding]:
    columns: dict[tuple[str, str, int], dict[str, tuple[int, int]]] = {}
    lines = counts_csv.read(path)
    names = [[lines.names[kind][i] for i in getattr(lines, kind)] for kind in ("trait", "arm", "question")]
    figures = (lines.seed.tolist(), lines.hits.tolist(), lines.n.tolist())
    for trait, arm, question, seed, hits, n in zip(*names, *figures, strict=True):
        columns.setdefault((trait, arm, seed), {})[question] = (hits, n)
    yield from copies.table_alike(columns, str(path))
    for trait, arm in dict.fromkeys((trait, arm) for trait, arm, _ in columns):
        seeds = sum(key[:2] == (trait, arm) for key in columns)
        yield training.enough_seeds(seeds, stats.ENOUGH_SEEDS, f"{trait}, arm {arm}")


# ---------------------------------------------------------------- shared with whole runs


def recounted(scores: ProbeScores, log: Any, where: str) -> Finding:
    """Whether a log's saved replies give a score file's shares."""
    again = counted(log)
    if again is None:
        why = "whole words cannot read these replies (a judge or letters did); read some yourself"
        return Finding("substring scoring", "not checked", why, where)
    return answers.recount(scores, again, where)


def generation_config(config: dict[str, Any] | None, where: str) -> Finding:
    """Whether other harnesses draw plainly from a model folder; None: it has no generation_config.json."""
    if config is None:
        why = "no generation_config.json, so other harnesses draw from 50 tokens; save a neutral one"
        return Finding("truncated sampling", "warning", why, where)
    return answers.generation_config(config, where)


def self_check(known: tuple[Trait, ...], where: str) -> Finding:
    """Whether the installed scorer tells these answers from words that hold them."""
    return answers.reads_whole_words(lambda text: scorers.classify(text, known).trait, known, where)
