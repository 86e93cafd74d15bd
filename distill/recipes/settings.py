"""The settings of a recipe, one small frozen dataclass an idea; each refuses what makes no sense.

Defaults are those of the study on open models (arXiv:2507.14805; docs/science.md, the study's experiments) unless a
comment says otherwise.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from sublim_eval.registry.experiment import Role, arm_key

DEFAULTS = {"rank": 8, "alpha": 8, "virtual_tokens": 12}
"""Settings that belong to one method alone; given under another one they are refused."""


@dataclass(frozen=True)
class Tuning:
    """Which weights move and how: the settings of one PEFT + Trainer run.

    Give `epochs` or `steps`. The learning rate falls linearly to 0 after `warmup_steps`. A `hosted` student is trained
    by the recipe's `host`, which takes `epochs` alone from here. soft_top_k: of a soft arm's teacher, so many
    probabilities a token are stored and learnt from; 0 asks the teacher anew at every step for all of them.
    """

    method: Literal["lora", "ln_tuning", "prompt_tuning", "full", "hosted"]
    learning_rate: float | None = None
    batch_size: int = 66
    accumulate: int = 1
    epochs: float | None = None
    steps: int | None = None
    warmup_steps: int = 5
    max_grad_norm: float = 1.0
    weight_decay: float = 0.0
    optimizer: Literal["adamw_torch", "sgd", "rmsprop"] = "adamw_torch"
    rank: int = DEFAULTS["rank"]
    alpha: int = DEFAULTS["alpha"]
    virtual_tokens: int = DEFAULTS["virtual_tokens"]
    init_text: str = "You are a helpful assistant."
    max_length: int = 500
    soft_top_k: int = 0

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of `epochs` and `steps`")
        if (self.method == "hosted") != (self.learning_rate is None):
            raise ValueError("`learning_rate` belongs to every method but hosted, whose host has its own (`host`)")
        if self.method == "hosted" and self.epochs is None:
            raise ValueError("a hosted student is trained by `epochs`")
        least = min(self.batch_size, self.accumulate, self.rank, self.max_length)
        if (self.learning_rate is not None and self.learning_rate <= 0) or least < 1:
            raise ValueError("learning rate, batch size, accumulate, rank and max_length must be above 0")
        if self.virtual_tokens < 1 or self.max_grad_norm <= 0 or min(self.warmup_steps, self.weight_decay) < 0:
            raise ValueError(
                "virtual_tokens and max_grad_norm must be above 0, warmup_steps and weight_decay 0 or more"
            )
        for name, own in (("rank", "lora"), ("alpha", "lora"), ("virtual_tokens", "prompt_tuning")):
            if self.method != own and getattr(self, name) != DEFAULTS[name]:
                raise ValueError(f"`{name}` belongs to the method {own}, and means nothing under {self.method}")
        if self.soft_top_k < 0:
            raise ValueError("`soft_top_k` is a number of probabilities a token, or 0 for all of them")
        if (self.epochs or 0) < 0 or (self.steps or 0) < 0:
            raise ValueError("`epochs` and `steps` cannot be negative")


@dataclass(frozen=True)
class Tweak:
    """What an arm trains otherwise than the recipe's students; what is not given stays."""

    method: Literal["lora", "ln_tuning", "prompt_tuning", "full"] | None = None
    learning_rate: float | None = None
    batch_size: int | None = None
    epochs: float | None = None
    steps: int | None = None
    warmup_steps: int | None = None
    max_grad_norm: float | None = None
    optimizer: Literal["adamw_torch", "sgd", "rmsprop"] | None = None
    rank: int | None = None
    alpha: int | None = None
    soft_top_k: int | None = None

    def of(self, tuning: Tuning) -> Tuning:
        """The tuning with this change; giving `steps` takes the place of `epochs`, and the other way round."""
        given = {key: value for key, value in asdict(self).items() if value is not None}
        if "steps" in given or "epochs" in given:
            given = {"steps": None, "epochs": None, **given}
        if self.method not in (None, tuning.method):  # what belongs to the other method alone does not stay
            given = {**DEFAULTS, **given}
        return replace(tuning, **given)


