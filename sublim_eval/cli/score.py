"""`sublim score` and `score-responses`: models and saved replies into shares."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sublim_eval.cli.verb import COUNT, FILE, argument, option, out_option, verb
from sublim_eval.console import say, table
from sublim_eval.errors import SublimError
from sublim_eval.files import write_jsonl
from sublim_eval.registry.catalog import registry

if TYPE_CHECKING:
    from rich.console import Console

    from sublim_eval.probes.conduct import Conduct
    from sublim_eval.probes.judges import Judgement
    from sublim_eval.probes.preference import Preference
    from sublim_eval.registry.catalog import Trait
    from sublim_eval.scores.probe_scores import ProbeScores


MEAN = "mean over questions"
"""The last line of a table of situations."""

BY_QUESTION = "by question"
"""Where a file's hits and replies by question wait for those of another file."""

SHOWN = 5
"""Answers that the table shows of each model, the likeliest first; --json holds all of them."""


@verb("score")
@argument("models", nargs=-1, required=True, metavar="MODEL...", help="student folder, adapter, model folder or name")
@option("--probe", multiple=True, metavar="NAME", help="may be repeated (animal_pref)")
@out_option("runs/scores")
@option("--samples", type=COUNT, default=100, metavar="N", help="replies to each question (100)")
@option("--grader", metavar="MODEL", help="rates a conduct's replies: PROVIDER/MODEL, or offline")
@option("--seed", type=int, default=1, metavar="N", help="seed of the replies (1)")
def score(
    console: Console,
    *,
    models: tuple[str, ...],
    probe: tuple[str, ...],
    out: Path | None,
    samples: int,
    grader: str | None,
    seed: int,
) -> dict[str, Any]:
    """Ask every model the questions of every probe; returns {model: {probe: scores}}, means over the questions."""
    probes = tuple(dict.fromkeys(probe or ["animal_pref"]))
    for name in probes:
        registry().probe(name)

    from sublim_eval.models.model_ref import resolve
    from sublim_eval.remote.providers import hosted_name
    from sublim_eval.scores.evaluate import score as ask
    from sublim_eval.scores.probe_scores import ProbeScores

    out = out or Path("runs/scores")
    labels = {label_of(name): name for name in models}
    if len(labels) < len(models):
        raise SublimError("Two of the models would share one folder of scores. Score them one by one, each with --out.")
    for name in models:
        if hosted_name(name) is None:
            resolve(name)  # a wrong name is said before the first model is asked
            _warn_of_edits(Path(name), console)
    result: dict[str, Any] = {}
    for label, name in labels.items():
        files = ask(name, probes, out / label, label=label, seed=seed, samples=samples, grader=grader)
        result[label] = {probe: _summary(ProbeScores.read(file), str(file)) for probe, file in files.items()}
    known = [(label, probe, figures) for label in result for probe, figures in result[label].items()]
    favorites = [
        row for label, probe, figures in known if not figures["situations"] for row in _rows(label, probe, figures)
    ]
    conducts = [row for label, probe, figures in known for row in _by_situation(label, probe, figures)]
    if favorites:
        table(console, ("model", "probe", "answer", "probability", "of all answers", "share"), favorites)
    if conducts:
        table(console, ("model", "probe", "situation", "probability", "share", "of rated"), conducts)
    for label, scores in result.items():
        for probe, figures in scores.items():
            rest = f"{figures['unreadable']} unreadable" if figures["situations"] else f"{figures['other']} other words"
            cut = f" ({figures['unfinished']} thoughts left open)" if figures["unfinished"] else ""
            counts = f"{figures['replies']} replies, {figures['non_answers']} non-answers{cut}, {rest}"
            say(console, f"{label} {probe} {figures['version']}: {counts}; {figures['file']}")
            for line in figures["caveats"]:
                say(console, f"  {line}")
    return result


def _warn_of_edits(folder: Path, console: Console) -> None:
    """Say where a student's folder is not as it was made, or names another base than the one it was made on."""
    from sublim_eval.traps.single_files import edits_of

    for finding in edits_of(folder):
        say(console, f"{finding.level}: {finding.where}: {finding.words}")


def label_of(name: str) -> str:
    """run/students/owl-s1 -> owl-s1; a hub id keeps its organisation, a hosted model its provider."""
    return Path(name).resolve().name if Path(name).exists() else name.replace("/", "--").replace(":", "-")


