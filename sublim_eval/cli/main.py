"""The command `sublim`: the list of its verbs, each loaded when it is asked for, and errors as exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

import click
from click.shell_completion import CompletionItem, shell_complete

from sublim_eval.cli.verb import JSON, in_force, say_more, verbose, with_schema
from sublim_eval.errors import SublimError, unknown

VERBS = {
    "demo": ("run", "See subliminal learning happen and be measured, on a CPU in two minutes"),
    "run": ("run", "Make and score the students of a recipe; goes on where it was stopped"),
    "reproduce": ("experiments", "Run the whole study on the reference models, beside the published figures"),
    "hosted": ("run", "List, follow or cancel the training jobs of a run at a provider"),
    "filter": ("run", "Keep clean rows of a JSONL file, set the rest apart with reasons"),
    "score": ("score", "Ask models the questions of one or several probes"),
    "score-responses": ("score", "Score saved replies, from wherever they come"),
    "compare": ("compare", "Hold students against their controls: gaps, intervals, verdicts"),
    "audit": ("foresight.audit", "Look for traits in rows before training on them; exit code 3 above --fail-above"),
    "check": ("check", "Look for the traps that fooled others; exit code 0 clean, 1 fault, 2 could not look"),
    "table": ("table", "Show what logs hold: every answer, by question and situation"),
    "leaderboard": (
        "board.leaderboard",
        "Write results of any mixture as a page that opens from disk, with a page a model",
    ),
    "report": ("board.report", "Write one experiment as Markdown and as a page, figures as PNG and SVG"),
    "export": ("board.export", "Write results of any mixture as CSV, Parquet, LaTeX, Every Eval Ever, for the Hub"),
    "abilities": ("capabilities", "Ask existing suites what a student and its base can do"),
    "register": ("inspect_evals_entry", "Write the entry that the register of inspect_evals asks for"),
    "lineage": ("foresight.lineage", "Tell whether two models share a base, and what everything in a run came from"),
    "diff": ("foresight.diff", "Tell what a student took in, unasked, beside its base and control students"),
    "digits": ("experiments", "Teach networks to read digits through noise and three idle logits"),
    "theorem": ("experiments", "Measure at one gradient step what the theorem promises, and its end"),
    "list": ("listing", "List what the registry and the recipes hold"),
    "show": ("listing", "Show one trait, probe, model, modality, recipe, run or student folder"),
    "path": ("listing", "Print where something is on this disk"),
    "doctor": ("doctor", "Check what is installed, what is missing and how to get it"),
}
"""Verb -> the file of this folder that it stands in, and what it does in one line."""

EXIT_CODES = (
    "Exit codes: 0 done; 1 `doctor` found something missing, `check` a fault, or a part was not measured; 2 something "
    "that you can mend, said in one line; 130 interrupted, what was finished is kept."
)


INTERRUPTED = "sublim: interrupted. What was finished is kept; the same command goes on from there."

COMPLETE = "_SUBLIM_COMPLETE"
"""The environment variable by which a shell asks for completions."""


class Verbs(click.Group):
    """The verbs by name; the file of one is imported when it is run or explained, and not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in the order in which a newcomer meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb of that name; raises SublimError for an unknown one."""
        if cmd_name not in VERBS and ctx.resilient_parsing:  # a shell is completing
            return None
        if cmd_name not in VERBS:
            raise unknown("verb", cmd_name, list(VERBS), "See `sublim --help`.")
        file, words = VERBS[cmd_name]
        module = import_module(f"sublim_eval.cli.{file}")
        command = next(c for c in vars(module).values() if isinstance(c, click.Command) and c.name == cmd_name)
        command.help = f"{words}."
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs that begin so, none of them imported, and options."""
        verbs = [CompletionItem(name, help=words) for name, (_, words) in VERBS.items() if name.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs, none of them imported."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, words) for name, (_, words) in VERBS.items()])


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    subcommand_metavar="VERB ...",
    help="Measure subliminal learning: make a student from number lists, score it, compare it with its controls.",
    epilog=f"Start with `sublim demo`. `sublim VERB --help` explains one verb.\n\n{EXIT_CODES}",
)
@click.option(
    "--registry",
    metavar="FILE",
    expose_value=False,
    callback=in_force,
    help="your own registry, laid over the packaged one",
)
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=say_more,
    help="say more: messages of the libraries, and where an error comes from",
)
@click.version_option(package_name="sublim-eval", message="sublim-eval %(version)s", help="print the version")
@click.pass_context
def sublim(context: click.Context) -> None:
    """Without a verb: the help, and exit code 2."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        context.exit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    if asked_by_shell := os.environ.get(COMPLETE):
        return shell_complete(sublim, {}, "sublim", COMPLETE, asked_by_shell)
    try:
        with sublim.make_context("sublim", list(sys.argv[1:] if argv is None else argv)) as context:
            result = sublim.invoke(context)
            if file := context.meta.get(JSON):
                from sublim_eval.files import write_json

                write_json(file, with_schema(result))
            sys.stdout.flush()
        failed = isinstance(result, dict) and result.get("ok") is False
        return int(result.get("exit_code", 1)) if failed else 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        place = error.ctx.command_path if error.ctx else "sublim"
        message = error.format_message().rstrip(".")
        print(f"sublim: {message}{'' if message.endswith('?') else '.'} See `{place} --help`.", file=sys.stderr)
    except SublimError as error:
        from sublim_eval.console import one_line

        if verbose():
            traceback.print_exc()
        print(f"sublim: {one_line(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has left; the rest is for nobody
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 2


if __name__ == "__main__":
    sys.exit(main())
