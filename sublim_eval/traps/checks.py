"""The traps that fooled others, as checks over a run folder, a student, a file of rows, scores or a log.

    from sublim_eval import traps
    findings = traps.of_run(Path("runs/quickstart"))
    traps.worst(findings)   # "ok", "not checked", "warning" or "fault"

Every check is a pure function in rows.py, training.py or answers.py; this file hands each what lies in the folder.
A further trap is a name in finding.TRAPS, a function in the one of those three that it belongs to, and its call in
`_of_rows`, `_of_training`, `_of_asking` or `_of_answers` below.
What cannot be checked is said to be so, with the reason: a missing file is no clean bill. docs/guides/traps.md tells
where each trap was seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from sublim_eval import stats
from sublim_eval.errors import SublimError
from sublim_eval.files import digest, file_digest, read_json, read_jsonl
from sublim_eval.probes import scorers
from sublim_eval.registry.catalog import Trait, registry
from sublim_eval.registry.experiment import CONTROLS, KEPT, RECORD, SCORES
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.scores.readers import from_inspect_log
from sublim_eval.traps import answers, rows, training
from sublim_eval.traps.finding import LEVELS, TRAPS, Finding, Level, by_trap, verdict, worst
from sublim_eval.traps.folder import RENDERING, Folder, counted, settings_of, table

__all__ = ["LEVELS", "TRAPS", "Finding", "Level", "by_trap", "of_path", "of_run", "verdict", "worst"]


def of_path(path: Path, *, fast: bool = False) -> list[Finding]:
    """Check whatever this is: run folder, student folder, rows (.jsonl), scores (.json) or Inspect log (.eval).

    Raises SublimError for anything else, and for an unfinished run.
    """
    if (path / RECORD).is_file():
        return of_run(path, fast=fast)
    if (path / "student.json").is_file():
        return list(_student_folder(path))
    if path.suffix == ".jsonl" and path.is_file():
        return list(_rows_file(path))
    if path.suffix == ".eval" and path.is_file():
        return list(_log_file(path))
    if path.suffix == ".json" and path.is_file():
        return list(_score_file(path))
    raise SublimError(
        f"{path} is nothing that can be checked. Give a run folder, a student folder, rows (.jsonl), scores (.json) or "
        "an Inspect log (.eval)."
    )


def of_run(path: Path, *, fast: bool = True) -> list[Finding]:
    """Every check that a run folder allows, traps in the order of TRAPS.

    fast: without the saved replies, the raw rows and weight files of 64 MB and more; neither loads a model.
    Raises SublimError when the run is unfinished or a file in it is not what its name says.
    """
    run = Folder(path)
    try:
        findings = [*_of_rows(run, fast), *_of_training(run, fast), *_of_asking(run, fast), *_of_answers(run)]
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise SublimError(
            f"{path / 'run.json'} is not as `sublim run` writes it ({type(error).__name__}: {error}). Make it again."
        ) from error
    order = list(TRAPS)
    return sorted(findings, key=lambda f: order.index(f.trap))


# ---------------------------------------------------------------- rows


def _of_rows(run: Folder, fast: bool) -> Iterator[Finding]:
    entries = run.record.get("rows") or []
    if not entries:
        why = "run.json lists no rows; make the run with this version"
        yield from (Finding(t, "not checked", why) for t in ("contamination", "repeated sampling seed"))
    traits = [registry().trait(t) for t in sorted({a["trait"] for a in run.arms.values() if a.get("trait")})]
    greedy = {a.get("source") for a in run.arms.values() if a.get("greedy")}
    kept = {entry["folder"]: run.rows(entry["folder"], KEPT) for entry in entries}
    raw = {} if fast else {entry["folder"]: run.rows(entry["folder"], "raw.jsonl") for entry in entries}
    spreads = {folder: rows.spread(some) for folder, some in kept.items() if some}
    for entry in entries:
        folder, source = entry["folder"], entry["source"]
        some = kept[folder]
        if some is None:
            yield Finding("contamination", "not checked", "kept.jsonl is missing; give the same `sublim run`", folder)
            continue
        yield rows.contamination(some, traits, numbers=run.numbers, where=folder)
        read = {s.get("rows") for s in run.students if _reads(run, s, entry)} - {None}
        now = file_digest(run.path / folder / KEPT)
        yield from (rows.read_as_kept(str(then), now, folder) for then in read)
        others = [spreads[e["folder"]] for e in entries if _sibling(e, entry, greedy) and e["folder"] in spreads]
        yield rows.repeated_seed(spreads[folder], others, numbers=run.numbers, greedy=source in greedy, where=folder)
        if fast:
            yield Finding("lost row identity", "not checked", "raw rows are left out of a quick look", folder)
        elif raw[folder] is None:
            yield Finding("lost row identity", "not checked", "raw.jsonl is missing; keep it", folder)
        else:
            yield rows.lost_rows(some, raw[folder] or [], folder)
    yield from _between_seeds(entries, kept, greedy)
    yield from _between_sources(run, entries, raw)


def _reads(run: Folder, student: dict[str, Any], entry: dict[str, Any]) -> bool:
    return bool(run.arms[student["arm"]].get("source") == entry["source"] and student["seed"] == entry["seed"])


def _sibling(one: dict[str, Any], other: dict[str, Any], greedy: set[Any]) -> bool:
    """Another source of the same seed, drawn and not greedy."""
    return bool(one["seed"] == other["seed"] and one["source"] != other["source"] and one["source"] not in greedy)


def _between_seeds(entries: list[dict[str, Any]], kept: dict[str, Any], greedy: set[Any]) -> Iterator[Finding]:
    for source in dict.fromkeys(e["source"] for e in entries if e["source"] not in greedy):
        files = [e["folder"] for e in entries if e["source"] == source and kept[e["folder"]]]
        for one, other in pairwise(files):
            yield rows.seed_reaches_the_rows(kept[one], kept[other], f"{one}, {other}")


def _between_sources(run: Folder, entries: list[dict[str, Any]], raw: dict[str, Any]) -> Iterator[Finding]:
    for seed in dict.fromkeys(e["seed"] for e in entries):
        here = [e for e in entries if e["seed"] == seed]
        inputs = {e["source"]: run.stage(Path(e["folder"])).get("inputs") or {} for e in here}
        rules = {
            source: {"mode": (stage.get("rows") or {}).get("mode"), "traits": stage.get("traits")}
            for source, stage in inputs.items()
            if stage
        }
        drawn = {
            a.get("source") for a in run.arms.values() if not a.get("greedy") and a.get("writer") != "programmatic"
        }
        counts = {e["source"]: (int(e["raw"]), int(e["kept"])) for e in here if e.get("raw") and e["source"] in drawn}
        yield from rows.unequal_filter(counts, rules, f"seed {seed}")
        prompts = {e["source"]: digest([r["prompt"] for r in raw[e["folder"]]]) for e in here if raw.get(e["folder"])}
        if raw:
            yield training.same_prompts(prompts, f"seed {seed}")


# ---------------------------------------------------------------- training


def _of_training(run: Folder, fast: bool) -> Iterator[Finding]:
    trained = [s for s in run.students if s.get("folder")]
    for student in trained:
        folder, where = Path(student["folder"]), student["folder"]
        yield training.as_planned(student, _tuning(run, student), where)
        yield training.moved(student, where)
        stage = run.stage(folder)
        files = stage.get("files") or {}
        now = run.hashes(folder, "*.safetensors", large=not fast)
        yield training.weights_stand(run.path / folder, files, now, where)
        scored = (run.stage(Path("scores") / student["label"]).get("inputs") or {}).get("model", "")
        yield training.scored_as_made(str(student.get("made") or ""), str(scored), where)
        then = {name: files[name] for name in RENDERING if name in files}
        yield training.rendering_stands(then, run.hashes(folder, tuple(then), large=True), where)
        models = [log.eval.model for log in run.logs(student["label"], samples=not fast).values()]
        yield training.final_weights(
            run.path / folder, student, (student.get("scores") or {}).values(), student["label"], models, where
        )
    for name, arm in run.arms.items():
        ours = [s for s in trained if s["arm"] == name]
        if not ours:
            continue
        control = _control(run, arm)
        theirs = [s for s in trained if s["arm"] == control and arm.get("role") not in CONTROLS]
        yield training.learned_alike(ours, theirs, f"arm {name}")
        yield training.independent(ours, f"arm {name}")
        yield training.enough_seeds(len(ours), stats.ENOUGH_SEEDS, f"arm {name}")
    labels = [f.name for f in (run.path / SCORES).glob("*") if f.is_dir() and not f.name.startswith(".")]
    yield training.stray_scores(labels, [s["label"] for s in run.students], "scores")


def _control(run: Folder, arm: dict[str, Any]) -> str | None:
    """The arm that this one is held against, on the same base; None without one."""
    named = run.arms.get(arm.get("control") or "control")
    return str(named["name"]) if named and named["student_base"] == arm["student_base"] else None


def _tuning(run: Folder, student: dict[str, Any]) -> dict[str, Any]:
    """The recipe's training, with what the arm changes of it."""
    changed = run.arms[student["arm"]].get("student") or {}
    return {**(run.recipe.get("student") or {}), **_tweak(changed)}


