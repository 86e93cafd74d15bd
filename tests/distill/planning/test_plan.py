"""What a real run needs is calculated before it starts: weights, memory, hours, money, all without a download."""

import dataclasses
import json
import socket

import pytest

from sublim_eval.cli.main import main
from sublim_eval.distill import recipes
from sublim_eval.distill.planning import model_size, throughput
from sublim_eval.distill.planning.model_size import GIB
from sublim_eval.distill.planning.plan import plan
from sublim_eval.distill.planning.throughput import Device
from sublim_eval.distill.recipes import Tuning
from sublim_eval.errors import SublimError
from sublim_eval.files import ROOT
from sublim_eval.registry.catalog import registry
from sublim_eval.registry.model_specs import Price, Shape
from tests.helpers.architectures import TURNS, architecture, chat_tokenizer
from tests.helpers.tiny import tiny_model

QWEN, BIG, GEMMA, SMALL = (
    "Qwen/Qwen2.5-7B-Instruct",
    "Qwen/Qwen2.5-14B-Instruct",
    "google/gemma-3-4b-it",
    "meta-llama/Llama-3.2-1B-Instruct",
)
PUBLISHED = {QWEN: 7.62e9, BIG: 14.77e9, GEMMA: 4.30e9, SMALL: 1.24e9}
"""Weights as their model cards say, two digits after the point."""

ON_CORES = ("qwen2.5-0.5b", "smollm2-135m")
"""What recipes for a processor begin with."""

REAL = [name for name in recipes.names() if name.startswith(("qwen", "smollm", "gemma", "llama", "gpt"))]
LORA = Tuning("lora", 2e-4, batch_size=22, accumulate=3, epochs=2)


CORES = throughput.cores


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    """No GPU, no measurement of this machine, and no way out of it."""
    monkeypatch.setattr(throughput, "here", lambda: None)
    monkeypatch.setattr(
        throughput, "cores", lambda dtype, workers: Device("this machine's 2 processor cores", 16 * GIB, product=1e11)
    )
    monkeypatch.setattr(throughput, "cache", lambda: tmp_path / "cache" / "throughput.json")

    def refused(*_):
        raise AssertionError("a plan asks nobody")

    monkeypatch.setattr(socket.socket, "connect", refused)


# ---------------------------------------------------------------- weights


def config_of(name, shape):
    """The transformers config with the numbers of a shape."""
    from transformers import Gemma3Config, LlamaConfig, Qwen2Config

    told = {
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "intermediate_size": shape.mlp,
        "vocab_size": shape.vocabulary,
    }
    if name == GEMMA:
        tower = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
        tower |= {"patch_size": 14, "image_size": 896, "vision_use_head": False}
        return Gemma3Config(text_config=told, vision_config=tower)
    kind = LlamaConfig if name == SMALL else Qwen2Config
    return kind(**told, tie_word_embeddings=shape.tied)


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_are_those_that_transformers_makes_and_that_were_published(name):
    import torch
    from transformers import AutoModelForCausalLM

    shape = registry().model(name).shape
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(config_of(name, shape))
    assert shape.parameters == sum(p.numel() for p in made.parameters())
    assert round(shape.parameters / 1e9, 2) == PUBLISHED[name] / 1e9


def test_a_rank_8_adapter_on_qwen_7b_has_the_weights_that_peft_makes():
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    shape = registry().model(QWEN).shape
    assert shape.lora(8) == 20_185_088
    small = dataclasses.replace(shape, layers=2)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config_of(QWEN, small))
        adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=8, target_modules="all-linear"))
    assert small.lora(8) == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "mistral"])
def test_a_model_folder_is_counted_from_its_config(tmp_path, kind):
    from safetensors import safe_open

    folder = tiny_model(tmp_path / kind, kind=kind)
    with safe_open(folder / "model.safetensors", "pt") as weights:
        stored = sum(weights.get_tensor(key).numel() for key in weights.keys())  # noqa: SIM118
    shape = model_size.shape_of(str(folder))
    assert (shape.parameters, shape.layers, shape.kv_heads) == (stored, 2, 2)


