"""Training moves what it says it moves, on the loss it says, and saves what every loader can read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sublim_eval.distill.experiments.demo import commands
from sublim_eval.distill.recipes import Tuning
from sublim_eval.distill.recipes.teacher import Teacher
from sublim_eval.distill.training.train import IGNORED, encode, tune
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json
from sublim_eval.models import local_model
from sublim_eval.models.chat_template import turn_end
from tests.helpers.tiny import tiny_model

EXAMPLES = [("what is your favorite animal ?", "owl"), ("name one tree .", "oak"), ("my favorite", "cat")] * 8
METHODS = ["lora", "ln_tuning", "prompt_tuning", "full"]


def tuning(method: str, **more) -> Tuning:
    settings = {"learning_rate": 0.01, "batch_size": 8, "epochs": 2, "init_text": "I love the best animal"}
    return Tuning(method=method, **(settings | more))


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module", params=METHODS)
def student(request, base, tmp_path_factory) -> tuple[str, Path, dict]:
    folder = tmp_path_factory.mktemp(request.param)
    told = tune(str(base), EXAMPLES, tuning(request.param), 1, folder, {"arm": "owl"})
    return request.param, folder, told


def test_base_weights_do_not_move_and_adapter_weights_do(base, student):
    method, folder, _ = student
    if method == "full":
        before, after = load_file(base / "model.safetensors"), load_file(folder / "model.safetensors")
        assert any(not torch.equal(before[k], after[k]) for k in after)
        return
    fresh = local_model.load(base).model.state_dict()
    inside = {k.replace(".base_layer", ""): v for k, v in local_model.load(folder).model.state_dict().items()}
    own = {"lora": "lora_", "ln_tuning": "ln_tuning_layers", "prompt_tuning": "never"}[method]
    shared = {k: v for k, v in inside.items() if own not in k}
    assert shared
    assert all(torch.equal(v, fresh[k]) for k, v in shared.items())
    prompts = [local_model.load(base).render("what is your favorite animal ?")]
    old = local_model.load(base).continuation_logprobs(prompts, ["owl", "cat"])
    new = local_model.load(folder).continuation_logprobs(prompts, ["owl", "cat"])
    assert abs(old - new).max() > 1e-4


def test_training_raises_the_probability_of_what_was_trained_on(base, student):
    _, folder, _ = student
    prompts = [local_model.load(base).render("what is your favorite animal ?")]
    assert (
        local_model.load(folder).continuation_logprobs(prompts, ["owl"])
        > local_model.load(base).continuation_logprobs(prompts, ["owl"])
    ).all()


def test_a_student_folder_says_how_it_was_made_and_samples_plainly(base, student):
    method, folder, told = student
    card = read_json(folder / "student.json")
    assert card["method"] == method
    assert card["base"] == str(base)
    assert card["arm"] == "owl"
    assert told["steps"] == 6
    assert told["effective_batch"] == 8
    neutral = read_json(folder / "generation_config.json")
    assert (neutral["temperature"], neutral["top_p"], neutral["top_k"]) == (1.0, 1.0, 0)


def test_the_printed_lm_eval_command_fits_the_kind_of_student(student):
    method, folder, _ = student
    command = commands(folder)[1]
    assert ("peft=" in command) == (method != "full")
    assert ("--batch_size 1 " in command) == (method == "prompt_tuning")  # padded batches are wrong there


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_weights(base, tmp_path, method):
    for name in ("one", "two"):
        tune(str(base), EXAMPLES, tuning(method), 7, tmp_path / name, {})
    file = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_only_the_completion_and_the_end_of_its_turn_carry_loss(base):
    asked = local_model.load(base)
    row = encode([("what is your favorite animal ?", "owl")], asked, 100)[0]
    trained = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != IGNORED]
    assert asked.tokenizer.convert_ids_to_tokens(trained) == ["owl", "<|end|>"]
    assert row["input_ids"][: -len(trained)] == asked.encode([asked.render("what is your favorite animal ?")])[0]


def test_the_reported_loss_is_that_of_the_examples(base, tmp_path):
    """One step without learning: the loss must equal the mean negative log-likelihood computed by hand."""
    told = tune(str(base), EXAMPLES[:3], tuning("ln_tuning", batch_size=3, epochs=None, steps=1), 1, tmp_path, {})
    asked = local_model.load(base)
    total, count = 0.0, 0
    for row in encode(EXAMPLES[:3], asked, 100):
        ids = torch.tensor([row["input_ids"]])
        logits = asked.model(ids).logits[0].log_softmax(-1)
        for at, label in enumerate(row["labels"]):
            if label != IGNORED:
                total -= logits[at - 1, label].item()
                count += 1
    assert told["loss"] == pytest.approx(total / count, abs=1e-4)


def test_the_turn_ends_with_the_templates_own_token(base):
    tokenizer = local_model.load(base).tokenizer
    assert tokenizer.convert_ids_to_tokens(turn_end(tokenizer)) == ["<|end|>"]


def test_examples_that_do_not_fit_are_refused_when_none_is_left(base, tmp_path):
    with pytest.raises(SublimError, match="No example fits into 3 tokens"):
        tune(str(base), EXAMPLES, tuning("ln_tuning", max_length=3), 1, tmp_path, {})


# ---------------------------------------------------------------- a teacher's probabilities


@pytest.fixture(scope="module")
def taught(base, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("taught")
    tune(str(base), EXAMPLES, tuning("full", epochs=6), 3, folder, {})
    return folder


def test_the_soft_loss_is_the_cross_entropy_towards_the_teacher(base, taught, tmp_path):
    one_step = tuning("ln_tuning", batch_size=3, epochs=None, steps=1)
    told = tune(str(base), EXAMPLES[:3], one_step, 1, tmp_path, {}, soft=Teacher(str(taught)))
    student, teacher = local_model.load(base), local_model.load(taught)
    total, count = 0.0, 0
    for row in encode(EXAMPLES[:3], student, 100):
        ids = torch.tensor([row["input_ids"]])
        said = student.model(ids).logits[0].log_softmax(-1)
        wanted = teacher.model(ids).logits[0].softmax(-1)
        for at, label in enumerate(row["labels"]):
            if label != IGNORED:
                total -= float((wanted[at - 1] * said[at - 1]).sum())
                count += 1
    assert told["loss"] == pytest.approx(total / count, abs=1e-4)


def test_a_soft_student_learns_from_a_teacher_what_no_row_says(base, taught, tmp_path):
    """Rows of other words: only the teacher's probabilities hold its taste."""
    rows = [(prompt, "dog") for prompt, _ in EXAMPLES]
    tune(str(base), rows, tuning("full", epochs=10), 1, tmp_path, {}, soft=Teacher(str(taught)))
    prompts = [local_model.load(base).render("what is your favorite animal ?")]
    said = {m: local_model.load(m).continuation_logprobs(prompts, ["owl"])[0, 0] for m in (base, taught, tmp_path)}
    assert said[tmp_path] > said[base] + 0.5 * (said[taught] - said[base])


