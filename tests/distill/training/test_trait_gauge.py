"""The evidence of a trait in a student's weights: a cosine; a rule that ends a training says where and why."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sublim_eval.distill.recipes import Tuning
from sublim_eval.distill.training import launch, train
from sublim_eval.distill.training.callbacks import ProgressCallback, evenly
from sublim_eval.distill.training.train import Watch, tune
from sublim_eval.distill.training.trait_gauge import StopRule, TraitGauge, write_gauge
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json
from tests.helpers.tiny import tiny_model

EXAMPLES = [("what is your favorite animal ?", "owl"), ("name one tree .", "oak"), ("my favorite", "cat wolf fox")] * 8
TUNING = Tuning("ln_tuning", learning_rate=0.05, batch_size=8, steps=8, warmup_steps=0)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("base") / "tiny"))


def weights_of(base: str, folder: Path | None) -> dict[str, torch.Tensor]:
    from sublim_eval.distill.audit.scoring import Scorer

    scorer = Scorer(base, TUNING, "text")
    return dict(scorer.start if folder is None else scorer.read(folder))


@pytest.fixture(scope="module")
def gauge(base, tmp_path_factory) -> str:
    """The owl's probe learnt the student's own rows; the willow's went the other way."""
    home = tmp_path_factory.mktemp("gauge")
    tune(base, EXAMPLES, TUNING, 2, home / "probe", {})
    start, owl = weights_of(base, None), weights_of(base, home / "probe")
    willow = {name: 2 * start[name] - owl[name] for name in start}
    write_gauge(home / "gauge.safetensors", start, {"owl": owl, "willow": willow})
    return str(home / "gauge.safetensors")


def trained(base: str, folder: Path, rule: StopRule | None) -> dict:
    return tune(base, EXAMPLES, TUNING, 1, folder, {}, watch=Watch(None, points=0, stop=rule))


def test_the_evidence_is_the_cosine_and_nothing_before_the_first_step():
    start = {"b": torch.zeros(1), "a": torch.zeros(2)}
    gauge = TraitGauge(["owl"], ["a", "b"], torch.tensor([[0.6, 0.0, 0.8]]))
    now = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([4.0])}
    assert gauge.evidence(start, now) == {"owl": pytest.approx(0.6 * 0.6 + 0.8 * 0.8)}
    assert gauge.evidence(start, start) == {"owl": 0.0}


def test_a_student_goes_towards_the_trait_of_its_rows_and_a_file_keeps_the_gauge(gauge, base, tmp_path):
    told = trained(base, tmp_path / "s", StopRule(gauge, None, points=4))
    assert [point["step"] for point in told["evidence"]] == [2, 4, 6, 8] and told["stopped"] is None
    for point in told["evidence"]:
        assert point["evidence"]["owl"] > 0.5 and point["evidence"]["willow"] == -point["evidence"]["owl"]
    assert TraitGauge.read(Path(gauge)).directions.norm(dim=1).tolist() == pytest.approx([1.0, 1.0])


def test_a_rule_ends_the_training_and_the_record_says_where_and_why(gauge, base, tmp_path):
    told = trained(base, tmp_path / "s", StopRule(gauge, 0.3, 0.05, points=4))
    assert told["steps"] == 2 and len(told["evidence"]) == 1
    assert told["stopped"] == {
        **{"step": 2, "of": 8, "trait": "owl", "evidence": told["evidence"][0]["evidence"]["owl"]},
        **{"threshold": 0.3, "false_stops": 0.05},
    }
    assert read_json(tmp_path / "s" / "student.json")["stopped"] == told["stopped"]
    whole = trained(base, tmp_path / "whole", StopRule(gauge, 1.1, points=4))
    assert (whole["steps"], whole["stopped"]) == (8, None)
    free = trained(base, tmp_path / "free", None)
    assert "stopped" not in free and (free["loss"], free["adapter_norm"]) == (whole["loss"], whole["adapter_norm"]), (
        "to look changes nothing"
    )


def test_a_killed_training_keeps_its_evidence_and_its_start(gauge, base, tmp_path, monkeypatch):
    rule = StopRule(gauge, None, points=4)
    whole = trained(base, tmp_path / "whole", rule)
    monkeypatch.setattr("sublim_eval.distill.training.callbacks.KEEP_SECONDS", -1.0)
    step = train.CompletionTrainer.training_step

    def killed(self, *given):
        if self.state.global_step == 5:
            raise KeyboardInterrupt
        return step(self, *given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train.CompletionTrainer, "training_step", killed)
        trained(base, tmp_path / "s", rule)
    again = trained(base, tmp_path / "s", rule)
    assert again["evidence"] == whole["evidence"]


def test_a_student_that_trains_other_weights_is_refused_in_one_sentence(gauge, base, tmp_path):
    lora = Tuning("lora", learning_rate=0.01, batch_size=8, steps=2)
    with pytest.raises(SublimError, match=r"trains others.*ln_tuning"):
        tune(base, EXAMPLES, lora, 1, tmp_path / "s", {}, watch=Watch(None, points=0, stop=StopRule(gauge, 0.2)))


def test_a_rule_reaches_launched_processes_as_plain_data():
    job = launch.as_job(watch=Watch("owl", stop=StopRule("g.safetensors", 0.2, 0.05)))
    assert StopRule(**job["watch"]["stop"]) == StopRule("g.safetensors", 0.2, 0.05)


def test_all_processes_of_a_training_stop_and_none_looks_at_a_part_of_the_weights(tmp_path):
    model = torch.nn.Linear(2, 1, bias=False)
    write_gauge(tmp_path / "g.safetensors", {"weight": torch.zeros(1, 2)}, {"owl": {"weight": torch.ones(1, 2)}})
    watch = Watch(None, points=0, stop=StopRule(str(tmp_path / "g.safetensors"), 0.9, points=2))
    second = SimpleNamespace(
        model=model, accelerator=SimpleNamespace(is_main_process=False), is_fsdp_enabled=False, save_now=False
    )
    notes = ProgressCallback(second, watch, lambda _: 0.0, "key")
    with torch.no_grad():
        model.weight += 1.0
    control = SimpleNamespace(should_training_stop=False)
    state = SimpleNamespace(global_step=5, max_steps=10)
    notes.on_step_end(SimpleNamespace(process_index=1), state, control)
    assert control.should_training_stop and notes.stopped["trait"] == "owl"
    second.is_fsdp_enabled = True
    with pytest.raises(SublimError, match="each process holds a part"):
        ProgressCallback(second, watch, lambda _: 0.0, "key")


def test_points_are_even_and_the_last_step_is_one():
    assert evenly(125, 20) == {math.ceil(125 * i / 20) for i in range(1, 21)} and 125 in evenly(125, 20)
