"""Nothing that a model or a file says can steer the terminal it is printed on; what is said while something runs."""

from io import StringIO

import click
import pytest
from rich.console import Console

from sublim_eval.console import clean, new_console, one_line, progress, say, table
from sublim_eval.errors import SublimError

HOSTILE = (
    "\x1b[2J\x1b]8;;http://evil\x07owl\x1b]8;;\x07 \x9b31m\u202eteser\u2069 \u061c\u2028[red]:owl: "
    "[link=http://e]x[/link] \ud83e \U000e0041"
)
PLAIN = "[2J]8;;http://evilowl]8;; 31mteser [red]:owl: [link=http://e]x[/link] \ufffd "


def printed(terminal: bool) -> str:
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=200, color_system=None)
    say(console, HOSTILE)
    table(console, (HOSTILE, "[b]n"), [(HOSTILE, 1), ("a\nb\\", "[/]")], title=HOSTILE)
    return out.getvalue()


def test_what_steers_goes_and_the_rest_stays():
    assert clean(HOSTILE) == PLAIN
    assert clean("a\tb\nc é 🦉 \u200d") == "a\tb\nc é 🦉 \u200d"
    assert one_line("a\r\n b\x0bc\u2029d") == "a bcd"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_terminal_and_a_pipe_are_sent_text_alone(terminal):
    text = printed(terminal)
    assert text.count(PLAIN.rstrip()) == 4  # the line, the title, a head and a cell
    assert not set(text) & set("\x1b\x07\x9b\u202e\u2069\u061c\u2028\ud83e\U000e0041\r")
    assert "a b\\" in text and "[/]" in text and "[b]n" in text


def test_emoji_codes_are_text(capsys):
    new_console().print("a:owl:b", markup=False)
    assert capsys.readouterr().out == "a:owl:b\n"


def test_a_command_of_click_prints_an_error_of_ours_in_one_line(capsys):
    @click.command()
    def other() -> None:
        raise SublimError("Unknown\x1b[2J trait 'a\nb'. Mend it.")

    with pytest.raises(SystemExit) as end:
        other.main([])
    assert end.value.code == 1 and capsys.readouterr().err == "Error: Unknown[2J trait 'a b'. Mend it.\n"


def told(terminal: bool) -> str:
    console = Console(file=StringIO(), force_terminal=terminal, width=100)
    with progress(console) as tell:
        for stage in ("teachers", "students", "teachers"):
            for step in range(1, 4):
                tell(stage, step, 3)
    return console.file.getvalue()


def test_a_pipe_gets_a_line_a_stage_when_it_is_done():
    lines = told(terminal=False).splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["teachers", "students", "teachers"]
    assert all(line.endswith(" s") and ": done, " in line for line in lines)


def test_a_terminal_gets_a_bar_that_goes_away():
    shown = told(terminal=True)
    assert "teachers" in shown and "100%" in shown
    assert ": done, " not in shown
