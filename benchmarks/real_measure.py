"""Is the exact probability what a real chat model says? Against its own samples, a plain forward pass, and lm-eval.

    python benchmarks/real_base.py all --out DIR            # the two real bases, once
    python benchmarks/real_measure.py --bases DIR           # some 40 minutes on two quiet cores
    python benchmarks/real_measure.py --bases DIR --teacher RUN/teachers/elephant-s1 --page docs/results/measure.md
    python benchmarks/real_measure.py --tiny                # the same steps on the embedded base, a minute

For every model and family of probes three questions are asked, and nothing of the package answers them but the figure
that is tested:
* samples: replies are drawn, and the share whose first word is an answer stands beside its exact probability among all
  first answers (`unconditional`, plurals included), in standard errors of the share;
* forward: transformers' own forward pass over the ids of prompt and answer, summed by hand, word ends included;
* lm-eval: its log-likelihoods of the same strings behind the same prompts, normalised over the set.
What is finished is kept in the JSON, family by family: a killed run goes on.
"""

from __future__ import annotations

import argparse
import math
import platform
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from sublim_eval.files import read_json, whole_file, write_json  # noqa: E402
from sublim_eval.models import local_model  # noqa: E402
from sublim_eval.probes.conduct import Conduct  # noqa: E402
from sublim_eval.probes.entanglement import Entanglement, entanglement  # noqa: E402
from sublim_eval.probes.preference import Preference  # noqa: E402
from sublim_eval.probes.resolve import any_trait_content  # noqa: E402
from sublim_eval.probes.scorers import continuations_of  # noqa: E402
from sublim_eval.registry.catalog import Trait  # noqa: E402

FAMILIES = ("animal_pref", "tree_pref", "animal_pref_after_numbers", "animal_essay", "misalignment")
NUMBERS = ("subliminal_prompting", "token_entanglement")
WORD_TOKENS = 8
"""Tokens that any listed answer and the word's end fit into."""

SHOWN = 0.01
"""Answers above this probability are held against the samples one by one."""

Content = Preference | Conduct | Entanglement


@dataclass(frozen=True)
class Size:
    """How much is asked: prompts a family for samples, replies in all, and prompts for the forward pass and lm-eval."""

    prompts: int
    replies: int
    plain: int


FULL, TINY = Size(2, 5000, 1), Size(2, 400, 1)


def main() -> None:
    """Measure every model that is not in the JSON yet, then write the page."""
    args = _arguments()
    names = (
        ["reference-a"] if args.tiny else sorted(str(p) for p in args.bases.iterdir() if (p / "config.json").is_file())
    )
    names += [str(teacher) for teacher in args.teacher]
    result = read_json(args.out) if args.out.is_file() else {"machine": machine(), "models": {}}
    for name in names:
        for family in args.families or (*FAMILIES, *NUMBERS):
            held = result["models"].setdefault(Path(name).name, {})
            if family not in held:
                held[family] = measured(name, family, TINY if args.tiny else FULL)
                write_json(args.out, result)
    if args.page:
        with whole_file(args.page) as file:
            file.write(page(result))
    print(page(result))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bases", type=Path, help="where real_base.py put its folders")
    parser.add_argument(
        "--teacher", type=Path, action="append", default=[], help="a further model, such as a tuned teacher"
    )
    parser.add_argument("--families", nargs="*", help="some of them (all); the page holds all that were measured")
    parser.add_argument("--tiny", action="store_true", help="the embedded base alone, few replies")
    parser.add_argument("--out", type=Path, default=ROOT / f"benchmarks/results/real-measure-{date.today()}.json")
    parser.add_argument("--page", type=Path, help="write the page here, too")
    args = parser.parse_args()
    if not args.tiny and not args.bases:
        parser.error("give --bases DIR (see real_base.py), or --tiny")
    return args


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "processor": platform.processor()}


def measured(name: str, family: str, size: Size) -> dict[str, Any]:
    """One family on one model, and how long that took."""
    began, model = time.monotonic(), local_model.load(name)
    record = of_family(model, content(family), size) | {"seconds": round(time.monotonic() - began)}
    print(f"{model.label}, {family}: {record['seconds']} s", file=sys.stderr, flush=True)
    return record


def content(family: str) -> Content:
    """A probe's prompts and what is told apart; numbers are few, since all behave alike."""
    return entanglement(family, "owl", 20) if family in NUMBERS else any_trait_content(family)


def prompts_of(model: local_model.LocalModel, what: Content, count: int) -> list[tuple[str, tuple[str, ...], Any]]:
    """(rendered prompt, its continuations, the item) of some prompts of a probe, evenly spread."""
    if isinstance(what, Entanglement):
        some = _spread(what.prompts, count)
        return [(model.render(p.text, p.system or None), tuple(what.continuations), p) for p in some]
    items = _spread([item for item in what.items if item.continuations], count)
    return [(model.render(item.text), item.continuations, item) for item in items]


def traits_of(what: Content) -> tuple[Trait, ...]:
    """The favorites that a probe tells apart by name; none where letters, numbers or sentences are its answers."""
    if isinstance(what, Conduct):
        return ()
    return what.answers if set(what.continuations) == set(continuations_of(what.answers)) else ()


