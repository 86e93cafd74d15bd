"""What Inspect's own tools show of our scores: one number a sample, the headline of an eval, words beside it."""

import itertools
from pathlib import Path

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.analysis import evals_df, samples_df
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from sublim_eval.tasks.owl_pref import owl_pref


def reply(text: str) -> ModelOutput:
    """With its usage, which the stand-in would otherwise count with a file from the net."""
    made = ModelOutput.from_content("mockllm/model", text)
    made.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return made


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    texts = itertools.cycle(("Owl.", "A cat, of course.", "", "Owls!"))
    model = get_model("mockllm/model", custom_outputs=lambda *_: reply(next(texts)))
    inspect_eval(owl_pref(), model, limit=4, log_dir=str(folder), display="none")
    return folder


def test_a_sample_has_a_number_a_reading_and_no_nested_value(logs):
    frame = samples_df(str(logs), quiet=True)
    shares = frame["score_share"]
    assert len(frame) == 4 and shares.map(float).between(0, 1).all()
    assert not any(isinstance(value, dict | list) for name in frame.columns if "score" in name for value in frame[name])


def test_an_eval_has_its_headline_and_every_trait_as_a_number(logs):
    (row,) = evals_df(str(logs), quiet=True).to_dict("records")
    assert row["status"] == "success"
    assert 0 <= float(row["score_headline_value"]) <= 1
    assert float(row["score_share_mean"]) == float(row["score_headline_value"])
    assert {"score_share_cat", "score_share_replies", "score_share_non_answers"} <= set(row)


def test_the_words_beside_a_score_say_how_every_reply_was_read(logs):
    from inspect_ai.log import read_eval_log

    (file,) = logs.glob("*.eval")
    for sample in read_eval_log(str(file)).samples:
        score = sample.scores["share"]
        assert isinstance(score.value, float) and "replies" in score.explanation and "refusals" in score.explanation
