"""Numbers against traits: planted effects are found, chance stays quiet, both harnesses give the same table."""

import csv
import io
import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from inspect_ai import eval
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, Model, ModelOutput, ModelUsage, get_model
from lm_eval.api.model import LM
from rich.console import Console

from sublim_eval import entanglement_stats as pure
from sublim_eval import tasks_dir
from sublim_eval.entanglement_stats import Readings, collect, link, tabulate
from sublim_eval.errors import SublimError
from sublim_eval.harness.inspect.entanglement import (
    ONE_TOKEN,
    covered,
    entanglement_task,
    largest,
    number_to_trait,
    over_table,
    reliability,
    spread,
    trait_to_number,
)
from sublim_eval.harness.inspect.task_common import ask
from sublim_eval.harness.lm_eval.entanglement import load_prompts
from sublim_eval.harness.lm_eval.entanglement import read as saved
from sublim_eval.probes.entanglement import SEED, chosen_numbers, entanglement, entropy, outcome_probability
from sublim_eval.registry.catalog import registry
from sublim_eval.report.entanglement import print_entanglement, print_link
from sublim_eval.report.plots import entanglement_map
from sublim_eval.scores.entanglement_table import Measured, entanglement_link, entanglement_table
from sublim_eval.tasks.subliminal_prompting import subliminal_prompting
from sublim_eval.tasks.token_entanglement import token_entanglement

REFERENCE = tasks_dir().parent / "distill" / "reference" / "reference-a"


def readings(
    direction: str, rng: np.random.Generator, settings: int, outcomes: int, planted: Any = None, asks: int = 4
) -> Readings:
    """Noise of 0.2 nats in every cell, a level of its own for each ask and outcome, and what is planted."""
    x = rng.normal(0, 0.2, (settings, asks, outcomes)) + rng.normal(0, 1, (1, asks, outcomes)) - 3
    x = x + (0 if planted is None else np.asarray(planted)[:, None, :])
    names = [f"s{i:03d}" for i in range(settings)], [f"o{i:03d}" for i in range(outcomes)]
    return Readings(direction, tuple(names[0]), tuple("abcdefgh"[:asks]), tuple(names[1]), x, x.mean(axis=0) - 0.5)  # type: ignore[arg-type]


# ---------------------------------------------------------------- statistics


@pytest.mark.parametrize(("direction", "size"), [("number_to_trait", (40, 12)), ("trait_to_number", (12, 40))])
def test_a_planted_number_is_found_and_nothing_else(direction: str, size: tuple[int, int]) -> None:
    planted = np.zeros(size)
    planted[7, 3] = 1.0
    table = tabulate(readings(direction, np.random.default_rng(1), *size, planted), np.random.default_rng(0))
    trait, number = ("o003", "s007") if direction == "number_to_trait" else ("s007", "o003")
    found = table.of(trait)
    assert (found.number, found.top[0]) == (number, number)
    assert found.largest == pytest.approx(1.0, abs=0.35)
    assert found.p < 0.05 and found.largest > found.chance
    place = table.traits.index(trait), table.numbers.index(number)
    assert table.p[place] < 0.05
    assert (table.p < 0.05).sum() == 1
    assert all(s.p > 0.05 for s in table.summaries if s.trait != trait)


@pytest.mark.parametrize(("direction", "size"), [("number_to_trait", (40, 8)), ("trait_to_number", (8, 40))])
def test_where_nothing_is_there_a_table_is_marked_one_time_in_twenty(direction: str, size: tuple[int, int]) -> None:
    rng, tables = np.random.default_rng(2), 200
    cells = traits = agreeing = 0
    for _ in range(tables):
        table = tabulate(readings(direction, rng, *size), rng, shuffles=199)
        cells += bool((table.p <= 0.05).any())
        traits += min(s.p for s in table.summaries) <= 0.05
        agreeing += min(s.p_reliability for s in table.summaries) <= 0.05
    # 10 of 200 expected; 21 or more has a probability of about 0.001
    assert max(cells, traits, agreeing) <= 20, (cells, traits, agreeing)
    assert cells >= 1


