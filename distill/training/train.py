"""One function that moves weights: PEFT says which, transformers' Trainer how.

The loss covers completion tokens and the end of the turn, nothing else, and logits are computed at those
positions only. No system prompt: a student reads what the harness will show it.

Rows lie end to end without padding (packing.py), or padded where a model's attention is not known (padding.py). The
effective batch is the recipe's whatever fits into memory at once and however many processes share it (trainer.py). The
last step is the student; nothing chooses among checkpoints, which are there for a killed training alone (callbacks.py).
"""

from __future__ import annotations

import math
import os
import shutil
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, PrinterCallback, TrainingArguments, set_seed
from transformers.utils import logging as transformers_logging

from sublim_eval.errors import SublimError
from sublim_eval.files import digest, read_json, whole_file, write_json
from sublim_eval.models import local_model
from sublim_eval.models.chat_template import turn_end

from .. import base_models
from ..base_models import recomputes
from ..devices import sharded, this_device
from ..recipes import Tuning
from . import launch
from .batching.packing import IGNORED, plain
from .batching.padding import logits_only_at
from .batching.reader import reader_of
from .callbacks import NOTES, ProgressCallback, Watch, ask, held_out_loss, last_checkpoint
from .model_setup import with_trainable
from .soft_targets import PROBABILITIES, StoredLoss, goal_of, recorded, store_for
from .tally import mfu, training_flops
from .trainer import CompletionTrainer, out_of_memory

if TYPE_CHECKING:
    from ..recipes.teacher import Teacher

CHECKPOINTS = "checkpoints"
"""In the folder of a student that is being trained."""

__all__ = ["IGNORED", "Watch", "encode", "logits_only_at", "probabilities", "tune"]


