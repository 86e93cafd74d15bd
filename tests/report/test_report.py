"""The report says what the comparison holds: every seed, every verdict, and nothing a file could smuggle in."""

import io
import json

import pytest
from rich.console import Console

from sublim_eval.compare.compare import compare
from sublim_eval.report import console_tables, markdown
from sublim_eval.report.plots import student_shares
from tests.helpers.synthetic import ARMS, SHIFTS, edit, make_run


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return compare([make_run(tmp_path_factory.mktemp("runs") / "run", noise=0.2, replies=50)])


def printed(comparison, terminal=False, width=160):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width)
    console_tables.print_comparison(comparison, console)
    return console.file.getvalue()


def figures(comparison):
    return [
        f"{share:.3f}"
        for row in comparison.rows
        for share in (*row.student_shares.values(), *row.control_shares.values())
    ]


def test_the_table_shows_every_seed_and_every_verdict(comparison):
    text = printed(comparison)
    assert all(value in text for value in figures(comparison))
    assert all(row.verdict.words in text and f"{row.gap.low:+.3f}" in text for row in comparison.rows)
    assert "held against that base untrained" in text


def test_in_a_pipe_the_table_is_plain(comparison):
    assert "\x1b" not in printed(comparison)


def test_a_terminal_gets_the_same_words(comparison):
    text = printed(comparison, terminal=True, width=200)
    assert "transferred" in text and all(row.verdict.words in text for row in comparison.rows)


def test_the_report_shows_every_seed_and_its_figure(comparison, tmp_path):
    student_shares.draw(comparison, tmp_path / "figure.png")
    text = markdown.write(comparison, tmp_path, commands=["inspect eval tasks/owl_pref"]).read_text()
    assert all(value in text for value in figures(comparison))
    assert "](figure.png)" in text and "inspect eval tasks/owl_pref" in text
    assert "would have been found four times in five" in text  # beside the null
    assert json.loads((tmp_path / "comparison.json").read_text()) == comparison.to_json()


def test_where_seeds_show_no_spread_no_text_speaks_of_nan_or_of_a_correction(tmp_path):
    alike = compare([make_run(tmp_path / "run", noise=0.0)])
    assert {row.verdict.words for row in alike.rows} == {"inconclusive: no spread between seeds"}
    for text in (printed(alike), markdown.write(alike, tmp_path).read_text()):
        assert not set(text.replace("(", " ").replace(")", " ").split()) & {"nan", "+nan", "Holm's"}
        assert "log-odds shift differs" not in text


def test_without_a_figure_the_report_links_none(comparison, tmp_path):
    assert "![" not in markdown.write(comparison, tmp_path).read_text()


def test_toy_bases_are_called_toys(tmp_path):
    def rebase(record):
        record["recipe"]["base"] = "reference-a"
        record["bases"][0]["name"] = "reference-a"

    run = make_run(tmp_path / "run")
    assert "toy" not in markdown.write(compare([run]), tmp_path / "a").read_text()
    edit(run, rebase)
    assert "toy" in markdown.write(compare([run]), tmp_path / "b").read_text()


def test_names_from_a_file_are_text_and_nothing_else(tmp_path):
    name = "a|b <script>x</script> [bold]*b*[/bold] $x$ `c`"
    arms = {name: ARMS["owl"], "control": ARMS["control"]}
    run = make_run(tmp_path / "run", arms, {name: 2.0, "control": 0.0}, change=lambda who, s: s)
    edit(run, lambda record: record["recipe"].update(about="see [here](http://x)\n# heading\n<img src=x>"))
    made = compare([run])
    assert "[bold]*b*[/bold]" in printed(made, terminal=True, width=250)
    student_shares.draw(made, tmp_path / "figure.png")
    text = markdown.write(made, tmp_path).read_text()
    assert "<script>" not in text and "<img" not in text and "\n# heading" not in text
    assert r"a\|b &lt;script&gt;" in text and r"\[here\]" in text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b]0;t\x07a\x1b[31m\u202elwo\u061c\u2028b\u200f", r"\]0;ta\[31mlwob"),
        ("http://evil.example WWW.evil.example ftp://e", r"http\://evil.example WWW\.evil.example ftp\://e"),
        ("a@evil.example", "a@<!-- -->evil.example"),
        ("# big", r"\# big"),
        ("- - -", r"\- - -"),
        ("1. one", r"1\. one"),
        ("--- +0.3", r"\--- +0.3"),
        ("+0.333", "+0.333"),
        ("-0.1 to 3.5", "-0.1 to 3.5"),
        ("![x](http://a)", r"!\[x\](http\://a)"),
    ],
)
def test_what_markdown_or_a_terminal_would_act_on_is_plain_text(name, shown):
    assert markdown.escape(name) == shown


def test_a_table_of_evil_names_makes_a_report_without_them(tmp_path):
    from sublim_eval.compare.compare import compare_table

    trait, arm = "\x1b[31mowl\x1b]0;t\x07", "\u202elwo\u061c x http://evil.example"
    lines = [f"{trait},{a},{s},q,{h + s},100" for a, h in (("control", 10), (arm, 30)) for s in (1, 2, 3)]
    (tmp_path / "t.csv").write_text("trait,arm,seed,question,hits,n\n" + "\n".join(lines) + "\n")
    text = markdown.write(compare_table(tmp_path / "t.csv"), tmp_path, commands=["echo \x1b[31m"]).read_text()
    assert not set(text) & set("\x1b\x07\u202e\u061c") and "http://" not in text and r"http\://evil" in text


def test_commands_cannot_leave_their_block(comparison, tmp_path):
    text = markdown.write(comparison, tmp_path, commands=["echo ```\n# out"]).read_text()
    assert text.count("```") == 2


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3, 4, 5)])
def test_the_figure_is_a_png_of_sensible_size(tmp_path, seeds):
    from PIL import Image

    made = compare([make_run(tmp_path / "run", seeds=seeds)])
    path = student_shares.draw(made, tmp_path / "report" / "figure.png")
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert 1000 < picture.width < 4000 and 400 < picture.height < 3000
        assert len(picture.convert("RGB").resize((300, 120)).getcolors(36000) or []) > 20
    assert [p.name for p in path.parent.iterdir()] == ["figure.png"]


def test_the_figure_draws_every_student(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn = []
    scatter = Axes.scatter
    monkeypatch.setattr(Axes, "scatter", lambda self, x, y, **k: drawn.extend(x) or scatter(self, x, y, **k))
    made = compare([make_run(tmp_path / "run", shifts={**SHIFTS, "owl": 1.0})])
    student_shares.draw(made, tmp_path / "figure.png")
    wanted = [s for r in made.rows for s in (*r.student_shares.values(), *r.control_shares.values())]
    assert sorted(drawn) == pytest.approx(sorted(wanted))


def test_equal_input_draws_equal_bytes(comparison, tmp_path):
    one, other = (
        student_shares.draw(comparison, tmp_path / "a.png"),
        student_shares.draw(comparison, tmp_path / "b.png"),
    )
    assert one.read_bytes() == other.read_bytes()
