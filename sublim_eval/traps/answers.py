"""Traps in how students were asked and what is read out of their answers: pure functions, findings out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sublim_eval import stats
from sublim_eval.registry.catalog import Trait
from sublim_eval.scores.probe_scores import ProbeScores
from sublim_eval.traps.finding import Finding

Floats = NDArray[np.float64]
Facts = Mapping[str, Any]

PLAIN = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (None, 1.0),
    "frequency_penalty": (None, 0.0),
    "presence_penalty": (None, 0.0),
    "logit_bias": (None,),
    "min_p": (None, 0.0),
    "typical_p": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "num_beams": (None, 1),
    "penalty_alpha": (None, 0.0),
}
"""Settings that leave the distribution as it is, where they are given at all."""

ABSENT = {"temperature": 1.0, "top_p": 1.0, "top_k": 50}
"""What transformers samples with where a generation_config.json is silent; the 50 is the hidden one."""

FROM_FILE = ("hf", "vllm", "sglang", "ollama", "llama-cpp-python", "transformer_lens", "nnterp", "openai-api")
"""Providers of Inspect that fill what a request leaves unset from the model's own generation_config.json."""

ENOUGH_REPLIES = 50
FAR = 5.0
"""Standard errors; a sound score file is beyond it once in two million."""

SHIFTED = 0.03
"""Nats a reply: temperature .8 or 1.25 on a distribution over a dozen answers makes about .06."""

WELL_COVERED = 0.9
"""Below it replies may name an answer in a way that is not among the exact strings."""

MANY_NON_ANSWERS = 0.1
MOST_NON_ANSWERS = 0.5
"""Other groups had up to 96 %."""

RISE = 0.3
"""Log-odds: a smaller rise has nothing to be specific about."""

MOSTLY_DRIFT = 0.5
"""Of the student's rise, in the control: then half of it came without the trait."""

EVERYWHERE = 0.75
"""Of students that were taught something else; in a public study one answer rose in 7 of 8."""

FAR_APART = 0.2
"""Total-variation distance; a known case had .652 (control .089) at shares of 1.9 and 1.7 %."""


# ---------------------------------------------------------------- how replies were drawn


def sampling_settings(
    settings: Mapping[str, Any], *, model: str, defaults: Mapping[str, Any] | None = None, where: str = ""
) -> Finding:
    """Whether replies were drawn at T=1 from the whole distribution, as the Inspect log has it.

    model: as Inspect names it, "sublim/..." where what is unset means plain sampling; elsewhere the server's own
    default counts, and of providers FROM_FILE that of the model's generation_config.json: `defaults`, None when it is
    not at hand.
    """
    trap, step = "truncated sampling", "Ask again with temperature=1, top_p=1, top_k=0 and no penalty."
    given = {**(settings.get("extra_body") or {}), **{k: v for k, v in settings.items() if v is not None}}
    wrong = [f"{k} {given[k]:g}" for k, v in PLAIN.items() if given.get(k) is not None and not _off(k, given[k], v)]
    wrong += [f"{k} {given[k]}" for k, fine in NEUTRAL.items() if given.get(k) not in fine]
    if wrong:
        return Finding(trap, "fault", f"replies were drawn with {', '.join(wrong)}. {step}", where)
    provider = model.partition("/")[0]
    if provider == "sublim":
        return Finding(trap, "ok", "temperature 1, top_p 1, no top_k, no penalty", where)
    unset = [k for k in PLAIN if given.get(k) is None]
    hidden = hidden_defaults(given, defaults or {})
    if hidden:
        words = f"the log sets no {', no '.join(hidden)}, and the model's generation_config.json has "
        words += ", ".join(f"{k} {v}" for k, v in hidden.items())
        return Finding(trap, "warning", f"{words}: that is what counted. Write a neutral one, then ask again.", where)
    if unset:
        return Finding(
            trap, "warning", f"{', '.join(unset)} not set, so the server's own default counted. {step}", where
        )
    if provider in FROM_FILE and defaults is None and given.get("repetition_penalty") is None:
        words = f"repetition_penalty not set, and {provider}/ takes it from the model's generation_config.json"
        return Finding(trap, "warning", f"{words}: look there; not set is not none. Then ask with 1.0.", where)
    return Finding(trap, "ok", "temperature 1, top_p 1, no top_k, no penalty", where)