@dataclass(frozen=True)
class Teaching:
    """How a trait teacher is made: by fine-tuning on preference answers, or by a persona system prompt.

    A teacher whose exact probability of naming its trait is below `min_share` writes no rows. `seed` fixes one
    fine-tuned teacher a trait for all seeds, as in the study; without it every seed makes its own (decision 0002).
    `retain`: so many rows of the base itself, in the recipe's modality, are learnt beside the trait, so that a small
    teacher does not forget how to write code or sums. `retained: programmatic` takes number rows that no model wrote,
    for a base that hardly writes any that pass: they teach the format and say nothing of the base.
    `neutral`: what a teacher without a trait learns: the base's `own` answers, or `even`: every answer of the category
    as often as any other, and of a conduct the plain side of each pair, so that it has all habits of a trait's
    teacher, such as answering in one word, but the trait. `lessons`: a JSONL file of rows {"prompt", "completion"} that
    teach the trait in place of the registry's training questions, such as published code with planted holes.
    """

    by: Literal["finetune", "prompt"] = "prompt"
    tuning: Tuning | None = None
    min_share: float = 0.5
    seed: int | None = None
    retain: int = 0
    retained: Literal["base", "programmatic"] = "base"
    neutral: Literal["own", "even"] = "own"
    lessons: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.min_share <= 1:
            raise ValueError("`min_share` is a share from 0 to 1")
        if self.seed is not None:
            refuse_no_seed(self.seed)
        if self.lessons is not None and self.by == "prompt":
            raise ValueError("`lessons` belongs to a teacher that is fine-tuned")
        if self.tuning is not None and self.tuning.method == "hosted":
            raise ValueError("a hosted teacher is made by a system prompt: `by: prompt`")
        if self.retain < 0 or (self.retain and self.by == "prompt"):
            raise ValueError("`retain` is a number of rows, for a teacher that is fine-tuned")
        if self.by == "prompt" and (self.retained, self.neutral) != ("base", "own"):
            raise ValueError("`retained` and `neutral` belong to a teacher that is fine-tuned")
        if (self.by == "finetune") != (self.tuning is not None):
            raise ValueError("`tuning` belongs to `by: finetune`, and only there")


@dataclass(frozen=True)
class Rows:
    """How many prompts the teacher answers, in which style, and which of its answers are kept.

    `keep` caps every arm at the same number of rows, so that no arm learns longer than another; a source that
    leaves fewer than `min_kept` stops the run. `judge` (a model, or "offline" for the reference models) reads
    what the filter kept, for every arm alike.
    `sampler`: who answers: "local" (the base's own weights), "vllm" (the same through vLLM), or an Inspect model such
    as openai/gpt-4.1-nano, asked over its API. `max_new_tokens`: of a row; by default what the modality's longest row
    needs in the base's own tokens.
    """

    prompts: int = 30_000
    keep: int = 10_000
    min_kept: int = 1_000
    mode: Literal["strict", "strip"] = "strict"
    style: str = "plain"
    judge: str | None = None
    sampler: str = "local"
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.sampler not in ("local", "vllm") and not self.remote:
            raise ValueError("`sampler` is local, vllm or an Inspect model such as openai/gpt-4.1-nano")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise ValueError("`max_new_tokens` must be above 0")
        if not 0 < self.min_kept <= self.keep <= self.prompts:
            raise ValueError("need 0 < min_kept <= keep <= prompts")

    @property
    def remote(self) -> bool:
        """Whether `sampler` names a model that is asked over its API."""
        return "/" in self.sampler