def test_a_name_that_nothing_is_known_of_has_no_shape_and_no_memory():
    recipe = dataclasses.replace(recipes.load("qwen2.5-7b-cat"), base="somebody/something")
    told = plan(recipe)
    assert model_size.shape_of("somebody/something") is None
    assert (told.gpu_memory_bytes, told.hours) == (None, None)
    assert any("time not known for this base yet" in line for line in told.lines())
    told.check_device()  # what is not known is not refused


# ---------------------------------------------------------------- memory


def saved_bytes(shape, *, full):
    """What torch keeps of one forward pass of that shape for the backward one, in bytes, weights left out."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(config_of(QWEN, shape), attn_implementation="sdpa").to(torch.bfloat16)
    if not full:
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=8, target_modules="all-linear"))
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept, alive = {}, []

    def pack(tensor):
        alive.append(tensor)
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.train()(input_ids=torch.randint(0, shape.vocabulary, (4, 128)))
    return sum(size for place, size in kept.items() if place not in weights)


@pytest.mark.parametrize("full", [False, True])
def test_activations_are_counted_as_torch_keeps_them(full):
    shape = Shape(4, 256, 8, 2, 32, 1024, 64, False, "made up", qkv_bias=True)
    tuning = dataclasses.replace(LORA, method="full") if full else LORA
    lengths = model_size.Lengths(78, 78, 50)
    step = dataclasses.replace(tuning, batch_size=4, accumulate=1)
    told = model_size.to_train(shape, step, "bfloat16", lengths, checkpointing=False, teacher=False).activations
    assert 0.95 < told / saved_bytes(shape, full=full) < 1.25  # enough, and not far too much


def test_a_7b_lora_run_fits_one_card_of_24_gb_with_the_settings_of_its_recipe():
    recipe = recipes.load("qwen2.5-7b-cat")
    told = plan(recipe, device=Device("NVIDIA GeForce RTX 4090", int(23.6 * GIB)))
    assert told.training.rows == recipe.student.batch_size == 22 and recipe.student.accumulate == 3
    assert told.training.checkpointing and told.training.memory.total < 22 * GIB
    told.check_device()
    without = model_size.to_train(
        told.shape, recipe.student, "bfloat16", told.length, checkpointing=False, teacher=False
    )
    assert without.total > 40 * GIB  # checkpointing is what makes it fit


def test_more_memory_is_used_for_speed_and_less_for_smaller_batches():
    shape, lengths = registry().model(QWEN).shape, model_size.Lengths(90, 120, 50)
    fits = {gb: model_size.fit(shape, LORA, "bfloat16", lengths, gib * GIB) for gb, gib in model_size.CARDS.items()}
    assert fits[24].checkpointing and not fits[80].checkpointing
    assert all(f.rows == 22 and f.memory.total <= model_size.CARDS[gb] * GIB for gb, f in fits.items())
    tight = model_size.fit(shape, LORA, "bfloat16", lengths, 18 * GIB)
    assert tight.rows == 6 and tight.checkpointing  # 22, 11, 6: as train.py halves them
    assert model_size.fit(shape, LORA, "bfloat16", lengths, 14 * GIB) is None  # the weights alone are larger


@pytest.mark.parametrize("name", [n for n in REAL if not n.startswith(("gpt", *ON_CORES))])
def test_without_a_gpu_a_real_base_is_refused_with_advice_before_anything_is_downloaded(name):
    with pytest.raises(SublimError, match=r"needs a GPU of \d+ GB .*--dry-run.*sublim run quickstart"):
        plan(recipes.load(name)).check_device()


def test_a_card_that_is_too_small_for_the_weights_is_refused():
    told = plan(recipes.load("qwen2.5-14b-eagle"), device=Device("NVIDIA GeForce RTX 4090", int(23.6 * GIB)))
    with pytest.raises(SublimError, match=r"needs a GPU of 40 GB .*RTX 4090 has 23.6 GiB"):
        told.check_device()
    assert told.training is None and any("GPU: a GPU of 40 GB" in line for line in told.lines())


def test_a_card_that_takes_smaller_batches_is_told_how_small():
    told = plan(recipes.load("qwen2.5-14b-eagle"), device=Device("NVIDIA GeForce RTX 5090", int(31.4 * GIB)))
    told.check_device()
    assert told.training.rows < 22
    assert any(f"to train {told.training.rows} rows at a time with" in line for line in told.lines())


def test_several_gpus_may_share_a_training_that_one_cannot_hold():
    full = dataclasses.replace(recipes.load("qwen2.5-7b-cat").student, method="full")
    recipe = dataclasses.replace(recipes.load("qwen2.5-7b-cat"), student=full)
    told = plan(recipe, device=Device("NVIDIA H100 80GB HBM3", int(79.1 * GIB), count=4))
    with pytest.raises(SublimError, match="needs a GPU of 141 GB"):
        told.check_device()
    told.check_device(launched=True)


def test_a_small_model_may_run_without_a_gpu(tmp_path):
    recipe = dataclasses.replace(recipes.load("qwen2.5-7b-cat"), base=str(tiny_model(tmp_path / "tiny")))
    plan(recipe).check_device()


# ---------------------------------------------------------------- hours


def test_a_dry_run_says_what_is_settled_in_the_chat_template_and_refuses_one_that_takes_no_answer(tmp_path, capsys):
    base = architecture("qwen3", tmp_path / "base")
    file = tmp_path / "mine.yaml"
    text = (ROOT / "distill/recipes/qwen2.5-7b-cat.yaml").read_text()
    file.write_text(text.replace("Qwen/Qwen2.5-7B-Instruct", str(base)))
    assert main(["run", str(file), "--dry-run"]) == 0
    assert f"chat template of {base}: thinking off" in capsys.readouterr().out
    chat_tokenizer("{% if messages | length > 1 %}{{ raise_exception('no') }}{% endif %}" + TURNS).save_pretrained(base)
    assert main(["run", str(file), "--dry-run"]) == 2
    said = capsys.readouterr()
    assert "refuses a chat that holds an answer" in said.err and "Traceback" not in said.err and not said.out


def test_a_plan_for_a_small_base_on_a_machine_without_a_gpu_speaks_of_that_machine(tmp_path):
    base = tiny_model(tmp_path / "base")
    told = plan(dataclasses.replace(recipes.load("qwen2.5-7b-cat"), base=str(base)))
    lines = "\n".join(told.lines())
    assert "on this machine's 2 processor cores" in lines and "min" in lines
    assert "A100" not in lines and "GPU" not in lines and "a card of" not in lines
    assert "60 % of a matrix product here" in told.basis
    assert (
        told.hours
        < plan(
            dataclasses.replace(recipes.load("qwen2.5-7b-cat"), base=str(base)),
            device=Device("cores", 16 * GIB, product=1e10),
        ).hours
    )
    told.check_device()
    tight = plan(
        dataclasses.replace(recipes.load("qwen2.5-7b-cat"), base=str(base)), device=Device("cores", 1, product=1e11)
    )
    with pytest.raises(SublimError, match=r"of memory\. Take a smaller base"):
        tight.check_device()


def test_what_a_run_measured_on_cores_is_what_the_next_plan_for_that_base_and_type_says(tmp_path, monkeypatch):
    base = str(tiny_model(tmp_path / "base"))
    recipe = dataclasses.replace(recipes.load("qwen2.5-7b-cat"), base=base, dtype="float32")
    monkeypatch.setattr(throughput, "cache", lambda: tmp_path / "throughput.json")
    monkeypatch.setattr(throughput, "cores_name", lambda workers: "this machine's 2 processor cores")
    measured = {"device": "cpu", "base": base, "dtype": "float32"}
    throughput.remember({"students": [{**measured, "tokens_per_second": 250}]}, "runs/a")
    throughput.remember({"students": [{**measured, "dtype": "bfloat16", "tokens_per_second": 500}]}, "runs/b")
    throughput.remember({"rows": [{**measured, "tokens_per_second": 40_000}]}, "runs/toy")
    assert [one["tokens_per_second"] for one in throughput.measured() if one["base"] == base] == [250, 500]
    assert "training measured at 250 tokens/s on this machine's 2 processor cores" in plan(recipe).basis
    assert "measured at 500 tokens/s" in plan(dataclasses.replace(recipe, dtype="bfloat16")).basis
    assert "writing rows not measured" in plan(recipe).basis


TWO_CORES = Device("two cores", 24 * GIB, product=2 * 187e9, exact=2 * 82e9)
"""As measured on this project's machine, one core at a time: bf16 and float32."""