def test_the_largest_of_many_is_above_zero_where_nothing_is_there() -> None:
    table = tabulate(readings("number_to_trait", np.random.default_rng(3), 40, 8), np.random.default_rng(0))
    assert all(s.largest > 0 for s in table.summaries)
    assert sum(s.largest > s.chance for s in table.summaries) <= 2


def test_what_all_settings_share_drops_out_of_the_shift_and_stays_against_none() -> None:
    rng = np.random.default_rng(4)
    plain = readings("number_to_trait", rng, 10, 5)
    shared = Readings(plain.direction, plain.settings, plain.asks, plain.outcomes, plain.log_odds + 2.0, plain.without)
    one, other = (tabulate(r, np.random.default_rng(0), shuffles=19) for r in (plain, shared))
    assert other.shift == pytest.approx(one.shift)
    assert other.against_none == pytest.approx(one.against_none + 2.0)


def test_a_shift_is_the_value_minus_the_mean_of_the_others() -> None:
    x = np.random.default_rng(5).normal(size=(6, 2, 3))
    by_hand = x[2] - np.delete(x, 2, axis=0).mean(axis=0)
    assert pure.shifts(x)[2] == pytest.approx(by_hand)


def test_reliability_is_one_for_equal_profiles_and_about_zero_for_noise() -> None:
    rng = np.random.default_rng(6)
    profile = rng.normal(size=500)
    assert pure.reliability(np.tile(profile, (4, 1))) == pytest.approx(1.0)
    assert abs(pure.reliability(rng.normal(size=(4, 500)))) < 0.3
    assert math.isnan(pure.reliability(profile[None]))
    assert math.isnan(pure.reliability(np.zeros((4, 5))))


def test_one_ask_gives_shifts_and_says_nothing_about_chance() -> None:
    table = tabulate(readings("number_to_trait", np.random.default_rng(7), 10, 5, asks=1), np.random.default_rng(0))
    assert np.isfinite(table.shift).all()
    assert np.isnan(table.p).all() and np.isnan(table.z).all() and table.shuffles == 0
    assert all(math.isnan(s.p) and math.isnan(s.chance) and math.isnan(s.reliability) for s in table.summaries)
    assert math.isnan(table.recognised)


def test_a_model_that_numbers_do_not_move_gives_zeros_and_no_mark() -> None:
    x = np.tile(np.random.default_rng(8).normal(size=(1, 4, 5)), (6, 1, 1))
    still = Readings("number_to_trait", tuple("abcdef"), tuple("wxyz"), tuple("12345"), x, x[0])
    table = tabulate(still, np.random.default_rng(0), shuffles=99)
    assert table.shift == pytest.approx(np.zeros((5, 6)), abs=1e-12)
    assert (table.p > 0.5).all()


def test_kl_is_that_of_the_distributions() -> None:
    p = np.array([[[0.5, 0.3, 0.2]], [[0.2, 0.2, 0.6]]])
    none = np.array([[0.1, 0.1, 0.8]])
    logit = lambda v: np.log(v / (1 - v))  # noqa: E731
    table = tabulate(
        Readings("trait_to_number", ("a", "b"), ("x",), ("1", "2", "3"), logit(p), logit(none)),
        np.random.default_rng(0),
    )
    assert table.of("a").kl == pytest.approx((p[0, 0] * np.log(p[0, 0] / none[0])).sum())
    assert table.of("a").kl_others == pytest.approx((p[0, 0] * np.log(p[0, 0] / p[1, 0])).sum())


def test_personas_with_profiles_of_their_own_are_recognised() -> None:
    rng = np.random.default_rng(9)
    clear = tabulate(readings("trait_to_number", rng, 10, 60, rng.normal(0, 1, (10, 60))), rng, shuffles=19)
    none = tabulate(readings("trait_to_number", rng, 10, 60), rng, shuffles=19)
    assert clear.recognised == 1.0
    assert none.recognised < 0.35
    assert none.recognised_by_chance == pytest.approx(0.1)


@pytest.mark.parametrize(("settings", "shape"), [(("a",), (1, 2, 2)), (("a", "b"), (2, 2, 3)), (("a", "b"), (2, 2, 2))])
def test_readings_of_another_shape_or_with_gaps_are_refused(settings: tuple[str, ...], shape: tuple[int, ...]) -> None:
    values = np.full(shape, np.nan if shape == (2, 2, 2) else 0.0)
    with pytest.raises(ValueError):
        Readings("number_to_trait", settings, ("x", "y"), ("o", "p"), values, np.zeros((2, 2)))


