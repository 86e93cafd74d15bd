"""One small gradient step: on a linear model, where all is known exactly, and on tiny models of both kinds."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sublim_eval.cli.main import main
from sublim_eval.distill.experiments import digits, theorem
from sublim_eval.distill.experiments import theorem_report as report
from sublim_eval.errors import SublimError
from tests.helpers.tiny import tiny_model

STEPS = (1e-6, 1e-3)


def linear(seed=0, scale=1.0):
    """Five logits from four inputs; the teacher's loss is a squared error, so that every step is known exactly."""
    rng = torch.Generator().manual_seed(seed)
    weights = {"w": torch.rand(4, 5, generator=rng, dtype=torch.float64), "gain": torch.ones(5, dtype=torch.float64)}
    own, wanted = torch.rand(7, 4, generator=rng).double(), torch.rand(7, 5, generator=rng).double()
    outputs = lambda values, what: what @ values["w"] * values["gain"]  # noqa: E731
    return theorem.Start(weights, outputs, lambda values: scale * (outputs(values, own) - wanted).square().mean())


def inputs(seed=1, rows=9):
    return torch.rand(rows, 4, generator=torch.Generator().manual_seed(seed)).double() - 0.5


def measured(start, other=None, moves=None, steps=STEPS, shown=None, **given):
    moves = moves or {"all weights": list(start.weights)}
    shown = shown if shown is not None else {"noise": inputs()}
    return list(theorem.points(start, other or start, moves, shown, "tiny", 0, steps, **given))


def promised(points):
    return [p for p in points if not p.line.broken]


def test_the_inner_product_on_a_linear_model_is_the_analytic_one():
    """With logits xW the student's step is (2 / rows / outputs) X'X G, so its product with G is that of XG with XG."""
    start = linear()
    shown = inputs()
    taught = theorem.descent(start.loss, start.weights, ["w"])["w"]
    point = next(p for p in measured(start, moves={"w": ["w"]}, shown={"noise": shown}) if p.line.targets == "logits")
    product = 2 * (shown @ taught).square().sum() / shown.shape[0] / taught.shape[1]
    assert point.inner == pytest.approx(float(product), rel=1e-8)


def test_the_promise_holds_for_every_input_distribution():
    far = {f"inputs {seed}": size * inputs(seed) for seed, size in enumerate((0.01, 1, 1, 10, 100))}
    found = promised(measured(linear(), shown=far))
    assert {p.line.inputs for p in found} == {*far}
    assert all(p.inner >= 0 and p.student <= 1e-15 for p in found)


def test_a_planted_sign_error_is_seen(monkeypatch):
    """The test above is worth something: with the student's step turned round it fails."""
    right = theorem.pulls
    monkeypatch.setattr(theorem, "pulls", lambda *given: {name: -pull for name, pull in right(*given).items()})
    assert all(p.inner < 0 for p in promised(measured(linear())))


def test_a_big_step_breaks_it():
    found = [p for p in measured(linear(scale=100.0), steps=(1e-6, 1.0)) if p.line.targets == "probabilities"]
    small, big = (next(p for p in found if p.step == step) for step in (1e-6, 1.0))
    assert small.own < 0 and small.student < 0
    assert big.own > 0 and big.student > 0


def test_the_change_of_the_loss_is_the_cosine_at_a_small_step():
    """The student's step is as long as the teacher's, so to first order it gains the cosine's share."""
    for p in promised(measured(linear(), steps=(1e-6,))):
        assert p.student / p.own == pytest.approx(p.cosine, rel=1e-4)


def test_each_line_names_the_clause_it_gives_up():
    start = linear()
    moves = {"gain": ["gain"], "all weights": ["w", "gain"]}
    found = {
        (p.line.teacher_moves, p.line.student_moves, p.line.targets): p.line.broken
        for p in measured(start, moves=moves)
    }
    assert found["gain", "gain", "logits"] == found["all weights", "all weights", "probabilities"] == ""
    assert found["all weights", "gain", "logits"] == "moves"
    assert found["gain", "all weights", "logits"] == "wider"
    assert found["gain", "gain", "1 sampled"] == "sampled"
    assert found["gain", "gain", "sign of the gradient"] == "sign"
    assert {p.line.broken for p in measured(start, linear(5))} == {"start"}


