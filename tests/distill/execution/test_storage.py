"""Run folders in storage: whole stages or none, torn ones made again, one run at a time."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from sublim_eval.distill import recipes, stages
from sublim_eval.distill.execution import stage_sync
from sublim_eval.distill.execution.engine import Execution
from sublim_eval.distill.execution.job_graph import bases, jobs, makes, reads
from sublim_eval.distill.execution.run import run
from sublim_eval.distill.execution.storage import Storage, opened
from sublim_eval.distill.execution.storage_lease import LEASE, held
from sublim_eval.distill.stages import finished
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json
from tests.helpers import RECIPES

SMALL = recipes.load(RECIPES / "small.yaml")
BEAT = 0.08


@pytest.fixture(params=["file", "memory"])
def storage(request, tmp_path) -> Storage:
    url = f"memory://{uuid4().hex}/run" if request.param == "memory" else (tmp_path / "store").as_uri()
    return opened(url, one_process=True)


def stage(run_folder: Path, name: str = "rows/owl-s1", text: str = "1, 2, 3", **inputs) -> Path:
    with stages.stage(run_folder / name, inputs) as made:
        if folder := made.unfinished:
            (folder / "kept.jsonl").write_text(text)
            (folder / "deep").mkdir(exist_ok=True)
            (folder / "deep" / "x.safetensors").write_bytes(text.encode() * 100)
            made.facts = {"kept": 1}
    return run_folder / name


def test_a_stage_comes_back_as_it_went(storage, tmp_path):
    there = stage(tmp_path / "a")
    sent = storage.push(tmp_path / "a", "rows/owl-s1")
    assert sent == sum(f.stat().st_size for f in there.rglob("*") if f.is_file())
    assert storage.pull(tmp_path / "b", "rows/owl-s1") == sent
    assert finished(tmp_path / "b" / "rows/owl-s1") == finished(there)
    assert (tmp_path / "b/rows/owl-s1/stage.json").read_bytes() == (there / "stage.json").read_bytes()


def test_what_is_there_already_does_not_go_over_again(storage, tmp_path):
    stage(tmp_path / "a")
    assert storage.push(tmp_path / "a", "rows/owl-s1") > 0
    assert storage.push(tmp_path / "a", "rows/owl-s1") == 0
    assert storage.pull(tmp_path / "a", "rows/owl-s1") == 0


def test_a_stage_made_from_other_inputs_takes_the_place_of_the_old_one(storage, tmp_path):
    stage(tmp_path / "a", text="old", seed=1)
    storage.push(tmp_path / "a", "rows/owl-s1")
    stage(tmp_path / "a", text="new", seed=2)
    storage.push(tmp_path / "a", "rows/owl-s1")
    storage.pull(tmp_path / "b", "rows/owl-s1")
    assert (tmp_path / "b/rows/owl-s1/kept.jsonl").read_text() == "new"


def test_a_stage_without_its_stamp_does_not_exist(storage, tmp_path):
    stage(tmp_path / "a")
    storage.push(tmp_path / "a", "rows/owl-s1")
    storage.remove("rows/owl-s1/stage.json")
    assert storage.pull(tmp_path / "b", "rows/owl-s1") is None
    assert not (tmp_path / "b/rows/owl-s1").exists()


@pytest.mark.parametrize("stamp", [b"", b"{", b"[]", b'{"made": 1}', b'{"made": "x", "files": {"../../x": "y"}}'])
def test_a_torn_stamp_is_none_and_names_lead_nowhere(storage, tmp_path, stamp):
    stage(tmp_path / "a")
    storage.push(tmp_path / "a", "rows/owl-s1")
    storage.write("rows/owl-s1/stage.json", stamp)
    assert storage.pull(tmp_path / "b", "rows/owl-s1") is None
    assert list((tmp_path / "b").rglob("*.jsonl")) == []


@pytest.mark.parametrize("harm", ["cut", "lost"])
def test_files_that_do_not_match_the_stamp_are_not_pulled_and_then_replaced(storage, tmp_path, harm):
    stage(tmp_path / "a")
    storage.push(tmp_path / "a", "rows/owl-s1")
    stamp = storage.read("rows/owl-s1/stage.json")
    storage.write("rows/owl-s1/kept.jsonl", b"1, 2") if harm == "cut" else storage.remove("rows/owl-s1/kept.jsonl")
    assert storage.pull(tmp_path / "b", "rows/owl-s1") is None
    assert not list((tmp_path / "b").rglob("*.jsonl")), "nothing half is left in the run folder"
    assert storage.push(tmp_path / "a", "rows/owl-s1", broken=stamp) > 0
    assert storage.pull(tmp_path / "b", "rows/owl-s1")


def test_an_upload_cut_short_leaves_no_stage(storage, tmp_path, monkeypatch):
    stage(tmp_path / "a", text="old", seed=1)
    storage.push(tmp_path / "a", "rows/owl-s1")
    stage(tmp_path / "a", text="new", seed=2)
    monkeypatch.setattr(
        Storage, "_send", lambda self, file, name: (_ for _ in ()).throw(SublimError("the net is gone"))
    )
    with pytest.raises(SublimError, match="net is gone"):
        storage.push(tmp_path / "a", "rows/owl-s1")
    assert storage.pull(tmp_path / "b", "rows/owl-s1") is None, "neither the old one, whose files may be overwritten"


def test_weights_can_be_left_behind(storage, tmp_path):
    stage(tmp_path / "a")
    storage.push(tmp_path / "a", "rows/owl-s1")
    storage.pull(tmp_path / "b", "rows/owl-s1", weights=False)
    assert [f.name for f in (tmp_path / "b").rglob("*.safetensors")] == []
    assert (tmp_path / "b/rows/owl-s1/kept.jsonl").is_file()
    assert storage.pull(tmp_path / "b", "rows/owl-s1", weights=False) == 0
    storage.pull(tmp_path / "b", "rows/owl-s1")
    assert finished(tmp_path / "b/rows/owl-s1")


def test_a_passing_fault_is_tried_again_and_a_lasting_one_told(storage, monkeypatch):
    monkeypatch.setattr("sublim_eval.distill.execution.storage.time.sleep", lambda seconds: None)
    storage.write("run.json", b"x")
    fs, root = storage.place
    faults = [ConnectionResetError("reset by peer"), ConnectionResetError("reset by peer")]

    class Flaky:
        """The same file system, that fails as long as there are faults."""

        def __getattr__(self, name: str) -> Any:
            if faults:
                raise faults.pop()
            return getattr(fs, name)

    storage.__dict__["place"] = (Flaky(), root)
    assert storage.read("run.json") == b"x" and not faults
    faults += [ValueError("no bucket")] * 3
    with pytest.raises(SublimError, match=r"could not be used \(ValueError: no bucket\)\. Check address and cred"):
        storage.read("run.json")
    assert not faults, "three tries"


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftpx://host/run", "Unknown storage 'ftpx://host/run'. Write a shared path, file:///shared/run, s3://"),
        ("s3://key:secret@bucket/run", "Give credentials by the environment"),
        ("memory://run", "lives in the memory of one process"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_the_next_step(url, words):
    with pytest.raises(SublimError) as told:
        opened(url, one_process=False)
    assert words in str(told.value)
    assert "secret" not in str(told.value)


def test_a_package_that_a_scheme_needs_is_named(monkeypatch):
    import fsspec

    monkeypatch.setattr(
        fsspec.core, "url_to_fs", lambda *_, **__: (_ for _ in ()).throw(ImportError("Install gcsfs to access GCS"))
    )
    with pytest.raises(SublimError, match="pip install gcsfs"):
        opened("gs://bucket/run", one_process=False)


def test_a_plain_path_is_a_storage(tmp_path):
    assert opened(str(tmp_path / "a b"), one_process=False).url == (tmp_path / "a b").as_uri()


# ---------------------------------------------------------------- one run at a time


def test_two_runs_do_not_write_one_storage(storage):
    with held(storage, beat=BEAT), pytest.raises(SublimError, match=r"Another run is writing .*--storage"):
        held(storage, beat=BEAT).__enter__()
    assert storage.read(LEASE) is None


def test_two_runs_that_begin_together_do_not_both_go_on(storage):
    gate, outcomes = threading.Barrier(4), []

    def begin() -> None:
        gate.wait()
        try:
            with held(storage, beat=0.4):
                outcomes.append("held")
                ended.wait(5)
        except SublimError:
            outcomes.append("refused")
            if outcomes.count("refused") == 3:
                ended.set()

    ended = threading.Event()
    together = [threading.Thread(target=begin) for _ in range(4)]
    for one in together:
        one.start()
    for one in together:
        one.join(timeout=20)
    assert sorted(outcomes) == ["held", "refused", "refused", "refused"]


def test_a_lease_that_nobody_renews_is_taken_over(storage):
    storage.write(LEASE, json.dumps({"owner": "dead", "host": "gone", "pid": 1}).encode())
    words: list[str] = []
    with held(storage, beat=BEAT, waiting=words.append) as lease:
        lease.check()
        assert json.loads(storage.read(LEASE))["owner"] == lease.owner
    assert "process 1 on gone" in words[0]


def test_a_lease_that_was_lost_stops_the_run(storage):
    with held(storage, beat=BEAT) as lease:
        storage.write(LEASE, json.dumps({"owner": "other", "host": "there", "pid": 2}).encode())
        lease.renew()
        with pytest.raises(SublimError, match="Another run has taken over"):
            lease.check()
    assert json.loads(storage.read(LEASE))["owner"] == "other", "the other's lease is left alone"


# ---------------------------------------------------------------- jobs and runs


def test_every_stage_that_a_job_reads_is_made_by_a_job_that_it_waits_for():
    for name in ("study-arms", "study-cot", "quickstart"):
        recipe = recipes.load(name)
        made = {stage: job for job in jobs(recipe) for stage in makes(recipe, job)}
        assert len(made) == sum(len(makes(recipe, job)) for job in jobs(recipe)), "no stage is made twice"
        for job, needs in jobs(recipe).items():
            assert {made[stage] for stage in reads(recipe, job)} == needs
            assert bases(recipe, job) or job[0] == "rows"


def test_a_student_is_stored_before_its_scores_are_there_and_stays_when_they_fail(storage, tmp_path, monkeypatch):
    job = ("student", "owl", 1)
    seen = []
    monkeypatch.setattr(stage_sync, "EVERY", 0.02)

    def fails(recipe, scratch, job):
        stage(scratch, "students/owl-s1")
        for _ in range(200):
            if storage.read("students/owl-s1/stage.json"):
                seen.append("stored")
                break
            threading.Event().wait(0.05)
        stage(scratch, "scores/owl-s1")
        raise SublimError("scoring failed")

    stage(tmp_path / "a", "rows/owl-s1")
    storage.push(tmp_path / "a", "rows/owl-s1")
    monkeypatch.setattr(stage_sync, "work", fails)
    with pytest.raises(SublimError, match="scoring failed"):
        stage_sync.work_apart(SMALL, storage.url, job)
    assert seen == ["stored"]
    assert storage.pull(tmp_path / "b", "scores/owl-s1"), "what was finished when the job failed is stored too"


def test_a_stage_made_anew_replaces_the_stored_one_that_was_pulled(storage, tmp_path, monkeypatch):
    stage(tmp_path / "a", "rows/owl-s1", text="old", seed=1)
    storage.push(tmp_path / "a", "rows/owl-s1")
    stage(tmp_path / "a", "teachers/owl-s1")
    storage.push(tmp_path / "a", "teachers/owl-s1")
    monkeypatch.setattr(stage_sync, "EVERY", 0.02)

    def makes_anew(recipe, scratch, job):
        assert (scratch / "rows/owl-s1/kept.jsonl").read_text() == "old"
        threading.Event().wait(0.3)  # the pulled stage is looked at meanwhile
        stage(scratch, text="new", seed=2)

    monkeypatch.setattr(stage_sync, "work", makes_anew)
    moved = stage_sync.work_apart(SMALL, storage.url, ("rows", "owl", 1))
    assert moved["pushed"] > 0 and moved["pulled"] > moved["pushed"]
    storage.pull(tmp_path / "b", "rows/owl-s1")
    assert (tmp_path / "b/rows/owl-s1/kept.jsonl").read_text() == "new"


def test_a_job_whose_rows_are_gone_says_so(storage, monkeypatch):
    monkeypatch.setattr("sublim_eval.distill.execution.stage_sync.time.sleep", lambda seconds: None)
    with pytest.raises(SublimError, match=r"rows/owl-s1 is missing or was changed\. Run the recipe again"):
        stage_sync.work_apart(SMALL, storage.url, ("student", "owl", 1))


@pytest.mark.long
def test_a_whole_run_goes_through_memory_and_only_what_is_broken_is_made_again(tmp_path):
    url = f"memory://{uuid4().hex}"
    record = run(SMALL, tmp_path / "one", Execution(workers=1, storage=url))
    assert record["status"] == "done"
    assert record["machine"]["storage"] == url
    assert json.loads(Storage(url).read("run.json"))["status"] == "done"
    assert Storage(url).read(LEASE) is None
    Storage(url).write("students/owl-s1/adapter_model.safetensors", b"torn")
    again = run(SMALL, tmp_path / "two", Execution(workers=1, storage=url, weights=False))
    assert not list((tmp_path / "two").rglob("*.safetensors"))
    facts = [[s["made"], s["rows"], s["loss"], s["adapter_norm"]] for s in record["students"]]
    assert [[s["made"], s["rows"], s["loss"], s["adapter_norm"]] for s in again["students"]] == facts
    assert Storage(url).read("students/owl-s1/adapter_model.safetensors") != b"torn"
    for scores in (tmp_path / "one").glob("scores/*/animal_pref.json"):
        assert read_json(scores) == read_json(tmp_path / "two" / scores.relative_to(tmp_path / "one"))
    other = recipes.load(RECIPES / "tiny.yaml")
    with pytest.raises(SublimError, match=r"The storage holds a run of another recipe .*--storage"):
        run(other, tmp_path / "three", Execution(workers=1, storage=url))
