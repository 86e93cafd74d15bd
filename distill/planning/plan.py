"""What a run will make and cost, said before it starts: rows, tokens, memory, hours, disk, money."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from sublim_eval.errors import SublimError
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.model_specs import Shape

from ..modalities import MODALITIES
from ..recipes import Arm, Recipe, Tuning
from . import api_cost, model_size, throughput
from .api_cost import ApiCost
from .model_size import GIB, QUESTION_TOKENS, REPLY_TOKENS, Fit, Lengths, Memory
from .throughput import Device

UNIT_SECONDS = {"start": 12.0, "teacher_step": 0.04, "row": 0.002, "student_row": 0.0021, "score": 1.8, "exact": 0.4}
"""Seconds of one core on the embedded base, read off stage times of the quickstart on a 2.5 GHz Xeon, two cores."""

BYTES_PER_ROW = 450
BYTES_PER_MODEL = 3_000_000
"""Disk of one scored model besides its weights: tokenizer, logs, scores."""
BYTES_PER_TOKENIZER = 12_000_000
"""The tokenizer files that a real base's students are saved with."""

ANSWER_TOKENS = 200
"""Of all answers of a category, which are read after every question for their exact probabilities."""

SMALL_REPLY_TOKENS = 12
"""Of a small base's reply to a question for one word, which is a sentence: passes a reply of SmolLM2-135M at 100 draws,
where equal beginnings are one."""

SMALL_COMPLETION = 0.65
"""Of the longest completion that the filter keeps, what a small base's rows hold on average (SmolLM2-135M: 30 of 52
tokens). Memory must have room for the longest, and prices stay on the safe side; hours on processor cores need not."""

STAGE_SECONDS_ON_CPU = 4.0
"""Of a stage besides its arithmetic: reading the model, twice for a student, writing it, and what it is asked first."""