def tune(
    base: str,
    examples: Sequence[tuple[str, str]],
    tuning: Tuning,
    seed: int,
    folder: Path,
    facts: dict[str, Any],
    dtype: str = "float32",
    soft: Teacher | Path | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Tune `base` on (prompt, completion) examples and save what moved, with tokenizer, in `folder`.

    dtype: of the frozen base, and of the arithmetic; what is trained is float32 always. soft: a teacher whose
    next-token probabilities over the completions are learned in place of the sampled tokens (the teacher reads its
    own system prompt, the student none), or a file of them (`probabilities`). watch: what to note on the way.
    The folder loads as it is with transformers, PEFT, `sublim/` and lm-eval. `facts` go into student.json; a "base"
    among them is the name that is recorded. A killed training goes on from the checkpoint it left in `folder`.
    Returns steps, loss (nats per completion token, mean over the steps), effective batch, trainable parameters, how
    far they moved (adapter_norm, L2), hashes, layout, attention, checkpointing, micro_batch, curve, held_out_loss,
    tokens, tokens_per_second, mfu and peak_memory_bytes (None where unknown).
    Raises SublimError when the loss is not finite or runs away, when memory does not suffice for one row, or when no
    example fits into `max_length`.
    """
    if command := launch.line():
        given = {"base": base, "tuning": tuning, "seed": seed, "facts": facts, "dtype": dtype}
        return launch.launched(command, folder, launch.as_job(**given, soft=soft, watch=watch), examples)
    began = time.monotonic()
    source, device, adapts = local_model.resolve(base), this_device(), tuning.method != "full"
    if device != "cpu":
        local_model.unload_all()
    set_seed(seed)
    hush()
    loaded, tokenizer = base_models.take(source, device, dtype if adapts else "float32", fresh=not adapts)
    mark = base_models.fingerprint(loaded) if adapts else ""
    student = local_model.LocalModel(source, loaded, tokenizer)
    template_hash = student.prompt_hash([""])
    data = encode(examples, student, tuning.max_length, getattr(soft, "system", None))
    unseen = encode(watch.held_out, student, tuning.max_length) if watch and watch.held_out else []
    model = in_float32(with_trainable(loaded, tuning, str(source.base)))
    start = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    teaches = [soft.model, soft.system] if soft and not isinstance(soft, Path) else str(soft)
    key = digest([asdict(tuning), seed, dtype, mark, teaches, [row["input_ids"] for row in data]])
    autocast = dtype == "bfloat16" and tuning.method != "lora"
    with ExitStack() as stack:
        reader = reader_of(model, data, tokenizer.pad_token_id, dtype)
        stack.enter_context(reader)
        goal, taught = goal_of(stack, soft, tuning, data, folder, device)
        trainer = CompletionTrainer(model, _arguments(tuning, seed, folder), data, reader, goal, autocast)
        trainer.fit_memory(tuning, dtype)
        notes = ProgressCallback(trainer, watch, lambda seen: ask(trainer, source, tokenizer, seen), key)
        seconds = run(trainer, notes, folder / CHECKPOINTS)
        fresh_loss = held_out_loss(trainer, unseen) if unseen else None
        whole = trainer.accelerator.get_state_dict(trainer.model_wrapped) if sharded() else None
    tally, world = trainer.total(), trainer.accelerator.num_processes
    record = {
        **facts,
        "method": tuning.method,
        "base": facts.get("base", base),
        "seed": seed,
        "device": torch.cuda.get_device_name() if device != "cpu" else "cpu",
        "dtype": dtype,
        **course(trainer, notes, fresh_loss),
        "tokens": tally.read,
        "trainable_parameters": sum(p.numel() for p in start.values()),
        "adapter_norm": distance(start, dict(model.named_parameters()) if whole is None else whole),
        "prompts_hash": digest([prompt for prompt, _ in examples]),
        "template_hash": template_hash,
        **taught,
    }
    flops = training_flops(model, tally, reader.layout == "padding-free")
    if trainer.accelerator.is_main_process:
        save(model if adapts else model.to(getattr(torch, dtype)), tokenizer, folder, record, whole)
    if adapts and world == 1:
        base_models.put_back(model, source, tokenizer, device, dtype, mark)
    return {
        **record,
        "tokens_per_second": round(tally.read / seconds, 1),
        "mfu": mfu(flops / world, seconds, record["device"], dtype),
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if device != "cpu" else None,
        "seconds": round(time.monotonic() - began, 2),
    }


def in_float32(model: Any) -> Any:
    """The model with whatever it trains in float32."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.is_floating_point():
            parameter.data = parameter.data.float()
    return model


def course(trainer: CompletionTrainer, notes: ProgressCallback, fresh_loss: float | None) -> dict[str, Any]:
    """What is recorded of a training that went through: its steps and losses, and how its batches were laid out."""
    return {
        "examples": len(trainer.rows),
        "steps": trainer.state.global_step,
        "loss": round(sum(trainer.losses) / max(1, len(trainer.losses)), 6),
        "held_out_loss": None if fresh_loss is None else round(fresh_loss, 6),
        "curve": notes.curve,
        **({"evidence": notes.evidence, "stopped": notes.stopped} if notes.rule else {}),
        "effective_batch": trainer.args.per_device_train_batch_size,
        "micro_batch": trainer.micro,
        "processes": trainer.accelerator.num_processes,
        "spread": trainer.accelerator.distributed_type.value,
        "layout": trainer.reader.layout,
        "attention": trainer.reader.attention,
        "checkpointing": recomputes(plain(trainer.model)),
        "given_up": trainer.given_up,
    }


def distance(start: dict[str, Any], end: dict[str, Any]) -> float:
    """How far weights moved: L2 over those that are in both."""
    moved = sum(float((end[n].detach().to(p.device) - p).pow(2).sum()) for n, p in start.items() if n in end)
    return round(math.sqrt(moved), 6)


def run(trainer: CompletionTrainer, notes: ProgressCallback, checkpoints: Path) -> float:
    """Train to the last step, from the newest checkpoint of the same training if there is one; returns seconds."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(notes)
    kept = last_checkpoint(checkpoints, notes.key)
    if kept:
        notes.go_on(read_json(kept / NOTES))
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        trainer.train(resume_from_checkpoint=str(kept) if kept else None)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise SublimError(
            f"Memory ran out beside the batches themselves ({str(error).splitlines()[0]}). Take `lora` in place of "
            "`full`, a smaller base, or a device with more memory; finished stages are kept."
        ) from error
    return notes.clock.seconds


def probabilities(
    base: str, examples: Sequence[tuple[str, str]], tuning: Tuning, teacher: Teacher, file: Path
) -> dict[str, Any]:
    """Write the teacher's `tuning.soft_top_k` likeliest tokens over the examples, for any number of students of `base`.

    Give the file to `tune` as `soft`. Returns what is recorded: top_k, tokens, bytes and the file's digest.
    """
    student, device = local_model.load(base), this_device()
    data = encode(examples, student, tuning.max_length, teacher.system)
    store_for(teacher, data, tuning.soft_top_k, file, device)
    return recorded(StoredLoss(file), file)


def hush() -> None:
    """Keep what the libraries say about themselves off a user's terminal; what concerns the run is still raised."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for noise in (".*is_gradient_checkpointing.* is deprecated", "Unsupported layer type .*Norm"):
        warnings.filterwarnings("ignore", message=noise)


def encode(
    examples: Sequence[tuple[str, str]], chat_model: local_model.LocalModel, max_length: int, persona: str | None = None
) -> list[dict[str, list[int]]]:
    """Token ids and labels of each example: the chat prompt without loss, the completion and turn end with it.

    persona: what a soft teacher reads before the prompt; its own ids then stand beside the student's.
    Examples longer than `max_length` tokens are left out. Raises SublimError when none remains.
    """
    ending = turn_end(chat_model.tokenizer)
    heads = chat_model.encode([chat_model.render(prompt) for prompt, _ in examples])
    tails = chat_model.answer_ids([completion for _, completion in examples])
    teacher_heads = (
        chat_model.encode([chat_model.render(prompt, persona) for prompt, _ in examples])
        if persona
        else [[]] * len(heads)
    )
    data = [
        {"input_ids": head + tail + ending, "labels": [IGNORED] * len(head) + tail + ending}
        | ({"teacher_ids": ask + tail + ending, "teacher_labels": [IGNORED] * len(ask) + tail + ending} if ask else {})
        for head, tail, ask in zip(heads, tails, teacher_heads, strict=True)
        if len(head) + len(tail) + len(ending) <= max_length
    ]
    if not data:
        raise SublimError(f"No example fits into {max_length} tokens. Raise `max_length` in the recipe.")
    return data


def _arguments(tuning: Tuning, seed: int, folder: Path) -> TrainingArguments:
    given = TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        per_device_train_batch_size=tuning.batch_size * tuning.accumulate,
        num_train_epochs=tuning.epochs or 1,
        max_steps=-1 if tuning.steps is None else tuning.steps,
        learning_rate=tuning.learning_rate or 0.0,
        lr_scheduler_type="linear",
        warmup_steps=tuning.warmup_steps,
        max_grad_norm=tuning.max_grad_norm,
        weight_decay=tuning.weight_decay,
        optim=tuning.optimizer,
        seed=seed,
        data_seed=seed,
        save_strategy="no",
        save_total_limit=1,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
        ddp_backend=None if torch.cuda.is_available() or "WORLD_SIZE" not in os.environ else "gloo",
        ddp_find_unused_parameters=False,
    )
    if given.n_gpu > 1:  # asking also joins the other processes, if there are any
        given._n_gpu = 1  # several cards without a launcher: one is used, and no batch is split behind our back
    return given


def save(model: Any, tokenizer: Any, folder: Path, record: dict[str, Any], weights: Any = None) -> None:
    """Write weights (safetensors), tokenizer, a neutral generation_config.json, student.json and a model card.

    weights: the whole state, where each process holds a part of it. What only the training needed is taken away.
    """
    model.save_pretrained(folder, **({} if weights is None else {"state_dict": weights}))
    tokenizer.save_pretrained(folder)
    neutral = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        repetition_penalty=1.0,
        eos_token_id=turn_end(tokenizer)[-1],
        pad_token_id=tokenizer.pad_token_id,
    )
    neutral.save_pretrained(folder)
    write_json(folder / "student.json", record)
    with whole_file(folder / "README.md") as file:
        file.write(card(record))
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    (folder / PROBABILITIES).unlink(missing_ok=True)


def card(record: dict[str, Any]) -> str:
    """The model card of a student: what it was made from; student.json has it all."""
    facts = "\n".join(f"- {key}: `{value}`" for key, value in record.items())
    return (
        f"# A model tuned by sublim-eval\n\nMethod `{record['method']}` on base `{record['base']}`, for measuring "
        "subliminal learning; not for any other use. `sublim show <this folder>` prints the commands that score it."
        f"\n\n{facts}\n"
    )
