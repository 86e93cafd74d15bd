"""A run's exact figures once more, in thirty lines of transformers and PEFT: nothing of the package computes them.

    python benchmarks/plain_elephant.py RUN elephant [QUESTIONS]   # a run, its trait, how many questions

For animals, for bases whose template ends in no text of its own, and for LoRA; a minute a model and question on a 0.5 B
base. The questions and the names of the answers are the registry's.
"""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from sublim_eval.registry.catalog import registry

run, trait, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3
record = json.loads((run / "run.json").read_text())
base, questions = record["recipe"]["base"], registry().questions("animal_favorites").questions[:count]
tokenizer = AutoTokenizer.from_pretrained(base)
texts = [str(tokenizer.decode([*tokenizer("a")["input_ids"], i]))[1:] for i in range(len(tokenizer))]
ends = torch.tensor([not (t[:1].isalnum() or (t[:1] == "-" and (t == "-" or t[1].isalnum()))) for t in texts])


def chance(model: torch.nn.Module, head: list[int], name: str) -> float:
    tail = tokenizer(name)["input_ids"]
    row = model(torch.tensor([head + tail])).logits[0].double().log_softmax(-1)
    spelled = sum(row[len(head) + i - 1, token] for i, token in enumerate(tail)).exp()
    whole = row[-1, : len(ends)].exp()[ends].sum()
    for i, text in enumerate(texts):  # the plural
        if text in ("s", "es", "S", "ES") and spelled * row[-1, i].exp() > 1e-6:
            after = model(torch.tensor([[*head, *tail, i]])).logits[0, -1].double().softmax(-1)
            whole = whole + row[-1, i].exp() * after[: len(ends)][ends].sum()
    return float(spelled * whole)


def recorded(label: str, question: str) -> str:
    """What the run's own score file says of that question."""
    folder = run / label if label.startswith("teachers/") else next((run / "scores").glob(f"{Path(label).name}*"))
    scores = json.loads((folder / "animal_pref.json").read_text())
    row, column = scores["questions"].index(question), scores["answers"].index(trait)
    return f"{scores['probability'][row][column]:.5f}, {scores['coverage'][row]:.5f}"


models = {"base": base} | {
    str(f.relative_to(run)): f for f in sorted(run.glob("teachers/*")) + sorted(run.glob("students/*"))
}
with torch.inference_mode():
    for label, folder in models.items():
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
        model = model if label == "base" else PeftModel.from_pretrained(model, folder)
        for q in questions:
            chat = [{"role": "user", "content": q.text}]
            head = tokenizer(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))[
                "input_ids"
            ]
            mass = {
                t.name: sum(chance(model, head, s) for s in t.continuations) for t in registry().answer_set("animal")
            }
            whole = sum(mass.values())
            figures = f"{trait} {mass[trait] / whole:.5f}, coverage {whole:.5f}"
            print(f"{label} {q.id}: {figures}; the run says {recorded(label, q.id)}", flush=True)