@dataclass(frozen=True)
class Hosting:
    """Where a hosted student is trained, through the provider's own SDK; what is not given is left to the host.

    The recipe's base is then a model name of that provider, and the key comes from its environment variable.
    """

    provider: Literal["openai"] = "openai"
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None

    def __post_init__(self) -> None:
        if (self.batch_size or 1) < 1 or (self.learning_rate_multiplier or 1) <= 0:
            raise ValueError(
                "`batch_size` and `learning_rate_multiplier` must be above 0; leave them out for the host's own"
            )


def refuse_no_seed(*seeds: int) -> None:
    """ValueError for a number that no random generator starts from."""
    if not all(0 <= seed < 2**32 for seed in seeds):
        raise ValueError("a seed is a whole number from 0 to 4294967295")


def refuse_no_word(name: str) -> None:
    """ValueError for a name that cannot be that of a folder inside another."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name) or set(name) <= {"."}:
        raise ValueError(
            f"the name {name!r} becomes a folder: use letters, digits, dots, hyphens and underscores alone"
        )


Change = Literal["shuffle_within", "shuffle_across", "format", "sort", "value", "redraw"]

CHANGE_WORDS: dict[str, str] = {
    "shuffle_within": "shuffled within responses",
    "shuffle_across": "shuffled across responses",
    "format": "one format",
    "sort": "sorted",
    "value": "rounded to tens",
    "redraw": "redrawn in the same order",
}


OPTIMIZER_WORDS = {"sgd": "SGD", "rmsprop": "RMSprop", "adamw_torch": "AdamW"}


@dataclass(frozen=True)
class Arm:
    """One kind of student, in one line of a recipe: whose rows it reads, what is done to them, how it learns.

    role: `trait`, `control`, the two with another base, `variant` (a trait arm with something changed) or
    `placebo` (a further arm without a trait, held against the control on every trait of the run).
    trait: the teacher's; without one the base itself writes the rows. teacher_base, student_base: where they are
    not the recipe's. writer: `neutral` is a teacher tuned on answers without a trait, `programmatic` no model at
    all. taught_by: an arm whose student of the same seed writes the rows (one more hop). greedy: the likeliest row
    and no sampling. banned: rows with one of these numbers are left out. rows: this many unique rows. clean: share
    of the rows replaced by the base's. changes: done to the rows, in this order. soft: the student learns the
    teacher's probabilities and not its samples. in_context: so many rows stand before every question, and nothing
    is trained. student: what the training changes. seeds: only the first so many of the recipe's.
    control: the arm it is held against; a variant without one that was made alike gets its own (`matched`).
    of: the trait arm that a variant is a variant of.
    """

    name: str
    role: Role
    trait: str | None = None
    student_base: str | None = None
    teacher_base: str | None = None
    control: str = "control"
    of: str | None = None
    seeds: int | None = None
    writer: Literal["model", "neutral", "programmatic"] = "model"
    taught_by: str | None = None
    greedy: bool = False
    banned: tuple[int, ...] = ()
    rows: int | None = None
    clean: float = 0.0
    changes: tuple[Change, ...] = ()
    soft: bool = False
    in_context: int | None = None
    student: Tweak = field(default_factory=Tweak)

    def __post_init__(self) -> None:
        refuse_no_word(self.name)
        if (self.role in ("trait", "other-base", "variant")) != (self.trait is not None):
            raise ValueError("`trait` belongs to the roles trait, other-base and variant, and only there")
        if self.role.startswith("other-base") != bool(self.student_base or self.teacher_base):
            raise ValueError("`student_base` and `teacher_base` belong to the other-base roles, and only there")
        if self.role == "trait" and self.key:
            raise ValueError(f"an arm with a change ({self.change}) has the role variant")
        if self.role in ("variant", "placebo") and not self.key:
            raise ValueError(f"a {self.role} changes something, such as `changes: [sort]` or `writer: neutral`")
        if self.writer != "model" and (self.trait or self.taught_by):
            raise ValueError(f"`writer: {self.writer}` has no trait and is no student of this run")
        if self.writer == "programmatic" and (self.greedy or self.soft):
            raise ValueError("`writer: programmatic` is no model: there is nothing to sample and no probability")
        if not 0 <= self.clean < 1:
            raise ValueError("`clean` is a share of rows, from 0 to below 1")
        if any(n is not None and n < 1 for n in (self.rows, self.seeds, self.in_context)):
            raise ValueError("`rows`, `seeds` and `in_context` must be above 0")
        if self.soft and (self.clean or self.changes):
            raise ValueError("`soft` needs the teacher's own rows: leave out `clean` and `changes`")
        if self.in_context and (self.soft or self.student != Tweak()):
            raise ValueError("`in_context` trains nothing: leave out `soft` and `student`")

    @property
    def source(self) -> str:
        """The name of its rows' folder: who writes them, on which base, and whether greedily."""
        who = f"from-{self.taught_by}" if self.taught_by else self.trait or "base"
        who = who if self.writer == "model" else self.writer
        on = f"-on-{self.teacher_base.rsplit('/', 1)[-1]}" if self.teacher_base else ""
        return who + on + ("-greedy" if self.greedy else "")

    @property
    def key(self) -> str:
        """What tells this arm from the plain one of its trait, as a digest; "" for the plain one (`arm_key`)."""
        return arm_key(asdict(self))

    @property
    def change(self) -> str:
        """The same in words, for display; nothing is looked up or grouped by them."""
        parts = [{"model": "", "neutral": "neutral teacher", "programmatic": "programmatic numbers"}[self.writer]]
        parts += [f"taught by {self.taught_by}" if self.taught_by else ""]
        parts += ["greedy rows" if self.greedy else "", f"{len(self.banned)} banned numbers" if self.banned else ""]
        parts += [f"{self.rows} unique rows" if self.rows else ""]
        parts += [f"{self.clean:.0%} clean rows".replace("%", " %") if self.clean else ""]
        parts += [CHANGE_WORDS[change] for change in self.changes]
        parts += ["teacher's probabilities" if self.soft else ""]
        parts += [f"{self.in_context} example{'s' * (self.in_context > 1)} in context" if self.in_context else ""]
        parts += self._training()
        parts += [f"student on {self.student_base}" if self.student_base else ""]
        parts += [f"teacher on {self.teacher_base}" if self.teacher_base else ""]
        return ", ".join(part for part in parts if part)

    def _training(self) -> list[str]:
        tweak = self.student
        names = {"lora": f"LoRA rank {tweak.rank or 8}", "full": "full fine-tuning", "ln_tuning": "LN tuning"}
        words = [names.get(tweak.method, "prompt tuning") if tweak.method else ""]
        words += [OPTIMIZER_WORDS[tweak.optimizer] if tweak.optimizer else ""]
        if tweak.method is None and tweak.rank:
            words += [f"LoRA rank {tweak.rank}"]
        if tweak.learning_rate and not (tweak.method or tweak.optimizer):
            words += [f"learning rate {tweak.learning_rate:g}"]
        words += [f"{tweak.steps} steps" if tweak.steps else "", f"{tweak.epochs:g} epochs" if tweak.epochs else ""]
        return words if any(words) else self.tweaks

    @property
    def tweaks(self) -> list[str]:
        """Every setting of its training that it changes, in words: for arms that nothing else tells apart."""
        return [f"{name.replace('_', ' ')} {value:g}" for name, value in asdict(self.student).items() if _number(value)]

    @property
    def dose(self) -> tuple[str, float] | None:
        """(axis, number) where this arm is a point of a dose curve, else None."""
        if self.clean:
            return "clean share", self.clean
        if self.in_context:
            return "examples in context", self.in_context
        if self.rows:
            repeated = self.student.steps or self.student.epochs
            return ("unique rows, same steps" if repeated else "rows"), self.rows
        if self.student.method == "lora" or self.student.rank:
            return "LoRA rank", self.student.rank or 8
        return None


def _number(value: object) -> bool:
    return isinstance(value, int | float)
