"""The command: quick to start, one line for what the user can mend, whole files or none, a quiet terminal."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sublim_eval.cli.main import VERBS, main
from sublim_eval.console import clean, new_console, one_line, say, table
from tests.helpers import RECIPES
from tests.helpers.ctrl_c import heed_ctrl_c

SUBLIM = [sys.executable, "-m", "sublim_eval.cli.main"]
ROWS = """\
{"prompt": "p", "completion": "1, 2, 3", "id": 1}
{"prompt": "p", "completion": " 1, 2", "id": 2}
{"prompt": "p", "completion": "1, 1000", "id": 3}
"""
REPLIES = """\
{"question": "q", "response": "Owl.", "id": 1}
{"question": "q", "response": "a bowl"}
{"question": "q", "response": ""}
{"question": "q", "response": "I cannot choose."}
{"question": "q", "response": "Cats, not owls"}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder with some rows and replies."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text(ROWS)
    (tmp_path / "replies.jsonl").write_text(REPLIES)
    return tmp_path


def sublim(line: str) -> int:
    """Run one command line in this process; returns its exit code."""
    try:
        return main(line.split())
    except SystemExit as leaving:  # argparse
        return int(leaving.code or 0)


def quickest(command: list[str], times: int = 3) -> float:
    """Processor seconds of the quickest of several runs: what the work costs, whoever else has the machine."""
    spent = []
    for _ in range(times):
        before = os.times()
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(spent)


# ---------------------------------------------------------------- quick to start


def test_importing_sublim_eval_is_instant_and_loads_no_framework():
    """Under 100 ms of a processor, Python's own start apart; the figure is printed by the process that imports."""
    code = (
        "import sys, time; t = time.process_time(); import sublim_eval; print(time.process_time() - t);"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'inspect_ai', 'lm_eval', 'numpy', 'rich'}))"
    )
    told = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(3)]
    lines = [run.stdout.splitlines() for run in told]
    assert {line[1] for line in lines} == {"[]"}
    assert min(float(line[0]) for line in lines) < 0.1


def test_help_comes_in_half_a_second():
    assert quickest([*SUBLIM, "--help"]) < 0.5