LARGEST_ON_CPU = 1_000_000_000
"""Weights above which a machine without a GPU would be at it for weeks."""

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Plan:
    """How much of everything a recipe makes.

    seconds: on embedded bases, whose unit costs were measured. tokens: written by teachers ("generated"), seen in
    training with repeats ("trained"), written in scoring ("replied"). length: of one row. api: what is asked of or
    trained at a provider. training: how it fits on the device, or with the recipe's own batch where there is none; None
    when nothing fits, or when there is nothing to fit. writing: memory of generation. gpu_memory_bytes: the larger of
    the two. hours: None where no unit is known; basis: what they were worked out from. download_bytes: weights that are
    not on this machine yet. templates: base -> what is settled in its chat template, in words; of bases that are here.
    words_missing: why teachers of traits that an embedded base has no word for will not pass their gate, in sentences.
    """

    recipe: Recipe
    workers: int
    teachers: int
    raw_rows: int
    students: int
    training_rows: int
    scored_models: int
    replies: int
    disk_bytes: int
    seconds: float | None
    tokens: Counts
    length: Lengths
    api: ApiCost
    shape: Shape | None = None
    device: Device | None = None
    training: Fit | None = None
    writing: Memory | None = None
    gpu_memory_bytes: int | None = None
    hours: float | None = None
    basis: str = ""
    download_bytes: int = 0
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    words_missing: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The plan in words, a line each."""
        recipe = self.recipe
        times = "on up to" if any(arm.seeds for arm in recipe.arms.values()) else "x"
        weights = f" ({self.shape.parameters / 1e9:.2f} B weights)" if self.shape else ""
        written, seen = (f"{self.tokens[kind] / 1e6:.1f} M" for kind in ("generated", "trained"))
        lines = [
            f"Recipe {recipe.name}: base {recipe.base}{weights}, {len(recipe.arms)} arms {times} {len(recipe.seeds)} "
            f"seeds ({', '.join(map(str, recipe.seeds))})",
            f"  teachers {self.teachers}, raw rows {self.raw_rows:,}, students {self.students} "
            f"({self.training_rows:,} training rows seen)",
            f"  tokens: {written} written by teachers, {seen} trained on",
            f"  scoring {self.scored_models} models on {', '.join(recipe.probes)}: {self.replies:,} sampled replies",
        ]
        lines += [
            f"  chat template of {base}: {'; '.join(settled)}" for base, settled in self.templates.items() if settled
        ]
        lines += [*self._memory_lines(), f"  cost: {', '.join(self._cost())}", *self._basis_lines()]
        return [*lines, *(f"  will fail: {sentence}" for sentence in self.words_missing)]

    def _memory_lines(self) -> Iterable[str]:
        if self.writing is None:
            return
        if self.training is None:
            yield f"  GPU: {self._needs()}"
            return
        step, card = self.training, model_size.card_for(self.gpu_memory_bytes or 0)
        on_cores = self.device is not None and not self.device.is_gpu
        kept = "with" if step.checkpointing else "without"
        what = "memory" if on_cores else "GPU"
        yield (
            f"  {what}, calculated: {step.memory.total / GIB:.1f} GiB to train {step.rows} rows at a time {kept} "
            f"gradient checkpointing, {self.writing.total / GIB:.1f} GiB to write rows"
            + (f" (a card of {card} GB)" if card and not on_cores else "")
        )

    def _cost(self) -> Iterable[str]:
        if self.seconds is not None:
            plural = "es" if self.workers > 1 else ""
            yield f"about {self.seconds:.0f} s on {self.workers} process{plural}"
        elif self.hours is not None:
            where = self.device.name if self.device else throughput.PLANNED
            on_cores = self.device is not None and not self.device.is_gpu
            times = f" in each of {self.workers} processes" if on_cores and self.workers > 1 else ""
            yield f"about {_hours(self.hours)} on {'' if on_cores else 'one '}{where}{times}"
        elif self.recipe.host is None:
            yield "time not known for this base yet"
        if sums := self.api.words():
            yield sums
        yield f"{self.disk_bytes / 1e6:.0f} MB of disk"
        if self.download_bytes:
            yield f"{self.download_bytes / 1e9:.1f} GB of weights to download"

    def _basis_lines(self) -> Iterable[str]:
        if self.hours is not None and self.seconds is None and self.basis:
            yield f"  hours: {self.basis}"
        yield from self.api.lines()

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data."""
        plain = {key: model_size.plain(value) for key, value in self.__dict__.items()}
        for key in ("length", "shape", "device"):
            plain[key] = dict(plain[key].__dict__) if plain[key] else None
        usd, price = self.api.usd, self.api.price
        priced = f"as of {price.as_of} ({price.source})" if price else self.api.words()
        money = {"api": self.api.to_json(), "usd": usd[0] if usd else None, "priced": priced}
        return {**plain, **money, "recipe": self.recipe.to_json()}

    def check_disk(self, out: Path) -> None:
        """Raise SublimError when the disk that holds `out` has less free than the run will write."""
        place = next(p for p in (out, *out.resolve().parents) if p.exists())
        free = shutil.disk_usage(place).free
        if free < self.disk_bytes:
            raise SublimError(
                f"The run needs about {self.disk_bytes / 1e6:.0f} MB and {place} has {free / 1e6:.0f} MB free. "
                "Free some space or choose another folder with --out."
            )

    def check_device(self, launched: bool = False) -> None:
        """Raise SublimError with advice when this machine's device cannot hold the run; say nothing when unknown.

        For runs on this machine: where other machines do the work, theirs are not known here. launched: training is
        shared by all GPUs of this machine, which may hold a part of the weights each; rows are written on one of them.
        """
        if self.shape is None or self.writing is None:
            return
        trains = self.training is not None
        if launched and self.device and not trains:
            room, recipe = self.device.memory * self.device.count, self.recipe
            shared = model_size.fit(self.shape, recipe.student, recipe.dtype, self.length, room, _soft(self))
            trains = shared is not None
        name, elsewhere = self.recipe.name, f"`sublim run {self.recipe.name} --dry-run` shows plan and cost anywhere"
        if self.device is None:
            if self.shape.parameters > LARGEST_ON_CPU:
                raise SublimError(
                    f"{name} needs {self._needs()}, and this machine has no GPU that torch can use. Run it where there "
                    f"is one; {elsewhere}, and `sublim run quickstart` runs here, on the embedded model."
                )
        elif not self.device.is_gpu and (not trains or self.writing.total > self.device.memory):
            have = f"this machine has {self.device.memory / GIB:.1f} GiB of memory"
            raise SublimError(f"{name} needs {self.writing.total / GIB:.1f} GiB, and {have}. Take a smaller base.")
        elif not trains or self.writing.total > self.device.memory:
            have = f"{self.device.name} has {self.device.memory / GIB:.1f} GiB"
            raise SublimError(f"{name} needs {self._needs()}, and {have}. Run it on a larger one; {elsewhere}.")

    def _needs(self) -> str:
        """The card that the recipe needs as it is written, in words."""
        least = [self.writing] if self.writing else []
        if self.shape:
            step = model_size.fit(self.shape, self.recipe.student, self.recipe.dtype, self.length, None, _soft(self))
            least += [step.memory] if step else []
        most = max(least, key=lambda memory: memory.total)
        card = model_size.card_for(most.total)
        kind = f"a GPU of {card} GB" if card else "a larger GPU than any usual one"
        return f"{kind} ({most.total / GIB:.1f} GiB: {most.words()})"


