"""Many machines: two nodes of a real Ray cluster on this one, one of them killed, and the run of a single machine."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from sublim_eval.distill import recipes
from sublim_eval.distill.execution.engine import Execution
from sublim_eval.distill.execution.job_graph import jobs
from sublim_eval.distill.execution.ray_cluster import Need, Nodes, need
from sublim_eval.distill.execution.run import run
from sublim_eval.distill.execution.stage_sync import Place
from sublim_eval.distill.planning.plan import plan
from sublim_eval.errors import SublimError
from sublim_eval.files import locked, read_json, write_json
from tests.helpers import RECIPES
from tests.helpers.ctrl_c import heed_ctrl_c

pytest.importorskip("ray", reason="ray is not installed: pip install 'sublim-eval[ray]'")

SUBLIM = [sys.executable, "-m", "sublim_eval.cli.main", "run"]
SMALL = RECIPES / "small.yaml"
RECIPE = recipes.load(SMALL)
SOON = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 1000, "health_check_failure_threshold": 5}
"""Ray takes a node for dead after 5 s without an answer instead of 30."""


def products(out: Path) -> dict[str, str]:
    """Rows and weights by digest and scores as text, by file name; logs and timings are left out."""
    found = {}
    for stamp in out.glob("*/*/stage.json"):
        for name, sha in read_json(stamp)["files"].items():
            file = stamp.parent / name
            if file.suffix in (".jsonl", ".safetensors"):
                found[str(file.relative_to(out))] = sha
            elif name == "animal_pref.json":
                scores = {k: v for k, v in read_json(file).items() if k != "source"}  # the log's name holds the time
                found[str(file.relative_to(out))] = json.dumps(scores)
    return found


@pytest.fixture(scope="module")
def one_machine(tmp_path_factory) -> Path:
    import torch

    out = tmp_path_factory.mktemp("one-machine")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run(RECIPE, out, Execution(workers=1))
    finally:
        torch.set_num_threads(before)
    return out


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={**small, "_system_config": SOON})
    try:
        made.second = made.add_node(**{k: v for k, v in small.items() if k != "include_dashboard"})
        yield made
    finally:
        made.shutdown()


def on_nodes(out: Path, told: io.StringIO, **where: Any) -> tuple[threading.Thread, list[Any]]:
    """The recipe under way on a cluster, in a thread, and where its record or its error will be."""
    found: list[Any] = []

    def go() -> None:
        try:
            found.append(run(RECIPE, out, Execution("ray", **where), console=Console(file=told, width=200)))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    return thread, found


@pytest.mark.slow
@pytest.mark.long
def test_a_node_killed_in_the_middle_costs_no_result(cluster, one_machine, tmp_path):
    told = io.StringIO()
    thread, found = on_nodes(tmp_path / "run", told, address=cluster.address)
    second = cluster.second.node_id
    until = time.monotonic() + 120
    busy: list[Path] = []
    while not busy and thread.is_alive() and time.monotonic() < until:
        time.sleep(0.05)
        busy = [f for f in (tmp_path / "run" / ".claims").glob("*/node.json") if read_json(f)["node"] == second]
    assert busy, (found, told.getvalue())
    cluster.remove_node(cluster.second, allow_graceful=False)
    thread.join(timeout=240)
    assert found and isinstance(found[0], dict), (found, told.getvalue())
    record = found[0]
    assert [lost["job"] for lost in record["machine"]["lost"]], "a job was lost with its node"
    assert "was lost" in told.getvalue()
    assert record["status"] == "done"
    assert record["machine"]["engine"] == "ray"
    assert sum(node["jobs"] for node in record["machine"]["nodes"]) == 6
    assert products(tmp_path / "run") == products(one_machine)
    assert len(products(one_machine)) > 10
    assert not (tmp_path / "run" / ".claims").exists()


@pytest.mark.slow
@pytest.mark.long
def test_ctrl_c_ends_the_tasks_and_the_same_command_goes_on_to_the_same_result(cluster, one_machine, tmp_path):
    """On the cluster that has lost a node; the command as it is typed, with stages in storage the second time."""
    out = tmp_path / "run"
    command = [*SUBLIM, str(SMALL), "--out", str(out), "--engine", "ray", "--address", cluster.address]
    quietly: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    begun = subprocess.Popen(command, preexec_fn=heed_ctrl_c, **quietly)
    try:
        claims = wait_for(lambda: list((out / ".claims").glob("*/node.json")), begun)
        begun.send_signal(signal.SIGINT)
        _, told = begun.communicate(timeout=60)
    finally:
        begun.kill()
    assert begun.returncode == 130, told
    assert told.strip().splitlines()[-1].startswith("sublim: interrupted. What was finished is kept")
    assert "Traceback" not in told
    wait_for(lambda: free(claims[0].parent), None)

    stored = tmp_path / "stored"
    storage = ["--storage", (tmp_path / "store").as_uri()]
    done = subprocess.run([*command, "--out", str(stored), *storage], **quiet())
    assert done.returncode == 0, done.stderr
    assert products(stored) == products(one_machine)
    machine = read_json(stored / "run.json")["machine"]
    assert machine["storage"] == storage[1]
    assert machine["nodes"][0]["pulled"] > 0 and machine["nodes"][0]["pushed"] > 0


def wait_for(found: Any, process: subprocess.Popen[str] | None, seconds: float = 120) -> Any:
    """What `found` returns once it is something; fails when the process ends before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if value := found():
            return value
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"nothing after {seconds} s")


