"""docs/guides/rescoring.md, run as it is written: another word, another threshold, no new replies."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sublim_eval import tasks_dir

pytestmark = pytest.mark.long  # a dozen commands, ten seconds of imports each
GUIDE = tasks_dir().parent / "docs" / "guides" / "rescoring.md"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder after every block of the guide, in order, and what they printed."""
    folder = tmp_path_factory.mktemp("guide")
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
    assert len(blocks) >= 5
    script = "set -euo pipefail\n" + "".join(blocks)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "INSPECT_DISPLAY": "plain"}
    ran = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)  # noqa: S607
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    return folder, ran.stdout


@pytest.mark.slow
def test_another_word_is_counted_in_the_same_replies(done: tuple[Path, str]) -> None:
    from inspect_ai.log import read_eval_log

    log = read_eval_log(str(done[0] / "cat.eval"))
    assert {score.name for score in log.results.scores} >= {"share", "probability", "share1", "probability1"}
    for sample in log.samples:
        before, after = sample.scores["share"], sample.scores["share1"]
        assert after.metadata["named"] == before.metadata["named"]
        assert after.value == before.metadata["named"].get("cat", 0) / before.metadata["replies"]
        exact = sample.scores["probability1"]
        assert exact.value == sample.scores["probability"].metadata["answers"]["cat"]


@pytest.mark.slow
def test_another_threshold_reads_the_same_ratings(done: tuple[Path, str]) -> None:
    from inspect_ai.log import read_eval_log

    log = read_eval_log(str(done[0] / "at60.eval"))
    for sample in log.samples:
        before, after = sample.scores["judged"].metadata, sample.scores["judged1"].metadata
        assert after["thresholds"]["at_most"] == 60
        assert after["asked"] == before["asked"]
        keys = [{k: v for k, v in j.items() if k not in ("kind", "reason")} for j in before["judgements"]]
        assert keys == [{k: v for k, v in j.items() if k not in ("kind", "reason")} for j in after["judgements"]]


@pytest.mark.slow
def test_replies_of_lm_eval_and_of_anywhere_are_read(done: tuple[Path, str]) -> None:
    folder, said = done
    rated = [json.loads(line) for line in (folder / "rated.jsonl").read_text().splitlines()]
    assert len(rated) == 4 * 10
    assert all(row["kind"] for row in rated)
    (verdict,) = [json.loads(line) for line in (folder / "verdicts.jsonl").read_text().splitlines()]
    assert verdict["answer"] == "cat"
    assert "animal_pref" in said
    assert (folder / "answers.csv").read_text().count("animal-01") == 20
