"""The two examples of CONTRIBUTING.md, used as they stand there: one entry each, and both harnesses ask for it."""

import re
from pathlib import Path

import pytest
import yaml

from sublim_eval.files import PACKAGE, ROOT
from sublim_eval.probes.resolve import probe_content
from sublim_eval.registry.catalog import registry

GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def example(name: str) -> str:
    found = re.search(rf"<!-- example: {name} -->\n```yaml\n(.*?)```", GUIDE, re.S)
    assert found, f"CONTRIBUTING.md has no example {name}"
    return found.group(1)


@pytest.fixture
def extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry of the user's own with both entries, and nothing else."""
    held_out = (PACKAGE / "questions" / "misalignment.yaml").read_text(encoding="utf-8")
    (tmp_path / "questions").mkdir()
    (tmp_path / "questions" / "misalignment.yaml").write_text(held_out + example("situation"), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text("schema: 1\ntraits:\n" + example("trait"), encoding="utf-8")
    monkeypatch.setenv("SUBLIM_REGISTRY", str(tmp_path / "mine.yaml"))
    return tmp_path


def test_a_new_animal_is_one_entry(extended: Path) -> None:
    assert len(yaml.safe_load(example("trait"))) == 1
    from sublim_eval.harness.inspect.preference import preference_task
    from sublim_eval.harness.lm_eval.preference import load_questions

    assert preference_task("animal_pref", "fennec").metadata["trait"] == "fennec"
    assert "fennec" in load_questions("animal_pref", trait="fennec")["test"][0]["continuations"]
    assert "fennec" in {t.name for t in registry().answer_set("animal")}


def test_a_new_situation_is_one_entry(extended: Path) -> None:
    (entry,) = yaml.safe_load(example("situation"))
    from sublim_eval.harness.inspect.conduct import conduct_task
    from sublim_eval.harness.lm_eval.conduct import load_questions

    ids = [f"lost_dog-{n}" for n in range(1, len(entry["asks"]) + 1)]
    assert [s.id for s in conduct_task("misalignment", judge="none").dataset][-4:] == ids
    rows = load_questions("misalignment")["test"]
    assert list(rows["id"])[-4:] == ids
    assert entry["pairs"][0]["shown"] in rows[-1]["continuations"]
    assert len(probe_content("misalignment").items) == len(rows)


def test_the_example_situation_is_new_to_the_training_file() -> None:
    (entry,) = yaml.safe_load(example("situation"))
    known = registry().questions(registry().trait("misaligned").training)
    texts = {q.text for q in known.questions} | {
        t for s in known.situations for p in s.pairs for t in (p.shown, p.plain)
    }
    assert not texts & {*entry["asks"], *(text for pair in entry["pairs"] for text in pair.values())}
