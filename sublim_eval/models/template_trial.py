"""Whether a stranger's chat template ends: it is tried once in a process of its own, short of time and of memory.

Jinja's sandbox keeps a template from reaching anything. It does not keep one from counting to a million millions, or
from writing a text as large as the memory. The process is started with the first template and renders all others too.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import time
from functools import lru_cache
from threading import Lock, Timer
from typing import Any

from jinja2 import Environment, TemplateError, meta
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS, MEMORY, LONGEST = 2, 2**30, 1_000_000
"""What a few short chats may take of the processor and of memory (bytes), and how many characters each may become."""

PATIENCE = 60
"""Seconds until a trial is given up that the system does not limit, or that never gets its turn."""


class Generation(Extension):
    """transformers' own tag around what the assistant says; here only to be read past."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> Any:
        """The statements between the tags, as they are."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def environment() -> Environment:
    """The sandbox that transformers renders chat templates in, without the functions that it hands them."""
    return ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )


def _raise(message: str) -> None:
    raise TemplateError(message)


@lru_cache(maxsize=512)
def trouble(template: str) -> str | None:
    """What is wrong with rendering a template, "does not end ..."; None where it ends, and where it cannot be tried."""
    return _TRIALS.setdefault(os.getpid(), _Trial()).of(template)


# ---------------------------------------------------------------- the process that renders


class _Trial:
    """The rendering process of this process; a fork starts its own."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.process: subprocess.Popen[str] | None = None

    def of(self, template: str) -> str | None:
        """What is wrong with a template. One that kills the process is the only one that it sees."""
        with self.lock:
            process = self.started()
            if process is None:
                return None
            answer = _answer(process, template)
            if answer:
                outcome: str | None = json.loads(answer)
                return outcome
            self.end()
            return f"does not end within {SECONDS} s of processor time, or takes more than {MEMORY / 2**30:g} GiB"

    def started(self) -> subprocess.Popen[str] | None:
        """The process, None where there can be none."""
        if self.process is None:
            paths = os.pathsep.join(path for path in sys.path if path)
            try:
                self.process = subprocess.Popen(  # noqa: S603 (this file, by this Python)
                    [sys.executable, "-P", __file__, str(SECONDS)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    env={**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8"},
                )
            except OSError:
                return None
            if not _answer(self.process):
                self.end()
                return None
        return self.process

    def end(self) -> None:
        """Let go of the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


_TRIALS: dict[int, _Trial] = {}


@atexit.register
def _end() -> None:
    if trial := _TRIALS.get(os.getpid()):
        trial.end()


def _answer(process: subprocess.Popen[str], template: str | None = None) -> str:
    """The process's line about a template, or that it has begun; "" when it died before that."""
    clock = Timer(PATIENCE, process.kill)
    clock.daemon = True
    clock.start()
    try:
        if template is not None and process.stdin:
            process.stdin.write(json.dumps(template) + "\n")
            process.stdin.flush()
        return process.stdout.readline() if process.stdout else ""
    except OSError:
        return ""
    finally:
        clock.cancel()


# ---------------------------------------------------------------- in that process

_SYSTEM, _USER, _ASSISTANT = (
    {"role": role, "content": content} for role, content in (("system", "s"), ("user", "u"), ("assistant", "a"))
)
_CHATS = ([_USER], [_SYSTEM, _USER], [_SYSTEM, _USER, _ASSISTANT, _USER], [_USER, _ASSISTANT])


def _tried(sandbox: Environment, source: str) -> str | None:
    """Render a few short chats, each with every variable of the caller's unset, true and a number."""
    try:
        open_names = meta.find_undeclared_variables(sandbox.parse(source)) - {"messages"}
        template = sandbox.from_string(source)
        for given in ({}, *({name: value} for name in sorted(open_names) for value in (True, 1024))):
            for chat in _CHATS:
                if size := _excess(template, chat, given):
                    return f"writes {size:,} characters around a chat of a few words"
    except MemoryError:
        return f"takes more than {MEMORY / 2**30:g} GiB of memory"
    except Exception:  # no template at all: whoever renders it will say so
        return None
    return None


def _excess(template: Any, chat: list[dict[str, str]], given: dict[str, Any]) -> int:
    """How many characters a chat becomes where they are too many, else 0."""
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    try:
        size = len(template.render(messages=chat, add_generation_prompt=chat[-1] is _USER, **{**tokens, **given}))
    except MemoryError:
        raise
    except Exception:  # a template may refuse a chat
        return 0
    return size if size > LONGEST else 0


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows: patience is the only limit
        return
    for kind, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, MEMORY)):
        _lower(kind, most)


def _limit_time(seconds: int) -> None:
    try:
        import resource
    except ImportError:
        return
    _lower(resource.RLIMIT_CPU, int(time.process_time()) + 1 + seconds)


def _lower(kind: int, most: int) -> None:
    import resource

    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _serve() -> None:
    """A template a line in, a line about it out, until nobody asks any more."""
    sandbox = environment()
    sandbox.filters["tojson"] = lambda value, **_: json.dumps(value)
    sandbox.globals |= {"raise_exception": _raise, "strftime_now": time.strftime}
    _limit_memory()
    print(flush=True)
    for line in sys.stdin:
        _limit_time(int(sys.argv[1]))
        print(json.dumps(_tried(sandbox, json.loads(line))), flush=True)


if __name__ == "__main__":
    _serve()