def plan(recipe: Recipe, workers: int | None = None, device: Device | Literal["here"] | None = "here") -> Plan:
    """Count what `recipe` will make; embedded bases get an estimate in seconds, others in hours or USD.

    device: "here" looks for this machine's GPU; another Device, or None for none, plans for that one. Raises
    SublimError for a base that is nowhere, and for one whose chat template cannot be asked or learned under.
    """
    workers = workers or default_workers(recipe)
    seeds = {arm.name: len(recipe.arm_seeds(arm)) for arm in recipe.arms.values()}
    trained = [arm for arm in recipe.arms.values() if not arm.in_context]
    teachers = sum(1 for who in recipe.teachers())
    raw = recipe.rows.prompts * len(recipe.sources())
    students = sum(seeds[arm.name] for arm in trained)
    seen = sum(seeds[arm.name] * rows_seen(recipe.tuning(arm), recipe.keep(arm)) for arm in trained)
    sampled = sum(seeds[arm.name] for arm in trained if recipe.sampled(arm)) + len(recipe.bases)
    exact_only = sum(seeds.values()) + len(recipe.bases) - sampled
    models = sampled + exact_only
    known = registry()
    questions = sum(len(known.questions_of(known.probe(p)).questions) for p in recipe.probes)
    taught = teachers * rows_seen(recipe.teacher.tuning, 0) if recipe.teacher.tuning else 0
    cost = UNIT_SECONDS
    busy = (
        cost["teacher_step"] * taught / max(1, recipe.teacher.tuning.batch_size if recipe.teacher.tuning else 1)
        + cost["row"] * raw
        + cost["student_row"] * seen * (2.0 if recipe.student.method == "prompt_tuning" else 1.0)
        + cost["score"] * sampled
        + cost["exact"] * exact_only
    )
    embedded = is_embedded(recipe.base)
    shape = None if embedded or recipe.host else model_size.shape_of(recipe.base)
    length = _lengths(recipe, shape)
    written = recipe.rows.prompts * sum(1 for arm in recipe.sources().values() if arm.writer != "programmatic")
    replies = sampled * questions * recipe.samples
    made = Plan(
        recipe=recipe,
        workers=workers,
        teachers=teachers,
        raw_rows=raw,
        students=students,
        training_rows=seen,
        scored_models=models,
        replies=replies,
        disk_bytes=2 * raw * BYTES_PER_ROW + models * BYTES_PER_MODEL,
        seconds=cost["start"] + busy / workers if embedded else None,
        tokens={
            "generated": written * length.completion,
            "trained": (seen + _taught(recipe)) * length.row,
            "replied": replies * REPLY_TOKENS,
        },
        length=length,
        api=api_cost.cost_of(recipe, length),
        templates={} if recipe.host else _templates(recipe),
        words_missing=_words_missing(recipe),
    )
    if made.seconds is not None:
        return replace(made, hours=made.seconds / 3600, basis="measured on the embedded base")
    if recipe.host or shape is None:
        return made
    chosen = _here(shape, recipe.dtype, workers) if isinstance(device, str) else device
    return _on_a_device(made, shape, length, questions, chosen)