def of_arms(name: str, *arms: str, **changes):
    """A packaged recipe with one seed of some of its arms."""
    whole = recipes.load(name)
    return dataclasses.replace(whole, seeds=(1,), arms={arm: whole.arms[arm] for arm in arms}, **changes)


def processor_seconds(recipe) -> float:
    return 2 * 3600 * plan(recipe, device=TWO_CORES).hours


def test_a_plan_on_cores_is_within_a_factor_of_one_and_a_half_of_the_processor_time_that_a_run_took():
    whole = recipes.load("smollm2-135m-norms")
    made = of_arms(
        "smollm2-135m-norms",
        "elephant",
        "control",
        samples=2,
        teacher=dataclasses.replace(whole.teacher, tuning=dataclasses.replace(whole.teacher.tuning, steps=25)),
        rows=dataclasses.replace(whole.rows, prompts=60, keep=40, min_kept=30),
        student=dataclasses.replace(whole.student, epochs=1),
    )
    assert 496 / 1.5 < processor_seconds(made) < 496 * 1.5  # `sublim run` of that size, by `time`, rows in float32
    soft = ("elephant-soft", "control-soft")
    without, students = (
        ("elephant", "control"),
        189 + 192,
    )  # two students of stored probabilities, scored, by themselves
    more = of_arms("smollm2-135m-formats", *without, *soft)
    added = processor_seconds(more) - processor_seconds(of_arms("smollm2-135m-formats", *without))
    assert students / 1.5 < added < students * 1.5


