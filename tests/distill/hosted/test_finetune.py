"""Hosted students against a local provider: whatever fails, nothing is lost and nothing is paid for twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from sublim_eval.cli.main import main
from sublim_eval.distill.hosted import journal
from sublim_eval.distill.planning.api_cost import ask
from sublim_eval.distill.planning.plan import plan
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json, write_json
from sublim_eval.remote.secrets import scrub
from tests.helpers.hosting import BASE, ROWS, as_victim, holds_key, hosted_recipe, in_another_process, server, tuned
from tests.helpers.json_shapes import has_the_shape
from tests.helpers.openai_server import KEY, Server

__all__ = ["server"]

FILES, JOBS = "POST /v1/files", "POST /v1/fine_tuning/jobs"
LIST, JOB, EVENTS = "GET /v1/fine_tuning/jobs", "GET /v1/fine_tuning/jobs/{id}", "GET /v1/fine_tuning/jobs/{id}/events"


def paid_once(server: Server) -> bool:
    return (server.ledger["jobs"], server.ledger["uploads"]) == (1, 1)


# ---------------------------------------------------------------- what is sent and what comes back


def test_each_row_is_uploaded_once_as_a_chat_without_system_prompt(server, tmp_path):
    tuned(tmp_path)
    lines = [json.loads(line) for line in server.bodies["file-1"].decode().splitlines()]
    assert lines == [
        {"messages": [{"role": "user", "content": p}, {"role": "assistant", "content": c}]} for p, c in ROWS
    ]


def test_the_students_folder_says_where_the_model_is_and_holds_no_weights(server, tmp_path):
    facts = tuned(tmp_path)
    name = f"openai/ft:{BASE}:org:sublim-owl-s1:1"
    assert facts["model"] == name
    assert {f.name for f in tmp_path.iterdir()} == {"job.json", "student.json"}
    assert read_json(tmp_path / "student.json") | {"hosted": name, "base": BASE} == read_json(tmp_path / "student.json")
    assert facts["trained_tokens"] == len(server.bodies["file-1"])
    assert facts["examples"] == 20
    assert facts["hyperparameters"] == {"n_epochs": 2}


def test_what_is_left_to_the_host_is_not_sent(server, tmp_path):
    tuned(tmp_path)
    job = server.jobs["ftjob-1"]
    assert job["method"] == {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}
    assert job["seed"] == 1
    assert job["metadata"]["sublim_arm"] == "owl"


# ---------------------------------------------------------------- faults that pass


@pytest.mark.parametrize("fault", ["429", "500", "503", "drop-before", "drop-after", "drop-body"])
def test_an_upload_that_is_disturbed_ends_in_one_file(server, tmp_path, fault):
    server.plant(FILES, fault, fault)
    tuned(tmp_path)
    assert paid_once(server)
    assert len(server.faults[FILES]) == (fault == "drop-after"), "a file that arrived is found, not sent again"


@pytest.mark.parametrize("fault", ["429", "500", "503", "drop-before", "drop-after"])
def test_a_start_that_is_disturbed_ends_in_one_job(server, tmp_path, fault):
    server.plant(JOBS, fault)
    tuned(tmp_path)
    assert paid_once(server)


def test_a_job_that_the_list_shows_late_is_not_started_again(server, tmp_path):
    server.plant(JOBS, "drop-after")
    server.plant(LIST, "ok", "hide")
    tuned(tmp_path)
    assert paid_once(server)


@pytest.mark.parametrize("route", [LIST, JOB, EVENTS, "GET /v1/files"])
@pytest.mark.parametrize("fault", ["429", "500", "drop-after"])
def test_a_look_that_is_disturbed_is_repeated(server, tmp_path, route, fault):
    server.plant(route, fault)
    tuned(tmp_path)
    assert paid_once(server)


# ---------------------------------------------------------------- faults that stay


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("quota", r"start the training: You exceeded your current quota\. Add credit .* same command again"),
        ("401", r"Incorrect API key provided: \[key\]\. Set the provider's key in its environment variable"),
        ("400", r"Invalid value for n_epochs\. The request itself was refused: change the recipe"),
        ("404", r"`gpt-none` does not exist\. Check the model's name"),
    ],
)
def test_a_refusal_says_why_and_the_same_command_goes_on(server, tmp_path, fault, says):
    server.plant(JOBS, fault)
    with pytest.raises(SublimError, match=says):
        tuned(tmp_path)
    assert server.ledger["jobs"] == 0
    tuned(tmp_path)
    assert paid_once(server), "the rows were uploaded before the refusal and serve again"


def test_a_server_that_never_answers_is_given_up_with_the_next_step(server, tmp_path):
    server.plant(JOBS, *["503"] * journal.TRIES)
    with pytest.raises(SublimError, match=r"did not start the training: Overloaded\. Wait until it answers"):
        tuned(tmp_path)
    tuned(tmp_path)
    assert paid_once(server)


def test_a_job_that_fails_gives_the_servers_reason(server, tmp_path):
    server.ending = {
        "status": "failed",
        "error": {"code": "x", "message": "Line 7 is empty.", "param": "training_file"},
    }
    with pytest.raises(SublimError, match=r"ftjob-1 of owl failed: Line 7 is empty\. Its rows are kept"):
        tuned(tmp_path)
    server.ending = {"status": "succeeded"}
    assert tuned(tmp_path)["job"] == "ftjob-2"
    assert server.ledger["uploads"] == 1
    assert [job["id"] for job in read_json(tmp_path / "job.json")["earlier"]] == ["ftjob-1"]


def test_a_cancelled_job_is_said_to_be_cancelled(server, tmp_path):
    server.ending = {"status": "cancelled"}
    with pytest.raises(SublimError, match=r"ftjob-1 of owl was cancelled; its rows are kept\. .*paid for anew"):
        tuned(tmp_path)


def test_rows_that_expired_at_the_provider_are_uploaded_again(server, tmp_path):
    server.plant(JOBS, "file-gone")
    tuned(tmp_path)
    assert server.ledger == {**server.ledger, "jobs": 1, "uploads": 2}


@pytest.mark.parametrize("name", [None, "", "ft:x\x1b[2J", "../../etc", "a b"])
def test_a_success_that_names_no_model_is_no_student(server, tmp_path, name, monkeypatch):
    from tests.helpers import openai_server

    plain = openai_server.Handler.look
    monkeypatch.setattr(openai_server.Handler, "look", lambda self, job: {**plain(self, job), "fine_tuned_model": name})
    with pytest.raises(SublimError, match="succeeded and names no model that could be asked"):
        tuned(tmp_path)
    assert not (tmp_path / "student.json").exists()


# ---------------------------------------------------------------- killed clients


@pytest.mark.parametrize("route", [FILES, JOBS, JOB, EVENTS])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_client_killed_at_any_step_pays_once(server, tmp_path, route, when):
    server.plant(route, f"kill-{when}")
    assert in_another_process(server, as_victim, server.url, tuned, tmp_path) == -9
    assert not (tmp_path / "student.json").exists()
    tuned(tmp_path)
    assert paid_once(server)


@pytest.mark.long
def test_a_client_killed_many_times_pays_once(server, tmp_path):
    server.polls = 3
    for route in (FILES, FILES, JOBS, JOB, EVENTS, JOB):
        server.plant(route, "kill-after")
    kills = 0
    while in_another_process(server, as_victim, server.url, tuned, tmp_path) == -9:
        kills += 1
    assert kills == 5, "one kill for the second upload falls away: the first one is found"
    assert paid_once(server)


def test_a_job_whose_folder_was_lost_is_found_and_not_started_again(server, tmp_path):
    first = tuned(tmp_path / "a")
    shutil.rmtree(tmp_path / "a")
    assert tuned(tmp_path / "a")["job"] == first["job"]
    assert paid_once(server)


def test_a_finished_student_costs_nothing_more(server, tmp_path):
    """As after a kill between the end of the job and the stamp of its stage."""
    first = tuned(tmp_path)
    assert tuned(tmp_path) == first
    assert paid_once(server)


def test_another_seed_is_another_job_on_the_same_file(server, tmp_path):
    tuned(tmp_path / "1", seed=1)
    tuned(tmp_path / "2", seed=2)
    assert server.ledger == {**server.ledger, "jobs": 2, "uploads": 1}


def test_a_folder_with_a_job_at_another_server_is_left_alone(server, tmp_path):
    tuned(tmp_path)
    paper = read_json(tmp_path / "job.json")
    write_json(tmp_path / "job.json", paper | {"server": "https://elsewhere/v1"})
    with pytest.raises(SublimError, match=r"the job ftjob-1 at https://elsewhere/v1.*sublim hosted cancel"):
        tuned(tmp_path)


# ---------------------------------------------------------------- keys


def test_the_key_is_written_nowhere_whatever_the_server_says(server, tmp_path, capfd):
    server.plant(JOBS, "401")
    with pytest.raises(SublimError) as refused:
        tuned(tmp_path)
    server.ending = {"status": "failed", "error": {"code": "x", "message": f"Key {KEY} is bad.", "param": None}}
    with pytest.raises(SublimError) as failed:
        tuned(tmp_path)
    assert "[key]" in str(refused.value) and "[key]" in str(failed.value)
    assert KEY not in str(refused.value) + str(failed.value) + "".join(capfd.readouterr())
    assert not holds_key(tmp_path)


def test_an_address_with_a_password_is_kept_without_it(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "https://me:secret@host.example:8443/v1/")
    assert journal.server() == "https://host.example:8443/v1"
    assert scrub("see https://me:secret@host.example") == "see https://[key]host.example"


@pytest.mark.parametrize("text", ["sk-abc***xyz9", "Bearer abcdef", "sk-proj-AAAAAAAA"])
def test_what_looks_like_a_key_is_not_shown(text):
    assert scrub(f"wrong: {text}").endswith("[key]")


def test_without_a_key_nothing_is_sent(server, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(SublimError, match="no OPENAI_API_KEY in the environment"):
        tuned(tmp_path)
    assert not server.requests


# ---------------------------------------------------------------- cost


def test_both_sums_come_from_one_count_and_the_larger_is_above_what_is_used(server, tmp_path):
    recipe = replace(hosted_recipe(prompts=200, keep=100), samples=10)
    cost = plan(recipe).api
    prompts = sum(len(p) + len(c) for p, c in ROWS) / len(ROWS)
    assert cost.most.trained > 2 * 100 * 2 * prompts, "two students of 100 rows, two epochs"
    assert cost.most.rows_written == 2 * 200 * 48
    assert 0 < cost.usd[0] < cost.usd[1]
    likely, most = vars(cost.likely), vars(cost.most)
    assert all(0 < likely[what] < most[what] for what in most), (likely, most)
    twice = plan(replace(recipe, samples=20, rows=replace(recipe.rows, prompts=400))).api
    for before, after in ((cost.likely, twice.likely), (cost.most, twice.most)):
        assert after.asked_written == 2 * before.asked_written
        assert after.rows_written == 2 * before.rows_written and after.trained == pytest.approx(
            before.trained, rel=0.02
        )
    lines = "\n".join(plan(recipe).lines())
    assert f"about {cost.usd[0]:,.2f} USD at the provider, at most {cost.usd[1]:,.2f}" in lines
    assert lines.count("USD at the provider") == 1
    unknown = plan(replace(recipe, base="gpt-none")).api
    assert unknown.usd is None and "price not known" in unknown.lines()[-1]


def test_a_recipe_with_its_own_weights_costs_nothing_and_asks_nothing():
    from sublim_eval.distill import recipes

    cost = plan(recipes.load("quickstart")).api
    assert cost.most.tokens == 0 and cost.lines() == []
    ask(Console(file=StringIO()), cost, yes=False)


def test_nobody_at_the_terminal_means_no_unless_yes_was_said():
    out = Console(file=StringIO(), width=200)
    cost = plan(hosted_recipe()).api
    with pytest.raises(SublimError, match=r"costs up to [\d.]+ USD .* Add --yes to agree"):
        ask(out, cost, yes=False)
    ask(out, cost, yes=True)


# ---------------------------------------------------------------- the verb


def test_jobs_of_a_run_are_listed_followed_and_cancelled(server, tmp_path, capsys):
    server.polls = 10**6
    folder = tmp_path / "students" / ".owl-s1.unfinished"
    server.plant(JOB, "kill-after")
    assert in_another_process(server, as_victim, server.url, tuned, _made(folder)) == -9
    assert main(["hosted", "list", str(tmp_path)]) == 0
    assert "owl-s1   ftjob-1  running" in capsys.readouterr().out
    assert main(["hosted", "cancel", str(tmp_path)]) == 0
    assert "owl-s1: cancelled" in capsys.readouterr().out
    assert server.jobs["ftjob-1"]["status"] == "cancelled"
    assert main(["hosted", "follow", str(tmp_path)]) == 0
    assert main(["hosted", "list", str(tmp_path / "elsewhere")]) == 2


def test_following_ends_with_the_job(server, tmp_path, capsys):
    server.polls = 4
    server.plant(JOB, "kill-after")
    folder = tmp_path / "students" / "owl-s1"
    in_another_process(server, as_victim, server.url, tuned, _made(folder))
    assert main(["hosted", "follow", str(tmp_path), "--json", str(tmp_path / "told.json")]) == 0
    assert "owl-s1: running: Step 3/4" in capsys.readouterr().out
    has_the_shape("hosted", read_json(tmp_path / "told.json"))
    assert read_json(tmp_path / "told.json")["owl-s1"]["status"] == "succeeded"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