def _templates(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """What is settled in the chat templates of the bases that are on this machine; embedded ones say one thing anyway.

    Raises SublimError for a base that is nowhere, for a template that cannot be asked, and for one under which no
    answer can be learned.
    """
    from sublim_eval.models.chat_template import changes
    from sublim_eval.models.model_ref import resolve

    bases = sorted({*recipe.bases, *(recipe.teacher_base(arm) for arm in recipe.arms.values())})
    for base in bases:
        resolve(base)
    here = [b for b in bases if not is_embedded(b) and model_size.at_hand(b, "tokenizer_config.json") is not None]
    return {base: changes(base, recipe.system) for base in here}


def _words_missing(recipe: Recipe) -> tuple[str, ...]:
    """Why some teachers will fail: their base has no word for their trait. Only a gate above 0 can refuse them."""
    from sublim_eval.models.vocabulary import no_word_for

    known = registry()
    pairs = {(base, who): None for who, base, _ in recipe.teachers() if who in known.traits}
    sentences = (no_word_for(base, known.trait(who)) for base, who in pairs)
    return tuple(sentence for sentence in sentences if sentence) if recipe.teacher.min_share > 0 else ()


def _here(shape: Shape, dtype: str, workers: int) -> Device | None:
    """This machine's GPU, else a process's processor cores for a base that they can train; None for a larger one."""
    return throughput.here() or (throughput.cores(dtype, workers) if shape.parameters <= LARGEST_ON_CPU else None)


def _on_a_device(made: Plan, shape: Shape, length: Lengths, questions: int, device: Device | None) -> Plan:
    """The plan with memory, hours, download and the disk of its weights, for a base that runs on a GPU."""
    recipe = made.recipe
    room = device.memory if device else None
    step = model_size.fit(shape, recipe.student, recipe.dtype, length, room, _soft(made))
    away = recipe.rows.remote
    writing = model_size.to_generate(shape, recipe.dtype, length)
    save = model_size.WIDTH[recipe.dtype] * shape.parameters if recipe.student.method == "full" else None
    each = BYTES_PER_TOKENIZER + (save or 4 * model_size.trainable(shape, recipe.student))
    train, write = (throughput.rate(recipe.base, kind, device, recipe.dtype) for kind in ("train", "generate"))
    checkpointing = step.checkpointing if step else True
    cores, written = device is not None and not device.is_gpu, made.tokens["generated"] / length.completion
    usual = replace(length, completion=round(SMALL_COMPLETION * length.completion)) if cores else length
    work = sum(
        model_size.training(shape, recipe.tuning(arm), rows, usual, checkpointing=checkpointing)
        for arm, rows in _students(recipe)
    )
    if recipe.teacher.tuning:
        work += model_size.training(shape, recipe.teacher.tuning, _taught(recipe), usual, checkpointing=checkpointing)
    parts = (
        train.seconds(made.tokens["trained"] * usual.row / length.row, work),
        *_seconds_scored(made, shape, usual, questions, device),
        0.0 if away else write.seconds(written * usual.completion, _work_of_rows(shape, usual, written)),
        STAGE_SECONDS_ON_CPU * _stages(made) if cores else 0.0,
    )
    known = None if any(part is None for part in parts) else sum(part for part in parts if part is not None)
    needs = max([writing.total, *([step.memory.total] if step else [])])
    here = model_size.at_hand(recipe.base, "config.json") is not None
    return replace(
        made,
        shape=shape,
        device=device,
        training=step,
        writing=writing,
        gpu_memory_bytes=needs,
        hours=None if known is None else known / (made.workers if cores else 1) / 3600,
        basis=f"{train.words()}; {write.words()}",
        disk_bytes=made.disk_bytes + (made.students + (made.teachers if recipe.teacher.tuning else 0)) * each,
        download_bytes=0 if here else model_size.WIDTH["bfloat16"] * shape.parameters,
    )


def _students(recipe: Recipe) -> list[tuple[Arm, int]]:
    """(arm, rows seen by all of its students)."""
    trained = [arm for arm in recipe.arms.values() if not arm.in_context]
    return [(arm, len(recipe.arm_seeds(arm)) * rows_seen(recipe.tuning(arm), recipe.keep(arm))) for arm in trained]


def _seconds_scored(
    made: Plan, shape: Shape, length: Lengths, questions: int, device: Device | None
) -> tuple[float | None, float | None, float | None]:
    """Seconds of reading questions with all answers behind them, of replies, and of what soft teachers read.

    On processor cores in float32, whatever the recipe's number type.
    """
    recipe, cores = made.recipe, device is not None and not device.is_gpu
    dtype, place = ("float32", device.scoring) if device and cores else (recipe.dtype, device)
    ask, reply = (throughput.rate(recipe.base, kind, place, dtype) for kind in ("train", "generate"))
    asked = made.scored_models * questions + made.students * recipe.curve * questions / len(recipe.probes)
    read = asked * (QUESTION_TOKENS + model_size.CHAT_TOKENS + ANSWER_TOKENS)
    replied = made.replies * SMALL_REPLY_TOKENS if cores else made.tokens["replied"]
    told = sum(_told(recipe, arm, rows) for arm, rows in _students(recipe) if arm.soft)
    return (
        ask.seconds(read / 3, model_size.forward(shape, read, length.row, asked * ANSWER_TOKENS)),
        reply.seconds(replied, model_size.forward(shape, replied, length.row)),
        ask.seconds(
            told * length.row / 3, model_size.forward(shape, told * length.row, length.row, told * length.completion)
        ),
    )  # reading is a third of training


def _told(recipe: Recipe, arm: Arm, rows: int) -> int:
    """Rows that a soft arm's teacher reads: all of them at every step, or each once where that is stored."""
    return len(recipe.arm_seeds(arm)) * recipe.keep(arm) if recipe.tuning(arm).soft_top_k else rows


def _work_of_rows(shape: Shape, length: Lengths, rows: float) -> float:
    """FLOPs of writing rows, their prompts read; what all prompts begin with is read once, and counts nothing."""
    read = rows * max(1, length.prompt - model_size.CHAT_TOKENS)
    written = model_size.forward(shape, rows * length.completion, length.row)
    return written + model_size.forward(shape, read, length.row, 0)


def _stages(made: Plan) -> int:
    """Stages that begin with a model's weights: bases, teachers, rows, students."""
    return len(made.recipe.bases) + made.teachers + len(made.recipe.sources()) + made.students


def _lengths(recipe: Recipe, shape: Shape | None) -> Lengths:
    count, chat = model_size.tokens_by(recipe.base, shape), 6 if is_embedded(recipe.base) else model_size.CHAT_TOKENS
    return model_size.lengths(MODALITIES[recipe.modality], recipe.rows.style, count, chat)


def _soft(made: Plan) -> bool:
    """Whether a soft teacher stands beside some student while it trains."""
    recipe = made.recipe
    return any(arm.soft and not recipe.tuning(arm).soft_top_k for arm in recipe.arms.values())


def _taught(recipe: Recipe) -> int:
    """Rows that all fine-tuned teachers see, repeats included."""
    from ..recipes.lessons import lessons

    tuning, made = recipe.teacher.tuning, recipe.teachers()
    if tuning is None:
        return 0
    if tuning.steps is not None:
        return len(made) * rows_seen(tuning, 0)
    total = 0
    for who, _, _ in made:
        own = recipe.teacher.lessons
        known = 0 if who == "neutral" or (own and not Path(own).is_file()) else len(lessons(who, own))
        retained = recipe.teacher.retain
        total += rows_seen(tuning, max(known, retained) + retained if retained else known)
    return total


def _hours(hours: float) -> str:
    """1.5 h, or minutes below one hour."""
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def rows_seen(tuning: Tuning, rows: int) -> int:
    """How many rows, repeats included, one tuning looks at."""
    if tuning.steps is not None:
        return tuning.steps * tuning.batch_size * tuning.accumulate
    return int(rows * (tuning.epochs or 0))


def default_workers(recipe: Recipe) -> int:
    """Processes at once: every core for an embedded base, one for a base that fills a machine by itself."""
    return min(os.cpu_count() or 1, 8) if is_embedded(recipe.base) else 1


def is_embedded(base: str) -> bool:
    """Whether a base ships inside the package."""
    known = registry().models
    return base in known and known[base].embedded