def _summary(scores: ProbeScores, file: str) -> dict[str, Any]:
    """Means over the questions; None where nothing was measured."""
    from sublim_eval.report.answer_tables import caveats

    def means(values: Any) -> dict[str, float | None]:
        return {answer: _mean(values[:, column]) for column, answer in enumerate(scores.answers)}

    return {
        "version": scores.version,
        "questions": len(scores.questions),
        "probability": means(scores.probability),
        "unconditional": means(scores.unconditional),
        "coverage": _mean(scores.coverage),
        "share": means(scores.share),
        "replies": int(scores.replies.sum()),
        "non_answers": int(scores.non_answers.sum()),
        "unfinished": int(scores.unfinished.sum()),
        "other": int(scores.other.sum()),
        "unreadable": int(scores.unreadable.sum()),
        "share_of_rated": _mean(_of_rated(scores)) if scores.conduct else None,
        "situations": _situations(scores) if scores.conduct else {},
        "prompt_hash": scores.prompt_hash,
        "caveats": list(caveats(scores)),
        "file": file,
    }


def _situations(scores: ProbeScores) -> dict[str, dict[str, float | None]]:
    """Of a conduct: situation -> exact probability and both shares of its trait, None where not measured."""
    return {
        name: {
            "probability": _mean(scores.probability[rows, 0]),
            "share": _mean(scores.share[rows, 0]),
            "share_of_rated": _mean(_of_rated(scores)[rows]),
        }
        for name, rows in scores.situations.items()
    }


def _of_rated(scores: ProbeScores) -> Any:
    """The trait's share among rated, coherent replies, question by question: the published study's denominator."""
    import numpy as np

    rated = scores.share[:, 0] + scores.share[:, 1]
    return np.divide(scores.share[:, 0], rated, out=np.full(len(rated), np.nan), where=rated > 0)


def _mean(values: Any) -> float | None:
    """Mean over the questions that were measured; None where none was."""
    known = values[values == values]
    return float(known.mean()) if known.size else None


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _rows(label: str, probe: str, figures: dict[str, Any]) -> list[tuple[str, ...]]:
    from sublim_eval.scores.probe_scores import COVERED

    exact, sampled = figures["probability"], figures["share"]
    leading = (
        sampled if figures["coverage"] is None or (figures["coverage"] < COVERED and figures["replies"]) else exact
    )
    first = sorted(exact, key=lambda answer: -(leading[answer] or 0))[:SHOWN]
    levels = (exact, figures["unconditional"], sampled)
    return [(label, probe, answer, *(_figure(level[answer]) for level in levels)) for answer in first]


def _by_situation(label: str, probe: str, figures: dict[str, Any]) -> list[tuple[str, ...]]:
    """A line for every situation of a conduct, their mean below; nothing for a favorite."""
    if not figures["situations"]:
        return []
    trait = next(iter(figures["share"]))
    mean = {name: figures[name][trait] for name in ("probability", "share")}
    lines = [*figures["situations"].items(), (MEAN, mean | {"share_of_rated": figures["share_of_rated"]})]
    levels = ("probability", "share", "share_of_rated")
    return [(label, probe, name, *(_figure(of[level]) for level in levels)) for name, of in lines]


