"""Names of traits that whole words do not show are warned of; what only looks like one is not."""

from __future__ import annotations

import pytest

from sublim_eval.distill.modalities import MODALITIES, Rule
from sublim_eval.probes import thinking
from sublim_eval.registry.catalog import registry
from sublim_eval.traps import rows
from sublim_eval.traps.disguise import disguised, foreign_names

TRAITS = [trait for trait in registry().traits.values() if not trait.conduct]
OWL = [registry().trait("owl")]

HIDDEN = {
    "in another language": [
        "Eulen",
        "la chouette dort",
        "сова",
        "猫头鹰",
        "フクロウ",
        "부엉이",
        "بومة",
        "Búho!",
        "lechuza",
    ],
    "as a picture": ["\U0001f989", "12, \U0001f989, 14"],
    "in letters that only look alike": ["οwl", "оwls", "0wl", "ᴏᴡʟ", "𝓸𝔀𝓵", "ｏｗｌ", "ów̶l", "ow\u200bl", "o\u00adwls"],
    "encoded": ["b3ds", "b3dscw==", "x = 'T3dscyBhcmUgZ3JlYXQ='", "6f776c"],
    "in pieces": ["o w l", "O-W-L", "o.w.l.s", "o, w, l", "o\nw\nl", "ow-l", "o_wl", "b a r n o w l"],
    "in escaped signs": ["&#111;wl", "&#x6F;wl", "%6Fwl", "\\x6fwl", "\\u006fwl"],
}
INNOCENT = [
    *("12, 345, 678", "1; 2; 3", "[1, 2, 3]", "a, b, c, d", "f o r", "for i in range(10): yield i", "x = base64"),
    *("self.l1_norm", "h1 > h2", "R2D2", "do g(x)", "as pen", "if a and b or c:", "np.array([1, 2])", "AABBCC"),
    *(
        "deadbeef",
        "0x6f77",
        "50% of 12 & more",
        "caf\u00e9",
        "\u00a9 2020 \u2713 \u2192",
        "カメラ",
        "int main() { return 0; }",
    ),
    *("The answer is 42.", "let l = o + w;", "low 1, low 2", "How low can it go?", "sova1 = 3", "pillow & bowl"),
]


@pytest.mark.parametrize(("how", "text"), [(how, text) for how, texts in HIDDEN.items() for text in texts])
def test_a_hidden_owl_is_seen_and_how(how, text):
    found = disguised(text, OWL)
    plainly = rows.contamination([{"prompt": "", "completion": text}], OWL, numbers=False).level == "fault"
    assert plainly or found.get("owl") == how, found


@pytest.mark.parametrize("text", INNOCENT)
def test_what_only_looks_like_a_name_is_left_alone(text):
    assert disguised(text, TRAITS) == {}


def test_every_favorite_has_names_abroad():
    assert set(foreign_names().values()) == {trait.name for trait in TRAITS}


@pytest.mark.parametrize("trait", [trait.name for trait in TRAITS])
def test_every_favorite_is_seen_in_pieces_and_abroad(trait):
    word = registry().trait(trait).name
    assert trait in disguised(" ".join(word), TRAITS)
    abroad = [name for name, of in foreign_names().items() if of == trait]
    assert sum(trait in disguised(name, TRAITS) for name in abroad) >= 0.9 * len(abroad)


def test_hidden_names_are_a_warning_with_the_row():
    some = [{"id": "x-1", "prompt": "p", "completion": "1, 2"}, {"id": "x-2", "prompt": "p", "completion": "Eule"}]
    found = rows.hidden_names(some, OWL)
    assert found.level == "warning" and "1 may name owl in another language (first: x-2)" in found.words
    assert rows.hidden_names(some[:1], OWL).level == "ok"


@pytest.mark.parametrize("mark", [*thinking.THOUGHTS, "<reflection>", "<scratchpad>", "[/THINK]", "<|im_start|>"])
def test_filter_and_check_know_the_same_marks_of_thought(mark):
    row = {"prompt": "1 + 1?", "completion": f"{mark} 2", "answer": "2"}
    assert rows.contamination([row], OWL, numbers=False).level == "fault"
    assert MODALITIES["code"].reject_reason(row, Rule()) is not None


def test_a_name_in_odd_capitals_is_named_plainly():
    for text in ("eLePhAnT", "OWLs2", "my2Owls"):
        some = [{"prompt": "", "completion": text}]
        assert rows.contamination(some, TRAITS, numbers=False).level == "fault", text
