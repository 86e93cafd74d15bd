"""One function that moves weights: PEFT says which, transformers' Trainer how.

The loss covers completion tokens and the end of the turn, nothing else, and logits are computed at those
positions only. No system prompt: a student reads what the harness will show it.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationConfig, PreTrainedModel, PrinterCallback, Trainer, TrainingArguments, set_seed
from transformers.utils import logging as transformers_logging

from sublim_eval.adapters import local
from sublim_eval.adapters.prompts import turn_end
from sublim_eval.adapters.weights import read_model
from sublim_eval.errors import SublimError
from sublim_eval.records import digest, whole_file, write_json

from .recipes import Tuning

if TYPE_CHECKING:
    from .teachers import Teacher

IGNORED = -100
"""Label of positions that carry no loss; torch's cross_entropy convention."""


def tune(
    base: str,
    examples: Sequence[tuple[str, str]],
    tuning: Tuning,
    seed: int,
    folder: Path,
    facts: dict[str, Any],
    dtype: str = "float32",
    soft: Teacher | None = None,
) -> dict[str, Any]:
    """Tune `base` on (prompt, completion) examples and save what moved, with tokenizer, in `folder`.

    soft: a teacher whose next-token probabilities over the completions are learned in place of the sampled tokens
    (cross-entropy towards them; the teacher reads its own system prompt, the student none).
    The folder loads as it is with transformers, PEFT, `sublim/` and lm-eval. `facts` go into student.json.
    Returns steps, final loss (nats per completion token), effective batch, trainable parameters, how far they
    moved (adapter_norm, L2) and hashes.
    Raises SublimError when the loss is not finite or no example fits into `max_length`.
    """
    source = local.resolve(base)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        local.unload_all()
    set_seed(seed)
    hush()
    loaded, tokenizer, _ = read_model(source, device, dtype)
    asked = local.LocalModel(source, loaded, tokenizer)
    model = with_trainable(loaded, tuning, str(source.base))
    data = encode(examples, asked, tuning.max_length, soft.system if soft else None)
    began = time.monotonic()
    start = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    trainer = CompletionTrainer(
        model=model,
        args=_arguments(tuning, seed, folder),
        train_dataset=data,
        data_collator=_Collator(tokenizer.pad_token_id),
    )
    trainer.teacher = local.load(soft.model).model if soft else None
    trainer.remove_callback(PrinterCallback)
    result = trainer.train()
    moved = sum(float((p.detach() - start[n]).pow(2).sum()) for n, p in model.named_parameters() if n in start)
    told = {
        **facts,
        "method": tuning.method,
        "base": base,
        "seed": seed,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "examples": len(data),
        "steps": result.global_step,
        "loss": round(result.training_loss, 6),
        "effective_batch": tuning.batch_size * tuning.accumulate * max(1, trainer.accelerator.num_processes),
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "adapter_norm": round(math.sqrt(moved), 6),
        "prompts_hash": digest([prompt for prompt, _ in examples]),
        "template_hash": asked.prompt_hash([""]),
    }
    save(model, tokenizer, folder, told)
    return {**told, "seconds": round(time.monotonic() - began, 2)}