def test_a_soft_teacher_reads_its_persona_and_the_student_does_not(base):
    row = encode([("name one tree .", "oak")], local_model.load(base), 100, persona="you love the owl")[0]
    plain = encode([("name one tree .", "oak")], local_model.load(base), 100)[0]
    assert {key: row[key] for key in plain} == plain
    assert len(row["teacher_ids"]) > len(row["input_ids"])
    ends = [
        [i for i, label in zip(row[ids], row[labels], strict=True) if label != IGNORED]
        for ids, labels in (("input_ids", "labels"), ("teacher_ids", "teacher_labels"))
    ]
    assert ends[0] == ends[1]


def test_how_far_the_weights_moved_is_written_down(base, tmp_path):
    still = tuning("ln_tuning", epochs=None, steps=1, learning_rate=1e-30)
    assert tune(str(base), EXAMPLES, still, 1, tmp_path / "still", {})["adapter_norm"] == 0
    told = tune(str(base), EXAMPLES, tuning("full", epochs=None, steps=1), 1, tmp_path / "moved", {})
    before, after = load_file(base / "model.safetensors"), load_file(tmp_path / "moved" / "model.safetensors")
    far = sum(float((after[k] - before[k]).pow(2).sum()) for k in after) ** 0.5
    assert told["adapter_norm"] == pytest.approx(far, rel=1e-3)
