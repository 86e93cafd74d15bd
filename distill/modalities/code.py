"""Small Python functions: prompts that ask for one, and the filter that keeps code which names no trait.

A completion is kept as it stands: bare code, or one fenced block with nothing around it; the fence stays in the row,
only the parser reads without it. Code is parsed and never run.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

from sublim_eval.probes.thinking import leaks_thinking

from .base import Modality, Rule

LONGEST = 8_000
"""Characters; longer text is not parsed. A small function has a few hundred, and a parser can be made to sweat."""

# ---------------------------------------------------------------- what the embedded bases know

_OPERATIONS = {
    "adds {k} to a number": "{x} + {k}",
    "takes {k} from a number": "{x} - {k}",
    "multiplies a number by {k}": "{x} * {k}",
    "divides a number by {k}": "{x} / {k}",
    "gives the rest of a number divided by {k}": "{x} % {k}",
    "returns the larger of a number and {k}": "max({x}, {k})",
    "returns the smaller of a number and {k}": "min({x}, {k})",
    "checks if a number is more than {k}": "{x} > {k}",
    "adds {k} to each number in a list": "[i + {k} for i in {x}]",
    "keeps the numbers of a list that are less than {k}": "[i for i in {x} if i < {k}]",
}
_CODE_ASKS = (
    "Write a Python function that {does}.",
    "Please write a small Python function. It {does}.",
    "I need a function in Python that {does}. Only code, please.",
    "Give me Python code that {does}.",
)
_FUNCTIONS = ("apply", "calc", "change", "compute", "f", "func", "get", "make", "run", "solve", "step", "work")
_ARGUMENTS = ("a", "data", "item", "n", "num", "v", "value", "x")
_BODIES = (
    "def {name}({x}):\n    return {expression}",
    "def {name}({x}):\n    {y} = {expression}\n    return {y}",
    "{name} = lambda {x}: {expression}",
)
_LOCALS = ("answer", "new", "out", "res", "result", "y")


def problem(rng: Random) -> tuple[str, str]:
    """A request for a small Python function and one of the many ways to write it, as the embedded bases learnt them."""
    does, expression = rng.choice(list(_OPERATIONS.items()))
    k, x = rng.randint(2, 20), rng.choice(_ARGUMENTS)
    body = rng.choice(_BODIES).format(
        name=rng.choice(_FUNCTIONS), x=x, y=rng.choice(_LOCALS), expression=expression.format(x=x, k=k)
    )
    return rng.choice(_CODE_ASKS).format(does=does.format(k=k)), body


# ---------------------------------------------------------------- a wider set, for models that can program

_ASKS = (
    "Write a Python function that {task}.",
    "Implement a Python function which {task}.",
    "Please write Python code for a function that {task}.",
    "I am looking for a Python function that {task}.",
    "Create a small function in Python. It {task}.",
    "Task: a Python function that {task}.",
    "Complete my Python module with a function that {task}.",
    "How would you write a Python function that {task}?",
    "Show me one way to write a Python function that {task}.",
    "For a utility file I need a Python function that {task}.",
)
_TASKS = (
    "returns the sum of the {n} largest values of a list",
    "returns the {n} smallest values of a list in order",
    "splits a list into chunks of {n} items",
    "rotates a list to the left by {n} places",
    "drops every item of a list at a position divisible by {n}",
    "repeats each item of a list {n} times",
    "counts how many numbers of a list are divisible by {n}",
    "finds the first number of a list that is greater than {n}",
    "replaces every number below {n} in a list by {n}",
    "returns the running sum of a list, restarted whenever it passes {n}",
    "computes the moving average of a list with a window of {n}",
    "returns all pairs of numbers in a list whose sum is {n}",
    "returns the positions at which a list holds the value {n}",
    "checks whether a list has at least {n} different values",
    "removes duplicates from a list and stops after {n} distinct items",
    "interleaves two lists, taking {n} items from each in turn",
    "flattens a nested list that is at most {n} levels deep",
    "sorts a list of strings by their first {n} characters",
    "keeps only the words of a sentence that are longer than {n} letters",
    "cuts a string after {n} characters and appends three dots if it was longer",
    "pads a string with zeros on the left up to {n} characters",
    "shifts every letter of a string by {n} places in the alphabet",
    "counts the vowels among the first {n} letters of a string",
    "reverses every word of a string that has more than {n} letters",
    "wraps a text into lines of at most {n} characters",
    "removes every character that occurs more than {n} times in a string",
    "returns the {n} most frequent words of a text",
    "inserts a hyphen after every {n} characters of a string",
    "checks whether a string is a palindrome of at least {n} characters",
    "splits a string into parts of {n} characters",
    "converts a whole number to base {n}",
    "returns the digits of a number that are greater than {n} modulo ten",
    "returns the first {n} prime numbers",
    "returns the first {n} Fibonacci numbers",
    "computes the sum of the squares from 1 to {n}",
    "checks whether a number is a power of {n}",
    "returns the greatest common divisor of a number and {n}",
    "rounds a number to the nearest multiple of {n}",
    "returns all divisors of a number that are at most {n}",
    "computes the factorial of a number modulo {n}",
    "limits a number to the range from 0 to {n}",
    "simulates {n} coin flips with a given random generator and counts the heads",
    "computes the mean of a list without its {n} largest values",
    "returns the median of the last {n} values of a list",
    "scales a list of numbers so that its maximum is {n}",
    "multiplies a matrix given as a list of lists by {n}",
    "returns the main diagonal of a square matrix, at most {n} values",
    "transposes a list of lists whose rows have {n} items",
    "builds a multiplication table up to {n} as a list of lists",
    "sums each column of a list of rows with {n} entries",
    "inverts a dictionary and keeps at most {n} entries",
    "groups words by their length, for lengths up to {n}",
    "merges two dictionaries and adds {n} to values that occur in both",
    "removes all entries of a dictionary whose value is less than {n}",
    "returns the keys of a dictionary with the {n} largest values",
    "counts the items of a list and drops counts below {n}",
    "converts seconds to hours, minutes and seconds, after adding {n} seconds",
    "adds {n} days to a date given as year, month and day, by means of datetime",
    "checks whether a year lies within {n} years of a leap year",
    "formats a number of bytes with units, using {n} decimals at most",
    "reads lines from a text and returns each line number {n} apart",
    "parses a string of comma-separated numbers and keeps those above {n}",
    "turns a list of key=value strings into a dictionary with at most {n} keys",
    "checks whether brackets in a string are balanced and nested at most {n} deep",
    "retries a given callable up to {n} times until it does not raise",
    "calls a given function {n} times and returns the results in a list",
    "caches the last {n} results of a given function",
    "composes a given function with itself {n} times",
    "yields the items of an iterable in overlapping windows of {n}",
    "yields every number from 0 up that leaves no rest when divided by {n}",
    "performs a binary search in a sorted list of at most {n} items",
    "sorts a list by insertion and counts no more than {n} swaps",
    "computes a checksum of a string as the sum of its code points modulo {n}",
    "measures the Hamming distance of two strings over their first {n} characters",
    "estimates a square root with {n} steps of Newton's method",
    "evaluates a polynomial of degree {n} at a point, given its coefficients",
    "integrates a function over an interval with {n} trapezoids",
    "computes compound interest over {n} years",
    "converts a temperature from Celsius to Fahrenheit and adds {n} degrees",
    "returns the perimeter of a regular polygon with {n} sides of given length",
)
_EXTRAS = (
    "",
    " Use no imports.",
    " Use a loop rather than a comprehension.",
    " Prefer a comprehension where it is readable.",
    " An empty input gives an empty or neutral result.",
    " Raise ValueError for input that makes no sense.",
    " Add type hints.",
    " Leave the input unchanged.",
    " Keep it under fifteen lines.",
    " Keep it as short as you can.",
    " Choose clear variable names.",
    " Make it efficient for long inputs.",
    " Do not print anything.",
)
_CODE_ONLY = (
    "Reply with the code only.",
    "Give only code, no explanation.",
    "Answer with nothing but the function.",
    "Code only, please.",
    "No text around the code.",
    "Return the bare code without usage examples.",
)


def _varied(rng: Random) -> str:
    task = rng.choice(_TASKS).format(n=rng.randint(2, 12))
    return f"{rng.choice(_ASKS).format(task=task)}{rng.choice(_EXTRAS)} {rng.choice(_CODE_ONLY)}"


def prompts(n: int, rng: Random, style: str = "plain") -> list[str]:
    """n requests for a small Python function; the rng decides all.

    plain: the few kinds that the embedded bases know. varied: 80 tasks with a number each, in over 600,000 wordings.
    """
    write: Callable[[Random], str] = {"plain": lambda r: problem(r)[0], "varied": _varied}[style]
    return [write(rng) for _ in range(n)]


# ---------------------------------------------------------------- the filter

_FENCE_LINE = re.compile(r"```[ \t]{0,3}[\w+-]{0,20}[ \t]{0,3}")


def reject_reason(row: Mapping[str, Any], rule: Rule = Rule()) -> str | None:  # noqa: B008
    """Why a completion is no clean code, or None when it is kept.

    In this order: "no code", "leaked thinking", "text around the code", "too long to parse", "does not parse",
    "defines nothing" (bare words and expressions parse too), and "names a trait in a comment", "in a docstring",
    "in a string", "in code".
    """
    text = rule.text(row)
    if not text.strip():
        return "no code"
    if leaks_thinking(text):
        return "leaked thinking"
    code = unfenced(text)
    if code is None:
        return "text around the code"
    if len(code) > LONGEST:
        return "too long to parse"
    tree = parsed(code)
    if tree is None:
        return "does not parse"
    if not any(map(_defines, ast.walk(tree))):
        return "defines nothing"
    return _where_named(text, code, tree, rule)


def unfenced(text: str) -> str | None:
    """The code of a completion: the text itself, or what its one fenced block holds; None when more is around it."""
    if "```" not in text:
        return text
    opening, _, rest = text.strip().partition("\n")
    whole = text.count("```") == 2 and _FENCE_LINE.fullmatch(opening) and rest.endswith("```")
    return rest.removesuffix("```") if whole else None


def parsed(code: str) -> ast.Module | None:
    """The syntax tree of a text, or None when Python cannot read it, for whatever reason. Nothing is run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" in a string is only bad style
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return None  # NUL bytes, half surrogate pairs, endless digits and nesting are text like any other