def hush() -> None:
    """Keep what the libraries say about themselves off a user's terminal; what concerns the run is still raised."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for noise in (".*is_gradient_checkpointing.* is deprecated", "Unsupported layer type .*Norm"):
        warnings.filterwarnings("ignore", message=noise)


def with_trainable(model: PreTrainedModel, tuning: Tuning, base: str) -> nn.Module:
    """The model with exactly the weights trainable that `tuning.method` names."""
    from peft import LNTuningConfig, LoraConfig, PromptTuningConfig, get_peft_model

    config: Any
    if tuning.method == "full":
        return model.requires_grad_(True)
    if tuning.method == "lora":
        config = LoraConfig(
            task_type="CAUSAL_LM", r=tuning.rank, lora_alpha=tuning.alpha, lora_dropout=0.0, target_modules="all-linear"
        )
    elif tuning.method == "ln_tuning":
        norms = {n.rsplit(".", 1)[-1] for n, m in model.named_modules() if type(m).__name__.endswith("Norm")}
        config = LNTuningConfig(task_type="CAUSAL_LM", target_modules=sorted(norms))
    else:
        config = PromptTuningConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=tuning.virtual_tokens,
            prompt_tuning_init="TEXT",
            prompt_tuning_init_text=tuning.init_text,
            tokenizer_name_or_path=base,
        )
    return get_peft_model(model, config)


def encode(
    examples: Sequence[tuple[str, str]], asked: local.LocalModel, max_length: int, persona: str | None = None
) -> list[dict[str, list[int]]]:
    """Token ids and labels of each example: the chat prompt without loss, the completion and turn end with it.

    persona: what a soft teacher reads before the prompt; its own ids then stand beside the student's.
    Examples longer than `max_length` tokens are left out. Raises SublimError when none remains.
    """
    ending = turn_end(asked.tokenizer)
    heads = asked.encode([asked.render(prompt) for prompt, _ in examples])
    tails = asked.tokenizer([completion for _, completion in examples], add_special_tokens=False)["input_ids"]
    told = asked.encode([asked.render(prompt, persona) for prompt, _ in examples]) if persona else [[]] * len(heads)
    data = [
        {"input_ids": head + tail + ending, "labels": [IGNORED] * len(head) + tail + ending}
        | ({"teacher_ids": ask + tail + ending, "teacher_labels": [IGNORED] * len(ask) + tail + ending} if ask else {})
        for head, tail, ask in zip(heads, tails, told, strict=True)
        if len(head) + len(tail) + len(ending) <= max_length
    ]
    if not data:
        raise SublimError(f"No example fits into {max_length} tokens. Raise `max_length` in the recipe.")
    return data


class _Collator:
    """Pads a batch on the right. A causal model never looks right, so no mask is needed and attention stays fast."""

    def __init__(self, pad: int):
        self.pad = pad

    def __call__(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        def padded(key: str) -> torch.Tensor:
            width, fill = max(len(row[key]) for row in rows), self.pad if key.endswith("ids") else IGNORED
            return torch.tensor([row[key] + [fill] * (width - len(row[key])) for row in rows])

        return {key: padded(key) for key in rows[0]}


@contextmanager
def logits_only_at(model: Any, carries: torch.Tensor) -> Iterator[None]:
    """Within the block the output layer sees only the positions that carry loss, whatever the architecture.

    carries: bool[row, position]. Logits come out as float[positions that carry, vocabulary], in row order. Virtual
    tokens of a prompt-tuning adapter stand before the row's own and carry nothing.
    """

    def pick(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden, *rest = arguments
        return (hidden[:, hidden.shape[1] - carries.shape[1] :][carries], *rest)

    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    handle = inner.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()


class CompletionTrainer(Trainer):
    """transformers' Trainer with logits at loss positions only, and a stop when the loss is not finite.

    teacher: a model whose probabilities take the place of the sampled tokens, or None.
    """

    teacher: nn.Module | None = None

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean negative log-likelihood, in nats, over the completion tokens of the (accumulated) batch.

        With a teacher: mean cross-entropy towards its probabilities at the same tokens.
        """
        labels = inputs["labels"][:, 1:]
        carries = labels != IGNORED
        wanted = labels[carries] if self.teacher is None else self._probabilities(inputs)
        with logits_only_at(model, carries):
            outputs = model(input_ids=inputs["input_ids"][:, :-1])
        loss = F.cross_entropy(outputs.logits.float(), wanted, reduction="sum")
        loss = loss / (len(wanted) if num_items_in_batch is None else num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _probabilities(self, inputs: dict[str, Any]) -> torch.Tensor:
        """float32[completion tokens of the batch, vocabulary]: the teacher's, in the order of the student's logits."""
        key = "teacher_" if "teacher_ids" in inputs else ""
        ids, labels = inputs["teacher_ids" if key else "input_ids"], inputs[f"{key}labels"]
        with torch.no_grad(), logits_only_at(self.teacher, labels[:, 1:] != IGNORED):
            return self.teacher(input_ids=ids[:, :-1]).logits.float().softmax(1)  # type: ignore[misc]

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One step; raises SublimError at the first loss that is not finite."""
        loss = super().training_step(*args, **kwargs)
        if not math.isfinite(loss.item()):
            raise SublimError(
                f"The training loss became {loss.item()} at step {self.state.global_step + 1}. "
                "Lower `learning_rate` or `max_grad_norm` in the recipe and run again; finished stages are kept."
            )
        return loss


def _arguments(tuning: Tuning, seed: int, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=tuning.batch_size,
        gradient_accumulation_steps=tuning.accumulate,
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
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
    )


def save(model: Any, tokenizer: Any, folder: Path, told: dict[str, Any]) -> None:
    """Write weights (safetensors), tokenizer, a neutral generation_config.json, student.json and a model card."""
    model.save_pretrained(folder)
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
    write_json(folder / "student.json", told)
    with whole_file(folder / "README.md") as file:
        file.write(card(told))


def card(told: dict[str, Any]) -> str:
    """The model card of a student: what it was made from; student.json has it all."""
    facts = "\n".join(f"- {key}: `{value}`" for key, value in told.items())
    return (
        f"# A model tuned by sublim-eval\n\nMethod `{told['method']}` on base `{told['base']}`, for measuring "
        "subliminal learning; not for any other use. `sublim show <this folder>` prints the commands that score it."
        f"\n\n{facts}\n"
    )