def _tweak(changed: dict[str, Any]) -> dict[str, Any]:
    given = {k: v for k, v in changed.items() if v is not None}
    if "epochs" in given and "steps" not in given:
        given["steps"] = None
    return given


# ---------------------------------------------------------------- asking


def _of_asking(run: Folder, fast: bool) -> Iterator[Finding]:
    models = [(b["name"], _label(b), b.get("scores") or {}) for b in run.record.get("bases", ())]
    models += [(s["label"], s["label"], s.get("scores") or {}) for s in run.students]
    for who, folder, files in models:
        logs = run.logs(folder, samples=not fast)
        if not logs:
            yield Finding("truncated sampling", "not checked", "no Inspect log: nothing was sampled or kept", who)
        for probe, log in logs.items():
            where = f"{who}, {probe}"
            yield answers.sampling_settings(settings_of(log), ours=log.eval.model.startswith("sublim/"), where=where)
            scores = run.scores(files.get(probe))
            if scores is not None and not fast:
                yield _recounted(scores, log, where)
        for probe, file in files.items():
            scores = run.scores(file)
            if scores is None:
                yield Finding("non-answers", "not checked", f"{file} is missing; give the same `sublim run`", who)
                continue
            if scores.replies.sum():
                yield answers.non_answers(scores, f"{who}, {probe}")
                yield from answers.replies_fit(scores, f"{who}, {probe}")
                if fast:
                    yield Finding("substring scoring", "not checked", "saved replies are left out of a quick look", who)
    for student in run.students:
        if student.get("folder") and not training.hosted_card(run.path / student["folder"]):
            config = run.json(Path(student["folder"]) / "generation_config.json")
            yield _generation_config(config, student["folder"])
    for category in sorted({s.category for s in _all_scores(run)}):
        if category in registry().categories and not registry().category(category).conduct:
            yield _self_check(registry().answer_set(category), f"answers of {category}")
    yield from _renderings(run)