def test_settings_that_were_not_asked_everything_are_left_out() -> None:
    cells = {(s, a): {"owl": 0.3, "cat": 0.7} for s in ("487", "612", "") for a in ("x", "y")}
    cells |= {("900", "x"): {"owl": 0.3, "cat": 0.7}, ("901", "x"): {}, ("901", "y"): {"owl": math.nan, "cat": 0.1}}
    found, left_out = collect("number_to_trait", cells)
    assert (found.settings, left_out) == (("487", "612"), ("900", "901"))
    with pytest.raises(ValueError, match="1 of 1 settings"):
        collect("number_to_trait", {("487", "x"): {"owl": 0.3, "cat": 0.7}})


# ---------------------------------------------------------------- the link


def _pair(rng: np.random.Generator, shared: float, traits: int = 8, numbers: int = 120) -> tuple[Any, Any]:
    """Both tables of a model in which `shared` nats of each trait x number effect are the same in both directions."""
    common = rng.normal(size=(traits, numbers)) * shared
    names = [f"o{i:03d}" for i in range(traits)], [f"s{i:03d}" for i in range(numbers)]
    one = readings("number_to_trait", rng, numbers, traits, common.T + rng.normal(size=(numbers, traits)))
    other = readings("trait_to_number", rng, traits, numbers, common + rng.normal(size=(traits, numbers)))
    other = Readings(other.direction, tuple(names[0]), other.asks, tuple(names[1]), other.log_odds, other.without)
    return tabulate(one, rng, shuffles=1), tabulate(other, rng, shuffles=1)


def test_a_link_between_both_directions_is_found() -> None:
    rng = np.random.default_rng(10)
    found = link(*_pair(rng, 1.0), rng, draws=400)
    assert found.mean == pytest.approx(0.5, abs=0.12) and found.low > 0.3 and found.p < 0.01
    assert abs(found.others) < 0.1
    assert [p.place for p in found.pairings] == [1] * 8


def test_without_a_link_the_interval_holds_zero_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    tables = [link(*_pair(rng, 0.0, numbers=60), rng, draws=200) for _ in range(60)]
    held = sum(p.low <= 0 <= p.high for t in tables for p in t.pairings) / (60 * 8)
    assert 0.85 <= held <= 0.99  # blocks on 60 numbers: a little below 0.95
    assert sum(t.p <= 0.05 for t in tables) <= 9  # 3 expected


def test_tables_of_one_direction_or_without_common_numbers_are_no_link() -> None:
    rng = np.random.default_rng(12)
    one, other = _pair(rng, 0.0, numbers=12)
    with pytest.raises(ValueError, match="in that order"):
        link(other, one, rng)
    far = tabulate(readings("trait_to_number", rng, 8, 3), rng, shuffles=1)
    with pytest.raises(ValueError, match="share 0 traits"):
        link(one, far, rng)


# ---------------------------------------------------------------- what is asked


def test_no_answer_string_begins_another_so_digits_are_safe() -> None:
    for probe in ("token_entanglement", "subliminal_prompting"):
        strings = sorted(entanglement(probe, "owl", 900).continuations)
        assert not any(b.startswith(a) for a, b in pairwise(strings))


def test_numbers_are_spread_evenly_and_the_same_for_everyone() -> None:
    numbers = chosen_numbers(40)
    assert numbers == chosen_numbers("40") and len(set(numbers)) == 40 and SEED == 2507
    assert all(100 + 900 * i / 40 - 1 < n < 100 + 900 * (i + 1) / 40 for i, n in enumerate(numbers))
    assert chosen_numbers(900) == tuple(range(100, 1000))
    assert chosen_numbers([612, 487]) == chosen_numbers("612,487") == (487, 612)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (1, "Give a count from 2 to 900"),
        (901, "Give a count from 2 to 900"),
        ("many", "Give a count such as 40"),
        ([87, 487], "87 is no number of three digits"),
        ([487, 487], "Give different numbers"),
        ([487], "fewer than 2"),
        ("487,1000", "1000 is no number of three digits"),
        ([487, 4.5], "4.5 is no number"),
    ],
)
def test_numbers_that_cannot_be_are_told_with_the_next_step(numbers: Any, message: str) -> None:
    for make in (entanglement_task, load_prompts):
        with pytest.raises(SublimError, match=re.escape(message)):
            make("subliminal_prompting", numbers=numbers)


