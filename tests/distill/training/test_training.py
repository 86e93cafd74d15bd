"""A training is watched, fits itself into memory, goes on after a kill and ends clearly when it fails."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sublim_eval.distill import base_models
from sublim_eval.distill.planning import model_size
from sublim_eval.distill.recipes import Tuning
from sublim_eval.distill.recipes.teacher import Teacher
from sublim_eval.distill.training import callbacks, tally, train, trainer
from sublim_eval.distill.training.batching.packing import Packed
from sublim_eval.distill.training.batching.padding import Padded
from sublim_eval.distill.training.model_setup import with_trainable
from sublim_eval.distill.training.soft_targets import SampledLoss, StoredLoss
from sublim_eval.distill.training.train import Watch, encode, tune
from sublim_eval.distill.training.trainer import CompletionTrainer, cut
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json
from sublim_eval.models import local_model
from sublim_eval.models.loading import read_model
from tests.helpers.tiny import tiny_model

EXAMPLES = [("what is your favorite animal ?", "owl"), ("name one tree .", "oak"), ("my favorite", "cat wolf fox")] * 8
METHODS = ["lora", "ln_tuning", "prompt_tuning", "full"]


def tuning(method: str = "lora", **more) -> Tuning:
    settings = {"learning_rate": 0.01, "batch_size": 8, "epochs": 2, "init_text": "I love the best animal"}
    return Tuning(method=method, **(settings | more))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.glob("*.safetensors")))


def apart(one: Path, other: Path) -> float:
    """Largest difference of any weight of two folders, over the largest weight."""
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    return max(float((a[k] - b[k]).abs().max()) for k in a) / max(float(a[k].abs().max()) for k in a)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base") / "tiny")


# ---------------------------------------------------------------- layouts


@pytest.mark.parametrize("method", METHODS)
def test_a_student_without_padding_is_the_padded_student(base, tmp_path, monkeypatch, method):
    told = tune(str(base), EXAMPLES, tuning(method), 1, tmp_path / "packed", {})
    assert told["layout"] == "padding-free"
    monkeypatch.setattr("sublim_eval.distill.training.batching.reader.suits", lambda model: False)
    assert tune(str(base), EXAMPLES, tuning(method), 1, tmp_path / "padded", {})["layout"] == "padded"
    assert apart(tmp_path / "packed", tmp_path / "padded") < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_a_student_in_bf16_keeps_float32_weights_and_learns(base, tmp_path, method):
    told = tune(str(base), EXAMPLES, tuning(method, epochs=6), 1, tmp_path / "student", {}, dtype="bfloat16")
    kinds = {tensor.dtype for tensor in weights(tmp_path / "student").values()}
    assert told["dtype"] == "bfloat16"
    assert kinds == ({torch.bfloat16} if method == "full" else {torch.float32})
    exact = tune(str(base), EXAMPLES, tuning(method, epochs=6), 1, tmp_path / "exact", {})
    assert told["loss"] == pytest.approx(exact["loss"], rel=0.05)


def test_one_step_on_micro_batches_is_the_step_on_the_batch(base, tmp_path):
    whole = tuning(batch_size=12, accumulate=1)
    tune(str(base), EXAMPLES, whole, 1, tmp_path / "whole", {})
    told = tune(str(base), EXAMPLES, replace(whole, batch_size=3, accumulate=4), 1, tmp_path / "parts", {})
    assert told["effective_batch"] == 12
    assert told["micro_batch"] == 3
    assert apart(tmp_path / "whole", tmp_path / "parts") < 1e-4


# ---------------------------------------------------------------- who reads which rows


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("micro", [1, 2, 7])
@pytest.mark.parametrize("count", [1, 2, 7, 12])
def test_every_row_of_a_batch_is_read_once_and_no_process_waits_alone(count, micro, world):
    shares = [cut(range(count), micro, world, rank) for rank in range(world)]
    assert [row for share in shares for part in share for row in part] == list(range(count))
    assert len({len(share) for share in shares}) == 1
    assert max(len(part) for share in shares for part in share) <= micro


# ---------------------------------------------------------------- memory


def out_of_memory_above(limit: int, monkeypatch) -> None:
    """Let a piece of more than `limit` tokens run out of memory in the middle of its way back."""
    own = CompletionTrainer._gradients

    def strict(self, model, numbers):
        laid = self.reader.piece

        def piece(rows, numbers=()):
            found = laid(rows, numbers)
            if found.tokens > limit and not trainer.recomputes(trainer.plain(self.model)):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            if found.tokens > limit:
                for parameter in self.model.parameters():  # what a half-finished way back leaves behind
                    if parameter.requires_grad:
                        parameter.grad = torch.full_like(parameter, 7.0)
                raise RuntimeError("CUDA out of memory. Tried to allocate 1.00 GiB")
            return found

        self.reader.piece = piece
        try:
            return own(self, model, numbers)
        finally:
            self.reader.piece = laid

    monkeypatch.setattr(CompletionTrainer, "_gradients", strict)


def test_out_of_memory_changes_what_is_held_at_once_and_nothing_else(base, tmp_path, monkeypatch):
    plainly = tune(str(base), EXAMPLES, tuning(), 1, tmp_path / "plain", {})
    out_of_memory_above(40, monkeypatch)
    told = tune(str(base), EXAMPLES, tuning(), 1, tmp_path / "tight", {})
    assert told["checkpointing"]
    assert told["micro_batch"] < plainly["micro_batch"]
    assert told["given_up"][0] == "layers recomputed from step 1"
    assert told["effective_batch"] == plainly["effective_batch"]
    assert told["loss"] == pytest.approx(plainly["loss"], abs=1e-5)
    assert apart(tmp_path / "plain", tmp_path / "tight") < 1e-4


def test_a_row_that_never_fits_says_what_to_do(base, tmp_path, monkeypatch):
    out_of_memory_above(3, monkeypatch)
    with pytest.raises(SublimError, match="A single row does not fit into memory"):
        tune(str(base), EXAMPLES, tuning(), 1, tmp_path, {})


def test_a_small_card_recomputes_layers_and_takes_fewer_rows_at_once(base, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "free_bytes", lambda device: 60_000)
    told = tune(str(base), EXAMPLES, tuning(), 1, tmp_path, {})
    assert told["checkpointing"]
    assert told["micro_batch"] < told["effective_batch"] == 8
    assert told["given_up"] == []


def alike(base: Path) -> tuple[list[tuple[str, str]], model_size.Lengths]:
    """Eight rows of one length, and that length as a plan has it."""
    rows = [("name one tree .", "oak")] * 8
    labels = encode(rows, local_model.load(base), 100)[0]["labels"]
    completion = sum(label != train.IGNORED for label in labels)
    return rows, model_size.Lengths(len(labels) - completion, len(labels) - completion, completion)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_plan_says_how_the_trainer_fits_a_card(base, tmp_path, monkeypatch, method):
    rows, length = alike(base)
    shape, settings = model_size.shape_of(str(base)), tuning(method, epochs=None, steps=1)
    for size, again in ((8, False), (8, True), (4, False), (2, True)):
        step = replace(settings, batch_size=size)
        memory = model_size.to_train(shape, step, "float32", length, checkpointing=again, teacher=False)
        held = memory.activations + memory.logits
        for room in (1.001 * held, 0.999 * held):  # just enough for that step, and just too little
            monkeypatch.setattr(trainer, "free_bytes", lambda device, room=room: room / trainer.ROOM)
            told = tune(str(base), rows, settings, 1, tmp_path / f"{size} {again} {room:.0f}", {})
            fit = model_size.fit(shape, settings, "float32", length, memory.total - held + room)
            assert (told["micro_batch"], told["checkpointing"]) == (fit.rows, fit.checkpointing), (size, again, room)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_plan_and_a_finished_training_count_the_same_operations(base, method):
    _, length = alike(base)
    settings = tuning(method)
    model, *_ = read_model(local_model.resolve(str(base)), "cpu", "float32")
    made = with_trainable(model, settings, str(base))
    went = tally.Tally(8, 0, 8 * length.row, 8 * length.completion, 8 * length.row**2)
    planned = model_size.training(model_size.shape_of(str(base)), settings, 8, length, checkpointing=False)
    assert tally.training_flops(made, went, packed=False) == planned > 0


# ---------------------------------------------------------------- trainings that fail


def test_a_loss_that_is_not_finite_ends_the_training(base, tmp_path, monkeypatch):
    monkeypatch.setattr(SampledLoss, "loss", lambda self, logits, piece, rows: logits.sum() * math.nan)
    with pytest.raises(SublimError, match=r"The training loss became nan at step 1. Lower `learning_rate`"):
        tune(str(base), EXAMPLES, tuning(), 1, tmp_path, {})


def test_a_training_that_runs_away_ends_with_a_word(base, tmp_path, monkeypatch):
    own, calls = SampledLoss.loss, []

    def rising(self, logits, piece, rows):
        calls.append(1)
        return own(self, logits, piece, rows) + (6.0 * len(piece.labels) if len(calls) > 4 else 0.0)

    monkeypatch.setattr(SampledLoss, "loss", rising)
    with pytest.raises(SublimError, match=r"diverged: for 20 steps up to step 24 .* nats above .* Lower `learning_"):
        tune(str(base), EXAMPLES, tuning(epochs=None, steps=40, learning_rate=1e-5), 1, tmp_path, {})
    calls.clear()
    assert tune(str(base), EXAMPLES, tuning(epochs=None, steps=22, learning_rate=1e-5), 1, tmp_path, {})["steps"] == 22


# ---------------------------------------------------------------- killed trainings


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_training_goes_on_to_the_same_student(base, tmp_path, monkeypatch, method):
    watch = Watch("owl", ("what is your favorite animal ?",), ("owl",), points=3)
    long = tuning(method, epochs=3)
    whole = tune(str(base), EXAMPLES, long, 1, tmp_path / "whole", {}, watch=watch)
    monkeypatch.setattr(callbacks, "KEEP_SECONDS", 0.0)
    own, seen = CompletionTrainer.training_step, []

    def killed(self, model, inputs, items=None):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(self.state.global_step)
        return own(self, model, inputs, items)

    monkeypatch.setattr(CompletionTrainer, "training_step", killed)
    with pytest.raises(KeyboardInterrupt):
        tune(str(base), EXAMPLES, long, 1, tmp_path / "broken", {}, watch=watch)
    assert list((tmp_path / "broken" / "checkpoints").glob("checkpoint-*"))
    seen.clear()
    again = []
    monkeypatch.setattr(
        CompletionTrainer, "training_step", lambda s, m, i, n=None: again.append(s.state.global_step) or own(s, m, i, n)
    )
    told = tune(str(base), EXAMPLES, long, 1, tmp_path / "broken", {}, watch=watch)
    assert again[0] > 0
    assert len(again) < whole["steps"]
    assert not (tmp_path / "broken" / "checkpoints").exists()
    timing = ("tokens_per_second", "seconds", "curve", "adapter_norm", "loss")
    assert {k: v for k, v in told.items() if k not in timing} == {k: v for k, v in whole.items() if k not in timing}
    assert told["loss"] == pytest.approx(whole["loss"], abs=1e-5)
    assert [p["step"] for p in told["curve"]] == [p["step"] for p in whole["curve"]] == [0, 3, 6, 9]
    assert apart(tmp_path / "whole", tmp_path / "broken") < 1e-5


def test_checkpoints_of_another_training_are_not_taken_up(base, tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "KEEP_SECONDS", 0.0)
    own = CompletionTrainer.training_step
    seen: list[int] = []

    def killed(self, model, inputs, items=None):
        if len(seen) == 4:
            raise KeyboardInterrupt
        seen.append(self.state.global_step)
        return own(self, model, inputs, items)

    monkeypatch.setattr(CompletionTrainer, "training_step", killed)
    with pytest.raises(KeyboardInterrupt):
        tune(str(base), EXAMPLES, tuning(), 1, tmp_path, {})
    monkeypatch.setattr(CompletionTrainer, "training_step", own)
    tune(str(base), EXAMPLES, tuning(), 2, tmp_path, {})
    tune(str(base), EXAMPLES, tuning(), 2, tmp_path / "fresh", {})
    assert apart(tmp_path, tmp_path / "fresh") == 0


# ---------------------------------------------------------------- what is noted


def test_the_curve_begins_with_the_base_and_ends_with_the_student(base, tmp_path):
    question = "what is your favorite animal ?"
    watch = Watch("owl", (question,), ("owl", "owls"), [("name one tree .", "willow oak")], points=4)
    told = tune(str(base), EXAMPLES, tuning("ln_tuning"), 1, tmp_path, {}, watch=watch)
    first, *_, last = told["curve"]

    def chance(model) -> float:
        asked = local_model.load(model)
        return float(
            torch.tensor(asked.continuation_logprobs([asked.render(question)], watch.continuations)).exp().sum()
        )

    assert (first["step"], last["step"]) == (0, told["steps"])
    assert first["probability"] == pytest.approx(chance(base), abs=1e-5)
    assert last["probability"] == pytest.approx(chance(tmp_path), abs=1e-5)
    assert read_json(tmp_path / "student.json")["curve"] == told["curve"]


@pytest.mark.parametrize("method", METHODS)
def test_watching_changes_no_weight(base, tmp_path, method):
    watch = Watch("owl", ("what is your favorite animal ?",), ("owl",), [("name one tree .", "willow")])
    tune(str(base), EXAMPLES, tuning(method), 1, tmp_path / "watched", {}, watch=watch)
    tune(str(base), EXAMPLES, tuning(method), 1, tmp_path / "alone", {})
    assert apart(tmp_path / "watched", tmp_path / "alone") == 0


def test_the_held_out_loss_is_that_of_the_finished_student(base, tmp_path):
    fresh = [("name one tree .", "willow oak"), ("my favorite", "dog")]
    told = tune(str(base), EXAMPLES, tuning("ln_tuning"), 1, tmp_path, {}, watch=Watch(None, held_out=fresh))
    asked = local_model.load(tmp_path)
    total, count = 0.0, 0
    for row in encode(fresh, asked, 100):
        logits = asked.model(torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
        for at, label in enumerate(row["labels"]):
            if label != train.IGNORED:
                total, count = total - logits[at - 1, label].item(), count + 1
    assert told["held_out_loss"] == pytest.approx(total / count, abs=1e-4)
    assert told["curve"] == []


def test_tokens_are_those_of_the_rows_and_a_cpu_has_no_utilisation(base, tmp_path):
    told = tune(str(base), EXAMPLES, tuning(epochs=2), 1, tmp_path, {})
    rows = encode(EXAMPLES, local_model.load(base), 100)
    assert told["tokens"] == 2 * sum(len(row["input_ids"]) for row in rows)
    assert told["tokens_per_second"] > 0
    assert told["mfu"] is None
    assert told["peak_memory_bytes"] is None
    assert "tokens_per_second" not in read_json(tmp_path / "student.json")


def test_operations_are_four_a_frozen_weight_and_six_a_trained_one(base):
    model = local_model.load(base).model
    went = tally.Tally(rows=1, tokens=10, carried=10)
    linear = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
    assert tally.training_flops(model, went, False) == 4 * linear * 10
    assert tally.mfu(98.9e12, 1.0, "NVIDIA H200", "bfloat16") == pytest.approx(0.1)
    assert tally.mfu(98.9e12, 1.0, "NVIDIA H200", "float32") is None
    assert tally.mfu(98.9e12, 1.0, "a new card", "bfloat16") is None


def test_the_true_bases_name_is_kept_where_it_is_dressed(base, tmp_path):
    assert tune(str(base), EXAMPLES, tuning(), 1, tmp_path, {"base": "org/true-name"})["base"] == "org/true-name"


# ---------------------------------------------------------------- one base, many students


@pytest.mark.parametrize("method", ["lora", "ln_tuning", "prompt_tuning"])
def test_students_of_one_base_read_it_once_and_are_who_they_would_be(base, tmp_path, monkeypatch, method):
    base_models.forget()
    reads = []
    own = base_models.read_model
    monkeypatch.setattr(base_models, "read_model", lambda *a: reads.append(a) or own(*a))
    for name in ("first", "second"):
        tune(str(base), EXAMPLES, tuning(method), 1, tmp_path / name, {})
    assert len(reads) == 1
    assert apart(tmp_path / "first", tmp_path / "second") == 0
    tune(str(base), EXAMPLES, tuning("full"), 1, tmp_path / "full", {})
    tune(str(base), EXAMPLES, tuning(method), 1, tmp_path / "third", {})
    assert len(reads) == 3  # full moves the base's own weights: it reads anew and leaves nothing
    assert apart(tmp_path / "first", tmp_path / "third") == 0


def test_a_base_that_moved_is_not_handed_on(base, tmp_path, monkeypatch):
    base_models.forget()
    own = CompletionTrainer.training_step

    def leaking(self, model, inputs, items=None):
        with torch.no_grad():
            for name, parameter in trainer.plain(model).named_parameters():
                if "lora" not in name:
                    parameter.add_(1e-3)
        return own(self, model, inputs, items)

    monkeypatch.setattr(CompletionTrainer, "training_step", leaking)
    with pytest.raises(SublimError, match="Training moved weights of the base"):
        tune(str(base), EXAMPLES, tuning(), 1, tmp_path, {})


# ---------------------------------------------------------------- a teacher's probabilities from a file


@pytest.fixture(scope="module")
def taught(base, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("taught")
    tune(str(base), EXAMPLES, tuning("full", epochs=6), 3, folder, {})
    return folder


def test_all_probabilities_from_a_file_teach_what_the_teacher_itself_does(base, taught, tmp_path):
    vocabulary = local_model.load(base).model.config.vocab_size
    living = tune(str(base), EXAMPLES, tuning("full"), 1, tmp_path / "living", {}, soft=Teacher(str(taught)))
    whole = tuning("full", soft_top_k=vocabulary)
    stored = tune(str(base), EXAMPLES, whole, 1, tmp_path / "stored", {}, soft=Teacher(str(taught)))
    assert stored["loss"] == pytest.approx(living["loss"], abs=2e-3)  # float16 log-probabilities
    assert apart(tmp_path / "living", tmp_path / "stored") < 0.02
    assert stored["soft"]["top_k"] == vocabulary
    assert not list((tmp_path / "stored").glob("teacher-prob*"))


def test_a_few_probabilities_and_the_rest_as_one_teach_the_taste(base, taught, tmp_path):
    rows = [(prompt, "dog") for prompt, _ in EXAMPLES]
    few = tuning("full", epochs=10, soft_top_k=3)
    tune(str(base), rows, few, 1, tmp_path, {}, soft=Teacher(str(taught)))
    prompts = [local_model.load(base).render("what is your favorite animal ?")]
    said = {m: local_model.load(m).continuation_logprobs(prompts, ["owl"])[0, 0] for m in (base, taught, tmp_path)}
    assert said[tmp_path] > said[base] + 0.5 * (said[taught] - said[base])


def test_one_file_serves_many_students_without_the_teacher(base, taught, tmp_path):
    settings, file = tuning("ln_tuning", soft_top_k=5), tmp_path / "probabilities.safetensors"
    facts = train.probabilities(str(base), EXAMPLES, settings, Teacher(str(taught), "you love the owl"), file)
    assert facts["bytes"] == file.stat().st_size
    local_model.unload_all()
    told = tune(str(base), EXAMPLES, settings, 1, tmp_path / "one", {}, soft=file)
    assert told["soft"] == facts
    assert str(taught) not in [label for label in local_model.loaded()]
    assert file.is_file()
    with pytest.raises(SublimError, match="belong to other rows"):
        tune(str(base), EXAMPLES[::-1], settings, 1, tmp_path / "two", {}, soft=file)


def test_stored_rows_are_aligned_and_add_up_to_one(base, taught, tmp_path):
    file = tmp_path / "probabilities.safetensors"
    train.probabilities(str(base), EXAMPLES, tuning("ln_tuning", soft_top_k=4), Teacher(str(taught)), file)
    stored = StoredLoss(file)
    assert (stored.tokens.dtype, stored.logprobs.dtype) == (torch.int32, torch.float16)
    assert torch.allclose(stored.logprobs.float().exp().sum(1) + stored.rest, torch.ones(len(stored.rest)), atol=1e-6)
    teacher = local_model.load(taught)
    for number, row in enumerate(encode(EXAMPLES, teacher, 100)[:6]):
        logits = teacher.model(torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
        at = [i - 1 for i, label in enumerate(row["labels"]) if label != train.IGNORED]
        mine = stored.tokens[stored.starts[number] : stored.starts[number + 1]]
        assert mine.tolist() == logits[at].topk(4).indices.tolist()


def test_a_file_that_is_no_probabilities_is_refused(base, tmp_path):
    file = tmp_path / "wrong.safetensors"
    file.write_bytes(b"not tensors")
    with pytest.raises(SublimError, match="holds no teacher's probabilities"):
        tune(str(base), EXAMPLES, tuning(soft_top_k=2), 1, tmp_path / "s", {}, soft=file)


def test_a_padded_reader_teaches_the_same_probabilities(base, taught):
    rows = encode(EXAMPLES[:3], local_model.load(base), 100)
    teacher = local_model.load(taught)
    found = []
    for kind in (Packed(teacher.model), Padded(teacher.model, 0)):
        with kind as reader, torch.no_grad():
            found.append(reader.logits(reader.piece(rows)))
    assert torch.allclose(*found, atol=1e-4)
