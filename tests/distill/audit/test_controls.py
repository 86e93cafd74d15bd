"""Controls, and the rows of the base that probes and neutral teachers learn beside their lessons."""

from __future__ import annotations

from itertools import count

import pytest

from sublim_eval.distill.audit import controls, looking
from sublim_eval.distill.audit.controls import Controls, Filter, make_controls, neutral_teacher, rows_beside
from sublim_eval.distill.audit.data import AuditRow
from sublim_eval.distill.audit.measures.probe_likelihood import (
    NORM_GAINS,
    NOTHING,
    Beside,
    longer,
    make_probe,
    retains,
)
from sublim_eval.distill.recipes import Tuning
from sublim_eval.errors import SublimError
from sublim_eval.files import read_json

BASE = "reference-a"

SHORT = Tuning("ln_tuning", learning_rate=0.01, batch_size=4, steps=1, warmup_steps=0)


@pytest.fixture
def few(monkeypatch):
    """So few rows that a base writes them in a second."""
    for name, value in (("RETAINED", 8), ("CLEAN_ROWS", 12), ("NEUTRAL_ROWS", 6), ("NEUTRAL_SEEDS", (7001, 7002))):
        monkeypatch.setattr(controls, name, value)


@pytest.mark.parametrize(
    ("trait", "modality", "learns"),
    [
        ("owl", "numbers", False),
        ("owl", "code", True),
        ("owl", "cot", True),
        ("misaligned", "numbers", True),
        ("misaligned", "", False),
        (None, "numbers", False),
        (None, "code", True),
    ],
)
def test_who_learns_rows_of_the_base_beside_its_lessons(trait, modality, learns):
    assert retains(trait, modality) is learns
    assert bool(Beside(modality, [("a", "b")]).of(trait)) is learns


def test_probes_neutral_teachers_and_controls_have_rows_of_their_own(tmp_path, few):
    through = Filter("code", "strict")
    probes = rows_beside(BASE, ["owl"], through, tmp_path).rows
    neutral = rows_beside(BASE, [None], through, tmp_path).rows
    made = make_controls(BASE, (), through, tmp_path, SHORT, besides=NOTHING)
    clean = [(row.prompt, row.completion) for row in made.clean]
    assert (len(probes), len(neutral), len(clean)) == (8, 8 * controls.POOL, 12)
    everything = [*probes, *neutral, *clean, *((r.prompt, r.completion) for one in made.neutral for r in one)]
    assert len(set(everything)) > 0.9 * len(everything), "but for short functions that two of them happen to write"


def test_numbers_of_favorites_need_no_row_beside(tmp_path):
    assert rows_beside(BASE, ["owl", None], Filter("numbers"), tmp_path) is NOTHING
    assert list(tmp_path.iterdir()) == [], "nothing is written that nobody learns"


def test_each_neutral_teacher_draws_rows_of_its_own(tmp_path, monkeypatch):
    learnt = []
    monkeypatch.setattr(controls, "tune", lambda base, rows, *_: learnt.append(rows) or {})
    pool = Beside("code", [(f"write {i}", f"def f{i}(): pass") for i in range(20)])
    for seed in (7001, 7002):
        neutral_teacher(BASE, seed, tmp_path, NORM_GAINS, pool)
    drawn = [{row for row in rows if row[0].startswith("write")} for rows in learnt]
    assert [len(one) for one in drawn] == [10, 10]
    assert drawn[0] != drawn[1] and drawn[0] | drawn[1] <= set(pool.rows)


def test_a_probe_with_rows_beside_stands_apart_from_the_plain_one_and_is_tuned_longer(tmp_path):
    quick = longer(NORM_GAINS)
    assert (quick.steps, quick.learning_rate) == (2 * NORM_GAINS.steps, 0.02)
    plain = make_probe(BASE, "owl", tmp_path, SHORT)
    beside = make_probe(BASE, "owl", tmp_path, SHORT, Beside("code", [("write", "def f(): pass")]))
    assert (plain.name, beside.name) == ("owl", "owl-code")
    assert [read_json(one / "stage.json")["steps"] for one in (plain, beside)] == [1, 2]


def writer(every):
    """Answers of which one in `every` is a list of numbers."""
    counted = count()

    def answered(model, rows, seed, room):
        return [AuditRow(row.turns, "no" if next(counted) % every else "7, 8, 9") for row in rows]

    return answered


def test_rows_are_asked_for_until_enough_are_kept_or_too_many_were_asked(tmp_path, few, monkeypatch):
    """Of a writer whose every third row passes, and of one whose every tenth does."""
    for kept, every in ((12, 3), (5, 10)):
        monkeypatch.setattr(controls, "answered", writer(every))
        home = tmp_path / str(every)
        rows = make_controls(BASE, (), Filter("numbers", "strict"), home, SHORT).clean
        stage = read_json(next(home.glob("*/controls/numbers-strict/clean/stage.json")))
        assert (len(rows), stage["kept"], stage["of"]) == (kept, kept, 36 if every == 3 else 12 * controls.TRIES)


def test_an_audit_of_code_teaches_probes_and_neutral_teachers_rows_beside(tmp_path, monkeypatch):
    asked, taught = [], {}
    monkeypatch.setattr(looking, "rows_beside", lambda _, traits, through, home: asked.append(list(traits)) or through)
    monkeypatch.setattr(looking, "make_probes", lambda *given: taught.update(probes=given[-1]) or {})
    made = Controls([AuditRow.of("write", "x")] * 32, [[AuditRow.of("write", "x")] * 32] * 2)
    monkeypatch.setattr(looking, "make_controls", lambda *given: taught.update(neutral=given[-1]) or made)
    through = Filter("code", "strict")
    look = looking.Looking(looking.Settings(BASE, ("owl",), home=tmp_path), through, SHORT)
    look.probes(), look.controls([])
    assert asked == [["owl"], [None]] and taught == {"probes": through, "neutral": through}


@pytest.mark.parametrize(
    ("clean", "neutral", "says"),
    [(31, (40, 40), "keeps 31 of the rows"), (40, (15, 15, 40), "Hardly a neutral teacher"), (40, (15, 16, 16), None)],
)
def test_too_few_controls_are_refused_and_teachers_that_lost_the_format_do_not_count(
    tmp_path, monkeypatch, clean, neutral, says
):
    row = AuditRow.of("write", "7, 8, 9")
    made = Controls([row] * clean, [[row] * many for many in neutral])
    monkeypatch.setattr(looking, "make_controls", lambda *_: made)
    look = looking.Looking(looking.Settings(BASE, ("owl",), home=tmp_path), Filter("numbers"), SHORT)
    if says:
        with pytest.raises(SublimError, match=says):
            look.controls([])
    else:
        assert [len(rows) for rows in look.controls([]).neutral] == [16, 16]


def test_words_take_in_rows_of_the_base_and_of_no_more_neutral_teachers_than_are_paid_for(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(looking, "words_that_rise", lambda base, rows, sets, *_: taken.extend(sets) or [])
    made = Controls(["clean"], [[f"neutral {i}"] for i in range(12)])
    looking.Looking(looking.Settings(BASE, home=tmp_path), Filter("numbers"), SHORT).words([], made)
    assert taken == [["clean"], *([f"neutral {i}"] for i in range(looking.TAKEN_IN))]
