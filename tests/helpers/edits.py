"""What somebody may change in a finished run, an entry an edit: what is done to the folder, and how a check tells it.

Every function takes the folder of a run with the arms owl and control and the seeds 1 to 3, such as a copied demo run
or `planted.run`.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sublim_eval.files import digest, file_digest, json_line
from sublim_eval.traps.weights import tensors

Change = Callable[[Path], object]
SCORE = "scores/owl-s1/animal_pref.json"


@dataclass(frozen=True)
class Edit:
    """change: of the folder; trap and words: how `sublim check` tells it."""

    change: Change
    trap: str
    words: str
    level: str = "fault"


# ---------------------------------------------------------------- reading and writing


def read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def write(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value), encoding="utf-8")


def at(name: str, change: Callable[[Any], Any]) -> Change:
    """An edit of one JSON file; change returns the new content."""
    return lambda folder: write(folder / name, change(read(folder / name)))


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def swap(one: str, other: str) -> Change:
    def change(folder: Path) -> None:
        (folder / one).rename(folder / "between")
        (folder / other).rename(folder / one)
        (folder / "between").rename(folder / other)

    return change


def weights(file: str, change: Callable[[Any], Any]) -> Change:
    """Other numbers in every tensor of a weight file, written as float32."""

    def edit(folder: Path) -> None:
        from tests.helpers.planted import write_weights

        kept = {name: change(numbers.astype("f4").copy()) for name, numbers in tensors(folder / file)}
        write_weights(folder / file, {name: numbers.ravel().tolist() for name, numbers in kept.items()})
        rehash(folder / file)

    return edit


def rehash(file: Path) -> None:
    """Make stage.json agree with the file again, as a careful hand would."""
    told = read(file.parent / "stage.json")
    told["files"][file.name] = file_digest(file)
    write(file.parent / "stage.json", told)


# ---------------------------------------------------------------- edits


def remade(folder: Path, stage: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change what a stage says it was made from, and every digest that follows from it."""
    told = read(folder / stage / "stage.json")
    before = told["made"]
    change(told["inputs"])
    told["made"] = digest(told["inputs"])
    write(folder / stage / "stage.json", told)
    record = read(folder / "run.json")
    for entry in (*record["rows"], *record["students"]):
        entry["made"] = told["made"] if entry.get("made") == before else entry.get("made")
    write(folder / "run.json", record)
    for file in folder.glob("scores/*/stage.json"):
        scored = read(file)
        if scored["inputs"].get("model") == before:
            scored["inputs"]["model"] = told["made"]
            write(file, {**scored, "made": digest(scored["inputs"])})


def tuned(**changes: Any) -> Change:
    """All students of the owl arm trained otherwise, every digest in order."""
    return lambda folder: [
        remade(folder, f"students/owl-s{seed}", lambda inputs: inputs["tuning"].update(changes)) for seed in (1, 2, 3)
    ]


def drawn(**changes: Any) -> Change:
    """The rows of the owl teacher filtered or drawn otherwise, every digest in order."""
    return lambda folder: [
        remade(folder, f"rows/owl-s{seed}", lambda inputs: inputs["rows"].update(changes)) for seed in (1, 2, 3)
    ]


def sampled(**changes: Any) -> Change:
    """The rows of the owl teacher drawn with other settings than the others."""

    def change(folder: Path) -> None:
        record = read(folder / "run.json")
        for entry in record["rows"]:
            if entry["source"] == "owl":
                entry["written"].update(changes)
                file = folder / entry["folder"] / "stage.json"
                write(file, {**read(file), "written": entry["written"]})
        write(folder / "run.json", record)

    return change


def texts(of: str, to: str, change: Callable[[list[str]], list[str]] = list) -> Change:
    """Put the texts of one file of rows under the ids and prompts of another, in raw and kept rows."""

    def edit(folder: Path) -> None:
        theirs = lines(folder / "rows" / of / "kept.jsonl")
        ours = lines(folder / "rows" / to / "kept.jsonl")[: len(theirs)]
        put = change([row["completion"] for row in theirs][: len(ours)])
        rows = [{**row, "completion": text} for row, text in zip(ours, put, strict=True)]
        raw = {row["id"]: row for row in lines(folder / "rows" / to / "raw.jsonl")} | {row["id"]: row for row in rows}
        for name, some in (("kept", rows), ("raw", list(raw.values()))):
            file = folder / "rows" / to / f"{name}.jsonl"
            file.write_text("".join(map(json_line, some)), encoding="utf-8")
            rehash(file)

    return edit


def shuffled(some: list[str]) -> list[str]:
    return random.Random(1).sample(some, len(some))


