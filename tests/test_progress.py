"""What is said while something takes a while: a bar on a terminal, a line a stage in a pipe."""

import io

from rich.console import Console

from sublim_eval.console import progress


def told(terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
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