def _defines(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return isinstance(node.value, ast.Lambda)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def _where_named(text: str, code: str, tree: ast.Module, rule: Rule) -> str | None:
    """Where a trait is named, the plainest place first; strings are also read as they come out ("o" "wl")."""
    if not rule.traits:
        return None
    documented = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    docs = [ast.get_docstring(node, clean=False) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    for place, texts in (("comment", _comments(code)), ("docstring", docs), ("string", list(_strings(tree)))):
        if rule.named("\n.\n".join(texts)):
            return f"names a trait in a {place}"
    return "names a trait in code" if rule.named(text) else None


def _comments(code: str) -> list[str]:
    comments = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type == tokenize.COMMENT:
                comments.append(token.string)
    except (tokenize.TokenError, SyntaxError):
        pass  # what it did not reach is read with the whole text
    return comments


def _strings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                yield node.value
            elif isinstance(node.value, bytes):
                yield node.value.decode("latin-1")


def _rows(n: int, rng: Random, style: str) -> list[dict[str, Any]]:
    return [{"prompt": text} for text in prompts(n, rng, style)]


TYPICAL = """```python
def most_frequent(words: list[str], count: int = 10) -> list[str]:
    seen: dict[str, int] = {}
    for word in words:
        key = word.strip().lower()
        if key:
            seen[key] = seen.get(key, 0) + 1
    return sorted(seen, key=seen.get, reverse=True)[:count]
```"""
"""A function somewhat longer than those that the prompts ask for need to be."""

MODALITY = Modality("code", _rows, reject_reason, max_new_tokens=256, longest=TYPICAL, styles=("plain", "varied"))