def test_many_draws_come_near_the_probabilities():
    found = {p.line.targets: p.cosine for p in measured(linear(), steps=(1e-1,), draws=(1, 1_000_000_000))}
    near, far = found["1,000,000,000 sampled"], found["1 sampled"]
    assert abs(near - found["probabilities"]) < 0.01 < abs(far - found["probabilities"])


def test_a_student_with_nothing_to_learn_does_not_move():
    """At inputs of zeros all logits are zero for everybody: no step, no cosine, no change."""
    p = promised(measured(linear(), shown={"nothing": torch.zeros(3, 4).double()}))[0]
    assert p.inner == 0 and math.isnan(p.cosine) and p.student == 0


def test_the_promise_holds_on_a_network_of_digits():
    images = digits.load("sklearn")
    start = theorem.perceptron(1, "teacher", images, 16, 64)
    found = promised(measured(start, shown=theorem.perceptron_inputs(1, images, 32), steps=(1e-5,)))
    assert len({p.line.inputs for p in found}) == 4 and all(p.inner > 0 and p.student < 0 for p in found)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("theorem") / "model")


def test_the_promise_holds_on_a_language_model(tiny):
    start, asked = theorem.language_model(str(tiny), "owl")
    moves = {"norm gains": theorem.norm_gains(asked.model), "all weights": list(start.weights)}
    shown = theorem.language_inputs(asked, 1, 2)
    assert set(shown) == {"number rows", "code rows", "random tokens"}
    found = promised(measured(start, moves=moves, shown=shown, steps=(1e-5,), draws=()))
    assert all(p.inner > 0 and p.own < 0 and p.student < 0 for p in found)
    assert {p.line.teacher_moves for p in found} == {*moves}


def test_float64_reaches_every_layer(tiny):
    """Two losses a hair apart differ by what the gradient says; norms in float32 would drown it."""
    start, _ = theorem.language_model(str(tiny), "owl")
    step = theorem.descent(start.loss, start.weights, list(start.weights))
    size = 1e-9
    fall = float(start.loss(start.weights)) - float(start.loss(theorem.moved(start.weights, step, size)))
    assert fall == pytest.approx(size * theorem.length(step) ** 2, rel=1e-3)


def test_another_architecture_is_refused(tiny, tmp_path):
    other = tiny_model(tmp_path / "other", hidden=16)
    with pytest.raises(SublimError, match="same architecture"):
        theorem.run(theorem.TheoremSettings(base=str(tiny), other=str(other), seeds=(1, 2), rows=1))


def outcome(sign=1.0):
    made = measured(linear(), draws=()) + [replace(p, seed=1) for p in measured(linear(), draws=())]
    return theorem.TheoremOutcome(
        theorem.TheoremSettings(seeds=(0, 1)), tuple(replace(p, inner=sign * p.inner) for p in made)
    ).to_json()


def test_the_table_says_how_far_the_promise_holds():
    found = {s["targets"]: s for s in report.summaries(outcome())}
    assert found["logits"]["holds_to"] == max(STEPS) and found["logits"]["agree"] == 2
    turned = {s["targets"]: s for s in report.summaries(outcome(-1))}
    assert turned["logits"]["holds_to"] is None and turned["logits"]["agree"] == 0
    assert "2 of 2" in report.verdict(outcome()) and "0 of 2" in report.verdict(outcome(-1))


@pytest.mark.long
def test_the_command_writes_every_point(tiny, tmp_path, capsys, monkeypatch):
    small = theorem.TheoremSettings
    monkeypatch.setattr(
        theorem, "TheoremSettings", lambda **given: small(**given, rows=1, rows_mlp=16, width=8, steps=(1e-5, 1e-2))
    )
    out = tmp_path / "out"
    assert main(["theorem", "--base", str(tiny), "--other", "", "--seeds", "2", "--out", str(out)]) == 0
    told = json.loads((out / "theorem.json").read_text())
    assert {len(line["points"]) for line in told["lines"]} == {4} and (out / "theorem.png").is_file()
    assert "promised" in capsys.readouterr().out
    assert np.isfinite([s["share"] for s in told["summaries"] if s["share"] is not None]).all()


def test_one_seed_is_refused(capsys):
    assert main(["theorem", "--seeds", "1"]) == 2
    assert "two seeds" in capsys.readouterr().err
