"""YAML from the wild is read, or refused in one sentence with file and line."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from sublim_eval import strict_yaml
from sublim_eval.errors import SublimError


@dataclass(frozen=True)
class Sheet:
    """What these files are read as."""

    about: str
    size: int = 1
    share: float = 0.5
    parts: tuple[str, ...] = ()


UNREADABLE = (
    *(
        "2024-13-45",
        "2024-02-30 99:99:99",
        "!!int x",
        "!!int ''",
        "!!bool x",
        "!!float y",
        "!!timestamp x",
        "0x_",
        "0b_",
    ),
    *("!!binary é", "!!set 3", "!!omap 4", "9" * 5000, "!!python/name:os.system ''"),
)


def sheet(file: Path, text: str | bytes) -> Sheet:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    made: Sheet = strict_yaml.build(Sheet, strict_yaml.read(file, "sheet"))
    return made


@pytest.mark.parametrize("value", UNREADABLE)
@pytest.mark.parametrize("key", ["about", "size", "share"])
def test_what_no_constructor_takes_is_refused_with_its_line(value: str, key: str, tmp_path: Path) -> None:
    text = f"{key}: {value}\n" if key == "about" else f"about: it\n{key}: {value}\n"
    with pytest.raises(SublimError, match=rf"in\.yaml:{1 + (key != 'about')}: .*Mend that") as error:
        sheet(tmp_path / "in.yaml", text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "deep",
    ["[" * 1100 + "]" * 1100, "{a: " * 1100 + "}" * 1100, "\n" + "\n".join(" " * n + "- " * 3 for n in range(400))],
)
def test_what_is_nested_too_deeply_is_refused_with_its_line(deep: str, tmp_path: Path) -> None:
    with pytest.raises(SublimError, match=r"in\.yaml:\d+: .*(nested too deeply|must be|not valid YAML)"):
        sheet(tmp_path / "in.yaml", f"about: it\nparts: {deep}\n")


def test_the_line_of_deep_nesting_is_the_one_that_nests(tmp_path: Path) -> None:
    with pytest.raises(SublimError, match=r"in\.yaml:3: lists or mappings are nested too deeply"):
        sheet(tmp_path / "in.yaml", f"about: it\nsize: 1\nparts: {'[' * 1100 + ']' * 1100}\nshare: 0.1\n")


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(SublimError, match=r"in\.yaml:2: not valid YAML"):
        sheet(tmp_path / "in.yaml", b"about: it\nparts: [\xff]\n")
    with pytest.raises(SublimError, match=r"in\.yaml:3: not valid YAML"):
        sheet(tmp_path / "in.yaml", b"about: it\nsize: 1\nparts: [\x07]\n")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert sheet(tmp_path / "in.yaml", "\ufeffabout: it\n").about == "it"


def test_the_nearest_place_is_the_value_or_what_stands_around_it(tmp_path: Path) -> None:
    (tmp_path / "in.yaml").write_text("a:\n  b:\n    - one\n    - two\nc: 3\n")
    root = strict_yaml.read(tmp_path / "in.yaml", "sheet")
    lines = {("a", "b", 1): 4, ("a", "b"): 3, ("a", "x", 1): 2, ("c",): 5, ("z",): 1, (): 1}
    assert {path: int(str(root.nearest(*path)).rpartition(":")[2]) for path in lines} == lines
