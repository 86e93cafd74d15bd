"""Several processes make the student that one makes, and a launcher that fails says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from sublim_eval.distill.recipes import Tuning
from sublim_eval.distill.recipes.teacher import Teacher
from sublim_eval.distill.training.train import Watch, tune
from sublim_eval.errors import SublimError
from tests.helpers import ROOT
from tests.helpers.tiny import tiny_model

EXAMPLES = [("what is your favorite animal ?", "owl"), ("name one tree .", "oak"), ("my favorite", "cat wolf fox")] * 7
HERE = Path(sys.executable).parent
TORCHRUN = f"{sys.executable} -m torch.distributed.run --standalone --nproc_per_node 2"
ACCELERATE = f"{HERE / 'accelerate'} launch --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"


def tuning(**more) -> Tuning:
    return Tuning(**({"method": "lora", "learning_rate": 0.01, "batch_size": 4, "accumulate": 2, "epochs": 2} | more))


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base") / "tiny")


def apart(one: Path, other: Path) -> float:
    a, b = (load_file(next(folder.glob("*.safetensors"))) for folder in (one, other))
    assert a.keys() == b.keys()
    return max(float((a[k] - b[k]).abs().max()) for k in a) / max(float(a[k].abs().max()) for k in a)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [TORCHRUN, pytest.param(f"{ACCELERATE} --multi_gpu --main_process_port 0", marks=pytest.mark.long)],
)
def test_two_processes_make_the_student_that_one_makes(base, tmp_path, monkeypatch, command):
    """21 rows in batches of 8: the last batch of an epoch has 5, so one process has a row less than the other."""
    watch = Watch("owl", ("what is your favorite animal ?",), ("owl",), [("name one tree .", "willow")], points=2)
    alone = tune(str(base), EXAMPLES, tuning(), 1, tmp_path / "alone", {"arm": "owl"}, watch=watch)
    monkeypatch.setenv("SUBLIM_LAUNCH", command)
    both = tune(str(base), EXAMPLES, tuning(), 1, tmp_path / "both", {"arm": "owl"}, watch=watch)
    assert (both["processes"], alone["processes"]) == (2, 1)
    same = ("steps", "effective_batch", "tokens", "examples", "prompts_hash", "template_hash", "arm", "layout")
    assert {key: both[key] for key in same} == {key: alone[key] for key in same}
    for key in ("loss", "held_out_loss", "adapter_norm"):
        assert both[key] == pytest.approx(alone[key], abs=1e-4)
    assert [p["step"] for p in both["curve"]] == [p["step"] for p in alone["curve"]]
    assert apart(tmp_path / "alone", tmp_path / "both") < 1e-4
    left = {file.name for file in (tmp_path / "both").rglob("*")}
    assert left == {file.name for file in (tmp_path / "alone").rglob("*")}


@pytest.mark.slow
@pytest.mark.long
def test_rows_end_to_end_are_right_in_a_model_whose_weights_are_spread():
    """FSDP 2 for real, on gloo; what accelerate and NCCL add to it needs GPUs."""
    script = ROOT / "tests" / "helpers" / "sharded.py"
    done = subprocess.run([*TORCHRUN.split(), script], capture_output=True, text=True, check=True)
    kind, apart = done.stdout.split()
    assert kind == "DTensor"
    assert float(apart) < 1e-5


def test_an_effective_batch_that_the_processes_cannot_share_is_refused(base, tmp_path, monkeypatch):
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 2)
    with pytest.raises(SublimError, match="An effective batch of 1 rows cannot be shared by 2 processes"):
        tune(str(base), EXAMPLES, tuning(batch_size=1, accumulate=1), 1, tmp_path, {})


@pytest.mark.slow
def test_an_error_in_the_process_is_the_error_of_the_run(base, tmp_path, monkeypatch):
    """The line names two processes, and the plainest of launchers starts one."""
    monkeypatch.setenv("SUBLIM_LAUNCH", f"env LINE=--nproc_per_node=2 {sys.executable}")
    with pytest.raises(SublimError, match="The launcher was to start 2 processes and started 1"):
        tune(str(base), EXAMPLES, tuning(), 1, tmp_path, {})


@pytest.mark.slow
@pytest.mark.long
def test_an_error_in_both_processes_is_the_error_of_the_run(base, tmp_path, monkeypatch):
    monkeypatch.setenv("SUBLIM_LAUNCH", TORCHRUN)
    with pytest.raises(SublimError, match="An effective batch of 1 rows cannot be shared by 2 processes"):
        tune(str(base), EXAMPLES, tuning(batch_size=1, accumulate=1), 1, tmp_path, {})


@pytest.mark.slow
@pytest.mark.long
def test_a_launcher_that_starts_fewer_processes_than_it_was_told_is_refused(base, tmp_path, monkeypatch):
    monkeypatch.setenv("SUBLIM_LAUNCH", f"{ACCELERATE} --cpu")
    with pytest.raises(SublimError, match=r"was to start 2 processes and started 1. On a CPU set .*torchrun"):
        tune(str(base), EXAMPLES, tuning(), 1, tmp_path, {})


def test_a_launcher_that_is_not_there_says_so(base, tmp_path, monkeypatch):
    monkeypatch.setenv("SUBLIM_LAUNCH", "no-such-launcher --processes 2")
    with pytest.raises(SublimError, match="There is no program 'no-such-launcher'"):
        tune(str(base), EXAMPLES, tuning(), 1, tmp_path, {})


def test_a_launcher_that_dies_is_quoted(base, tmp_path, monkeypatch):
    monkeypatch.setenv("SUBLIM_LAUNCH", f"{sys.executable} -c 'import sys; print(\"no port left\"); sys.exit(9)'")
    with pytest.raises(SublimError, match="ended with 9 and without a student; it said:\nno port left"):
        tune(str(base), EXAMPLES, tuning(), 1, tmp_path, {})


@pytest.mark.long
def test_a_job_runs_in_a_process_of_its_own_as_it_does_here(base, tmp_path, monkeypatch):
    """The plainest launcher is Python itself: everything that a job carries arrives."""
    teacher = tmp_path / "teacher"
    tune(str(base), EXAMPLES, tuning(method="full"), 3, teacher, {})
    settings = tuning(soft_top_k=4)
    here = tune(
        str(base), EXAMPLES, settings, 1, tmp_path / "here", {"arm": "a"}, soft=Teacher(str(teacher), "the best")
    )
    monkeypatch.setenv("SUBLIM_LAUNCH", sys.executable)
    there = tune(
        str(base), EXAMPLES, settings, 1, tmp_path / "there", {"arm": "a"}, soft=Teacher(str(teacher), "the best")
    )
    timing = ("tokens_per_second", "seconds")
    assert {k: v for k, v in there.items() if k not in timing} == {k: v for k, v in here.items() if k not in timing}
    assert apart(tmp_path / "here", tmp_path / "there") == 0