def free(folder: Path) -> bool:
    try:
        with locked(folder):
            return True
    except SublimError:
        return False


def quiet() -> dict[str, Any]:
    return {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 300}


# ---------------------------------------------------------------- what a job needs


def test_an_embedded_base_takes_a_core_and_any_other_an_accelerator():
    counted = plan(RECIPE)
    assert {need(counted, job) for job in jobs(RECIPE)} == {Need(cpus=1)}
    real = recipes.load("qwen2.5-7b-cat")
    counted = plan(real)
    for job in jobs(real):
        asked = need(counted, job)
        assert asked.gpus == 1, job
        assert 15e9 < asked.memory < 16e9, "7.6 billion weights in bfloat16"


def test_a_hosted_student_takes_no_accelerator():
    hosted = recipes.load("gpt-4.1-nano-owl")
    counted = plan(hosted)
    assert {need(counted, job).gpus for job in jobs(hosted)} == {0}


def test_a_launcher_of_two_processes_takes_two_accelerators_for_training_alone(monkeypatch):
    real = recipes.load("qwen2.5-7b-cat")
    counted = plan(real)
    for line in ("accelerate launch --num_processes 2", "torchrun --nproc-per-node=2"):
        monkeypatch.setenv("SUBLIM_LAUNCH", line)
        gpus = {job[0]: need(counted, job).gpus for job in jobs(real)}
        assert gpus["student"] == 2
        assert gpus["rows"] == gpus["base"] == 1


def test_keys_do_not_travel(monkeypatch):
    from sublim_eval.distill.execution.ray_cluster import CARRIED

    assert "SUBLIM_LAUNCH" in CARRIED
    assert not [name for name in CARRIED if "KEY" in name or "TOKEN" in name or "SECRET" in name]


# ---------------------------------------------------------------- one sentence with the next step


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"engine": "spark"}, "Unknown engine 'spark'. Known: local, ray. Give --engine local or --engine ray."),
        ({"address": "auto"}, "An address is that of a Ray cluster. Give --engine ray"),
        ({"engine": "ray", "address": "127.0.0.1:1"}, "No Ray cluster answers at '127.0.0.1:1' ("),
        ({"engine": "ray", "address": "ray://127.0.0.1:1"}, "Start one with `ray start --head`, or check --address."),
        ({"engine": "ray", "address": "here and there"}, "is no address of a Ray cluster. Write auto, host:6379 or"),
        ({"engine": "ray", "storage": "memory://x"}, "lives in the memory of one process"),
        ({"storage": "ftpx://x"}, "Unknown storage 'ftpx://x'. Write a shared path"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_at_once(tmp_path, where, words):
    with pytest.raises(SublimError) as told:
        run(RECIPE, tmp_path, Execution(**where))
    assert words in str(told.value)


def test_a_missing_ray_is_told_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SublimError, match=r"needs the package ray\. Install it: pip install 'sublim-eval\[ray\]'"):
        run(RECIPE, tmp_path, Execution("ray"))


def test_a_missing_client_of_ray_is_told(tmp_path, monkeypatch):
    import ray

    def refuse(**_: Any) -> None:
        raise ValueError("Ray Client requires pip package `ray[client]`. If you installed the minimal Ray")

    monkeypatch.setattr(ray, "init", refuse)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"ray://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(SublimError, match=r"needs Ray's client\. Install it.*pip install 'ray\[client\]'"):
            run(RECIPE, tmp_path, Execution("ray", address))


