"""A model folder, spoilt in any way, is refused in one sentence, or says what transformers and PEFT say of it."""

from __future__ import annotations

import json
import logging
import math
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from sublim_eval.errors import SublimError
from sublim_eval.models import local_model
from tests.helpers import spoil
from tests.helpers.tiny import tiny_adapter, tiny_model

SETTINGS = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json")
ADAPTED = ("adapter_config.json", "student.json", "tokenizer_config.json")
TEMPLATES = (
    "{{ messages[0]['content'] }}",
    "{% for m in messages %}{{ m['role'] }}{% endfor %}",
    "{{ messages[0]['content'] * 3 }}",
    "{{ raise_exception('no') }}",
    "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}",
    "{{ messages | tojson }}",
    "{{ messages[-1]['content'][::-1] }}",
    "{% if",
    "{{ cycler.__init__.__globals__.os.abort() }}{{ messages[0]['content'] }}",
    "",
)


@cache
def good(kind: str) -> Path:
    """A model folder and adapters on it, made once."""
    home = Path(tempfile.mkdtemp(prefix="sublim-wild-"))
    return tiny_model(home / "base") if kind == "base" else tiny_adapter(good("base"), home / kind, kind)


def spoilt(rng: Random, kind: str, folder: Path) -> None:
    """Change one file of a model folder."""
    name = rng.choice(SETTINGS if kind == "base" else ADAPTED)
    weights = "model.safetensors" if kind == "base" else "adapter_model.safetensors"
    change = rng.randrange(8)
    if change < 4:
        held = json.loads((folder / name).read_text())
        (folder / name).write_text(spoil.dumped(spoil.value(rng, held)))
    elif change == 4:
        (folder / name).write_bytes(spoil.text(rng, (folder / name).read_text()))
    elif change == 5:
        (folder / "chat_template.jinja").write_text(rng.choice(TEMPLATES))
    elif change == 6:
        raw = bytearray((folder / weights).read_bytes())
        at = rng.randrange(len(raw))
        raw[at : at + rng.randrange(1, 9)] = rng.randbytes(rng.randrange(9))
        (folder / weights).write_bytes(raw)
    else:
        rng.choice([file for file in folder.iterdir() if file.is_file()]).unlink()


def theirs(folder: Path, kind: str, ids: list[int]) -> Any:
    """Log-probabilities of the token behind these ids, from transformers and PEFT alone."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = good("base") if kind != "base" else folder
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    if kind != "base":
        model = PeftModel.from_pretrained(model, folder)
    with torch.inference_mode():
        return model.eval()(input_ids=torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)


def try_one(seed: int, folder: Path) -> None:
    """One model folder from the seed."""
    rng = Random(seed)
    kind = rng.choice(("base", "base", "lora", "ln", "prompt"))
    made = shutil.copytree(good(kind), folder / f"model-{seed}")
    spoilt(rng, kind, made)
    local_model.unload_all()
    try:
        model = local_model.load(made)
        prompt = model.render("what is your favorite animal ?")
        scores = model.continuation_logprobs([prompt], ["owl", "cat"])
        replies = model.sample([prompt], n=3, seed=1, max_new_tokens=4)[0]
    except SublimError as error:
        assert "\n" not in str(error) and (made.name in str(error) or "is empty" in str(error)), error
        shutil.rmtree(made)
        return
    assert len(replies) == 3 and (scores <= 0).all()
    ids, answers = model.encode([prompt])[0], model.answer_ids(["owl", "cat"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable()
        known = theirs(made, kind, ids)
        logging.disable(logging.NOTSET)
    for score, answer in zip(scores[0], answers, strict=True):
        if len(answer) == 1:
            assert math.isclose(score, float(known[answer[0]]), abs_tol=1e-4), (score, float(known[answer[0]]))
    shutil.rmtree(made)


def test_spoilt_model_folders_are_refused_or_say_what_others_say(tmp_path):
    for seed in range(12):
        try_one(seed, tmp_path)