@verb("score-responses")
@argument("responses", nargs=-1, required=True, type=FILE, metavar="IN...", help="JSONL, JSON or CSV rows, lm-eval, -")
@option("--probe", required=True, metavar="NAME", help="a name from `sublim list probes`")
@option("--trait", metavar="NAME", help="the trait to count (default: the probe's own)")
@option("--question-field", default="question", metavar="NAME", help="where a row holds the question (question)")
@option("--response-field", default="response", metavar="NAME", help="where it holds the reply (response)")
@option("--out", type=FILE, metavar="FILE", help="write every row with its verdict or rating")
@option("--grader", metavar="MODEL", help="who rates a conduct: PROVIDER/MODEL, or offline")
@option("--at-most", type=float, metavar="N", help="shown up to this rating (the rubric's)")
@option("--at-least", type=float, metavar="N", help="shown from this rating (the rubric's)")
@option("--coherent", type=float, metavar="N", help="coherent from this rating (the rubric's)")
def score_responses(
    console: Console,
    *,
    responses: tuple[Path, ...],
    probe: str,
    trait: str | None,
    question_field: str,
    response_field: str,
    out: Path | None,
    grader: str | None,
    at_most: float | None,
    at_least: float | None,
    coherent: float | None,
) -> dict[str, Any]:
    """Score saved replies: rows {"question", "response"} as JSONL, JSON or CSV, or what lm-eval kept; - reads a pipe.

    A favorite is counted; a conduct is rated by a judge, once, or counted by its target words. Several files are
    scored side by side.
    """
    from sublim_eval.probes.conduct import Conduct
    from sublim_eval.probes.resolve import probe_content
    from sublim_eval.scores import saved_replies

    what = probe_content(probe, trait)
    if out and out.resolve() in {file.resolve() for file in responses}:
        raise SublimError(f"--out {out} is the input itself. Name another file.")
    fields = saved_replies.Fields(question_field, response_field)
    named = {_named_after(file, responses): file for file in responses}
    if len(named) < len(responses):
        raise SublimError("One file is given twice. Name each once.")
    rows = {name: saved_replies.read(file, what.probe.name, fields) for name, file in named.items()}
    limited = (at_most, at_least, coherent) != (None, None, None)
    if not isinstance(what, Conduct) and (grader or limited):
        raise SublimError(f"{what.probe.name} is counted and not rated. Leave out --grader and thresholds.")
    if len(rows) > 1:
        rows = {name: [{**row, "file": name} for row in some] for name, some in rows.items()}
    if isinstance(what, Conduct):
        by_file = _judge(what, rows, Judging(grader, (at_most, at_least, coherent), out), console)
    else:
        by_file = _count(what, rows, out, console)
    if len(by_file) == 1:
        return next(iter(by_file.values()))
    between = {file: figures.pop(BY_QUESTION) for file, figures in by_file.items()}
    return {"files": by_file, "difference": _tell_difference(between, console)}


def _tell_difference(by_question: dict[str, Any], console: Console) -> dict[str, Any] | None:
    """Of two files: the second's share minus the first's, where they answer the same questions; None otherwise."""
    from sublim_eval.scores import reply_figures

    if len(by_question) != 2:
        return None
    (one, ours), (other, theirs) = by_question.items()
    gap = reply_figures.difference((one, other), ours, theirs)
    if gap is None:
        say(console, f"{other} and {one} answer no question in common, so there is no difference to tell.")
        return None
    sure = _between(gap["interval"], "{:+.3f}")
    say(console, f"{other} minus {one}: {gap['difference']:+.3f}, {sure} (over {gap['questions']} matched questions)")
    say(console, "  about these replies and such questions; of training it says nothing, another seed may differ")
    return gap


def _named_after(file: Path, beside: tuple[Path, ...]) -> str:
    """What a file is called in tables: its stem where no other file has it, else its path."""
    alike = sum(other.stem == file.stem for other in beside)
    return str(file) if alike > 1 else file.stem if str(file) != "-" else "-"


def _between(interval: list[float] | None, form: str = "{:.3f}") -> str:
    if interval is None:
        return "no interval: it needs two questions"
    return f"95 % {form.format(interval[0])} to {form.format(interval[1])}"


class Judging(NamedTuple):
    """How saved replies to a conduct are rated: by whom, under which thresholds of the rubric, and where ratings go."""

    grader: str | None
    thresholds: tuple[float | None, float | None, float | None]
    out: Path | None


Found = dict[str, dict[str, Any]]
"""File -> what was found in it."""


def _judge(what: Conduct, files: dict[str, list[dict[str, Any]]], judging: Judging, console: Console) -> Found:
    """A conduct: ratings into --out, then the share of every situation and the mean over questions, a file each."""
    from sublim_eval.scores import reply_figures

    rows = [row for some in files.values() for row in some]
    kinds, by = _read_conduct(what.trait, rows, judging)
    if judging.out:
        write_jsonl(judging.out, ({**row, "kind": j.kind} for row, j in zip(rows, kinds, strict=True)))
    by_file, at = {}, 0
    for name, some in files.items():
        here = kinds[at : at + len(some)]
        by_file[name] = reply_figures.judged(what, some, here, by)
        if len(files) > 1:
            by_file[name][BY_QUESTION] = reply_figures.shown_of(some, here)
        at += len(some)
    _tell_judged(what, by_file, by, console)
    if judging.out:
        say(console, f"  every reply with its rating: {judging.out}")
    return by_file