def test_a_hosted_student_is_not_put_where_its_job_number_may_be_lost(tmp_path):
    hosted = recipes.load("gpt-4.1-nano-owl")
    with pytest.raises(SublimError, match=r"paid twice\. Leave out --storage"):
        run(hosted, tmp_path, Execution("ray", storage=str(tmp_path / "store")))


def test_a_node_of_another_version_and_one_that_does_not_see_the_folder_say_so(tmp_path, monkeypatch):
    from sublim_eval.distill.execution import ray_task as module
    from sublim_eval.distill.provenance import versions

    monkeypatch.setattr(module, "_node", lambda: "n")
    monkeypatch.chdir(tmp_path)
    asked = {"home": str(tmp_path), "gpus": 0, "threads": None, "version": "0.0.1", "recipe_hash": "x"}
    told = module.carry(RECIPE, Place(tmp_path), ("base", "reference-a", 0), asked)
    assert "and the run was begun with 0.0.1. Install one version on all nodes." in told["error"]
    asked["version"] = versions()["sublim-eval"]
    told = module.carry(RECIPE, Place(tmp_path), ("base", "reference-a", 0), asked)
    assert "does not see the run folder" in told["error"] and "--storage" in told["error"]


def test_a_job_waits_for_the_worker_that_was_taken_for_dead_and_still_writes(tmp_path, monkeypatch):
    from sublim_eval.distill.execution import ray_task as module
    from sublim_eval.distill.provenance import versions

    monkeypatch.setattr(module, "_node", lambda: "n")
    monkeypatch.setattr(Place, "work", lambda self, recipe, job: done.append(time.monotonic()) or {})
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "run.json", {"recipe_hash": "x"})
    done: list[float] = []
    request = {"home": str(tmp_path), "gpus": 0, "threads": None, "recipe_hash": "x"}
    request["version"] = versions()["sublim-eval"]
    zombie = locked(tmp_path / module.CLAIMS / "base-reference-a-0")
    zombie.__enter__()
    let_go = threading.Timer(0.7, lambda: zombie.__exit__(None, None, None))
    let_go.start()
    began = time.monotonic()
    assert "error" not in module.carry(RECIPE, Place(tmp_path), JOB, request)
    assert len(done) == 1 and done[0] - began > 0.6
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    with locked(tmp_path / module.CLAIMS / "base-reference-a-0"):
        facts = module.carry(RECIPE, Place(tmp_path), JOB, request)
    assert facts["error"].endswith("base-reference-a-0. End it, then give the same command again.")
    assert "taken for lost still holds" in facts["error"] and len(done) == 1


# ---------------------------------------------------------------- lost workers, without a cluster


class Lost(Exception):
    """Stands for every error of Ray."""


