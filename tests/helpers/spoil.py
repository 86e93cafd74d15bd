"""Files as they are found in the wild: a good one with something wrong in it, from a seed."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

TEXTS = (
    *(
        "",
        " ",
        "\x00",
        "\x1b[2J",
        "\u202eolw",
        "\u00a0",
        "\u2028",
        "\ufeff",
        "\ud83e",
        "***",
        "...",
        "-",
        "{",
        "}",
        "{foo}",
    ),
    *(
        "{plural.__class__}",
        "%s",
        "..",
        "../..",
        "/etc/passwd",
        "a/b",
        "NaN",
        ".nan",
        "1e999",
        "null",
        "~",
        "yes",
        "é" * 9,
    ),
    *(
        "owl",
        "owls",
        "Owl Owl",
        "owl" * 500,
        "x" * 5000,
        "1, 2, 3",
        "\\",
        "$(ls)",
        "`ls`",
        "<think>",
        "</think>",
        "\ud83e\udd89",
    ),
)
NUMBERS = (
    0,
    -1,
    1,
    2,
    3,
    10,
    10**9,
    10**30,
    -(10**30),
    0.5,
    -0.0,
    1e-320,
    1e308,
    float("nan"),
    float("inf"),
    -float("inf"),
)
YAML = (
    *(
        ".nan",
        ".inf",
        "-.inf",
        "2024-13-45",
        "2024-01-01",
        "!!int x",
        "!!bool x",
        "!!float ''",
        "!!binary é",
        "!!set {a}",
    ),
    *(
        "&a [*a]",
        "*b",
        "[[[",
        "{",
        "}",
        "'",
        '"',
        "|",
        "> x",
        "? y",
        "- z",
        "\t",
        "@",
        "%",
        "!",
        "!!python/name:os.system x",
    ),
    *(
        "9" * 5000,
        "[" * 60 + "]" * 60,
        "[" * 1200 + "]" * 1200,
        "0o9",
        "0x_",
        "1_000",
        "~",
        "null",
        "yes",
        "[]",
        "{}",
        "[a, b]",
    ),
    *(
        "{plural}",
        "{foo}",
        "'{foo} {plural}'",
        "<<: x",
        "a: b: c",
        "# nothing",
        "1e999",
        "1e-4",
        "-1",
        "0",
        "''",
        "'***'",
        "...",
    ),
    *(
        "12:30:45",
        "0.1",
        "[1, 1]",
        "[owl, owl]",
        "owl",
        "reference-a",
        "trait",
        "control",
        "variant",
        "nobody/model",
        "1" * 20,
    ),
)


def odd(rng: Random, depth: int = 0) -> Any:
    """Some value of JSON, seldom one that belongs there."""
    kind = rng.randrange(8 if depth < 3 else 5)
    if kind == 0:
        return rng.choice((None, True, False))
    if kind < 3:
        return rng.choice(NUMBERS)
    if kind < 5:
        return rng.choice(TEXTS)
    many = [odd(rng, depth + 1) for _ in range(rng.randrange(3))]
    return many if kind < 7 else {rng.choice(TEXTS): value for value in many}


def value(rng: Random, good: Any) -> Any:
    """A JSON value with one part of it gone, doubled, of another type, or odd."""
    made = copy.deepcopy(good)
    holder, places = made, [made]
    while isinstance(holder, dict | list) and holder and (holder is made or rng.random() < 0.6):
        key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
        places.append((holder, key))
        holder = holder[key]
    if len(places) == 1:
        return odd(rng)
    inside, key = places[-1]
    change = rng.randrange(5)
    if change == 0:
        del inside[key]
    elif change == 1 and isinstance(inside, dict):
        inside[rng.choice(TEXTS)] = inside[key]
    elif change == 2 and isinstance(inside[key], int | float) and not isinstance(inside[key], bool):
        inside[key] = rng.choice((inside[key] + 1, inside[key] - 1, inside[key] * 2, -inside[key], str(inside[key])))
    else:
        inside[key] = odd(rng)
    return made


def text(rng: Random, good: str) -> bytes:
    """A text with a line or a few bytes of it gone, doubled, moved or odd."""
    lines = good.splitlines(keepends=True) or [""]
    at, change = rng.randrange(len(lines)), rng.randrange(9)
    if change == 0:
        del lines[at]
    elif change == 1:
        lines.insert(at, rng.choice(lines))
    elif change == 2:
        lines[at] = " " * rng.randrange(5) + lines[at].lstrip(" ")
    elif change == 3:
        lines[at] = lines[at].rstrip("\n") + rng.choice(TEXTS) + "\n"
    elif change == 4:
        return good.encode()[: rng.randrange(len(good) + 1)]
    elif change == 5:
        raw, place = bytearray(good.encode()), rng.randrange(len(good) + 1)
        raw[place:place] = rng.choice((b"\xff", b"\x00", b"\r", b"\t", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x07"))
        return bytes(raw)
    else:
        return good.encode()
    return "".join(lines).encode("utf-8", "surrogatepass")


def yaml_value(rng: Random, good: str) -> bytes:
    """A YAML file with the value of one or two keys replaced; now and then spoilt as a text besides."""
    lines = good.splitlines()
    for _ in range(rng.choice((1, 1, 1, 2))):
        at = rng.choice([n for n, line in enumerate(lines) if ":" in line] or [0])
        parts = lines[at].split(": ")
        place = rng.randrange(1, len(parts)) if len(parts) > 1 else 0
        parts[place] = rng.choice(YAML) + rng.choice(("", ", " + parts[place].partition(", ")[2], "}", "]"))
        lines[at] = ": ".join(parts)
    whole = "\n".join(lines) + "\n"
    return text(rng, whole) if rng.random() < 0.3 else whole.encode("utf-8", "surrogatepass")


def dumped(made: Any) -> str:
    """JSON as Python writes it, NaN and halves of surrogate pairs included."""
    return json.dumps(made)
