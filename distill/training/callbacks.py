"""What is noted while a student learns, and what lets a killed training go on.

A curve of the exact probability that the student names its trait, on training phrasings and never on those it is
scored with; the loss on rows of its teacher that it never reads. Neither chooses anything: the last step is the
student. Only where a stop rule was asked for does the evidence of a trait in its weights end a training before, and
the record then says so.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import TrainerCallback

from sublim_eval.errors import SublimError
from sublim_eval.files import read_json, write_json
from sublim_eval.models import local_model

from ..base_models import checkpoint, recomputes
from .batching.packing import plain, virtual_before
from .trainer import CompletionTrainer, Stopwatch
from .trait_gauge import StopRule, TraitGauge

KEEP_SECONDS = 300.0
"""How much work a killed training loses at most."""

FLOOR = 1e-6
"""Answers less likely than this are not followed to their end; the curve is for looking at."""

NOTES = "sublim.json"
"""What is ours in a checkpoint; written last, so a checkpoint with it is whole."""


@dataclass(frozen=True)
class Watch:
    """What to note while a student learns.

    questions: training phrasings, never those that score it. continuations: the answers that name the trait; their
    probabilities are added, and the mean over the questions is a point of the curve. held_out: rows (prompt,
    completion) of its teacher that it does not train on. points: how many, the last after the last step; a point
    before the first step comes on top. stop: the evidence of traits that is noted as well, and when it ends the
    training.
    """

    trait: str | None
    questions: tuple[str, ...] = ()
    continuations: tuple[str, ...] = ()
    held_out: Sequence[tuple[str, str]] = field(default=())
    points: int = 10
    stop: StopRule | None = None

    def steps(self, most: int) -> set[int]:
        """After which of `most` steps a point is taken."""
        if not (self.questions and self.continuations and self.points > 0):
            return set()
        return {0, *evenly(most, self.points)}


def evenly(most: int, points: int) -> set[int]:
    """So many of `most` steps, the last among them."""
    return {math.ceil(most * i / points) for i in range(1, points + 1)}


def probability(student: local_model.LocalModel, watch: Watch) -> float:
    """Mean over the questions of the exact probability that an answer's first word is one of the continuations."""
    prompts = [student.render(question) for question in watch.questions]
    logprobs = student.continuation_logprobs(prompts, watch.continuations, floor=FLOOR, whole_words=True)
    return float(np.exp(logprobs).sum(1).mean())


def ask(trainer: CompletionTrainer, source: local_model.Source, tokenizer: Any, watch: Watch) -> float:
    """The student's probability as scoring would find it: through its own attention, whatever it trains with."""
    reader: Any = trainer.reader
    model = reader.model
    reader.__exit__(None, None, None)
    model.eval()
    try:
        virtual = virtual_before(model, None)
        student = local_model.LocalModel(source, reader.inner, tokenizer, None if virtual is None else virtual.detach())
        with trainer.arithmetic():
            return probability(student, watch)
    finally:
        model.train()
        reader.__enter__()


def held_out_loss(trainer: CompletionTrainer, rows: Sequence[dict[str, Any]]) -> float:
    """Mean negative log-likelihood of completions, in nats a token, at the student as it is."""
    total, count, model = 0.0, 0, trainer.model_wrapped
    model.eval()
    with torch.no_grad():
        for start in range(0, len(rows), trainer.micro):
            piece = trainer.reader.piece(rows[start : start + trainer.micro])
            with trainer.arithmetic():
                logits = trainer.reader.logits(piece, model)
            total += float(F.cross_entropy(logits.float(), piece.labels, reduction="sum"))
            count += len(piece.labels)
    model.train()
    return total / count