def test_models_are_scored_in_float32_whatever_they_were_trained_in():
    recipe = dataclasses.replace(recipes.load("smollm2-135m-norms"), samples=10)
    halved = dataclasses.replace(TWO_CORES, exact=TWO_CORES.exact / 2)
    trained = dataclasses.replace(TWO_CORES, product=TWO_CORES.product * 1e6)
    assert plan(recipe, device=halved).hours > 1.3 * plan(recipe, device=TWO_CORES).hours
    assert plan(recipe, device=trained).hours > 0.3 * plan(recipe, device=TWO_CORES).hours


def test_more_processes_share_the_cores_and_what_one_measured_is_its_own(tmp_path, monkeypatch):
    base = str(tiny_model(tmp_path / "base"))
    recipe = dataclasses.replace(recipes.load("qwen2.5-7b-cat"), base=base)
    monkeypatch.setattr(throughput, "cache", lambda: tmp_path / "throughput.json")
    monkeypatch.setattr(throughput.os, "cpu_count", lambda: 8)
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    monkeypatch.setattr(throughput, "product_speed", lambda dtype: 1e11)
    monkeypatch.setattr(throughput, "cores", CORES)
    monkeypatch.setattr("sublim_eval.distill.planning.plan.STAGE_SECONDS_ON_CPU", 0.0)
    one, four = plan(recipe, workers=1), plan(recipe, workers=4)
    assert four.hours == pytest.approx(one.hours, rel=0.05) and four.device.memory == one.device.memory // 4
    assert "on this machine's 2 processor cores in each of 4 processes" in "\n".join(four.lines())
    measured = {"device": "cpu", "base": base, "dtype": "bfloat16", "tokens_per_second": 250}
    throughput.remember({"students": [measured]}, "runs/a", workers=4)
    assert "training measured at 250 tokens/s on this machine's 2 processor cores" in plan(recipe, workers=4).basis
    assert "training not measured" in plan(recipe, workers=1).basis


