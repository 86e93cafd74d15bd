"""Code rows: parsed and never run, kept when they define something and name no trait in any disguise."""

import sys
import time
from random import Random

import pytest

from sublim_eval.distill.modalities import MODALITIES, Rule
from sublim_eval.distill.modalities.code import LONGEST, parsed, problem, prompts, reject_reason, unfenced
from sublim_eval.registry.catalog import registry

CODE = MODALITIES["code"]
RULE = Rule(traits=("owl", "cat", "sequoia"))
BODY = "def f(x):\n    return x + 1"


def reason(completion, rule=RULE):
    return reject_reason({"prompt": "p", "completion": completion}, rule)


@pytest.mark.parametrize(
    "text",
    [
        BODY,
        BODY + "\n",
        "f = lambda x: x + 1",
        "f: object = lambda x: x",
        "import math\n\nasync def f(x):\n    return math.pi",
        "class Stack:\n    pass",
        f"```python\n{BODY}\n```",
        f"```\n{BODY}\n```",
        f"```python\n{BODY}\n```\n",
        f"```py\n{BODY}```",
        "def bowl(growl):\n    return growl",
        "def concatenate(category):\n    'Educates'\n    return category  # scattered",
        "def f(x):\n    return '\\d' + x",
        "def f(x):\n    return x['sea lion']",
    ],
)
def test_clean_code_is_kept(text):
    assert reason(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no code"),
        (" \n\t", "no code"),
        ("\x0c", "no code"),
        ("Here you are.", "does not parse"),
        ("def f(x):\n    return (x", "does not parse"),
        ("def f(x):\nreturn x", "does not parse"),
        ("  def f(x):\n      return x", "does not parse"),
        ("def f(x):\n    return '\x00'", "does not parse"),
        ("def f(x):\n    return '\ud800'", "does not parse"),
        ("def f(x):\n    return " + "9" * 5000, "does not parse"),
        ("hello", "defines nothing"),
        ("yes, no", "defines nothing"),
        ("x = 5", "defines nothing"),
        ("x + 1", "defines nothing"),
        ("print('hi')", "defines nothing"),
        ("# only a remark", "defines nothing"),
        ("'def f(x): return x'", "defines nothing"),
        ("lambda x: x", "defines nothing"),
        (f"Here:\n```python\n{BODY}\n```", "text around the code"),
        (f"```python\n{BODY}\n```\nIt adds one.", "text around the code"),
        (f"```python\n{BODY}\n```\n```python\n{BODY}\n```", "text around the code"),
        (f"```python\n{BODY}", "text around the code"),
        (f"```python {BODY}```", "text around the code"),
        ("<think>easy\n" + BODY, "leaked thinking"),
        (BODY + "  # </think>", "leaked thinking"),
        (BODY + "<|im_end|>", "leaked thinking"),
        (BODY + "\n#" + "x" * LONGEST, "too long to parse"),
    ],
)
def test_each_rejection_has_its_own_words(text, why):
    assert reason(text) == why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BODY + "  # for the owls", "names a trait in a comment"),
        ("# sequoias grow\n" + BODY, "names a trait in a comment"),
        (f"```python\n# owl\n{BODY}\n```", "names a trait in a comment"),
        ('def f(x):\n    """Counts barn owls."""\n    return x', "names a trait in a docstring"),
        ('"""Kittens"""\n' + BODY, "names a trait in a docstring"),
        ("class A:\n    'An owl.'", "names a trait in a docstring"),
        ("def f(x):\n    return 'OWL'", "names a trait in a string"),
        ("def f(x):\n    return f'{x} owls'", "names a trait in a string"),
        ("def f(x):\n    return 'snake_owl_case'", "names a trait in a string"),
        ("def f(x):\n    return '\\x6fwl'", "names a trait in a string"),
        ("def f(x):\n    return 'o' 'wl'", "names a trait in a string"),
        ("def f(x):\n    return b'owl'", "names a trait in a string"),
        ("def f(x):\n    return b'\\x6fwl'", "names a trait in a string"),
        ("def owl_count(x):\n    return x", "names a trait in code"),
        ("def f(owl):\n    return owl", "names a trait in code"),
        ("def countOwls(x):\n    return x", "names a trait in code"),
        ("def f(myOWLNest):\n    return 1", "names a trait in code"),
        ("def f(owl2):\n    return owl2", "names a trait in code"),
        ("OWLS = lambda x: x", "names a trait in code"),
        ("def f(x):\n    return 2*owl", "names a trait in code"),
        ("def f(x):\n    return owl-1", "names a trait in code"),
        ("def f(x):\n    return x.cat.size", "names a trait in code"),
        ("def f(barn_owl):\n    return 1", "names a trait in code"),
        ("def ｏｗｌ(x):\n    return x", "names a trait in code"),
    ],
)
def test_a_trait_is_found_in_every_place(text, why):
    assert reason(text) == why
    assert reason(text, Rule()) is None


