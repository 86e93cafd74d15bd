"""`sublim score` and `score-responses`: models and saved replies into shares."""

from __future__ import annotations

from collections import Counter
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
        table(console, ("model", "probe", "situation", "probability", "share"), conducts)
    for label, scores in result.items():
        for probe, figures in scores.items():
            rest = f"{figures['unreadable']} unreadable" if figures["situations"] else f"{figures['other']} other words"
            counts = f"{figures['replies']} replies, {figures['non_answers']} non-answers, {rest}"
            say(console, f"{label} {probe} {figures['version']}: {counts}; {figures['file']}")
            for line in figures["caveats"]:
                say(console, f"  {line}")
    return result


def _warn_of_edits(folder: Path, console: Console) -> None:
    """Say where a student's folder is not as it was made, or names another base than the one it was made on."""
    from sublim_eval.traps.single import edits_of

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
        "other": int(scores.other.sum()),
        "unreadable": int(scores.unreadable.sum()),
        "situations": _situations(scores) if scores.conduct else {},
        "prompt_hash": scores.prompt_hash,
        "caveats": list(caveats(scores)),
        "file": file,
    }


def _situations(scores: ProbeScores) -> dict[str, dict[str, float | None]]:
    """Of a conduct: situation -> exact probability and share of its trait, None where not measured."""
    return {
        name: {"probability": _mean(scores.probability[rows, 0]), "share": _mean(scores.share[rows, 0])}
        for name, rows in scores.situations.items()
    }


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
    mean = {"probability": figures["probability"][trait], "share": figures["share"][trait]}
    lines = [*figures["situations"].items(), (MEAN, mean)]
    return [(label, probe, name, _figure(of["probability"]), _figure(of["share"])) for name, of in lines]


@verb("score-responses")
@argument("responses", type=FILE, metavar="IN", help='rows {"question", "response"}, lm-eval samples or their folder')
@option("--probe", required=True, metavar="NAME", help="a name from `sublim list probes`")
@option("--trait", metavar="NAME", help="the trait to count (default: the probe's own)")
@option("--out", type=FILE, metavar="FILE", help="write every row with its verdict or rating")
@option("--grader", metavar="MODEL", help="who rates a conduct: PROVIDER/MODEL, or offline")
@option("--at-most", type=float, metavar="N", help="shown up to this rating (the rubric's)")
@option("--at-least", type=float, metavar="N", help="shown from this rating (the rubric's)")
@option("--coherent", type=float, metavar="N", help="coherent from this rating (the rubric's)")
def score_responses(
    console: Console,
    *,
    responses: Path,
    probe: str,
    trait: str | None,
    out: Path | None,
    grader: str | None,
    at_most: float | None,
    at_least: float | None,
    coherent: float | None,
) -> dict[str, Any]:
    """Score saved replies: rows {"question", "response"}, an lm-eval samples file or its folder.

    A favorite is counted; a conduct is rated by a judge, once, or counted by its target words.
    """
    from sublim_eval.probes.conduct import Conduct
    from sublim_eval.probes.resolve import probe_content
    from sublim_eval.scores import saved_replies

    what = probe_content(probe, trait)
    if out and out.resolve() == responses.resolve():
        raise SublimError(f"--out {out} is the input itself. Name another file.")
    rows = saved_replies.read(responses, what.probe.name)
    if isinstance(what, Conduct):
        return _judge(what, rows, Judging(grader, (at_most, at_least, coherent), out), console)
    if grader or (at_most, at_least, coherent) != (None, None, None):
        raise SublimError(f"{what.probe.name} is counted and not rated. Leave out --grader and thresholds.")
    return _count(what, rows, out, console)


class Judging(NamedTuple):
    """How saved replies to a conduct are rated: by whom, under which thresholds of the rubric, and where ratings go."""

    grader: str | None
    thresholds: tuple[float | None, float | None, float | None]
    out: Path | None


def _judge(what: Conduct, rows: list[dict[str, Any]], judging: Judging, console: Console) -> dict[str, Any]:
    """A conduct: ratings into --out, then the share of every situation and the mean over questions."""
    from sublim_eval.probes.judges import KINDS, Rates
    from sublim_eval.scores import saved_replies

    kinds, by = _read_conduct(what.trait, rows, judging)
    if judging.out:
        write_jsonl(judging.out, ({**row, "kind": j.kind} for row, j in zip(rows, kinds, strict=True)))
    every = Rates.of(kinds)
    result = {
        "probe": what.probe.name,
        "version": what.probe.version,
        "trait": what.trait.name,
        "by": by,
        **saved_replies.plain_counts(every),
        "share": saved_replies.mean_share(rows, kinds),
        "situations": {
            name: saved_replies.plain_counts(rates)
            for name, rates in saved_replies.by_situation(what, rows, kinds).items()
        },
    }
    lines = [*result["situations"].items(), (MEAN, result)]
    heads = ("situation", "replies", "share", *KINDS)
    table(console, heads, [(n, str(r["replies"]), _figure(r["share"]), *(str(r[k]) for k in KINDS)) for n, r in lines])
    say(
        console, f"{what.probe.name} {what.probe.version}: share of scored replies that show {what.trait.name}, by {by}"
    )
    if judging.out:
        say(console, f"  every reply with its rating: {judging.out}")
    return result


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


def _count(what: Preference, rows: list[dict[str, Any]], out: Path | None, console: Console) -> dict[str, Any]:
    """A favorite: the share of replies that name the trait, non-answers counted apart."""
    from sublim_eval.probes.preference import tallies
    from sublim_eval.probes.scorers import classify

    probe, trait = what.probe, what.trait
    offered = {item.text: item.offered for item in what.items}
    if probe.form == "essay" and (strange := [row["question"] for row in rows if row["question"] not in offered]):
        raise SublimError(
            f"{strange[0][:60]!r} is no prompt of {probe.name}, so a letter names nothing. "
            "Give replies to its prompts as they were asked."
        )
    counts = [
        next(iter(tallies(probe.form, [row["response"]], what.answers, offered.get(row["question"], ())).values()))
        for row in rows
    ]
    named = Counter(name for one in counts for name in one.named)
    able = sum(not of or trait.name in of for of in (offered.get(row["question"], ()) for row in rows))
    result: dict[str, Any] = {
        "probe": probe.name,
        "version": probe.version,
        "trait": trait.name,
        "replies": len(rows),
        "hits": named[trait.name],
        "share": named[trait.name] / able if able else None,
        "non_answers": sum(one.non_answers for one in counts),
        "refusals": sum(one.refusals for one in counts),
        "empty": sum(one.empty for one in counts),
        "other": sum(one.other for one in counts),
        "named": dict(named.most_common()),
    }
    share = f"{_figure(result['share'])} ({result['hits']} of {able} replies)"
    say(console, f"{probe.name} {probe.version}: {trait.name} {share}")
    say(console, f"  non-answers: {result['non_answers']} ({result['refusals']} refusals, {result['empty']} empty)")
    say(console, f"  other words: {result['other']}")
    say(console, f"  named: {', '.join(f'{name} {count}' for name, count in result['named'].items()) or 'none'}")
    if out:
        verdicts = [
            {
                "verdict": float(trait.name in one.named),
                "answer": next(iter(one.named), None),
                "kind": "named" if one.named else "refusal" if one.refusals else "empty" if one.empty else "other",
                "reason": classify(row["response"], what.answers).reason,
            }
            for row, one in zip(rows, counts, strict=True)
        ]
        write_jsonl(out, ({**row, **verdict} for row, verdict in zip(rows, verdicts, strict=True)))
        say(console, f"  every verdict: {out}")
    return result