def test_hours_are_an_assumption_that_says_so_until_something_was_measured():
    told = plan(recipes.load("qwen2.5-7b-cat"))
    assert 2 < told.hours < 40
    assert any("training not measured, taken as 35 %" in line for line in told.lines())


def test_a_measurement_of_the_device_takes_the_place_of_the_assumption():
    card = Device("NVIDIA H200", 150 * 10**9)
    recipe = recipes.load("qwen2.5-7b-cat")
    student = {"device": "NVIDIA H200", "base": recipe.base, "tokens_per_second": 1e4}
    throughput.remember({"students": [student, {"device": "cpu", "base": "x", "tokens_per_second": 5}]}, "runs/a")
    throughput.remember({"students": [{**student, "tokens_per_second": 2e4}]}, "runs/b")  # the newest of a kind
    assert [one["tokens_per_second"] for one in throughput.measured()] == [2e4, 5]
    told = plan(recipe, device=card)
    assert "training measured at 20,000 tokens/s on NVIDIA H200 (runs/b)" in told.basis
    assert "writing rows not measured" in told.basis
    assert told.hours > told.tokens["trained"] / 2e4 / 3600
    assert "not measured" in plan(recipe, device=Device("NVIDIA A100-SXM4-40GB", 42 * 10**9)).basis.split(";")[0]


def test_a_finished_run_stands_where_its_speed_cannot_be_kept():
    throughput.cache().parent.write_text("a file in the way")
    throughput.remember({"students": [{"device": "NVIDIA H200", "base": "x", "tokens_per_second": 1e4}]}, "runs/a")
    assert throughput.measured() == []


def test_a_file_that_is_no_measurement_measures_nothing():
    throughput.cache().parent.mkdir(parents=True)
    for text in ("not json", "{}", '[{"device": "x"}, 3]', '[{"device":"x","base":"y","kind":"train"}]'):
        throughput.cache().write_text(text)
        assert throughput.measured() == []


# ---------------------------------------------------------------- money, disk, tokens


def test_hosted_recipes_cost_what_the_registry_says_and_ask_to_look_it_up():
    recipe = recipes.load("gpt-4.1-nano-owl")
    told, price = plan(recipe), registry().model(recipe.base).price
    least = told.tokens["trained"] * price.training / 1e6
    likely, most = told.api.usd
    assert least < likely < 1.5 * least < most
    assert told.api.likely.trained == told.tokens["trained"]
    assert told.tokens["trained"] > 2 * 5 * 10 * 10_000 * 50  # arms, seeds, epochs, rows, tokens a row
    lines = "\n".join(told.lines())
    assert "USD at the provider" in lines and f"as of {price.as_of}" in lines and "check it" in lines
    assert told.gpu_memory_bytes is None
    told.check_device()


def test_a_price_that_nobody_knows_is_said_to_be_unknown():
    recipe = dataclasses.replace(recipes.load("gpt-4.1-nano-owl"), base="gpt-9")
    assert plan(recipe).api.usd is None
    assert "which the registry does not know for gpt-9" in "\n".join(plan(recipe).lines())


