"""The traps that fooled others, as checks over a run folder.

    from sublim_eval.traps import checks
    findings = checks.of_run(Path("runs/quickstart"))
    checks.worst(findings)   # "ok", "not checked", "warning" or "fault"

Every check is a pure function in records.py, rows.py, copies.py, training.py, weights.py, answers.py or evidence.py;
this file hands each what lies in the folder, and single.py does so for a single student, file or log. A further trap
is a name in finding.TRAPS, a function in the one of those that it belongs to, and its call in `_of_records`,
`_of_rows`, `_of_training`, `_of_asking` or `_of_answers` below.
What cannot be checked is said to be so, with the reason: a missing file is no clean bill. docs/guides/traps.md tells
where each trap was seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from sublim_eval import stats
from sublim_eval.errors import SublimError
from sublim_eval.files import digest, read_json
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.experiment import CONTROLS, KEPT, RECORD, SCORES, STUDENTS, seeded
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.traps import answers, copies, evidence, records, rows, single_files, training, weights
from sublim_eval.traps.finding import LEVELS, TRAPS, Finding, Level, by_trap, looked_at, verdict, worst
from sublim_eval.traps.folder import RENDERING, Folder, defaults_of, settings_of, table

__all__ = ["LEVELS", "TRAPS", "Finding", "Level", "by_trap", "looked_at", "of_path", "of_run", "verdict", "worst"]

LOOKS = "looks.json"
"""Where `sublim compare` writes down when it looked at a run, and at which seeds."""


def of_path(path: Path, *, fast: bool = False) -> list[Finding]:
    """Check whatever this is: run folder, student folder, rows (.jsonl), scores (.json), table of counts (.csv) or
    Inspect log (.eval).

    Raises SublimError for anything else, and for what cannot be read, such as an unfinished run.
    """
    if (path / RECORD).is_file():
        return of_run(path, fast=fast)
    return single_files.of_path(path, fast=fast)


def of_run(path: Path, *, fast: bool = True, read: weights.Read = weights.read_aloud) -> list[Finding]:
    """Every check that a run folder allows, traps in the order of TRAPS.

    fast: without the saved replies, the raw rows and weight files of 64 MB and more, and without loading a model.
    read: what a model makes of some rows. Raises SublimError when the run is unfinished or a file in it is not what
    its name says.
    """
    run = Folder(path)
    try:
        findings = [
            *(() if fast else _of_logits(run, read)),  # first: loading a model walks through all that is in memory
            *_of_records(run, fast),
            *_of_rows(run, fast),
            *_of_training(run, fast),
            *_of_asking(run, fast),
            *_of_answers(run),
            *_of_evidence(run),
        ]
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError, OSError) as error:
        raise SublimError(
            f"{path / 'run.json'} is not as `sublim run` writes it ({type(error).__name__}: {error}). Make it again."
        ) from error
    again = "Give the same `sublim run` again, which makes it anew."
    findings += [Finding("edited afterwards", "fault", f"{why} {again}", file) for file, why in run.broken.items()]
    findings += [Finding("substring scoring", "not checked", why, file) for file, why in run.torn.items()]
    if fast:
        why = "a quick look loads no model; run `sublim check`"
        findings.append(Finding("adapter silently not applied", "not checked", why))
    order = list(TRAPS)
    return sorted(findings, key=lambda f: order.index(f.trap))


# ---------------------------------------------------------------- records


def _of_records(run: Folder, fast: bool) -> Iterator[Finding]:
    record = run.record
    yield records.recipe_stands(record)
    staged = any(b.get("weights_hash") for b in record.get("bases", ()))
    for entry, folder, wanted in _stages(run):
        stage, now = run.stage_record(folder), run.written(folder, large=not fast)
        recorded = bool(entry.get("made")) if entry else staged
        yield records.stage_stands(stage, entry, now, wanted, str(folder), recorded=recorded)
    planned = [
        (name, seed)
        for name, arm in run.arms.items()
        for seed in (arm["seeds"] if isinstance(arm.get("seeds"), list) else run.recipe.get("seeds") or ())
    ]
    yield records.complete([(s["arm"], s["seed"]) for s in record["students"]], planned)
    labels = [s["label"] for s in run.students]
    known = [*labels, *(seeded(s["arm"], s["seed"]) for s in record["students"])]
    bases = [_label(b) for b in record.get("bases", ())]
    yield records.unlisted(run.folders(STUDENTS), known, "students", STUDENTS)
    scored = [name for name in run.folders(SCORES) if not any(name.startswith(label + "-") for label in labels)]
    yield records.unlisted(scored, [*known, *bases], "scores", SCORES)
    yield records.listed_once(run.students, _weights_of(run, fast))
    yield from _lineages(run)


def _lineages(run: Folder) -> Iterator[Finding]:
    """Students and teachers by what their own folders say of them."""
    hashes = {b["name"]: str(b.get("weights_hash") or "") for b in run.record.get("bases", ())}
    for student in run.students:
        if student.get("folder"):
            folder, arm = student["folder"], run.arms[student["arm"]]
            wanted = {"arm": student["arm"], "trait": arm.get("trait"), "base": arm["student_base"]}
            wanted |= {"teacher_base": arm.get("teacher_base") or run.recipe.get("base")}
            yield _lineage(run, folder, wanted)
            trained_on = str((run.stage(Path(folder)).get("inputs") or {}).get("base") or "")
            yield records.base_weights(trained_on, hashes.get(arm["student_base"], ""), folder)
    for teacher in run.record.get("teachers", ()):
        if run.json(Path(teacher["folder"]) / "student.json"):
            wanted = {name: teacher[name] for name in ("trait", "base") if name in teacher}
            if wanted.get("trait") == "neutral":  # the record's word for a teacher of no trait
                wanted["trait"] = None
            yield _lineage(run, teacher["folder"], wanted)


def _lineage(run: Folder, folder: str, wanted: dict[str, Any]) -> Finding:
    card = run.json(Path(folder) / "student.json") or {}
    return records.lineage(card, run.json(Path(folder) / "adapter_config.json"), wanted, folder)


def _stages(run: Folder) -> Iterator[tuple[dict[str, Any], Path, list[str]]]:
    """(run.json's line, folder, files that it has to list) of every stage of the run."""
    for entry in run.record.get("rows") or ():
        yield entry, Path(entry["folder"]), [KEPT, "raw.jsonl"]
    for entry in run.record.get("teachers") or ():
        yield entry, Path(entry["folder"]), [Path(f).name for f in (entry.get("scores") or {}).values()]
    ran = [s for s in run.record["students"] if not s.get("failed")]
    for entry in ran:
        if entry.get("folder"):
            yield entry, Path(entry["folder"]), ["student.json"]
    for entry in (*run.record.get("bases", ()), *ran):
        if files := list((entry.get("scores") or {}).values()):
            yield {}, Path(files[0]).parent, [Path(f).name for f in files]


def _weights_of(run: Folder, fast: bool) -> dict[str, str]:
    """Label -> digest of a student's weight files, of those that are small enough."""
    trained = [s for s in run.students if s.get("folder")]
    hashes = {s["label"]: run.hashes(Path(s["folder"]), "*.safetensors", large=not fast) for s in trained}
    return {label: digest(files) for label, files in hashes.items() if files}


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
        yield rows.hidden_names(some, traits, folder)
        wrote = raw.get(folder)
        yield records.rows_counted(entry, len(some), None if wrote is None else len(wrote), folder)
        yield copies.own_ids(some, seeded(source, entry["seed"]), folder)
        read = {s.get("rows") for s in run.students if _reads(run, s, entry)} - {None}
        now = run.digest(run.path / folder / KEPT)
        yield from (rows.read_as_kept(str(then), now, folder) for then in read)
        others = [spreads[e["folder"]] for e in entries if _sibling(e, entry, greedy) and e["folder"] in spreads]
        yield rows.repeated_seed(spreads[folder], others, numbers=run.numbers, greedy=source in greedy, where=folder)
        if fast:
            yield Finding("lost row identity", "not checked", "raw rows are left out of a quick look", folder)
        elif raw[folder] is None:
            yield Finding("lost row identity", "not checked", "raw.jsonl is missing; keep it", folder)
        else:
            yield rows.lost_rows(some, raw[folder] or [], folder)
    yield from _copies(entries, kept, greedy, run.numbers)
    yield from _between_sources(run, entries, raw)


def _reads(run: Folder, student: dict[str, Any], entry: dict[str, Any]) -> bool:
    return bool(run.arms[student["arm"]].get("source") == entry["source"] and student["seed"] == entry["seed"])


def _sibling(one: dict[str, Any], other: dict[str, Any], greedy: set[Any]) -> bool:
    """Another source of the same seed, drawn and not greedy."""
    return bool(one["seed"] == other["seed"] and one["source"] != other["source"] and one["source"] not in greedy)


def _copies(entries: list[dict[str, Any]], kept: dict[str, Any], greedy: set[Any], numbers: bool) -> Iterator[Finding]:
    """Every two files of one source, and of one seed, that should hold rows of their own."""
    drawn = [e for e in entries if e["source"] not in greedy and kept[e["folder"]]]
    sketches = {e["folder"]: copies.sketch(kept[e["folder"]]) for e in drawn}
    for one, other in combinations(drawn, 2):
        who = "seeds" if one["source"] == other["source"] else "sources"
        where = f"{one['folder']}, {other['folder']}"
        yield copies.copied_rows(sketches[one["folder"]], sketches[other["folder"]], who, numbers=numbers, where=where)


def _between_sources(run: Folder, entries: list[dict[str, Any]], raw: dict[str, Any]) -> Iterator[Finding]:
    for seed in dict.fromkeys(e["seed"] for e in entries):
        here = [e for e in entries if e["seed"] == seed]
        greedy = {a.get("source") for a in run.arms.values() if a.get("greedy")}
        modelled = {a.get("source") for a in run.arms.values() if a.get("writer") != "programmatic"}
        rules = {
            e["source"]: rule
            for e in here
            if (rule := _rule(run.stage(Path(e["folder"])), e["source"] in greedy, e["source"] in modelled))
        }
        drawn = modelled - greedy
        counts = {e["source"]: (int(e["raw"]), int(e["kept"])) for e in here if e.get("raw") and e["source"] in drawn}
        yield from rows.unequal_filter(counts, rules, f"seed {seed}")
        prompts = {e["source"]: digest([r["prompt"] for r in raw[e["folder"]]]) for e in here if raw.get(e["folder"])}
        if raw:
            yield training.same_prompts(prompts, f"seed {seed}")


def _rule(stage: dict[str, Any], greedy: bool, modelled: bool) -> dict[str, Any]:
    """How a source's rows were drawn and filtered, as its stage says; what its arm openly does otherwise left out."""
    inputs = stage.get("inputs") or {}
    rule = {**(inputs.get("rows") or {}), "traits": inputs.get("traits"), "modality": inputs.get("modality")}
    screen = stage.get("screen") or {}
    rule |= {f"judge's {name}": screen.get(name) for name in ("grader", "asked", "least") if name in screen}
    if modelled:
        written = stage.get("written") or {}
        names = ("sampler", "seeds", "model", "top_p", "top_k", *(() if greedy else ("temperature",)))
        rule |= {name: written[name] for name in names if name in written}
    return rule if inputs else {}


# ---------------------------------------------------------------- training


def _of_training(run: Folder, fast: bool) -> Iterator[Finding]:
    trained = [{**s, "tuning": (s.get("inputs") or {}).get("tuning")} for s in run.students if s.get("folder")]
    for student in trained:
        folder, where = Path(student["folder"]), student["folder"]
        stage = run.stage(folder)
        yield training.as_planned(student, _tuning(run, student), where)
        yield training.tuned_as_planned((stage.get("inputs") or {}).get("tuning"), _tuning(run, student), where)
        yield training.moved(student, where)
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
        yield training.independent(ours, _teachers(run, arm), f"arm {name}")
        yield training.enough_seeds(len(ours), stats.ENOUGH_SEEDS, f"arm {name}")
    yield training.earlier_scores(run.folders(SCORES), [s["label"] for s in run.students], SCORES)


def _control(run: Folder, arm: dict[str, Any]) -> str | None:
    """The arm that this one is held against, on the same base; None without one."""
    named = run.arms.get(arm.get("control") or "control")
    return str(named["name"]) if named and named["student_base"] == arm["student_base"] else None


def _teachers(run: Folder, arm: dict[str, Any]) -> int:
    """How many different teachers wrote the rows of an arm's students, 0 where nobody taught them or it is unknown."""
    if arm.get("taught_by"):
        return sum(s["arm"] == arm["taught_by"] for s in run.students)
    home, who = run.recipe.get("base"), "neutral" if arm.get("writer") == "neutral" else arm.get("trait")
    whose = (who, arm.get("teacher_base") or home)
    made = [t for t in run.record.get("teachers", ()) if (t.get("trait"), t.get("base") or home) == whose]
    return len({str(t.get("made") or t.get("folder")) for t in made})


def _tuning(run: Folder, student: dict[str, Any]) -> dict[str, Any]:
    """The recipe's training, with what the arm changes of it."""
    changed = run.arms[student["arm"]].get("student") or {}
    return {**(run.recipe.get("student") or {}), **_tweak(changed)}


def _tweak(changed: dict[str, Any]) -> dict[str, Any]:
    given = {k: v for k, v in changed.items() if v is not None}
    if "epochs" in given and "steps" not in given:
        given["steps"] = None
    return given


def _of_logits(run: Folder, read: weights.Read) -> Iterator[Finding]:
    """What each student makes of rows that its base wrote, beside what base and control make of them."""
    trap = "adapter silently not applied"
    trained = [s for s in run.students if s.get("folder")]
    pairs = _plain_rows(run)
    logs: dict[str, Any] = {}
    for student in trained:
        place, base = run.path / student["folder"], run.arms[student["arm"]]["student_base"]
        if training.hosted_card(place) or not pairs:
            why = "the provider holds the weights" if pairs else "no rows of the base to read; add a control arm"
            yield Finding(trap, "not checked", why, student["label"])
            continue
        try:
            for name in (base, str(place)):
                if name not in logs:
                    logs[name] = read(name, pairs)
        except SublimError as error:
            yield Finding(trap, "not checked", str(error), student["label"])
            continue
        yield weights.moves_logits(logs[str(place)], logs[base], student["label"])
    for name, arm in run.arms.items():
        ours, theirs = (
            [-float(logs[p].mean()) for s in trained if s["arm"] == who and (p := str(run.path / s["folder"])) in logs]
            for who in (name, _control(run, arm))
        )
        base = arm["student_base"]
        if ours and theirs and base in logs and arm.get("role") not in CONTROLS:
            means = (sum(ours) / len(ours), sum(theirs) / len(theirs), -float(logs[base].mean()))
            yield weights.still_able(*means, f"arm {name}")


def _plain_rows(run: Folder) -> list[tuple[str, str]]:
    """Rows for a model to read: the base's own where a control has some, else any."""
    sources = {a.get("source") for a in run.arms.values() if a.get("role") in CONTROLS}
    entries = sorted(run.record.get("rows") or (), key=lambda e: e["source"] not in sources)
    some = next((kept for e in entries if (kept := run.rows(e["folder"], KEPT))), [])
    return [(row["prompt"], row["completion"]) for row in some[: weights.ASKED]]


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
            defaults = defaults_of(log, run.path / SCORES / folder)
            yield answers.sampling_settings(settings_of(log), model=log.eval.model, defaults=defaults, where=where)
            scores = run.scores(files.get(probe))
            if scores is not None and not fast:
                yield single_files.recounted(scores, log, where)
        for probe, file in files.items():
            scores = run.scores(file)
            if scores is None:
                yield Finding(
                    "non-answers", "not checked", f"{file} is missing or broken; give the same `sublim run`", who
                )
                continue
            yield answers.barely_covered(scores, f"{who}, {probe}")
            if scores.replies.sum():
                yield answers.non_answers(scores, f"{who}, {probe}")
                yield from answers.replies_fit(scores, f"{who}, {probe}")
                if fast:
                    yield Finding("substring scoring", "not checked", "saved replies are left out of a quick look", who)
    for student in run.students:
        if student.get("folder") and not training.hosted_card(run.path / student["folder"]):
            config = run.json(Path(student["folder"]) / "generation_config.json")
            yield single_files.generation_config(config, student["folder"])
    for category in sorted({s.category for s in _all_scores(run)}):
        if category in registry().categories and not registry().category(category).conduct:
            yield single_files.self_check(registry().answer_set(category), f"answers of {category}")
    yield from _renderings(run)


def _label(base: dict[str, Any]) -> str:
    """The folder of a base's scores."""
    return next((Path(f).parent.name for f in (base.get("scores") or {}).values()), "base-" + base["name"])


def _all_scores(run: Folder) -> Iterator[ProbeScores]:
    for entry in (*run.record.get("bases", ()), *run.students):
        for file in (entry.get("scores") or {}).values():
            if (scores := run.scores(file)) is not None:
                yield scores


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
    read = {who: _read(run, files) for who, files in bases.items()}
    students = {
        s["label"]: (s["arm"], run.arms[s["arm"]]["student_base"], _read(run, s.get("scores"))) for s in trained
    }
    yield from copies.students_alike(students, read)
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


def _read(run: Folder, files: dict[str, str] | None) -> dict[str, ProbeScores]:
    """Probe -> scores, of those that are there."""
    return {probe: scores for probe, file in (files or {}).items() if (scores := run.scores(file)) is not None}


# ---------------------------------------------------------------- evidence


def _of_evidence(run: Folder) -> Iterator[Finding]:
    """What stands beside the verdict: what students can still do, and how often they were looked at."""
    for name, arm in run.arms.items():
        ours = [s for s in run.students if s["arm"] == name]
        if arm.get("role") in CONTROLS or not ours:
            continue
        theirs = [s for s in run.students if s["arm"] == _control(run, arm)]
        for probe in dict.fromkeys(p for s in ours for p in s.get("scores") or {}):
            arms = [_read(run, s.get("scores")) for s in ours], [_read(run, s.get("scores")) for s in theirs]
            scores = [[one[probe] for one in some if probe in one] for some in arms]
            yield evidence.answers_still(scores[0], scores[1], f"arm {name}, {probe}")
        if theirs:
            yield evidence.abilities_kept(_abilities(run, ours), _abilities(run, theirs), f"arm {name}")
    looks = read_json(run.path / LOOKS) if (run.path / LOOKS).is_file() else None
    yield evidence.several_looks(looks, LOOKS)


def _abilities(run: Folder, students: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `sublim abilities --out RUN/scores` left of some students, suite by suite."""
    files = [f for s in students for f in sorted((run.path / SCORES / s["label"] / "abilities").glob("*.json"))]
    return [record for f in files if "tasks" in (record := run.json(f.relative_to(run.path)) or {})]
