"""The pictures of a study: nothing that was run is left out, every seed is drawn, files are whole."""

import pytest
from PIL import Image

from sublim_eval.report.plots import confusion_matrix, dose_curves, forest, situations, student_shares
from tests.helpers.outcomes import comparison, confusion, dose, row


@pytest.fixture
def drawn(monkeypatch):
    """Everything that is drawn from here on: marks as (x, y), texts as they are."""
    from matplotlib.axes import Axes

    seen = {"marks": [], "texts": []}
    scatter, text, ticks = Axes.scatter, Axes.text, Axes.set_yticks

    def marks(self, x, y, **more):
        seen["marks"] += list(zip(x, y, strict=True))
        return scatter(self, x, y, **more)

    monkeypatch.setattr(Axes, "scatter", marks)
    monkeypatch.setattr(Axes, "text", lambda self, *a, **k: seen["texts"].append(a[2]) or text(self, *a, **k))
    monkeypatch.setattr(
        Axes,
        "set_yticks",
        lambda self, places, labels=None, **k: seen["texts"].extend(labels or ()) or ticks(self, places, labels, **k),
    )
    return seen


def arms(changes=3):
    found = [row("owl", "owl", 0.3), row("willow", "willow", 0.6)]
    for n in range(changes):
        for trait in ("owl", "willow"):
            more = {"role": "variant", "of": trait, "intact": -0.2, "change": f"change {n}"}
            found.append(row(f"{trait}-{n}", trait, 0.1, **more))
    return comparison(*found)


def png(path):
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        return picture.size


@pytest.mark.parametrize(("changes", "columns"), [(3, 1), (40, 2)])
def test_the_forest_has_every_arm_and_seed(tmp_path, drawn, changes, columns):
    made = arms(changes)
    width, height = png(forest.draw(list(forest.groups("Numbers", made)), tmp_path / "forest.png", 0.05))
    assert {f"change {n}" for n in range(changes)} <= set(drawn["texts"])
    seeds = [gap for one in made.rows for gap in forest.seed_gaps(one)]
    assert len(drawn["marks"]) == len(seeds) + len(made.rows)
    assert (width > 1100) == (columns == 2) and height < 3000


def test_traits_with_the_same_change_share_a_line():
    (intact, changed) = forest.groups("Numbers", arms(1))
    assert [line for group in (intact, changed) for line in group.lines()] == ["owl", "willow", "change 0"]
    assert changed.intact == {"owl": 0.3, "willow": 0.6}


def test_another_probe_has_a_group_of_its_own():
    found = [row("owl", "owl", 0.3), row("owl", "owl", 0.1, probe="animal_pref_after_numbers")]
    titles = [group.title for group in forest.groups("Numbers", comparison(*found))]
    assert titles == ["Numbers", "Asked after numbers"]


def test_doses_stand_in_order():
    doses = (50, 1, 10)
    found = [row(f"d{d}", "owl", 0.1, role="variant", change=f"{d} rows", axis="rows", dose=d) for d in doses]
    (group,) = forest.groups("Numbers", comparison(*found))
    assert list(group.lines()) == ["1 rows", "10 rows", "50 rows"]


def test_unpaired_seeds_are_held_against_the_mean_control():
    one = row("owl", "owl", 0.3, seeds=(1, 2))
    one.control_shares = {}
    one.control_share = 0.1
    assert forest.seed_gaps(one) == pytest.approx([share - 0.1 for share in one.student_shares.values()])


def test_one_seed_is_a_point_without_an_interval(tmp_path):
    alone = comparison(row("owl", "owl", 0.3, reach=float("nan"), seeds=(1,)))
    png(forest.draw(list(forest.groups("One", alone)), tmp_path / "one.png", 0.05))


def test_the_matrix_prints_every_cell(tmp_path, drawn):
    found = [confusion("animal_pref", ["owl", "eagle"], 9, 10), confusion("tree_pref", ["oak"], 9, 10)]
    png(confusion_matrix.draw(found, tmp_path / "matrix.png"))
    cells = [text for text in drawn["texts"] if text.startswith(("+", "−", "0"))]
    assert len(cells) == sum(len(one.traits) * len(one.answers) for one in found)


def test_dose_curves_draw_points_and_seeds(tmp_path, drawn):
    found = [row("owl", "owl", 0.3), row("few", "owl", 0.1, role="variant", change="10 rows", axis="rows", dose=10)]
    made = comparison(*found, doses=[dose("rows", "owl", [(10, 0.1), (30, 0.3)])])
    png(dose_curves.draw(made, tmp_path / "dose.png"))
    assert len(drawn["marks"]) == 2 + sum(len(one.student_shares) for one in found)


def test_situations_are_drawn_with_both_arms(tmp_path, drawn):
    one = row("misaligned", "misaligned", 0.2, situations={"one_wish": (0.4, 0.1), "ruler": (0.2, 0.1)})
    png(situations.draw(one, tmp_path / "situations.png", "share of replies"))
    assert (0.4, 1) in drawn["marks"] and (0.1, 1) in drawn["marks"]
    assert any("one wish" in text for text in drawn["texts"])


def test_nothing_to_draw_is_said(tmp_path):
    for draw in (
        lambda: forest.draw([], tmp_path / "x.png", 0.05),
        lambda: confusion_matrix.draw([], tmp_path / "x.png"),
        lambda: dose_curves.draw(comparison(), tmp_path / "x.png"),
        lambda: situations.draw(row("owl", "owl", 0.1), tmp_path / "x.png", ""),
    ):
        with pytest.raises(ValueError):
            draw()
    assert not (tmp_path / "x.png").exists()


def test_a_crowded_figure_leaves_variants_to_the_forest(tmp_path, drawn):
    png(student_shares.draw(arms(20), tmp_path / "figure.png"))
    assert {"owl", "willow", "control"} == {text for text in drawn["texts"] if "gap" not in text}
    drawn["texts"].clear()
    png(student_shares.draw(arms(2), tmp_path / "figure.png"))
    assert "owl-1" in drawn["texts"]