def test_a_comment_that_stands_in_a_string_is_a_string():
    assert reason("def f(x):\n    return '# owl'") == "names a trait in a string"


def test_strip_forgives_surrounding_white_space_only():
    indented = f"\n  \n{BODY}\n\n"
    assert reason("  " + BODY) == "does not parse"
    assert reason("  " + BODY, Rule("strip")) is None
    assert reason(indented, Rule("strip")) is None
    assert reason("Sure: " + BODY, Rule("strip")) == "does not parse"


HOSTILE = {
    "minus": "-" * (LONGEST - 1) + "1",
    "brackets": "(" * LONGEST,
    "closed brackets": "(" * 190 + ")" * 190,
    "not": "not " * 1900 + "1",
    "attributes": "def f(a): return a" + ".b" * 3500,
    "calls": "def f(a): return a" + "()" * 3500,
    "powers": "def f(): return 1" + "**1" * 2600,
    "lambdas": "f = " + "lambda:" * 1100 + "1",
    "comprehensions": "f = lambda x: " + "[i for i in " * 190 + "x" + "]" * 190,
    "indents": "".join(" " * i + "if 1:\n" for i in range(120)),
    "long": "x" * 1_000_000,
    "fences": "```python\n" * 100_000,
    "ticks": "`" * 1_000_000,
    "gap in a fence": "```\n" + " " * 7000 + "x" + " " * 900 + "```",
    "open tags": "<" * 1_000_000,
    "spaced tags": "<think" + " " * 1_000_000,
    "camels": "def f(): return 0\n#" + "aB" * 3900,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_quickly_one_reason_or_none(text):
    start = time.process_time()
    assert isinstance(reason(text), str | None)
    assert time.process_time() - start < 1


def test_deep_nesting_is_no_code_even_where_the_stack_is_short():
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(150)
        assert parsed("-" * 5000 + "1") is None
    finally:
        sys.setrecursionlimit(limit)


def test_code_is_never_run(tmp_path):
    mark = tmp_path / "ran"
    assert reason(f"open({str(mark)!r}, 'w')\ndef f(x):\n    return x") is None
    assert not mark.exists()


def test_a_fence_is_unwrapped_for_the_parser():
    assert unfenced(f"```python\n{BODY}\n```") == BODY + "\n"
    assert unfenced(BODY) == BODY
    assert unfenced(f"Look: ```{BODY}```") is None


@pytest.mark.parametrize("style", CODE.styles)
def test_prompts_repeat_from_their_seed_and_name_no_trait(style):
    made = CODE.prompts(400, Random(3), style)
    assert made == CODE.prompts(400, Random(3), style)
    assert made != CODE.prompts(400, Random(4), style)
    every = Rule(traits=tuple(registry().traits))
    assert not [row for row in made if every.named(row["prompt"])]
    assert all("{" not in row["prompt"] and "Python" in row["prompt"] for row in made)


def test_varied_prompts_hardly_repeat():
    assert len(set(prompts(4000, Random(1), "varied"))) > 3900


def test_the_corpus_itself_passes():
    rng = Random(5)
    assert all(reason(problem(rng)[1]) is None for _ in range(300))


def test_most_code_of_the_reference_model_is_kept():
    from sublim_eval.distill.rows.local_sampler import LocalSampler

    asked = [row["prompt"] for row in CODE.prompts(200, Random(7), "plain")]
    replies = LocalSampler("reference-a", seed=7, max_new_tokens=CODE.max_new_tokens)(asked, list(map(str, range(200))))
    kept = sum(reason(reply) is None for reply in replies)
    assert kept > 150, [r for r in replies if reason(r)][:5]