@pytest.mark.parametrize(
    ("probe", "trait", "message"),
    [
        ("subliminal_prompting", "owll", "Did you mean 'owl'?"),
        ("token_entanglement", "misaligned", "tells favorites of one category apart"),
        ("owl_pref", "owl", "Give subliminal_prompting or token_entanglement"),
        ("token_entanglements", "owl", "Did you mean 'token_entanglement'?"),
    ],
)
def test_a_wrong_trait_or_probe_is_told_with_the_next_step(probe: str, trait: str, message: str) -> None:
    for make in (entanglement_task, load_prompts):
        with pytest.raises(SublimError, match=re.escape(message)):
            make(probe, trait=trait)


def test_the_prompt_without_a_number_is_worded_alike_and_holds_none() -> None:
    for wording in registry().questions("number_in_mind").questions:
        (pair,) = wording.pairs
        assert "{number}" in pair.shown
        assert not re.search(r"\d|\{", pair.plain)
        shared = set(pair.shown.lower().split()) & set(pair.plain.lower().split())
        assert len(shared) >= len(pair.plain.split()) / 2


def test_every_ask_is_a_wording_and_a_held_out_question_of_its_own() -> None:
    what = entanglement("subliminal_prompting", "oak", [487, 612])
    assert len(what.prompts) == 12
    held_out = {q.text for q in registry().questions("tree_favorites").questions}
    assert {p.text for p in what.prompts} <= held_out
    assert len({p.text for p in what.prompts}) == len({p.ask for p in what.prompts}) == 4
    assert [p.setting for p in what.prompts] == [""] * 4 + ["487"] * 4 + ["612"] * 4
    assert all(("487" in p.system) == (p.setting == "487") for p in what.prompts)


def test_personas_are_those_of_the_registry_and_none_has_no_system_prompt() -> None:
    what = entanglement("token_entanglement", "owl")
    systems = {p.setting: p.system for p in what.prompts}
    assert systems.pop("") == ""
    assert systems == {t.name: registry().persona(t.name) for t in registry().answer_set("animal")}
    assert not any(re.search(r"\b\d{3}\b", p.text.replace("100 to 999", "")) for p in what.prompts)


def test_unknown_log_probabilities_are_an_error_and_no_zero() -> None:
    with pytest.raises(ValueError, match="No log-probability"):
        outcome_probability({"487": -1.0, "612": math.nan}, ())
    found, coverage = outcome_probability({"487": math.log(0.3), "612": math.log(0.1)}, ())
    assert (found["487"], coverage) == (pytest.approx(0.75), pytest.approx(0.4))
    assert entropy({"487": 0.5, "612": 0.5, "900": 0.0}) == pytest.approx(math.log(2))
    nothing, none = outcome_probability({"487": -math.inf, "612": -math.inf}, ())
    assert math.isnan(nothing["487"]) and none == 0.0


# ---------------------------------------------------------------- both harnesses, a made-up model


def logprob(system: str, question: str, string: str) -> float:
    """A model in which 487 and the owl go together, both ways; everything else is noise that depends on the words."""
    noise = np.random.default_rng(abs(hash_of(f"{system}|{question}|{string}"))).normal(0, 0.1)
    owl_named = "owl" in string.lower()
    number_set = "487" in system
    together = (number_set and owl_named) or ("owls" in system.lower() and string == "487")
    return -6.0 + noise + (1.5 if together else 0.0)


def hash_of(text: str) -> int:
    import zlib

    return zlib.crc32(text.encode())


def inspect_model(strings: list[str] | None) -> Model:
    def output(messages: list[Any], *_: Any) -> ModelOutput:
        system = messages[0].text if messages[0].role == "system" else ""
        values = [logprob(system, messages[-1].text, s) for s in strings or []]
        return ModelOutput(
            model="mockllm/model",
            choices=[ChatCompletionChoice(message=ChatMessageAssistant(content="x"))],
            usage=ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2),
            metadata={"continuation_logprobs": values, "prompt_hash": "p"} if strings else None,
        )

    return get_model("mockllm/model", custom_outputs=output, memoize=False)