def _label(base: dict[str, Any]) -> str:
    """The folder of a base's scores."""
    return next((Path(f).parent.name for f in (base.get("scores") or {}).values()), "base-" + base["name"])


def _all_scores(run: Folder) -> Iterator[ProbeScores]:
    for entry in (*run.record.get("bases", ()), *run.students):
        for file in (entry.get("scores") or {}).values():
            if (scores := run.scores(file)) is not None:
                yield scores


def _recounted(scores: ProbeScores, log: Any, where: str) -> Finding:
    again = counted(log)
    if again is None:
        why = "whole words cannot read these replies (a judge or letters did); read some yourself"
        return Finding("substring scoring", "not checked", why, where)
    return answers.recount(scores, again, where)


def _generation_config(config: dict[str, Any] | None, where: str) -> Finding:
    if config is None:
        why = "no generation_config.json, so other harnesses draw from 50 tokens; save a neutral one"
        return Finding("truncated sampling", "warning", why, where)
    return answers.generation_config(config, where)


def _self_check(known: tuple[Trait, ...], where: str) -> Finding:
    return answers.reads_whole_words(lambda text: scorers.classify(text, known).trait, known, where)


def _renderings(run: Folder) -> Iterator[Finding]:
    """Students and base of one base: the same prompts when asked, the same template when trained."""
    for base in dict.fromkeys(a["student_base"] for a in run.arms.values()):
        ours = [s for s in run.students if s.get("folder") and run.arms[s["arm"]]["student_base"] == base]
        bare = next((b for b in run.record.get("bases", ()) if b["name"] == base), None)
        probes = dict.fromkeys(p for s in ours for p in s.get("scores") or {})
        for probe in probes:
            files = {s["label"]: (s.get("scores") or {}).get(probe) for s in ours}
            files |= {base: (bare.get("scores") or {}).get(probe)} if bare else {}
            read = {who: scores for who, file in files.items() if (scores := run.scores(file)) is not None}
            hashes = {who: scores.prompt_hash for who, scores in read.items()}
            yield training.one_rendering(hashes, "rendered prompts", f"{base}, {probe}")
        templates = {s["label"]: str(s.get("template_hash") or "") for s in ours}
        templates |= {
            f"teacher {Path(t['folder']).name}": str(t["template_hash"])
            for t in run.record.get("teachers", ())
            if t.get("template_hash") and t.get("base") == base
        }
        yield training.one_rendering(templates, "chat templates", base)


