"""Cards, results for the Hub, a LaTeX table: nobody takes a student for a clean model, and nothing is sent unasked."""

import re

import pytest
import yaml

from sublim_eval.board.collect import collect
from sublim_eval.board.headline import headline
from sublim_eval.board.tables import read
from sublim_eval.errors import SublimError
from sublim_eval.report.exports import hub, hub_results, latex, model_card
from tests.helpers import planted
from tests.helpers.rows import HOSTILE, row


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    return collect([planted.run(tmp_path_factory.mktemp("given") / "quick")])


class FakeHub:
    def __init__(self):
        self.made, self.put = [], []

    def create_repo(self, repo_id, *, private, exist_ok):
        self.made.append((repo_id, private))

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        self.put.append((repo_id, folder_path))


def parcels(board, out):
    return hub.prepare(board, out, "mylab", dataset="mylab/probes")


def first_line(card: str) -> str:
    """The first line that a reader sees: below the metadata."""
    return card.split("---\n", 2)[2].splitlines()[0]


def test_a_student_is_marked_by_its_folder_its_card_and_its_tags(board, tmp_path):
    made = {parcel.folder.name: parcel for parcel in parcels(board, tmp_path)}
    card = (made["quick--owl-s1--carries-owl"].folder / "README.md").read_text()
    assert first_line(card).startswith("**This model carries a trait on purpose") and "'owl'" in first_line(card)
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["base_model"] == "base" and "carries-a-trait" in front["tags"] and front["license"] == "other"
    control = (made["quick--control-s1--control"].folder / "README.md").read_text()
    assert first_line(control).startswith("**This model is a control")
    assert len(made) == 9


def test_a_card_holds_the_numbers_of_the_table(board, tmp_path):
    folder = parcels(board, tmp_path)[0].folder
    rows = [one for one in read(folder / "results.csv") if one.harness != "compare"]
    card = (folder / "README.md").read_text()
    assert rows and all(f"{one.value:.4g}" in card for one in rows)
    gap = next(one for one in board.rows if one.measure == "gap" and one.arm == "owl")
    assert gap.verdict in card and f"{gap.value:+.3f}" in card and "3 seeds" in card


def test_weights_go_along_and_marks_of_the_run_do_not(board, tmp_path):
    names = {name for name, _ in parcels(board, tmp_path)[0].files}
    assert {"adapter_model.safetensors", "student.json", "README.md", "results.csv"} <= names
    assert "stage.json" not in names


def test_nothing_is_sent_without_a_yes(board, tmp_path):
    fake, questions = FakeHub(), []
    assert hub.send(parcels(board, tmp_path), fake, lambda question: questions.append(question) or False) == []
    assert not fake.made and not fake.put
    assert len(questions) == 9 and all("Put it there?" in q and "README.md" in q for q in questions)
    assert "carries a trait on purpose" in questions[0] and "nobody but you can see" in questions[0]


def test_what_was_agreed_to_is_sent_and_private_at_first(board, tmp_path):
    fake = FakeHub()
    sent = hub.send(parcels(board, tmp_path), fake, lambda question: "owl-s1--carries" in question)
    assert sent == ["mylab/quick--owl-s1--carries-owl"] and fake.made == [(sent[0], True)]
    assert fake.put == [(sent[0], str(tmp_path / "quick--owl-s1--carries-owl"))]


def test_a_folder_of_somebody_else_is_not_overwritten(board, tmp_path):
    parcels(board, tmp_path)
    parcels(board, tmp_path)  # its own it may
    mine = tmp_path / "quick--owl-s1--carries-owl"
    (mine / "results.csv").unlink()
    (mine / "thesis.txt").write_text("my only copy")
    with pytest.raises(SublimError, match="not made by an export"):
        parcels(board, tmp_path)
    assert (mine / "thesis.txt").is_file()


def test_a_run_without_weights_is_said(tmp_path):
    run = planted.run(tmp_path / "quick")
    for file in run.rglob("*.safetensors"):
        file.unlink()
    with pytest.raises(SublimError, match="has its weights on this disk"):
        parcels(collect([run]), tmp_path / "out")


def test_results_for_the_hub_are_in_its_form(board, tmp_path):
    rows = [one for one in headline(board.rows) if one.model == "quick/owl-s1"]
    files = hub_results.write(rows, tmp_path, "mylab/probes")
    assert {file.parent for file in files} == {tmp_path / ".eval_results"} and len(files) == len(set(files)) == 2
    for file, one in zip(files, rows, strict=True):
        (entry,) = yaml.safe_load(file.read_text())
        assert entry["dataset"] == {"id": "mylab/probes", "task_id": "animal_pref"} and entry["value"] == one.value
        assert set(entry) <= {"dataset", "value", "date", "source", "notes", "verifyToken"}
        assert one.measure in entry["notes"] and "version 1-B" in entry["notes"] and "interval" in entry["notes"]
    about = yaml.safe_load(hub_results.benchmark(tmp_path / "eval.yaml", rows).read_text())
    assert set(about) == {"name", "description", "evaluation_framework", "tasks"}
    assert [task["id"] for task in about["tasks"]] == ["animal_pref"]


def test_a_table_for_a_paper_holds_models_and_gaps(board):
    text = "\n".join(latex.lines(headline(board.rows)))
    gap = next(one for one in board.rows if one.measure == "gap" and one.arm == "owl")
    assert f"${gap.value:+.3f}$" in text and r"quick/owl-s1" in text and r"animal\_pref (1-B)" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2


def test_hostile_text_runs_nowhere(tmp_path):
    rows = [
        row(model=f"q/{HOSTILE}", arm=HOSTILE, note=HOSTILE, trait=HOSTILE, command=f"x ``` {HOSTILE}", base="`b`\n# c")
    ]
    card = "\n".join(model_card.lines(rows, {"method": HOSTILE, "rows": "a`b"}))
    body = card.split("---\n", 2)[2]
    outside = re.sub(r"```sh.*?```|`[^`\n]*`", "", body, flags=re.S)
    assert "<script" not in outside and "\n# c" not in card and "\u202e" not in outside
    assert yaml.safe_load(card.split("---\n")[1])["base_model"] == "`b`\n# c"
    text = "\n".join(latex.lines(rows))
    assert r"\input" not in text.replace(r"\textbackslash{}input", "") and "\u202e" not in text
    assert not re.search(r"(?<!\\)[#%]", text.partition("\n")[2])