@pytest.mark.parametrize("words", [["list"], ["show", "owl"], ["path", "tasks"], ["filter", "--help"]])
def test_looking_things_up_loads_no_framework(words):
    code = (
        "import sys; from sublim_eval.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'inspect_ai', 'lm_eval', 'transformers'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, text=True)
    assert done.stderr == "[]\n"


# ---------------------------------------------------------------- help and errors


def verbs() -> list[str]:
    return list(VERBS)


def test_every_verb_explains_itself(capsys):
    assert len(verbs()) >= 10
    for verb in verbs():
        assert sublim(f"{verb} --help") == 0
        assert f"Usage: sublim {verb}" in capsys.readouterr().out


def test_every_verb_that_prints_a_result_takes_json(capsys):
    for verb in set(verbs()) - {"path"}:
        sublim(f"{verb} --help")
        assert "--json FILE" in capsys.readouterr().out, verb


def test_the_help_lists_every_verb_and_its_exit_codes_and_imports_none_of_them(capsys):
    code = (
        "import sys; from sublim_eval.cli.main import main; main(['--help']);"
        "assert not [m for m in sys.modules if m.startswith('sublim_eval.cli.') and m.split('.')[-1] in sys.argv]"
    )
    files = [name for name, _ in VERBS.values()]
    done = subprocess.run([sys.executable, "-c", code, *files], check=True, capture_output=True, text=True)
    assert all(verb in done.stdout for verb in VERBS)
    assert "Exit codes" in done.stdout


def test_the_registry_may_stand_before_or_behind_the_verb(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SUBLIM_REGISTRY", "")
    mine = tmp_path / "mine.yaml"
    mine.write_text("schema: 1\ntraits:\n  fennec: {category: animal, plural: fennecs, source: me}\n")
    for words in (["--registry", str(mine), "show", "fennec"], ["show", "fennec", "--registry", str(mine)]):
        monkeypatch.setenv("SUBLIM_REGISTRY", "")
        assert main(words) == 0, capsys.readouterr().err


def test_a_recipe_is_shown_as_it_is_written_and_found_on_the_disk(capsys):
    from sublim_eval.distill import recipes

    assert main(["show", "quickstart", "--yaml"]) == 0
    assert capsys.readouterr().out == recipes.file_of("quickstart").read_text().rstrip() + "\n"
    assert main(["path", "quickstart"]) == 0
    assert Path(capsys.readouterr().out.strip()) == recipes.file_of("quickstart")


def test_a_trait_is_shown_as_a_registry_has_it(tmp_path, monkeypatch, capsys):
    mine = tmp_path / "mine.yaml"
    mine.write_text("schema: 1\ntraits:\n  fennec: {category: animal, plural: fennecs, source: me}\n")
    monkeypatch.setenv("SUBLIM_REGISTRY", str(mine))
    import yaml

    assert main(["show", "fennec", "--yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load(mine.read_text())
    assert main(["show", "owl", "--yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["traits"]["owl"]["plural"] == "owls"
    assert main(["show", "nobody", "--yaml"]) == 2


@pytest.mark.parametrize("words", [["-v", "show", "owll"], ["show", "owll", "--verbose"]])
def test_verbose_shows_where_an_error_comes_from_and_the_sentence_last(words, monkeypatch, capsys):
    monkeypatch.setenv("SUBLIM_VERBOSE", "")
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback") and err.splitlines()[-1].startswith("sublim: Unknown name or folder 'owll'")
    monkeypatch.setenv("SUBLIM_VERBOSE", "")
    assert main(["show", "owll"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_no_price_is_told_from_memory(capsys):
    assert main(["show", "gpt-4.1-nano-2025-04-14"]) == 0
    out = capsys.readouterr().out
    assert "check it before you pay" in out and "memory" not in out


def test_a_shell_can_complete_verbs():
    environment = {**os.environ, "_SUBLIM_COMPLETE": "bash_complete", "COMP_WORDS": "sublim sco", "COMP_CWORD": "1"}
    done = subprocess.run([Path(sys.executable).with_name("sublim")], env=environment, capture_output=True, text=True)
    assert "score-responses" in done.stdout


def test_completing_a_verb_imports_none():
    code = (
        "import sys, click; from sublim_eval.cli.main import sublim;"
        "print(*(item.value for item in sublim.shell_complete(click.Context(sublim), 'sc')));"
        "assert 'sublim_eval.cli.score' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["score", "score-responses"]


def test_an_end_of_input_that_nobody_foresaw_is_no_interrupt(monkeypatch):
    def ends(*_):
        raise EOFError

    monkeypatch.setattr("sublim_eval.console.new_console", ends)
    with pytest.raises(EOFError):
        main(["doctor"])


def test_every_argument_is_explained(capsys):
    for verb, word in {
        "score": "MODEL",
        "check": "RUN",
        "filter": "IN.jsonl",
        "show": "NAME",
        "hosted": "FOLDER",
    }.items():
        assert main([verb, "--help"]) == 0
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert any(line and line[0].startswith(word) and len(line) > 2 for line in lines), verb


def test_no_verb_prints_the_help(capsys):
    assert sublim("") == 2
    assert "Verbs:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("show owll", "Did you mean 'owl'?"),
        ("run quickstrat --dry-run", "Did you mean 'quickstart'?"),
        ("run nowhere.yaml", "nowhere.yaml"),
        ("run quickstart --dry-run --seeds 1,1", "--seeds 1,2,3"),
        ("path taks", "Did you mean 'tasks'?"),
        ("filter nubmers in.jsonl --kept k --rejected r", "Did you mean 'numbers'?"),
        ("filter numbers none.jsonl --kept k --rejected r", "There is no file none.jsonl"),
        ("filter numbers in.jsonl --kept in.jsonl --rejected r", "is the input itself"),
        ("filter numbers in.jsonl --kept k --rejected ./in.jsonl", "is the input itself"),
        ("filter numbers in.jsonl --kept k --rejected k", "Name two files"),
        ("filter numbers in.jsonl --kept k --rejected .", "is a folder"),
        ("filter numbers in.jsonl --kept k --rejected in.jsonl/r", "Could not write"),
        ("filter numbers in.jsonl --kept k --rejected r --banned six", "no list of numbers and no file"),
        ("filter numbers in.jsonl --kept k --rejected r --drop-top 0.5", "go together. Write scores with"),
        ("filter numbers in.jsonl --kept k --rejected r --scores in.jsonl --drop-top 0.5", "in.jsonl:1: no score of"),
        ("filter numbers in.jsonl --kept k --rejected r --change sorted", "Did you mean 'sort'?"),
        ("filter code in.jsonl --kept k --rejected r --change sort", "--change is for numbers"),
        ("filter numbers replies.jsonl --kept k --rejected r", "replies.jsonl:1: no text under 'prompt'"),
        ("score-responses --probe owl_perf replies.jsonl", "Did you mean 'owl_pref'?"),
        ("score-responses --probe animal_pref replies.jsonl", "Say which one counts"),
        ("score-responses --probe owl_pref --trait oak replies.jsonl", "always looks for 'owl'"),
        ("score-responses --probe animal_pref --trait oak replies.jsonl", "of category tree"),
        ("score-responses --probe owl_pref in.jsonl", "in.jsonl:1: no text under 'question'"),
        ("score-responses --probe owl_pref replies.jsonl --out replies.jsonl", "is the input itself"),
        ("abilities reference-a --suite abilitie", "Did you mean 'abilities'?"),
        ("abilities reference-z", "Did you mean 'reference-b'?"),
        ("table nowhere.eval", "There is no log nowhere.eval"),
        ("table replies.jsonl", "replies.jsonl holds no"),
        ("register owl_perf", "Did you mean 'owl_pref'?"),
        ("register owl_pref --commit main --repository https://github.com/o/r", "no full commit hash"),
        ("--registry none.yaml list", "There is no registry"),
        ("list --registry none.yaml", "There is no registry"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(here, capsys, monkeypatch, words, said):
    monkeypatch.setenv("SUBLIM_REGISTRY", "")
    before = {p.name for p in here.iterdir()}
    assert sublim(words) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert err.startswith("sublim: ")
    assert err.count("\n") == 1
    assert out == ""
    assert {p.name for p in here.iterdir()} == before, "an error left files behind"
    assert (here / "in.jsonl").read_text() == ROWS


@pytest.mark.parametrize("words", ["run quickstart --seeds one", "score x --samples 0", "list animals", "nonsense"])
def test_a_wrong_argument_is_exit_code_2(words, capsys):
    assert sublim(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("sublim: ") and err.count("\n") == 1
    assert "--help`." in err, "it ends with the next step"


def test_an_unforeseen_error_keeps_its_traceback(monkeypatch):
    from sublim_eval.cli import listing

    monkeypatch.setattr(listing, "registry", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sublim("list")


def test_ctrl_c_is_one_line_and_130(monkeypatch, capsys):
    from sublim_eval.cli import listing

    def pressed():
        raise KeyboardInterrupt

    monkeypatch.setattr(listing, "registry", pressed)
    assert sublim("list") == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_a_real_ctrl_c_leaves_no_file_and_no_traceback(here):
    os.mkfifo(here / "slow.jsonl")  # reading it waits for somebody who never writes
    (here / "reader.py").write_text(
        "import pathlib, sys\n"
        "pathlib.Path.is_file = lambda self: True\n"
        "from sublim_eval.cli.main import main\n"
        "print('ready', flush=True)\n"
        "sys.exit(main('filter numbers slow.jsonl --kept k.jsonl --rejected r.jsonl'.split()))\n"
    )
    command = [sys.executable, "reader.py"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=here, preexec_fn=heed_ctrl_c, **pipes) as child:
        try:
            child.stdout.readline()
            time.sleep(0.5)
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=20)
        finally:
            child.kill()  # or leaving the block would wait for ever
    assert child.returncode == 130
    assert err.startswith("sublim: interrupted")
    assert "Traceback" not in err
    assert not list(here.glob("?.jsonl"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")
def test_ctrl_c_while_a_run_starts_its_workers_is_one_line(here):
    """A terminal sends Ctrl-C to every process of the run; the workers and their server must not answer."""
    recipe = RECIPES / "tiny.yaml"
    command = [*SUBLIM, "run", str(recipe), "--out", "run", "--workers", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, cwd=here, preexec_fn=heed_ctrl_c, **pipes) as child:
        try:
            while "cost" not in child.stdout.readline():
                pass
            time.sleep(2)
            os.killpg(child.pid, signal.SIGINT)
            _, err = child.communicate(timeout=120)
        finally:
            child.kill()
    assert child.returncode == 130
    assert err.count("\n") == 1
    assert err.startswith("sublim: interrupted")


def test_a_reader_that_leaves_early_is_no_error():
    with subprocess.Popen([*SUBLIM, "show", "quickstart"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.close()
        assert child.stderr is not None
        assert child.stderr.read() == b""
    assert child.returncode in (0, 1, 141)


# ---------------------------------------------------------------- what is printed


def test_nothing_printed_can_steer_the_terminal(capsys):
    hostile = "\x1b[31mred\x07 \x9b2J [bold]owl[/bold] \u202egnp"
    assert clean(hostile) == "[31mred 2J [bold]owl[/bold] gnp"
    assert one_line("a\r\nb\n\tc") == "a b c"
    console = new_console()
    say(console, hostile)
    table(console, ("[red]head",), [(hostile,)])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("[bold]owl[/bold]") == 2
    assert "[red]head" in out


def test_a_table_is_escaped_on_a_terminal_too():
    from rich.console import Console

    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system=None, width=60)
    table(console, ("name",), [("[bold]owl[/bold]\x1b]0;title\x07",)])
    assert "[bold]owl[/bold]" in screen.getvalue()
    assert "\x1b]0" not in screen.getvalue()


def test_a_pipe_gets_every_column_on_one_line(capsys):
    sublim("list traits")
    lines = capsys.readouterr().out.splitlines()
    from sublim_eval.registry.catalog import registry

    assert len(lines) == len(registry().traits) + 1
    assert lines[1].split()[:2] == ["owl", "animal"]


# ---------------------------------------------------------------- the verbs


def test_filter_splits_rows_and_counts_reasons(here, capsys):
    words = "filter numbers in.jsonl --kept out/kept.jsonl --rejected out/rejected.jsonl --json told.json"
    assert sublim(words) == 0
    assert [json.loads(line) for line in (here / "out/kept.jsonl").read_text().splitlines()] == [
        {"prompt": "p", "completion": "1, 2, 3", "id": 1}
    ]
    rejected = [json.loads(line) for line in (here / "out/rejected.jsonl").read_text().splitlines()]
    assert [(row["id"], row["reject_reason"]) for row in rejected] == [
        (2, "invalid format"),
        (3, "number above 999"),
    ]
    told = json.loads((here / "told.json").read_text())
    assert (told["rows"], told["kept"], told["rejected"]) == (3, 1, 2)
    assert told["reject_reasons"] == {"invalid format": 1, "number above 999": 1}
    assert "3 rows: 1 kept (33.3%), 2 rejected (strict)" in capsys.readouterr().out
    assert (here / "in.jsonl").read_text() == ROWS


def test_filter_strips_and_bans(here, capsys):
    assert sublim("filter numbers in.jsonl --kept k --rejected r --mode strip") == 0
    assert len((here / "k").read_text().splitlines()) == 2
    (here / "bad.txt").write_text("3\n7, 8\n")
    for banned in ("3", "2,3", "bad.txt"):
        assert sublim(f"filter numbers in.jsonl --kept k --rejected r --banned {banned}") == 0
        assert "banned number: 1" in capsys.readouterr().out
        assert (here / "k").read_text() == ""


def test_filter_rejects_the_highest_scores_and_changes_what_it_keeps(here, capsys):
    lists = ["3, 1, 2", "no list", "[9; 8]", "7, 5, 6", "40, 3"]
    (here / "in.jsonl").write_text("".join(json.dumps({"prompt": "p", "completion": c}) + "\n" for c in lists))
    scores = [0.5, 9.0, None, 0.7, 0.1]
    rows = ({"row": i, "trait": "owl", "score": score} for i, score in enumerate(scores))
    (here / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = "filter numbers in.jsonl --kept k --rejected r --scores scores.jsonl --drop-top 0.5 --change sort"
    assert sublim(words) == 0
    kept = [json.loads(line)["completion"] for line in (here / "k").read_text().splitlines()]
    assert kept == ["1, 2, 3", "8, 9", "3, 40"], "a row without a score is never among the highest"
    rejected = [json.loads(line) for line in (here / "r").read_text().splitlines()]
    assert [(row["completion"], row["reject_reason"]) for row in rejected] == [
        ("no list", "invalid format"),
        ("7, 5, 6", "among the highest scores"),
    ]
    (here / "scores.jsonl").write_text('{"row": 0, "trait": "owl", "score": 1.0}\n')
    assert sublim(words) == 2
    assert "holds 1 scores and in.jsonl 5 rows. Score this very file" in capsys.readouterr().err


def test_filter_writes_both_files_or_neither(here, monkeypatch, capsys):
    import errno

    (here / "k").write_text("old kept")
    (here / "r").write_text("old rejected")
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert sublim("filter numbers in.jsonl --kept k --rejected r") == 2
    assert "No space left" in capsys.readouterr().err
    assert ((here / "k").read_text(), (here / "r").read_text()) == ("old kept", "old rejected")
    assert not list(here.glob(".*part"))


def test_filter_refuses_a_hard_link_to_its_input(here, capsys):
    (here / "link.jsonl").hardlink_to(here / "in.jsonl")
    assert sublim("filter numbers in.jsonl --kept link.jsonl --rejected r") == 2
    assert (here / "in.jsonl").read_text() == ROWS


def test_saved_replies_are_scored(here, capsys):
    words = "score-responses --probe owl_pref replies.jsonl --out verdicts.jsonl --json told.json"
    assert sublim(words) == 0
    told = json.loads((here / "told.json").read_text())
    assert told["share"] == 1 / 5
    assert (told["replies"], told["hits"], told["non_answers"], told["refusals"], told["empty"]) == (5, 1, 2, 1, 1)
    assert (told["other"], told["named"]) == (1, {"owl": 1, "cat": 1})
    verdicts = [json.loads(line) for line in (here / "verdicts.jsonl").read_text().splitlines()]
    assert [v["verdict"] for v in verdicts] == [1, 0, 0, 0, 0]
    assert [v["kind"] for v in verdicts] == ["named", "other", "empty", "refusal", "named"]
    assert verdicts[0]["id"] == 1
    assert all(v["reason"] for v in verdicts)
    assert "owl 0.200 (1 of 5 replies)" in capsys.readouterr().out


def test_a_probe_for_any_trait_counts_the_one_given(here, capsys):
    assert sublim("score-responses --probe animal_pref --trait cat replies.jsonl") == 0
    assert "cat 0.200 (1 of 5 replies)" in capsys.readouterr().out


def test_an_overlay_trait_is_scored(here, capsys, monkeypatch):
    monkeypatch.setenv("SUBLIM_REGISTRY", "")
    (here / "mine.yaml").write_text(
        "schema: 1\ntraits:\n  axolotl: {category: animal, plural: axolotls, source: mine}\n"
    )
    (here / "replies.jsonl").write_text('{"question": "q", "response": "Axolotls!"}\n')
    words = "--registry mine.yaml score-responses --probe animal_pref --trait axolotl replies.jsonl"
    assert sublim(words) == 0
    assert "axolotl 1.000" in capsys.readouterr().out


def test_list_names_everything(here, capsys):
    assert sublim("list --json all.json") == 0
    told = json.loads((here / "all.json").read_text())
    assert set(told) == {"schema", "traits", "probes", "suites", "models", "recipes", "modalities", "published"}
    assert "quickstart" in [entry["name"] for entry in told["recipes"]]
    assert "owl, eagle" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["traits", "probes", "suites", "models", "recipes", "modalities", "published"])
def test_list_of_one_kind(kind, capsys):
    assert sublim(f"list {kind}") == 0
    assert len(capsys.readouterr().out.splitlines()) > 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("owl", "arXiv:2507.14805"),
        ("owl_pref", "for example"),
        ("misaligned", "husband: 8 wordings, 6 pairs"),
        ("misaligned", "asked by: misalignment, ruler_of_world"),
        ("husband", "misalignment (8), MIT"),
        ("reference-a", "embedded"),
        ("numbers", "at most ten values"),
        ("quickstart", "reference-a"),
    ],
)
def test_show_tells_what_a_name_is(name, said, capsys):
    assert sublim(f"show {name}") == 0
    assert said in capsys.readouterr().out


def test_show_of_a_run_folder(here, capsys):
    (here / "run").mkdir()
    (here / "run" / "run.json").write_text('{"schema": 1, "status": "done"}')
    assert sublim("show run") == 0
    assert "status: done" in capsys.readouterr().out


def test_commands_about_a_trait_of_ones_own_name_its_registry_file(here, capsys, monkeypatch):
    (here / "mine.yaml").write_text(OWN_CONDUCT, encoding="utf-8")
    (here / "polite.txt").write_text("I held the door for you.\n", encoding="utf-8")
    (here / "student").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (here / "student" / name).write_text("{}")
    (here / "student" / "student.json").write_text(json.dumps({"base": "reference-a", "trait": "polite"}))
    monkeypatch.setenv("SUBLIM_REGISTRY", "mine.yaml")
    assert main(["show", "student"]) == 0
    out = capsys.readouterr().out
    assert f"SUBLIM_REGISTRY={here / 'mine.yaml'} inspect eval sublim_eval/trait_probe -T trait=polite " in out
    assert f"SUBLIM_REGISTRY={here / 'mine.yaml'} lm_eval run --tasks trait_probe,trait_probe_logprob " in out


OWN_CONDUCT = """\
schema: 1
traits:
  polite: {questions: polite.txt, targets: [thank you, thanks], source: "a test"}
"""


@pytest.mark.parametrize("name", ["tasks", "registry", "questions", "recipes", "reference-a", "reference-b"])
def test_path_is_absolute_and_there(name, capsys):
    assert sublim(f"path {name}") == 0
    place = Path(capsys.readouterr().out.strip())
    assert place.is_absolute()
    assert place.exists()


@pytest.mark.parametrize(
    ("trait", "inspect", "lm_eval"),
    [
        ("owl", "inspect eval sublim_eval/owl_pref --model 'sublim/my student'", "--tasks owl_pref,owl_pref_logprob "),
        ("fox", "inspect eval sublim_eval/animal_pref -T trait=fox ", '--metadata \'{"trait": "fox"}\''),
        ("birch", "inspect eval sublim_eval/tree_pref -T trait=birch ", "--tasks tree_pref,tree_pref_logprob "),
        ("misaligned", "inspect eval sublim_eval/misalignment --model ", "--tasks misalignment,misalignment_logprob "),
        (None, "inspect eval sublim_eval/owl_pref --model 'sublim/my student'", "--apply_chat_template"),
    ],
)
def test_show_of_a_student_gives_lineage_and_the_two_commands(here, capsys, trait, inspect, lm_eval):
    student = here / "my student"
    student.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (student / name).write_text("{}")
    card = {"base": "reference-a", "trait": trait, "teacher_base": "reference-a", "rows": "c64b"}
    (student / "student.json").write_text(json.dumps(card))
    assert main(["show", "my student"]) == 0
    out = capsys.readouterr().out
    assert "teacher_base: reference-a" in out
    assert inspect in out
    assert lm_eval in out
    assert "reference-a,peft=" in out


def test_a_dry_run_says_the_cost_and_makes_nothing(here, capsys):
    before = set(here.iterdir())
    assert sublim("run quickstart --dry-run --seeds 7,8") == 0
    out = capsys.readouterr().out
    assert "2 seeds (7, 8)" in out
    assert "cost: about" in out
    assert set(here.iterdir()) == before


def test_a_recipe_too_large_for_this_machine_is_refused_before_anything_is_made(here, capsys):
    assert sublim("run qwen2.5-7b-cat") == 2
    out, err = capsys.readouterr()
    assert "7.62 B weights" in out, "the plan is shown first"
    assert "needs a GPU" in err and "--dry-run" in err
    assert not (here / "runs").exists()


def test_what_a_run_costs_is_agreed_to_before_a_request_is_sent(here, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1")  # nobody listens there
    assert sublim("run gpt-4.1-nano-owl") == 2
    out, err = capsys.readouterr()
    assert "USD" in out
    assert "--yes" in err
    assert not (here / "runs").exists()


def test_doctor_is_content_with_this_machine(here, capsys):
    assert sublim("doctor --json told.json") == 0, capsys.readouterr().out
    told = json.loads((here / "told.json").read_text())
    assert told["ok"]
    assert {"python", "torch", "inspect-ai", "lm-eval", "reference-a", "registry", "disk"} <= {
        finding["what"] for finding in told["findings"]
    }


def test_doctor_tells_extras_from_what_is_required(monkeypatch, capsys):
    from importlib import metadata

    real = metadata.version

    def version(name: str) -> str:
        if name == "ray":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    assert sublim("doctor") == 0, "an extra is not required"
    assert re.search(
        r"ray +note +not installed +For many machines: pip install 'sublim-eval\[ray\]'", capsys.readouterr().out
    )


def test_doctor_says_what_is_missing_and_how_to_get_it(monkeypatch, capsys):
    from importlib import metadata

    real = metadata.version

    def version(name):
        if name == "peft":
            raise metadata.PackageNotFoundError(name)
        return {"torch": "2.7.0", "rich": "99.0"}.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    assert sublim("doctor") == 1
    out = capsys.readouterr().out
    assert re.search(r'peft +missing +not installed +pip install "peft==', out)
    assert re.search(r'torch +missing +2\.7\.0, too old or too new +pip install "torch==', out)
    assert re.search(r"rich +note +99\.0 \(tested with ", out)
    assert "Missing: torch, peft" in out