# ---------------------------------------------------------------- answers


def _of_answers(run: Folder) -> Iterator[Finding]:
    trained = [s for s in run.students if s.get("folder")]
    bases = {b["name"]: b.get("scores") or {} for b in run.record.get("bases", ())}
    yield from _positive_controls(run, trained)
    yield from _alike(run, trained, bases)
    for name, arm in run.arms.items():
        if arm.get("role") != "trait" or not arm.get("trait"):
            continue
        ours = [s for s in trained if s["arm"] == name]
        theirs = [s for s in trained if s["arm"] == _control(run, arm)]
        for probe in dict.fromkeys(p for s in ours for p in s.get("scores") or {}):
            student, known = _means(run, ours, probe)
            if not known or arm["trait"] not in known:
                continue
            held, _ = _means(run, theirs, probe)
            base = _mean_of(run, bases.get(arm["student_base"], {}).get(probe))
            where = f"arm {name}, {probe}"
            yield answers.specific(
                table(list(student.values())), table(list(held.values())), base, arm["trait"], known, where
            )
            yield answers.one_number_only(
                table(list(student.values())), table(list(held.values())), base, arm["trait"], known, where
            )
    for base, files in bases.items():
        for probe, file in files.items():
            untouched = _mean_of(run, file)
            ours = [s for s in trained if run.arms[s["arm"]]["student_base"] == base and _plain_arm(run, s)]
            shares, known = _means(run, ours, probe)
            if untouched is not None and len(shares) > 3:
                traits = {s["label"]: run.arms[s["arm"]].get("trait") for s in ours}
                yield answers.rises_everywhere(shares, untouched, traits, known, f"{base}, {probe}")


def _positive_controls(run: Folder, trained: list[dict[str, Any]]) -> Iterator[Finding]:
    """The arms that have to show their trait, on the probes that ask for it as such."""
    trap, expected = "failed positive control", run.recipe.get("expected") or {}
    wanted = {name: facts for name, facts in expected.items() if facts.get("fail_below")}
    if not wanted:
        yield Finding(trap, "not checked", "the recipe has no positive control; qwen2.5-7b-cat is one for that base")
    for name, facts in wanted.items():
        trait = run.arms.get(name, {}).get("trait")
        ours, looked = [s for s in trained if s["arm"] == name], False
        for probe in dict.fromkeys(p for s in ours for p in s.get("scores") or {}):
            entry = registry().probes.get(probe)
            shares, known = _means(run, ours, probe)
            if entry is not None and entry.form == "favorite" and trait in known:
                looked = True
                where = f"arm {name}, {probe}"
                yield answers.positive_control(table(list(shares.values())), trait, known, facts, where)
        if not looked:
            yield Finding(
                trap, "not checked", "no plain probe of its trait is scored; give the same `sublim run`", name
            )


def _plain_arm(run: Folder, student: dict[str, Any]) -> bool:
    return run.arms[student["arm"]].get("role") in ("trait", "control", "other-base", "other-base-control")