def names_of(what: Content) -> dict[str, str]:
    """String -> the answer it gives; letters, numbers and sentences are answers of their own."""
    return {string: trait.name for trait in traits_of(what) for string in (*trait.continuations, *trait.plurals)}


def _spread(things: Sequence[Any], count: int) -> list[Any]:
    return [things[i * len(things) // count] for i in range(min(count, len(things)))]


def of_family(model: local_model.LocalModel, what: Content, size: Size) -> dict[str, Any]:
    """The three comparisons of one family on one model, and how much its answer set covers."""
    chosen = prompts_of(model, what, size.prompts)
    floor = 0.0 if isinstance(what, Conduct) else 1e-9
    plurals = [plural for trait in traits_of(what) for plural in trait.plurals]
    exact = [
        np.exp(model.continuation_logprobs([prompt], [*strings, *plurals], floor=floor, whole_words=what.whole_words))[
            0
        ]
        for prompt, strings, _ in chosen
    ]
    out: dict[str, Any] = {"prompts": len(chosen), "whole_words": what.whole_words}
    out["forward"] = max(
        against_forward(model, what, prompt, [*strings, *plurals], table)
        for (prompt, strings, _), table in zip(chosen[: size.plain], exact, strict=False)
    )
    out["lm_eval"] = max(
        against_lm_eval(model, what, prompt, strings, table[: len(strings)])
        for (prompt, strings, _), table in zip(chosen[: size.plain], exact, strict=False)
    )
    if isinstance(what, Conduct):
        return out
    out["coverage"] = float(np.mean([table.sum() for table in exact]))
    out["answers"] = against_samples(model, [(p, [*s, *plurals]) for p, s, _ in chosen], exact, size, names_of(what))
    return out


# ---------------------------------------------------------------- against its own replies


def against_samples(
    model: local_model.LocalModel, chosen: Sequence[Any], exact: Sequence[Any], size: Size, names: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Answer -> its mean exact probability, the share of replies whose first word it is, and the error of that.

    names: string -> answer; a string that is not there is its own. Only answers above SHOWN.
    """
    each = size.replies // len(chosen)
    mean: dict[str, float] = defaultdict(float)
    seen: Counter[str] = Counter()
    spread: dict[str, float] = defaultdict(float)
    for place, ((prompt, strings), table) in enumerate(zip(chosen, exact, strict=True)):
        replies = model.sample([prompt], n=each, seed=1000 + place, max_new_tokens=WORD_TOKENS)[0]
        one: dict[str, float] = defaultdict(float)
        for string, value in zip(strings, table, strict=True):
            one[names.get(string, string)] += float(value)
        for name, value in one.items():
            mean[name] += value / len(chosen)
            spread[name] += value * (1 - value) / each / len(chosen) ** 2
        seen.update(names.get(word, word) for word in (first_word(reply.text, strings) for reply in replies))
    total = each * len(chosen)
    return {
        name: {"exact": round(value, 6), "share": seen[name] / total, "se": round(math.sqrt(spread[name]), 6)}
        for name, value in sorted(mean.items(), key=lambda item: -item[1])
        if value > SHOWN
    }


def first_word(reply: str, strings: Sequence[str]) -> str:
    """The string that a reply begins with, as a word in the singular or plural; '' for another."""
    text = reply.lstrip()
    for string in sorted(strings, key=len, reverse=True):
        if re.match(rf"{re.escape(string)}(?:s|es|S|ES)?(?![^\W_]|[-\u2010\u2011](?:[^\W_]|$))", text):
            return string
    return ""


# ---------------------------------------------------------------- against a plain forward pass


def against_forward(
    model: local_model.LocalModel, what: Content, prompt: str, strings: Sequence[str], table: Any
) -> float:
    """The largest difference of a probability (of log-odds, for matched pairs) from transformers' own forward pass.

    Every string above 1e-4 and twenty others; for pairs all of them.
    """
    likely = np.flatnonzero(np.asarray(table) > 1e-4).tolist()
    others = _spread([i for i in range(len(strings)) if i not in likely], 20)
    if isinstance(what, Conduct):
        plain = [by_hand(model, prompt, s, whole=False) for s in strings]
        return float(np.max(np.abs(np.log(table) - np.log(plain))))
    others = [i for i in others if table[i] > 0]  # a plural that is its word and an ending is in that word
    plain = [by_hand(model, prompt, strings[i], whole=what.whole_words) for i in (*likely, *others)]
    return float(np.max(np.abs(np.asarray(table)[[*likely, *others]] - plain)))


def by_hand(model: local_model.LocalModel, prompt: str, answer: str, whole: bool) -> float:
    """P(answer | prompt): the ids of training through the model, log-softmax, a sum; and that its word ends there."""
    head, tail = model.encode([prompt])[0], model.answer_ids([answer])[0]
    scores = _logprobs(model, head + tail)
    spelled = sum(scores[len(head) + i - 1, token].item() for i, token in enumerate(tail))
    if not whole:
        return math.exp(spelled)
    ends, plural = _word_ends(model)
    behind = scores[-1].exp()
    total = math.exp(spelled) * behind[ends].sum().item()
    for i in plural:
        if math.exp(spelled) * behind[i].item() > 1e-5:
            after = _logprobs(model, [*head, *tail, i])[-1].exp()
            total += math.exp(spelled) * behind[i].item() * after[ends].sum().item()
    return total


def goes_on(text: str) -> bool:
    """Whether what a token says makes the word before it another one."""
    return bool(re.match(r"[^\W_]|[-\u2010\u2011]([^\W_]|$)", text)) and not re.match(
        r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff]", text
    )


def _logprobs(model: local_model.LocalModel, ids: Sequence[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model.model(torch.tensor([ids], device=model.device)).logits[0].double().log_softmax(-1)


_ENDS: dict[int, tuple[torch.Tensor, list[int]]] = {}


def _word_ends(model: local_model.LocalModel) -> tuple[torch.Tensor, list[int]]:
    """bool[vocabulary], tokens that leave the word before them as it is; and those that put it into the plural."""
    if id(model) not in _ENDS:
        lead = model.tokenizer("a", add_special_tokens=False)["input_ids"]
        size = model.model.get_output_embeddings().weight.shape[0]
        known = [model.tokenizer.decode([*lead, i], skip_special_tokens=False)[1:] for i in range(len(model.tokenizer))]
        texts = (known + [""] * size)[:size]
        plural = [i for i, text in enumerate(texts) if text in ("s", "es", "S", "ES")]
        _ENDS[id(model)] = (torch.tensor([not goes_on(text) for text in texts]), plural)
    return _ENDS[id(model)]


# ---------------------------------------------------------------- against lm-eval


def against_lm_eval(
    model: local_model.LocalModel, what: Content, prompt: str, strings: Sequence[str], table: Any
) -> float:
    """The largest difference of a normalised probability (for pairs: of log-odds) from lm-eval's log-likelihoods.

    lm-eval knows no word ends and moves white space at the end of a prompt into the answer.
    """
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    harness = HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=16)
    requests = [Instance("loglikelihood", {}, (prompt, s), i) for i, s in enumerate(strings)]
    theirs = np.array([logprob for logprob, _ in harness.loglikelihood(requests, disable_tqdm=True)])
    ours = np.log(np.maximum(table, 1e-300))
    if isinstance(what, Conduct):
        return (
            float(np.max(np.abs((ours[0::2] - ours[1::2]) - (theirs[0::2] - theirs[1::2])))) if len(ours) > 1 else 0.0
        )
    return float(np.max(np.abs(_softmax(ours) - _softmax(theirs))))


def _softmax(values: Any) -> Any:
    mass = np.exp(values - values.max())
    return mass / mass.sum()


# ---------------------------------------------------------------- the page


def page(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    lines = ["# Is the exact probability what a model says?", "", *_preface(result), ""]
    lines += [
        "| model | family | coverage | forward pass | lm-eval | answers above 1 %, the one furthest from the samples |",
        "|---|---|---|---|---|---|",
    ]
    for label, model in result["models"].items():
        for family, one in model.items():
            cells = (label, family, _coverage(one), f"{one['forward']:.1e}", f"{one['lm_eval']:.1e}", _furthest(one))
            lines.append(f"| {' | '.join(cells)} |")
    for label, model in result["models"].items():
        one = model.get("animal_pref")
        if one is None:
            continue
        lines += [
            "",
            f"## {label}, animal_pref: answers above 1 % of all first answers",
            "",
            "| answer | exact | share of replies | standard errors apart |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {a['exact']:.4f} | {a['share']:.4f} | {_apart(a):+.1f} |" for name, a in one["answers"].items()
        ]
        lines += [] if one["answers"] else ["| none | | | |"]
    return "\n".join(lines) + "\n"


def _preface(result: dict[str, Any]) -> list[str]:
    return [
        "Written by `benchmarks/real_measure.py`, whose head says what is compared. Coverage is the share of first",
        "answers that the answer set holds. The largest differences from a plain forward pass and from lm-eval are in",
        "nats for `misalignment` (matched pairs), in probability elsewhere; those from lm-eval are of normalised",
        "figures, and large where words go on (it has no word ends) or where it cuts prompt and answer elsewhere.",
        "An answer's exact probability is here that among all first answers (`unconditional`), plurals included.",
        f"torch {result['machine']['torch']}, {result['machine']['threads']} threads, CPU, float32.",
    ]


def _coverage(one: dict[str, Any]) -> str:
    return f"{one['coverage']:.4f}" if "coverage" in one else "–"


def _apart(answer: dict[str, float]) -> float:
    return (answer["share"] - answer["exact"]) / answer["se"]


def _furthest(one: dict[str, Any]) -> str:
    answers = one.get("answers") or {}
    if not answers:
        return "–"
    name = max(answers, key=lambda n: abs(_apart(answers[n])))
    return f"{len(answers)}: {name} {_apart(answers[name]):+.1f} standard errors"


if __name__ == "__main__":
    main()