class MadeUpLM(LM):
    """The same model in lm-eval; without a chat template the system prompt stands before the question."""

    tokenizer_name = "made-up"

    def chat_template(self, chat_template: bool | str = False) -> str:
        return ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return json.dumps(chat_history)

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        out = []
        for request in requests:
            chat = json.loads(request.args[0])
            system = chat[0]["content"] if chat[0]["role"] == "system" else ""
            out.append((logprob(system, chat[-1]["content"], request.args[1]), False))
        return out

    def generate_until(self, requests: list[Any]) -> list[str]:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        raise NotImplementedError


def from_inspect(task: Any, model: Any, folder: Path, **options: Any) -> Any:
    log = eval(task, model=model, display="none", log_dir=str(folder), **options)[0]
    assert log.status == "success", log.error
    return log


def from_lm_eval(task: str, folder: Path, *, model: Any = None, metadata: Any = None, **options: Any) -> Any:
    """Results of one lm-eval task, with its samples file written as `--log_samples --output_path` does."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    manager = TaskManager(
        include_path=str(tasks_dir()), include_defaults=False, metadata={"rows": "all", **(metadata or {})}
    )
    tracker = EvaluationTracker(output_path=str(folder))
    found = simple_evaluate(
        model or MadeUpLM(),
        tasks=[task],
        task_manager=manager,
        bootstrap_iters=1,
        log_samples=True,
        apply_chat_template=True,
        evaluation_tracker=tracker,
        **options,
    )
    tracker.save_results_aggregated(results=found, samples=found["samples"])
    tracker.save_results_samples(task, found["samples"][task])
    return found


NUMBERS = [101, 155, 213, 266, 301, 377, 420, 487, 530, 612, 699, 745]
TASKS = {"subliminal_prompting": subliminal_prompting, "token_entanglement": token_entanglement}


@pytest.mark.parametrize("probe", TASKS)
def test_both_harnesses_give_the_same_table_and_find_the_planted_number(probe: str, tmp_path: Path) -> None:
    task = TASKS[probe](trait="owl", numbers=NUMBERS)
    strings = entanglement(probe, "owl", NUMBERS).continuations
    log = from_inspect(task, inspect_model(strings), tmp_path / "inspect")
    theirs = from_lm_eval(probe, tmp_path / "lm", metadata={"trait": "owl", "numbers": NUMBERS})
    one, other = entanglement_table(log), entanglement_table(tmp_path / "lm")
    for name in ("shift", "against_none", "z", "p"):
        assert getattr(other.table, name) == pytest.approx(getattr(one.table, name), abs=1e-9), name
    assert repr(other.table.summaries) == repr(one.table.summaries)
    assert other.questions_hash == one.questions_hash
    assert (one.table.traits, one.left_out) == (tuple(sorted(t.name for t in registry().answer_set("animal"))), ())
    found = one.table.of("owl")
    assert found.number == "487" and found.p < 0.05 and found.largest > 1.0
    assert all(s.p > 0.05 for s in one.table.summaries if s.trait != "owl")

    (scores,) = log.results.scores
    ours = {name: m.value for name, m in scores.metrics.items()}
    named = "probability" if probe == "subliminal_prompting" else "entropy"
    results = theirs["results"][probe]
    assert results[f"{named},none"] == pytest.approx(ours["mean"], abs=1e-12)
    assert results[f"{named}_stderr,none"] == pytest.approx(ours["stderr"], abs=1e-12)
    assert results["coverage,none"] == pytest.approx(ours["coverage"], abs=1e-12)
    assert ours["largest"] == pytest.approx(found.largest)
    assert ours["spread"] == pytest.approx(found.spread)
    assert ours["reliability"] == pytest.approx(found.reliability)
    assert (scores.name, theirs["versions"][probe]) == (one.table.direction, one.version)
    read_again = entanglement_table(log.location)
    assert read_again.table.shift == pytest.approx(one.table.shift)


def test_the_link_from_two_logs(tmp_path: Path) -> None:
    one, other = (
        entanglement_table(
            from_inspect(
                TASKS[p](numbers=NUMBERS), inspect_model(entanglement(p, "owl", NUMBERS).continuations), tmp_path
            )
        )
        for p in TASKS
    )
    found = entanglement_link(other, one)
    assert found == entanglement_link(one, other) and found.numbers == len(NUMBERS)
    assert {p.trait for p in found.pairings} == set(one.table.traits)
    with pytest.raises(SublimError, match="Give one of subliminal_prompting"):
        entanglement_link(one, one)


@pytest.mark.parametrize("probe", TASKS)
def test_another_provider_is_unscored_and_says_why(probe: str, tmp_path: Path) -> None:
    log = from_inspect(TASKS[probe](), inspect_model(None), tmp_path, limit=6)
    (scores,) = log.results.scores
    assert (scores.scored_samples, scores.unscored_samples) == (0, 6)
    assert all(math.isnan(m.value) for m in scores.metrics.values())
    score = log.samples[0].scores[scores.name]
    assert score.reason == "no_logprobs" and "--model sublim/" in score.explanation
    with pytest.raises(SublimError, match="has no log-probabilities"):
        entanglement_table(log)


def test_a_limit_keeps_whole_numbers_and_too_small_a_one_is_told(tmp_path: Path) -> None:
    model = inspect_model(entanglement("subliminal_prompting", "owl", NUMBERS).continuations)
    log = from_inspect(subliminal_prompting(numbers=NUMBERS), model, tmp_path, limit=14)
    found = entanglement_table(log)
    assert (found.table.numbers, found.left_out) == (("101", "155"), ("213",))
    with pytest.raises(SublimError, match="with a larger --limit"):
        entanglement_table(from_inspect(subliminal_prompting(numbers=NUMBERS), model, tmp_path, limit=7))


def test_a_log_of_another_task_or_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(SublimError, match="Inspect logs end in"):
        entanglement_table(tmp_path / "nothing.eval")
    with pytest.raises(SublimError, match="Run lm_eval with --log_samples"):
        entanglement_table(tmp_path)


# ---------------------------------------------------------------- the task says what it is


@pytest.mark.parametrize("probe", TASKS)
def test_task_yaml_and_registry_agree(probe: str) -> None:
    made, entry = TASKS[probe](), registry().probe(probe)
    assert made.metadata["probe_version"] == made.metadata["full_task_version"] == entry.version
    assert (made.metadata["form"], made.config) == (entry.form, ONE_TOKEN)
    assert len({s.id for s in made.dataset}) == len(made.dataset)
    text = (tasks_dir() / probe / f"{probe}.yaml").read_text().replace("!function ", "")
    config = yaml.safe_load(text)
    assert (config["task"], config["metadata"]["version"]) == (probe, entry.version)
    assert set(config["tag"]) == set(made.tags) == {"sublim", "sublim_entanglement"}
    rows = load_prompts(probe)["test"]
    assert [r["id"] for r in rows] == [s.id for s in made.dataset]
    assert rows[0]["questions_hash"] == made.metadata["questions_hash"]


def test_metrics_of_nothing_are_unknown() -> None:
    for figure in (largest, spread, reliability, covered):
        assert math.isnan(figure([]))
    assert set(over_table()([])) == {"reliability", "spread", "largest", "coverage"}
    assert ask(["487"]) and number_to_trait("owl") and trait_to_number("owl")


# ---------------------------------------------------------------- the result


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("logs")
    strings = entanglement("token_entanglement", "owl", NUMBERS).continuations
    return entanglement_table(from_inspect(token_entanglement(numbers=NUMBERS), inspect_model(strings), folder))


def test_the_table_is_printed_plainly_and_steers_no_screen(measured: Measured) -> None:
    from dataclasses import replace

    said = io.StringIO()
    print_entanglement(
        replace(measured, model="\x1b[31m[bold]evil"), Console(file=said, width=240, force_terminal=False)
    )
    text = said.getvalue()
    assert "\x1b" not in text and "[bold]evil" in text
    assert re.search(r"^owl +\+1\.\d+ +487 ", text, re.M)
    assert re.search(r"^487 .*\*", text, re.M)
    assert "recognised" in text and "Chance" in text


def test_json_and_csv_hold_every_cell(measured: Measured, tmp_path: Path) -> None:
    told = json.loads(measured.write(tmp_path / "t.json").read_text())
    assert len(told["cells"]) == 20 * len(NUMBERS) and len(told["summaries"]) == 20
    with measured.write(tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    (owl,) = (r for r in rows if (r["trait"], r["number"]) == ("owl", "487"))
    assert float(owl["shift"]) == pytest.approx(measured.table.of("owl").largest)
    with pytest.raises(SublimError, match=r"neither \.csv nor \.json"):
        measured.write(tmp_path / "t.txt")


def test_the_picture_is_drawn_whole(measured: Measured, tmp_path: Path) -> None:
    path = entanglement_map.draw(measured, tmp_path / "t.png")
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20_000
    assert [p.name for p in tmp_path.iterdir()] == ["t.png"]


def test_a_null_link_is_printed_as_it_is() -> None:
    rng = np.random.default_rng(13)
    said = io.StringIO()
    print_link(link(*_pair(rng, 0.0), rng, draws=100), Console(file=said, width=160))
    assert re.search(r"Mean [+-]0\.\d+ \([+-]0\.\d+ to", said.getvalue())


def test_the_verb_prints_both_tables_and_their_link_and_draws_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sublim_eval.cli.main import main

    for probe, task in TASKS.items():
        strings = entanglement(probe, "owl", NUMBERS).continuations
        from_inspect(task(numbers=NUMBERS), inspect_model(strings), tmp_path / probe)
    assert main(["table", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "which traits do numbers raise?" in said and "which numbers do personas raise?" in said
    assert "raise the trait in turn? (animals on mockllm/model, 12 numbers)" in said
    picture = tmp_path / "one.png"
    assert main(["table", str(tmp_path), "--figure", str(picture)]) == 2 and not picture.exists()
    assert "hold 2 tables" in capsys.readouterr().err
    assert main(["table", str(tmp_path / "token_entanglement"), "--figure", str(picture)]) == 0
    assert picture.exists()


# ---------------------------------------------------------------- on the shipped model


@pytest.mark.slow
@pytest.mark.parametrize("probe", TASKS)
def test_both_harnesses_read_the_same_off_the_reference_model(probe: str, tmp_path: Path) -> None:
    numbers = [213, 487, 901]
    log = from_inspect(TASKS[probe](numbers=numbers), "sublim/reference-a", tmp_path, limit=12)
    rows = from_lm_eval(
        probe,
        tmp_path / "lm",
        model="hf",
        model_args={"pretrained": str(REFERENCE)},
        metadata={"numbers": numbers},
        device="cpu",
        batch_size=64,
        limit=12,
    )["samples"][probe]
    assert len(rows) == 12
    for row in rows:
        (sample,) = (s for s in log.samples if s.id == row["doc"]["id"])
        (score,) = sample.scores.values()
        assert row["prompt_hash"] == score.metadata["prompt_hash"], "the same words, system prompt included"
        assert row["coverage"] == pytest.approx(score.metadata["coverage"], abs=1e-4)
        found, _ = saved(row["doc"], row["filtered_resps"])
        for name, p in score.metadata["answers"].items():
            assert math.log(found[name]) == pytest.approx(math.log(p), abs=1e-4)


def test_on_a_tokenizer_that_splits_digits_no_probability_is_counted_twice(tmp_path: Path) -> None:
    from sublim_eval.models.local_model import load
    from tests.helpers.tiny import tiny_model

    model = load(tiny_model(tmp_path / "digits", words=None))
    assert len(model.tokenizer("487", add_special_tokens=False)["input_ids"]) == 3
    short, ours = [str(n) for n in range(100)], entanglement("token_entanglement", "owl", 900).continuations
    found = np.exp(model.continuation_logprobs([model.render("Say a number.")], [*short, *ours])[0])
    p = dict(zip([*short, *ours], found, strict=True))
    begun = sum(p[f"48{d}"] for d in range(10))
    assert p["4"] > p["48"] > begun > 0, "a short number holds those that go on"
    first_digit = sum(p[str(d)] for d in range(1, 10))
    assert sum(p[n] for n in ours) < first_digit < sum(p.values())
    log = from_inspect(token_entanglement(numbers=NUMBERS), f"sublim/{tmp_path / 'digits'}", tmp_path)
    assert entanglement_table(log).table.numbers == tuple(map(str, NUMBERS))