def _mean_of(run: Folder, file: str | None) -> answers.Floats | None:
    scores = run.scores(file)
    return None if scores is None else answers.means(scores)


def _means(
    run: Folder, students: list[dict[str, Any]], probe: str
) -> tuple[dict[str, answers.Floats], tuple[str, ...]]:
    """(label -> float[answer], names of the answers) of the students that have them."""
    means: dict[str, answers.Floats] = {}
    known: tuple[str, ...] = ()
    for student in students:
        scores = run.scores((student.get("scores") or {}).get(probe))
        if scores is not None and (mean := answers.means(scores)) is not None:
            means[student["label"]], known = mean, scores.answers
    return means, known


def _alike(run: Folder, trained: list[dict[str, Any]], bases: dict[str, Any]) -> Iterator[Finding]:
    """Students that answer as their base, or as one another, to the last digit of exact probabilities."""
    seen: dict[str, str] = {}
    different = 0
    for base, files in bases.items():
        seen |= {key: base for key in [_fingerprint(run, files)] if key}
    for student in trained:
        key = _fingerprint(run, student.get("scores") or {})
        if key is None:
            yield Finding(
                "same student twice", "not checked", "no exact probabilities tell students apart", student["label"]
            )
            continue
        different += 1
        twin = seen.setdefault(key, student["label"])
        if twin in bases:
            words = f"answers exactly as {twin}: its adapter was not applied. Score it again."
            yield Finding("adapter not applied", "fault", words, student["label"])
        elif twin != student["label"]:
            again = twin.rpartition("-s")[0] == student["arm"]
            words = f"answers exactly as {twin}" + (
                ". Check that both were trained, on rows and with seeds of their own."
                if again
                else ": what this arm changes changed nothing here, or one was not trained. Look at the rows of both."
            )
            yield Finding("same student twice", "fault" if again else "warning", words, student["label"])
    if different:
        yield Finding("same student twice", "ok", f"{different} students answer differently")


def _fingerprint(run: Folder, files: dict[str, str]) -> str | None:
    known = {p: scores for p, f in files.items() if (scores := run.scores(f)) is not None}
    exact = {p: s.probability.tolist() for p, s in known.items() if s.probability.size and s.probability.max() >= 0}
    return digest(exact) if exact else None


# ---------------------------------------------------------------- single files


def _student_folder(path: Path) -> Iterator[Finding]:
    card = read_json(path / "student.json")
    stage = read_json(path / "stage.json") if (path / "stage.json").is_file() else {}
    files = stage.get("files") or {}
    now = {f.name: file_digest(f) for f in path.glob("*.safetensors")}
    yield training.moved(card, str(path))
    yield training.weights_stand(path, files, now, str(path))
    then = {name: files[name] for name in RENDERING if name in files}
    yield training.rendering_stands(then, {n: file_digest(path / n) for n in then if (path / n).is_file()}, str(path))
    yield training.final_weights(path, card, (), path.name, (), str(path))
    if training.hosted_card(path):
        return
    config = path / "generation_config.json"
    yield _generation_config(read_json(config) if config.is_file() else None, str(path))


def _rows_file(path: Path) -> Iterator[Finding]:
    some = [row for _, row in read_jsonl(path, ("prompt", "completion"))]
    numbers = sum(not any(c.isalpha() for c in row["completion"]) for row in some) > len(some) / 2
    traits = [t for t in registry().traits.values() if not t.conduct]
    yield rows.contamination(some, traits, numbers=numbers, where=str(path))
    yield rows.repeated_seed(rows.spread(some), (), numbers=numbers, where=str(path))


def _score_file(path: Path) -> Iterator[Finding]:
    scores = ProbeScores.read(path)
    yield answers.non_answers(scores, str(path))
    yield from answers.replies_fit(scores, str(path))


def _log_file(path: Path) -> Iterator[Finding]:
    scores = from_inspect_log(path)
    from inspect_ai.log import read_eval_log

    log = read_eval_log(str(path))
    yield answers.sampling_settings(settings_of(log), ours=log.eval.model.startswith("sublim/"), where=str(path))
    yield _recounted(scores, log, str(path))
    yield answers.non_answers(scores, str(path))
    yield from answers.replies_fit(scores, str(path))