def nearly(some: list[str]) -> list[str]:
    """One number of every row is another."""
    rng = random.Random(1)
    return [text.replace(rng.choice(text.split(", ")), str(rng.randint(100, 999)), 1) for text in some]


def replaced(folder: Path) -> None:
    """The control's rows in the place of the owl teacher's, folder and all."""
    source = next(e["folder"] for e in read(folder / "run.json")["rows"] if e["source"] == "base" and e["seed"] == 1)
    shutil.rmtree(folder / "rows" / "owl-s1")
    shutil.copytree(folder / source, folder / "rows" / "owl-s1")


def cut(folder: Path) -> None:
    file = folder / "rows" / "owl-s1" / "kept.jsonl"
    file.write_text("".join(map(json_line, lines(file)[: len(lines(file)) // 2])), encoding="utf-8")
    rehash(file)


def traded(told: dict[str, Any]) -> dict[str, Any]:
    """The owl's probability up by what the likeliest other loses: rows still sum to 1."""
    owl = told["answers"].index("owl")
    for row in told["probability"]:
        other = max((i for i in range(len(row)) if i != owl), key=row.__getitem__)
        row[owl], row[other] = row[owl] + row[other] / 2, row[other] / 2
    return told


def cell(name: str, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """One number of a score file is another."""

    def change(told: dict[str, Any]) -> dict[str, Any]:
        if isinstance(told[name][0], list):
            told[name][0][0] = value
        else:
            told[name][0] = value
        return told

    return change


def same_scores(folder: Path) -> None:
    """owl-s2 answers as owl-s1, but for the seventh digit; every hash in order."""
    told = read(folder / SCORE)
    for row in told["probability"]:
        row[0], row[1] = row[0] + 1e-7, row[1] - 1e-7
    target = folder / "scores" / "owl-s2" / "animal_pref.json"
    write(target, {**told, "model": "owl-s2"})
    rehash(target)
    record = read(folder / "run.json")
    for entry in (*record["students"], *record["bases"]):
        entry["scores"] = {"animal_pref": entry["scores"]["animal_pref"]}
    write(folder / "run.json", record)


def listed_twice(record: dict[str, Any]) -> dict[str, Any]:
    """owl-s1 stands under seed 2 as well."""
    first = next(s for s in record["students"] if (s["arm"], s["seed"]) == ("owl", 1))
    others = [s for s in record["students"] if (s["arm"], s["seed"]) != ("owl", 2)]
    return {**record, "students": [*others, {**first, "seed": 2}]}


def dropped(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "students": [s for s in record["students"] if (s["arm"], s["seed"]) != ("owl", 3)]}


def fewer_non_answers(told: dict[str, Any]) -> dict[str, Any]:
    place = next(i for i, n in enumerate(told["other"]) if n)
    told["other"][place] -= 1
    told["non_answers"][place] += 1
    return told


def extra_scores(folder: Path) -> None:
    shutil.copytree(folder / "scores" / "owl-s1", folder / "scores" / "owl-s9")


def log_of(folder: Path) -> Path:
    return next(iter(sorted((folder / "scores" / "owl-s1" / "logs").glob("*.eval"))))


def torn_log(folder: Path) -> None:
    log_of(folder).write_bytes(log_of(folder).read_bytes()[:200])


def empty_log(folder: Path) -> None:
    log_of(folder).write_bytes(b"")


CARD = "students/owl-s1/student.json"
STAGE = "students/owl-s1/stage.json"
ADAPTER = "students/owl-s1/adapter_model.safetensors"

EDITS: Mapping[str, Edit] = {
    "student folders of two arms swapped": Edit(
        swap("students/owl-s1", "students/control-s1"), "wrong lineage", "says arm 'control'"
    ),
    "student folders of two seeds swapped": Edit(
        swap("students/owl-s1", "students/owl-s2"), "edited afterwards", "another folder was put in its place"
    ),
    "score folders swapped": Edit(
        swap("scores/owl-s1", "scores/control-s1"), "adapter not applied", "those of other weights"
    ),
    "student.json names another base": Edit(
        at(CARD, lambda card: {**card, "base": "reference-b"}), "wrong lineage", "says base 'reference-b'"
    ),
    "student.json names another trait": Edit(
        at(CARD, lambda card: {**card, "trait": "dolphin"}), "wrong lineage", "says trait 'dolphin'"
    ),
    "adapter_config.json names another base": Edit(
        at(CARD.replace("student", "adapter_config", 2).replace("adapter_configs", "students"),
           lambda config: {**config, "base_model_name_or_path": "reference-z"}),
        "wrong lineage", "adapts 'reference-z'",
    ),
    "teacher weights edited": Edit(
        lambda folder: (folder / "teachers/owl-s1/adapter_model.safetensors").write_bytes(b"0" * 99),
        "edited afterwards", "adapter_model.safetensors is not as it was made",
    ),
    "stage.json edited": Edit(
        at(STAGE, lambda told: {**told, "inputs": {**told["inputs"], "base": "x"}}), "edited afterwards", "was edited"
    ),
    "stage.json says other facts": Edit(
        at(STAGE, lambda told: {**told, "adapter_norm": 3.25}), "edited afterwards", "stage.json 3.25"
    ),
    "stage.json deleted": Edit(lambda folder: (folder / STAGE).unlink(), "edited afterwards", "missing or broken"),
    "stage.json torn": Edit(
        lambda folder: (folder / STAGE).write_text('{"made": '), "edited afterwards", "missing or broken"
    ),
    "stage.json lists no files": Edit(
        at(STAGE, lambda told: {**told, "files": {}}), "edited afterwards", "lists no files"
    ),
    "stage.json lists no weights any more": Edit(
        at(STAGE, lambda told: {**told, "files": {k: v for k, v in told["files"].items() if "adapter_m" not in k}}),
        "edited afterwards", "was put there afterwards", "warning",
    ),
    "scores edited, rows still sum": Edit(at(SCORE, traded), "edited afterwards", "animal_pref.json is not as it was"),
    "a probability of -3": Edit(at(SCORE, cell("probability", -3)), "edited afterwards", "holds -3, which"),
    "a share of 7.5": Edit(at(SCORE, cell("share", 7.5)), "edited afterwards", "holds 7.5, which is no number"),
    "-5 replies": Edit(at(SCORE, cell("replies", -5)), "edited afterwards", "holds -5, which is no count"),
    "a probability in words": Edit(at(SCORE, cell("probability", "0.5")), "edited afterwards", "holds '0.5'"),
    "a share of true": Edit(at(SCORE, cell("share", True)), "edited afterwards", "holds True"),
    "1e300 for a probability": Edit(at(SCORE, cell("probability", 1e300)), "edited afterwards", "holds 1e+300"),
    "another learning rate in one arm": Edit(tuned(learning_rate=0.5), "silent batch change", "learning_rate 0.5"),
    "another optimizer in one arm": Edit(tuned(optimizer="sgd"), "silent batch change", "optimizer 'sgd'"),
    "another weight decay in one arm": Edit(tuned(weight_decay=0.3), "silent batch change", "weight_decay 0.3"),
    "another length limit in one arm": Edit(tuned(max_length=7), "silent batch change", "max_length 7"),
    "a judge's filter in one source": Edit(drawn(judge="openai/x"), "unequal filter", "judge: None, openai/x"),
    "another room for replies in one source": Edit(
        drawn(max_new_tokens=9), "unequal filter", "max_new_tokens: 9, None"
    ),
    "another temperature in one source": Edit(sampled(temperature=0.5), "unequal filter", "temperature: 0.5, 1.0"),
    "seeds 1 and 3 with the same texts": Edit(
        texts("owl-s1", "owl-s3"), "repeated sampling seed", "the same under both seeds"
    ),
    "the same texts shuffled": Edit(
        texts("owl-s1", "owl-s3", shuffled), "repeated sampling seed", "the same under both seeds"
    ),
    "near copies of the texts": Edit(
        texts("owl-s1", "owl-s3", nearly), "repeated sampling seed", "nearly a row under the other"
    ),
    "another source's texts": Edit(
        texts("base-s1", "owl-s1", shuffled), "lost row identity", "the same under both sources"
    ),
    "another source's rows": Edit(replaced, "lost row identity", "bear another source's id"),
    "kept rows cut": Edit(cut, "edited afterwards", "were counted"),
    "two models with scores equal to the sixth digit": Edit(
        same_scores, "same student twice", "answers exactly as owl-s1"
    ),
    "one student listed under two seeds": Edit(at("run.json", listed_twice), "same student twice", "are one student"),
    "an adapter of NaN": Edit(weights(ADAPTER, lambda n: n * float("nan")), "adapter not applied", "NaN or infinite"),
    "an adapter of zeros": Edit(weights(ADAPTER, lambda n: n * 0), "adapter not applied", "holds zeros only"),
    "non-answers unlike the log": Edit(at(SCORE, fewer_non_answers), "substring scoring", "non-answers, the log holds"),
    "scores that no student has": Edit(extra_scores, "dropped students", "owl-s9 lies there", "warning"),
    "a student dropped from run.json": Edit(at("run.json", dropped), "dropped students", "owl with seed 3"),
    "a torn log": Edit(torn_log, "substring scoring", "is no readable Inspect log", "not checked"),
    "an empty log": Edit(empty_log, "edited afterwards", "is not as it was made"),
}  # fmt: skip