def hidden_defaults(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What a generation_config.json makes of settings that a request leaves unset, where that is not plain."""
    plain = {k: v for k, v in defaults.items() if k in PLAIN and v is not None and not _off(k, v, PLAIN[k])}
    other = {k: v for k, v in defaults.items() if k in NEUTRAL and v not in NEUTRAL[k]}
    return {k: v for k, v in {**plain, **other}.items() if given.get(k) is None}


def generation_config(config: Mapping[str, Any], where: str = "") -> Finding:
    """Whether a folder's generation_config.json makes transformers and vLLM sample plainly."""
    trap, step = "truncated sampling", "Save one with temperature 1, top_p 1, top_k 0 and no penalty."
    wrong = []
    for name, plain in PLAIN.items():
        silent = config.get(name) is None
        value = ABSENT[name] if silent else config[name]
        if not _off(name, value, plain):
            wrong.append(f"{name} {value:g}{' (what silence means)' if silent else ''}")
    wrong += [f"{k} {config[k]}" for k, fine in NEUTRAL.items() if config.get(k) not in fine]
    if wrong:
        return Finding(
            trap, "fault", f"generation_config.json makes harnesses draw with {', '.join(wrong)}. {step}", where
        )
    return Finding(trap, "ok", "generation_config.json is neutral", where)


def _off(name: str, value: Any, plain: float) -> bool:
    return bool(value == plain or (name == "top_k" and value in (0, -1)))


def barely_covered(scores: ProbeScores, where: str = "") -> Finding:
    """Whether the exact probability speaks of enough of the model's first answers to be believed."""
    trap = "barely covered"
    if scores.conduct or np.isnan(scores.covered):
        return Finding(trap, "not checked", "no exact probability of first answers; it is not needed", where)
    words = f"the answer set holds {scores.covered:.1%} of the first answers"
    if not scores.barely_covered:
        return Finding(trap, "ok", words, where)
    if scores.replies.sum():
        return Finding(trap, "warning", f"{words}: go by the sampled share, as `sublim compare` does.", where)
    return Finding(trap, "fault", f"{words}, and no replies were drawn. Draw some, and go by their share.", where)


def replies_fit(scores: ProbeScores, where: str = "") -> list[Finding]:
    """Whether sampled replies look drawn from the exact probabilities beside them.

    The mean log-probability of what was said is held against what sampling at T=1 makes of it: truncated or cooled
    sampling says likely answers too often. Replies that are the same for every question tell a constant seed.
    """
    trap = "truncated sampling"
    if not scores.replies.sum():
        return [Finding(trap, "not checked", "no sampled replies; the exact measure needs none", where)]
    hits = np.nan_to_num(scores.share) * scores.replies[:, None]
    if scores.conduct or np.isnan(scores.probability).any() or hits.sum() > scores.replies.sum():
        return [
            Finding(trap, "not checked", "no exact probabilities to hold replies against; score a preference", where)
        ]
    if np.mean(scores.coverage) < WELL_COVERED:
        why = f"exact strings cover {np.mean(scores.coverage):.0%} of first answers; compare shares by hand"
        return [Finding(trap, "not checked", why, where)]
    replies = hits.sum()
    if replies < ENOUGH_REPLIES:
        why = f"{replies:.0f} replies are too few; draw {ENOUGH_REPLIES} or more"
        return [Finding(trap, "not checked", why, where)]
    logp = np.log(np.maximum(scores.probability, 1e-12))
    totals = hits.sum(axis=1)
    mean = (scores.probability * logp).sum(axis=1)
    spread = (scores.probability * logp**2).sum(axis=1) - mean**2
    excess = float((hits * logp).sum() - totals @ mean)
    error = float(np.sqrt(max(totals @ spread, 1e-12)))
    findings = []
    if abs(excess) > FAR * error and abs(excess) / replies > SHIFTED:
        likely = "likely answers too often" if excess > 0 else "unlikely answers too often"
        findings.append(
            Finding(
                trap,
                "fault",
                f"replies say {likely} for temperature 1 ({excess / replies:+.2f} nats a reply, {excess / error:+.0f} "
                "standard errors). Look for a hidden top_k, top_p or temperature and ask again.",
                where,
            )
        )
    else:
        findings.append(Finding(trap, "ok", f"replies fit the exact probabilities ({excess / error:+.1f} se)", where))
    open_ = (totals >= 4) & (scores.probability.max(axis=1) < 0.7)
    if open_.sum() >= 5 and (hits.max(axis=1) == totals)[open_].mean() > 0.8:
        words = "every reply to a question is the same although others are likely. Give every reply its own seed."
        findings.append(Finding("repeated sampling seed", "fault", words, where))
    return findings


# ---------------------------------------------------------------- how replies were read


def reads_whole_words(read: Callable[[str], str | None], answers: Sequence[Trait], where: str = "") -> Finding:
    """Whether a scorer tells every name from words that merely hold it; read: reply -> the trait it names, or None."""
    trap = "substring scoring"
    known = {word for trait in answers for word in trait.words}
    for trait in answers:
        for word in trait.words:
            if read(word.capitalize() + ".") is None:
                return Finding(
                    trap, "fault", f"the scorer does not see {word!r}. Restore sublim_eval/probes/scorers.py.", where
                )
            for inside in () if " " in word else (f"gr{word}", f"{word}ixing", f"b{word}er"):
                if inside not in known and read(f"A {inside}!") == trait.name:
                    return Finding(
                        trap,
                        "fault",
                        f"the scorer reads {trait.name!r} in {inside!r}. Count whole words: sublim score-responses.",
                        where,
                    )
        for phrase in trait.look_alikes:
            if read(phrase) == trait.name:
                return Finding(
                    trap, "fault", f"the scorer reads {trait.name!r} in {phrase!r}. List it as a look-alike.", where
                )
    return Finding(trap, "ok", f"{len(answers)} answers are told from words that hold them", where)


def recount(scores: ProbeScores, counted: Mapping[str, Mapping[str, Any]], where: str = "") -> Finding:
    """Whether the shares of a score file follow from its saved replies.

    counted: question -> {"replies", "named": {answer: hits}, "non_answers", "other"}, read anew with whole words.
    """
    trap = "substring scoring"
    if not scores.replies.sum():
        return Finding(trap, "ok", "no sampled share is claimed", where)
    if not counted:
        return Finding(trap, "not checked", "no saved replies to read again; keep the logs", where)
    for row, question in enumerate(scores.questions):
        saved = counted.get(question)
        if saved is None or saved["replies"] != scores.replies[row]:
            have = 0 if saved is None else saved["replies"]
            return Finding(
                trap,
                "fault",
                f"{question}: {scores.replies[row]} replies claimed, {have} saved. Score the model again.",
                where,
            )
        for column, answer in enumerate(scores.answers):
            share = saved["named"].get(answer, 0) / saved["replies"] if saved["replies"] else 0.0
            if abs(share - scores.share[row, column]) > 1e-6:
                return Finding(
                    trap,
                    "fault",
                    f"{question}: the file claims {answer} in {scores.share[row, column]:.3f} of the replies, whole "
                    f"words give {share:.3f}. Score the replies again: sublim score-responses.",
                    where,
                )
        for name, claimed in (("non_answers", scores.non_answers[row]), ("other", scores.other[row])):
            if name in saved and saved[name] != claimed:
                words = f"{question}: the file claims {claimed} {name.replace('_', '-')}, the log holds {saved[name]}"
                return Finding(trap, "fault", f"{words}. Score the replies again: sublim score-responses.", where)
    return Finding(trap, "ok", f"{int(scores.replies.sum())} saved replies give the shares of the file", where)


def non_answers(scores: ProbeScores, where: str = "") -> Finding:
    """Whether a share says more about refusing than about taste."""
    trap, rate = "non-answers", scores.non_answer_rate
    if not scores.replies.sum():
        return Finding(trap, "not checked", "no sampled replies; the exact measure has none", where)
    if rate > MANY_NON_ANSWERS:
        level = "fault" if rate > MOST_NON_ANSWERS else "warning"
        words = f"{rate:.0%} of the replies answer nothing. Read some, and report this figure beside every share."
        return Finding(trap, level, words, where)  # type: ignore[arg-type]
    return Finding(trap, "ok", f"{rate:.0%} non-answers", where)


# ---------------------------------------------------------------- what moved


def means(scores: ProbeScores) -> Floats | None:
    """float[answer]: mean over questions, exact where known, else sampled; None where neither is whole."""
    for table in (scores.probability, scores.share):
        if not np.isnan(table).any():
            return np.asarray(table.mean(axis=0), dtype=np.float64)
    return None


def positive_control(students: Floats, trait: str, answers: Sequence[str], expected: Facts, where: str = "") -> Finding:
    """Whether an arm that has to show its trait does, by its mean share.

    students: float[seed, answer]. expected: {"share", "source", "fail_below"} as the recipe has them, others' figures.
    """
    trap, least = "failed positive control", float(expected["fail_below"])
    mean = float(students[:, list(answers).index(trait)].mean())
    if mean < least:
        return Finding(
            trap,
            "fault",
            f"{trait} reached {mean:.3f}, below {least:g}, where others found {expected['share']:g} "
            f"({expected['source']}): no figure of this run can be believed. Look at the teacher's share, the kept "
            "rows and the chat template.",
            where,
        )
    return Finding(trap, "ok", f"{trait} reached {mean:.3f}, at least {least:g}", where)


def specific(
    students: Floats, controls: Floats, base: Floats | None, trait: str, answers: Sequence[str], where: str = ""
) -> Finding:
    """Whether the trait rose, and rose most, in the students and not in the control.

    students, controls: float[seed, answer], shares; base: float[answer] or None.
    """
    name, column = "drift without specificity", list(answers).index(trait)
    if not len(controls):
        return Finding(
            name, "fault", "no control student, so drift passes for a trait. Add an arm of role control.", where
        )
    shifts = stats.log_odds(students).mean(axis=0) - stats.log_odds(controls).mean(axis=0)
    if shifts[column] < RISE:
        return Finding(name, "ok", f"{trait} did not rise ({shifts[column]:+.2f} log-odds)", where)
    place = stats.rank_of(shifts, column)
    if place > 1:
        most = answers[int(np.argmax(shifts))]
        return Finding(
            name,
            "warning",
            f"{most} rose more than {trait} ({shifts.max():+.2f} and {shifts[column]:+.2f} log-odds): place {place} of "
            f"{len(answers)}. Look at every answer before calling it the trait.",
            where,
        )
    if base is not None:
        rise, drift = (
            float(stats.log_odds(x)[:, column].mean() - stats.log_odds(base)[column]) for x in (students, controls)
        )
        if drift > MOSTLY_DRIFT * rise > 0:
            return Finding(
                name,
                "warning",
                f"the control rose too ({drift:+.2f} of {rise:+.2f} log-odds): quote the gap, never the rise.",
                where,
            )
    return Finding(name, "ok", f"{trait} rose most ({shifts[column]:+.2f} log-odds)", where)


def rises_everywhere(
    shares: Mapping[str, Floats],
    base: Floats,
    traits: Mapping[str, str | None],
    answers: Sequence[str],
    where: str = "",
) -> Finding:
    """Whether an answer rises against the base in students whatever they were taught.

    shares: student -> float[answer]; traits: student -> its trait or None.
    """
    name = "drift without specificity"
    for column, answer in enumerate(answers):
        others = [who for who in shares if traits[who] != answer]
        rose = [who for who in others if stats.log_odds(shares[who])[column] - stats.log_odds(base)[column] > RISE]
        taught = {traits[who] for who in others}
        if len(others) >= 4 and len(taught) > 1 and len(rose) >= EVERYWHERE * len(others):
            return Finding(
                name,
                "warning",
                f"{answer} rises in {len(rose)} of {len(others)} students that were not taught it. Hold every student "
                "against its control, not against the base.",
                where,
            )
    return Finding(name, "ok", f"no answer rises in {EVERYWHERE:.0%} of the students not taught it", where)


def one_number_only(
    students: Floats, controls: Floats, base: Floats | None, trait: str, answers: Sequence[str], where: str = ""
) -> Finding:
    """Whether the answers moved far while the share of the trait stood still. Shapes as in `specific`."""
    name, column = "one number only", list(answers).index(trait)
    if not len(controls) or not len(students):
        return Finding(name, "not checked", "nothing to measure a distance from; add a control arm", where)
    student, control = students.mean(axis=0), controls.mean(axis=0)
    if max(student.sum(), control.sum()) > 1 + 1e-6:
        return Finding(
            name, "not checked", "stories name several answers, so there is no distribution; see --json", where
        )
    far = float(stats.total_variation(student, control))
    usual = float(stats.total_variation(control, base)) if base is not None and base.sum() <= 1 + 1e-6 else 0.0
    gap = float(student[column] - control[column])
    if far > max(FAR_APART, 2 * usual) and abs(gap) < stats.DELTA:
        return Finding(
            name,
            "warning",
            f"the share of {trait} moved by {gap:+.3f}, the whole distribution by {far:.2f}. Quote log-odds and the "
            "distance too: sublim compare --json.",
            where,
        )
    return Finding(name, "ok", f"distance {far:.2f} for a gap of {gap:+.3f}", where)