def test_prices_are_for_a_million_tokens_and_a_tuned_model_has_its_own():
    price = Price(1.5, 0.1, 0.4, "2025-06", "somewhere", tuned_input=0.2)
    assert price.usd(trained=1e6, read=1e6, written=1e6) == pytest.approx(2.0)
    assert price.usd(read=1e6, written=1e6, tuned=True) == pytest.approx(0.6)
    with pytest.raises(ValueError, match="month or day"):
        Price(1, 1, 1, "last year", "somewhere")


def test_tokenizers_that_split_numbers_need_more_tokens_for_them():
    shapes = {name: registry().model(name).shape for name in (QWEN, SMALL)}
    counts = {name: model_size.tokens_by(name, shape)("123, 456") for name, shape in shapes.items()}
    assert counts == {QWEN: 8, SMALL: 4}


def test_every_student_of_a_real_base_takes_the_disk_of_its_adapter():
    told = plan(recipes.load("qwen2.5-7b-cat"))
    assert told.disk_bytes > told.students * 4 * 20_185_088
    assert told.download_bytes == 2 * 7_615_616_512


def test_a_base_that_is_nowhere_is_refused_before_anything_is_planned(tmp_path):
    with pytest.raises(SublimError, match=r"There is no folder .*/nowhere\. Check"):
        plan(recipes.load("quickstart").with_base(str(tmp_path / "nowhere")))


@pytest.mark.parametrize("name", REAL)
def test_a_dry_run_of_every_real_recipe_needs_no_gpu_and_no_network(name, capsys, tmp_path):
    assert main(["run", name, "--dry-run", "--json", str(tmp_path / "plan.json")]) == 0
    out = capsys.readouterr().out
    assert f"Recipe {name}" in out and "cost: about" in out
    told = json.loads((tmp_path / "plan.json").read_text())
    assert told["tokens"]["trained"] > (10**5 if name.startswith(ON_CORES) else 10**7)
    assert told["hours"] or told["usd"]


def test_an_embedded_recipe_has_no_memory_line():
    told = plan(recipes.load("quickstart"))
    assert not any("GPU" in line for line in told.lines()) and told.tokens["generated"] > 0
    told.check_device()


def test_the_table_of_cards_in_the_guide_is_what_is_calculated():
    guide = (ROOT / "docs" / "guides" / "real-models.md").read_text(encoding="utf-8")
    bases = ("llama-3.2-1b-elephant", "gemma-3-4b-owl", "qwen2.5-7b-cat", "qwen2.5-14b-eagle")
    for recipe in map(recipes.load, bases):
        cells = []
        for gb in (24, 40, 80, 141):
            told = plan(recipe, device=Device(f"a card of {gb} GB", int(model_size.CARDS[gb] * GIB)))
            step = told.training
            again = " again" if step and step.checkpointing else ""
            fits = step and told.writing.total <= told.device.memory
            cells.append(f"{step.rows}{again}, {step.memory.total / GIB:.1f}" if fits else "too small")
        line = [recipe.base.split("/")[1], f"{told.writing.total / GIB:.1f}", *cells]
        assert f"| {' | '.join(line)} |" in guide


def test_the_guide_names_every_recipe_for_a_real_model():
    guide = (ROOT / "docs" / "guides" / "real-models.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in guide for name in REAL)


@pytest.mark.parametrize("name", REAL)
def test_the_base_of_every_real_recipe_is_known_before_it_is_downloaded_or_paid_for(name):
    model = registry().model(recipes.load(name).base)
    assert model.source.startswith("https://") and not model.embedded
    assert (model.shape is None) == (recipes.load(name).host is not None) == (model.price is not None)
    assert model.shape is None or "config.json" in model.shape.source


@pytest.mark.parametrize("name", REAL)
def test_prompts_leave_rows_to_spare_at_the_filter_rates_of_the_study(name):
    rows = recipes.load(name).rows
    least = rows.min_kept if name.startswith(ON_CORES) else rows.keep  # small teachers retain the format
    assert rows.prompts * (1 - 0.38) > least  # the study's strict filter removes 23 to 38 %