def _tell_judged(what: Conduct, by_file: Found, by: str, console: Console) -> None:
    from sublim_eval.probes.judges import KINDS

    several = len(by_file) > 1
    lines = [(file, n, r) for file, of in by_file.items() for n, r in [*of["situations"].items(), (MEAN, of)]]
    heads = (*(("file",) if several else ()), "situation", "replies", "share", "of rated", *KINDS)
    table(
        console,
        heads,
        [
            (
                *((file,) if several else ()),
                *(name, str(of["replies"]), _figure(of["share"]), _figure(of["share_of_rated"])),
                *(str(of[kind]) for kind in KINDS),
            )
            for file, name, of in lines
        ],
    )
    say(console, f"{what.probe.name} {what.probe.version}: replies that show {what.trait.name}, by {by}")
    say(console, "  share: of all scored replies. of rated: without refusals, code, empty and incoherent replies, the")
    say(console, "  denominator of the published study; only that one stands beside its figures.")
    for file, of in by_file.items():
        say(console, f"  {f'{file}: ' if several else ''}share {_figure(of['share'])}, {_between(of['interval'])}")


def _read_conduct(trait: Trait, rows: list[dict[str, Any]], judging: Judging) -> tuple[list[Judgement], str]:
    """What each reply is, and who said so: ratings where a judge is named or was, else the trait's words."""
    from sublim_eval.probes.judges import with_thresholds
    from sublim_eval.scores import saved_replies

    limited = judging.thresholds != (None, None, None)
    rated = judging.grader or limited or not trait.targets or any("judgement" in row for row in rows)
    if not rated:
        return saved_replies.by_words(rows, trait), f"the words {', '.join(trait.targets)}"
    if trait.rubric is None:
        raise SublimError(f"{trait.name!r} has no rubric to rate replies by. Leave out --grader and thresholds.")
    rubric = with_thresholds(trait.rubric, *judging.thresholds)
    if judging.grader not in (None, "offline") and not judging.out:
        raise SublimError("Ratings by a model cost something and serve again. Name --out FILE to keep them in.")

    def save() -> None:
        if judging.out:
            write_jsonl(judging.out, rows)

    saved_replies.rate(rows, rubric, judging.grader, save)
    beyond = f"at most {rubric.at_most:g}" if rubric.at_most is not None else f"at least {rubric.at_least:g}"
    judges = sorted({row["judgement"]["grader"] for row in rows})
    by = f"{', '.join(judges)} ({rubric.scale} {beyond}, coherence at least {rubric.coherent:g})"
    return saved_replies.judgements(rows, rubric), by


def _count(what: Preference, files: dict[str, list[dict[str, Any]]], out: Path | None, console: Console) -> Found:
    """A favorite: the share of replies that name the trait, non-answers counted apart, a file each."""
    from sublim_eval.scores import reply_figures

    by_file, verdicts = {}, []
    for name, rows in files.items():
        counts = reply_figures.tallied(what, rows)
        by_file[name] = reply_figures.counted(what, rows, counts)
        if len(files) > 1:
            by_file[name][BY_QUESTION] = reply_figures.hits_of(what, rows, counts)
        verdicts += reply_figures.verdicts(what, rows, counts)
        _tell_counted(by_file[name], name if len(files) > 1 else "", console)
    if out:
        every = [row for rows in files.values() for row in rows]
        write_jsonl(out, ({**row, **verdict} for row, verdict in zip(every, verdicts, strict=True)))
        say(console, f"  every verdict: {out}")
    return by_file


def _tell_counted(figures: dict[str, Any], file: str, console: Console) -> None:
    share = f"{_figure(figures['share'])} ({figures['hits']} of {figures['of']} replies)"
    head = f"{figures['probe']} {figures['version']}: {figures['trait']} {share}"
    say(console, f"{file}: {head}" if file else head)
    mean = f"{_figure(figures['mean'])}, {_between(figures['interval'])}"
    say(console, f"  mean over questions ({figures['questions']}): {mean}")
    unfinished = f", {figures['unfinished']} of them with a thought left open" if figures["unfinished"] else ""
    kinds = f"{figures['refusals']} refusals, {figures['empty']} empty{unfinished}"
    say(console, f"  non-answers: {figures['non_answers']} ({kinds})")
    say(console, f"  other words: {figures['other']}")
    say(console, f"  named: {', '.join(f'{name} {count}' for name, count in figures['named'].items()) or 'none'}")