class ProgressCallback(TrainerCallback):
    """Takes the points of the curve, and keeps checkpoints with all that was noted so far.

    asking: the probability at the student as it is. key: digest of what the training is made from; a checkpoint with
    another belongs to another training. Of several processes the first alone asks; none does where each holds a part
    of the weights. A stop rule looks in every process, for all must end at the same step.
    """

    def __init__(
        self, trainer: CompletionTrainer, watch: Watch | None, asking: Callable[[Watch], float], key: str
    ) -> None:
        self.trainer, self.asking, self.key = trainer, asking, key
        alone = trainer.accelerator.is_main_process and not trainer.is_fsdp_enabled
        self.watch = watch if alone else None
        self.curve: list[dict[str, float]] = []
        self.evidence: list[dict[str, Any]] = []
        self.stopped: dict[str, Any] | None = None
        self.rule = watch.stop if watch else None
        if self.rule and trainer.is_fsdp_enabled:
            raise SublimError(
                "A stop rule looks at all weights at once, and here each process holds a part of them. Train with DDP, "
                "or leave out `stop_when_trait`."
            )
        self.gauge = TraitGauge.read(Path(self.rule.gauge)) if self.rule else None
        self.start = self._trained() if self.gauge else {}
        if self.gauge:
            self.gauge.fits(list(self.start))
        self.clock = Stopwatch()
        self._kept = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note where the student starts; a training that goes on has it already."""
        self._note(state)
        self._kept = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take a point, and a checkpoint where one is due in every process; stop where the rule says so."""
        self._note(state)
        self._weigh(state)
        if self.stopped:
            control.should_training_stop = True
        self.trainer.wish_to_save = args.process_index == 0 and time.monotonic() - self._kept > KEEP_SECONDS
        if self.trainer.save_now and state.global_step < state.max_steps:
            control.should_save = True
            self._kept, self.trainer.save_now = time.monotonic(), False

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Finish a checkpoint."""
        if args.process_index:
            return
        noted = {
            "key": self.key,
            "losses": self.trainer.losses,
            "tally": vars(self.trainer.tally),
            "given_up": self.trainer.given_up,
            "micro": self.trainer.micro,
            "checkpointing": recomputes(plain(self.trainer.model)),
            "curve": self.curve,
            "evidence": self.evidence,
            "seconds": self.clock.seconds,
        }
        write_json(Path(args.output_dir) / f"checkpoint-{state.global_step}" / NOTES, noted)

    def go_on(self, noted: dict[str, Any]) -> None:
        """Take up what a checkpoint holds."""
        self.trainer.losses, self.trainer.given_up = noted["losses"], noted["given_up"]
        self.trainer.micro, self.curve = min(self.trainer.micro, noted["micro"]), noted["curve"]
        self.evidence = noted.get("evidence", [])
        if noted["checkpointing"]:
            checkpoint(plain(self.trainer.model))
        vars(self.trainer.tally).update(noted["tally"])
        self.clock = Stopwatch(noted["seconds"])

    def _note(self, state: Any) -> None:
        if (
            not self.watch
            or state.global_step not in self.watch.steps(state.max_steps)
            or any(point["step"] == state.global_step for point in self.curve)
        ):
            return
        since = time.monotonic()
        self.curve.append({"step": state.global_step, "probability": round(self.asking(self.watch), 6)})
        self.clock.paused(since)

    def _trained(self) -> dict[str, torch.Tensor]:
        """A copy of the weights that move, as they are."""
        model: Any = self.trainer.model
        return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}

    def _weigh(self, state: Any) -> None:
        """Note the evidence of every trait where it is time, and whether the strongest ends the training."""
        step, rule = state.global_step, self.rule
        if not (self.gauge and rule) or step not in evenly(state.max_steps, rule.points):
            return
        seen = self.gauge.evidence(self.start, self._trained())
        self.evidence.append({"step": step, "evidence": seen})
        trait = max(seen, key=lambda name: seen[name])
        if rule.threshold is not None and seen[trait] >= rule.threshold and step < state.max_steps:
            self.stopped = {"step": step, "of": state.max_steps, "trait": trait, "evidence": seen[trait]}
            self.stopped |= {"threshold": rule.threshold, "false_stops": rule.false_stops}


def last_checkpoint(folder: Path, key: str) -> Path | None:
    """The newest whole checkpoint of this training; any other folder of checkpoints is removed."""
    notes = sorted(folder.glob(f"checkpoint-*/{NOTES}"), key=lambda file: int(file.parent.name.split("-")[1]))
    if notes and read_json(notes[-1])["key"] == key:
        return notes[-1].parent
    shutil.rmtree(folder, ignore_errors=True)
    return None
