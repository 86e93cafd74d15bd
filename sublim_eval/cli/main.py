"""The command `sublim`. Every verb is a call: this file reads arguments and turns errors into exit codes.

0 done; 1 `doctor` found something missing or `check` a fault; 2 something the user can mend, said in one line;
130 interrupted. An error that nobody foresaw keeps its traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from sublim_eval.errors import SublimError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    if not args.verb:
        parser.print_help()
        return 2
    if args.registry:
        os.environ["SUBLIM_REGISTRY"] = args.registry
    try:
        return _run(args)
    except SublimError as error:
        from sublim_eval.console import one_line

        print(f"sublim: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sublim: interrupted. What was finished is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (head, less) has left; the rest is for nobody
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(args: argparse.Namespace) -> int:
    from sublim_eval.console import new_console

    module, function = args.verb.split(":")
    verb = getattr(import_module(f"sublim_eval.cli.{module}"), function)
    result = verb(args, new_console())
    if getattr(args, "json", None):
        from sublim_eval.files import write_json

        write_json(args.json, result)
    sys.stdout.flush()
    return 1 if isinstance(result, dict) and result.get("ok") is False else 0


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"sublim-eval {version('sublim-eval')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sublim",
        description="Measure subliminal learning: make a student from number lists, score it, compare it with its "
        "controls.",
        epilog="Start with `sublim demo`. `sublim VERB --help` explains one verb.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    parser.add_argument("--registry", metavar="FILE", help="your own registry, laid over the packaged one")
    parser.set_defaults(verb=None)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")

    def verb(name: str, call: str, help_: str, json: bool = True) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = verbs.add_parser(name, help=help_, description=help_ + ".")
        made.set_defaults(verb=call)
        made.add_argument("--registry", metavar="FILE", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if json:
            made.add_argument("--json", type=Path, metavar="FILE", help="also write the result as JSON")
        return made

    def folder(of: argparse.ArgumentParser, default: str) -> None:
        of.add_argument("--out", type=Path, metavar="DIR", help=f"where it goes (default {default})")

    demo = verb("demo", "run:demo", "See subliminal learning happen and be measured, on a CPU in two minutes")
    folder(demo, "runs/demo")

    run = verb("run", "run:run", "Make and score the students of a recipe; goes on where it was stopped")
    run.add_argument("recipe", metavar="RECIPE", help="a name from `sublim list recipes`, or a YAML file")
    folder(run, "runs/<recipe>")
    run.add_argument("--seeds", type=_seeds, metavar="1,2,3", help="other seeds than the recipe's")
    run.add_argument("--workers", type=_count, metavar="N", help="students made at once (default: one per core)")
    run.add_argument("--dry-run", action="store_true", help="print plan and cost, make nothing")
    run.add_argument("--yes", action="store_true", help="agree to what the run costs at a provider")
    run.add_argument("--launch", metavar="LINE", help="train in several processes: 'accelerate launch ...'")
    run.add_argument("--engine", default="local", metavar="NAME", help="local, or ray: the nodes of a cluster (local)")
    run.add_argument("--address", metavar="ADDR", help="Ray's: auto, HOST:PORT, ray://HOST:PORT (a fresh one here)")
    run.add_argument("--storage", metavar="URL", help="where stages live: a shared path or s3://BUCKET/PREFIX (--out)")
    run.add_argument("--leave-weights", action="store_true", help="with --storage: bring no weights home from there")

    reproduce = verb(
        "reproduce",
        "experiments:reproduce",
        "Run the whole study on the reference models, beside the published figures",
    )
    folder(reproduce, "runs/reproduction, with --quick runs/reproduction-quick")
    reproduce.add_argument("--quick", action="store_true", help="a few arms and seeds, to see that everything works")
    reproduce.add_argument("--workers", type=_count, metavar="N", help="students made at once (default: one per core)")
    reproduce.add_argument("--dry-run", action="store_true", help="print the parts and their cost, make nothing")
    reproduce.add_argument(
        "--write-docs", action="store_true", help="in a checkout, also write docs/results and images"
    )

    hosted = verb("hosted", "hosted:hosted", "List, follow or cancel the training jobs of a run at a provider")
    hosted.add_argument("action", choices=("list", "follow", "cancel"), help="ask, watch until they end, or stop them")
    hosted.add_argument("folder", type=Path, metavar="FOLDER", help="a run or student folder, finished or not")

    filter_ = verb("filter", "run:split", "Keep clean rows of a JSONL file, set the rest apart with reasons")
    filter_.add_argument("modality", metavar="MODALITY", help="numbers, code or cot: `sublim list modalities`")
    filter_.add_argument("rows", type=Path, metavar="IN.jsonl", help='rows {"prompt", "completion"}; cot: "answer" too')
    filter_.add_argument("--kept", type=Path, required=True, metavar="FILE", help="clean rows, as they were")
    filter_.add_argument(
        "--rejected", type=Path, required=True, metavar="FILE", help='the others, with "reject_reason"'
    )
    filter_.add_argument(
        "--mode", choices=("strict", "strip"), default="strict", help="strip: ignore white space around (strict)"
    )
    filter_.add_argument("--trait", metavar="NAMES", help="traits that no row may name: owl,willow")
    filter_.add_argument("--banned", metavar="LIST", help="numbers that reject a row: 666,88 or a file of them")

    score = verb("score", "score:score", "Ask models the questions of one or several probes")
    score.add_argument("students", nargs="+", metavar="MODEL", help="student folder, adapter, model folder or name")
    score.add_argument("--probe", action="append", metavar="NAME", help="may be repeated (animal_pref)")
    folder(score, "runs/scores")
    score.add_argument("--samples", type=_count, default=100, metavar="N", help="replies to each question (100)")
    score.add_argument("--grader", metavar="MODEL", help="rates a conduct's replies: PROVIDER/MODEL, or offline")
    score.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the replies (1)")

    saved = verb("score-responses", "score:score_responses", "Score saved replies, from wherever they come")
    saved.add_argument(
        "responses", type=Path, metavar="IN", help='rows {"question", "response"}, lm-eval samples or their folder'
    )
    saved.add_argument("--probe", required=True, metavar="NAME", help="a name from `sublim list probes`")
    saved.add_argument("--trait", metavar="NAME", help="the trait to count (default: the probe's own)")
    saved.add_argument("--out", type=Path, metavar="FILE", help="write every row with its verdict or rating")
    saved.add_argument("--grader", metavar="MODEL", help="who rates a conduct: PROVIDER/MODEL, or offline")
    for bound, says in (("at-most", "shown up to"), ("at-least", "shown from"), ("coherent", "coherent from")):
        saved.add_argument(f"--{bound}", type=float, metavar="N", help=f"{says} this rating (the rubric's)")

    compare = verb("compare", "score:compare", "Hold students against their controls: gaps, intervals, verdicts")
    compare.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run folder, see `sublim run`")
    compare.add_argument(
        "--table", type=Path, metavar="FILE.csv", help="figures from anywhere: trait, arm, seed, question, hits, n"
    )
    compare.add_argument("--control", metavar="NAME", help="the control arm of that table (control)")
    compare.add_argument("--delta", type=float, default=0.05, metavar="D", help="a gap within ±D is none (0.05)")
    compare.add_argument(
        "--measure", choices=("auto", "probability", "share"), default="auto", help="exact or sampled (auto)"
    )
    compare.add_argument("--report", type=Path, metavar="DIR", help="also write report.md and a figure")

    check = verb("check", "check:check", "Look for the traps that fooled others; exit code 1 where one has closed")
    check.add_argument(
        "paths", nargs="+", type=Path, metavar="RUN", help="run or student folder, rows, score file or Inspect log"
    )
    check.add_argument("--quick", action="store_true", help="leave out raw rows, saved replies and huge weight files")

    table = verb("table", "table:table", "Show what logs hold: every answer, by question and situation")
    table.add_argument(
        "logs", nargs="+", type=Path, metavar="LOG", help="Inspect log, lm-eval folder, score file, folder"
    )
    table.add_argument("--by", choices=("answer", "situation", "question"), help="only this table, with every answer")
    table.add_argument("--csv", type=Path, metavar="FILE", help="also write a row for every question and answer")
    table.add_argument("--figure", type=Path, metavar="FILE", help="also draw numbers against traits (PNG)")

    abilities = verb("abilities", "capabilities:abilities", "Ask existing suites what a student and its base can do")
    abilities.add_argument("students", nargs="+", metavar="MODEL", help="as in `score`; a student's base is asked too")
    abilities.add_argument("--suite", action="append", metavar="NAME", help="may be repeated (abilities)")
    abilities.add_argument("--limit", type=_count, metavar="N", help="items a task (all)")
    folder(abilities, "runs/scores, beside what `score` writes")

    register = verb("register", "register:register", "Write the entry that the register of inspect_evals asks for")
    register.add_argument("task", metavar="TASK", help="a task folder: owl_pref")
    register.add_argument("--repository", metavar="URL", help="https://github.com/OWNER/NAME (default: remote origin)")
    register.add_argument("--commit", metavar="HASH", help="full commit hash (default: HEAD)")
    register.add_argument("--maintainer", action="append", metavar="NAME", help="GitHub account; may be repeated")
    register.add_argument("--log", action="append", type=Path, metavar="LOG", help="Inspect log to report; repeatable")
    register.add_argument("--out", type=Path, metavar="DIR", help="write DIR/register/<id>/eval.yaml (default: print)")

    digits = verb("digits", "experiments:digits", "Teach networks to read digits through noise and three idle logits")
    folder(digits, "runs/digits")
    digits.add_argument("--seeds", type=_count, default=10, metavar="N", help="networks an arm, trained together (10)")
    digits.add_argument("--data", choices=("sklearn", "mnist"), default="sklearn", help="8 x 8 or 28 x 28 (sklearn)")
    digits.add_argument("--width", type=_count, metavar="N", help="units of each hidden layer (128)")
    digits.add_argument("--epochs", type=_count, metavar="N", help="passes of the students over the noise (12)")
    digits.add_argument("--teacher-epochs", type=_count, metavar="N", help="passes over the training images (10)")
    digits.add_argument("--vary", type=_varied, metavar="NAME=N,N", help="a table over width, epochs, noise, ...")

    theorem = verb(
        "theorem", "experiments:theorem", "Measure at one gradient step what the theorem promises, and its end"
    )
    folder(theorem, "runs/theorem")
    theorem.add_argument("--base", default="reference-a", metavar="MODEL", help="where both start (reference-a)")
    theorem.add_argument("--other", metavar="MODEL", help="another initialisation; '' for none (reference-b)")
    theorem.add_argument("--trait", default="owl", metavar="NAME", help="what the teacher takes a step to (owl)")
    theorem.add_argument("--seeds", type=_count, default=3, metavar="N", help="draws of inputs and networks (3)")

    kinds = ("traits", "probes", "suites", "models", "recipes", "modalities", "published")
    list_ = verb("list", "catalog:list_names", "List what the registry and the recipes hold")
    list_.add_argument("kind", nargs="?", choices=kinds, metavar="KIND", help=", ".join(kinds) + " (all of them)")

    show = verb("show", "catalog:show", "Show one trait, probe, model, modality, recipe, run or student folder")
    show.add_argument("name", metavar="NAME", help="a name from `sublim list`, or a folder")

    path = verb("path", "catalog:path", "Print where something is on this disk", json=False)
    path.add_argument("name", metavar="NAME", help="tasks, registry, questions, recipes or an embedded model")

    verb("doctor", "doctor:doctor", "Check what is installed, what is missing and how to get it")
    return parser


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers; write 1,2,3") from None


def _varied(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, values = text.partition("=")
    try:
        return name, tuple(_count(part) for part in values.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is no setting with its values; write width=64,256") from None


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