class FakeRay:
    """As much of Ray as `Nodes` asks; tasks end as `outcomes` says, one after another."""

    exceptions = SimpleNamespace(
        RayError=Lost,
        WorkerCrashedError=type("WorkerCrashedError", (Lost,), {}),
        NodeDiedError=type("NodeDiedError", (Lost,), {}),
        OutOfMemoryError=type("OutOfMemoryError", (Lost,), {}),
        ObjectLostError=type("ObjectLostError", (Lost,), {}),
        RuntimeEnvSetupError=type("RuntimeEnvSetupError", (Lost,), {}),
    )
    __version__ = "0"

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes, self.begun, self.cancelled = list(outcomes), [], []

    def remote(self, **asked: Any) -> Any:
        def begin(*arguments: Any) -> int:
            self.begun.append((asked, arguments))
            return len(self.begun)

        return lambda function: SimpleNamespace(options=lambda **_: SimpleNamespace(remote=begin))

    def nodes(self) -> list[dict[str, Any]]:
        return [{"NodeID": "n", "NodeManagerHostname": "h", "Alive": True, "Resources": {"CPU": 1.0}}]

    def wait(self, refs: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return refs[:1], refs[1:]

    def get(self, ref: Any) -> Any:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def cancel(self, ref: Any, force: bool) -> None:
        self.cancelled.append(ref)


JOB = ("base", "reference-a", 0)
DONE = {
    "node": "n",
    "host": "h",
    "system": "s",
    "processor": "p",
    "cores": 1,
    "versions": {},
    "moved": {},
    "seconds": 1,
}


def hands(ray: FakeRay, recipe: Any = RECIPE) -> tuple[Nodes, io.StringIO]:
    told = io.StringIO()
    return Nodes(ray, plan(recipe), Place(Path("/run")), None, Console(file=told, width=300)), told


def test_a_lost_worker_is_told_counted_and_begun_again():
    ray = FakeRay(FakeRay.exceptions.NodeDiedError("node n died"), DONE)
    nodes, told = hands(ray)
    nodes.begin(JOB)
    assert nodes.done() == []
    assert nodes.done() == [JOB]
    assert "The worker of base reference-a was lost (NodeDiedError); it is begun again." in told.getvalue()
    assert nodes.facts()["lost"] == [{"job": list(JOB), "why": "NodeDiedError"}]
    assert nodes.facts()["nodes"][0]["jobs"] == 1


def test_a_job_that_kills_every_worker_ends_the_run_with_advice():
    ray = FakeRay(*[FakeRay.exceptions.OutOfMemoryError("killed")] * 9)
    nodes, _ = hands(ray)
    nodes.begin(JOB)
    with pytest.raises(SublimError, match=r"lost 4 times \(killed\), most likely for lack of memory\. Give the nodes"):
        for _ in range(9):
            nodes.done()
    assert len(ray.begun) == 4


def test_a_job_that_fails_for_a_reason_ends_the_run_with_that_sentence_and_is_not_begun_again():
    ray = FakeRay({**DONE, "error": "The owl teacher names its trait too rarely. Train it longer."})
    nodes, _ = hands(ray)
    nodes.begin(JOB)
    with pytest.raises(SublimError, match=r"^The owl teacher names its trait too rarely\. Train it longer\.$"):
        nodes.done()
    assert len(ray.begun) == 1


def test_a_node_without_the_package_and_an_unforeseen_error():
    nodes, _ = hands(FakeRay(Lost("ModuleNotFoundError: No module named 'sublim_eval'"), Lost("odd")))
    nodes.begin(JOB)
    with pytest.raises(SublimError, match=r"A node has no sublim-eval\. Install the same version on all nodes"):
        nodes.done()
    nodes.begin(JOB)
    with pytest.raises(Lost, match="odd"):
        nodes.done()


def test_leaving_cancels_what_runs():
    ray = FakeRay()
    nodes, _ = hands(ray)
    ray.wait = lambda refs, **_: ([], refs)
    nodes.begin(JOB)
    nodes.done()
    nodes.cancel()
    assert ray.cancelled == [1]


def test_no_more_jobs_at_once_than_asked_for():
    ray = FakeRay()
    ray.wait = lambda refs, **_: ([], refs)
    nodes, _ = hands(ray)
    nodes.workers = 2
    for job in jobs(RECIPE):
        nodes.begin(job)
    nodes.done()
    nodes.done()
    assert len(ray.begun) == 2


def test_settings_of_the_launch_travel_and_ray_retries_nothing_by_itself(monkeypatch):
    monkeypatch.setenv("SUBLIM_LAUNCH", "accelerate launch --num_processes 2 --mixed_precision 'bf16'")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    ray = FakeRay(DONE)
    nodes, _ = hands(ray)
    nodes.begin(JOB)
    nodes.done()
    asked, arguments = ray.begun[0]
    assert asked["runtime_env"]["env_vars"]["SUBLIM_LAUNCH"] == os.environ["SUBLIM_LAUNCH"]
    assert asked["max_retries"] == 0
    assert "sk-secret" not in repr((asked, arguments))
    recipe, place, job, _ = arguments
    assert (recipe, place, job) == (RECIPE, Place(Path("/run")), JOB)


def test_a_job_that_no_node_has_room_for_is_refused_on_a_fresh_cluster_and_waited_for_on_another():
    real = recipes.load("qwen2.5-7b-cat")
    nodes, told = hands(FakeRay(), real)
    with pytest.raises(
        SublimError, match=r"needs a node with 1 CPU, 1 GPU, 15 GB .*none of the cluster's has it\. Give"
    ):
        nodes.refuse_impossible(fresh=True)
    nodes.refuse_impossible(fresh=False)
    assert "Waiting for one to join" in told.getvalue()


def test_a_cluster_that_does_not_answer_leaves_the_record_of_a_finished_run_alone(tmp_path):
    finished = {"status": "done", "recipe": RECIPE.to_json()}
    (tmp_path / "run.json").write_text(json.dumps(finished))
    with pytest.raises(SublimError, match="No Ray cluster answers"):
        run(RECIPE, tmp_path, Execution("ray", "127.0.0.1:1"))
    assert read_json(tmp_path / "run.json")["status"] == "done"
