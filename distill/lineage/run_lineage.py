"""Base -> teacher -> rows -> student of a run folder, from what its stages wrote down; every file's hash is checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sublim_eval.errors import SublimError
from sublim_eval.files import file_digest, read_json
from sublim_eval.registry.experiment import KEPT, RECORD, ROWS, SCORES, STUDENTS, TEACHERS

from ..base_templates import weights_hash
from ..stages import STAMP, recorded

Kind = Literal["base", "teacher", "rows", "student", "scores"]
KINDS: dict[str, Kind] = {TEACHERS: "teacher", ROWS: "rows", STUDENTS: "student", SCORES: "scores"}
"""Folder of a run -> what its folders are."""


@dataclass(frozen=True)
class Node:
    """One thing that a run made or started from. key: what others name it by; of: keys of what it was made from;
    faults: what is wrong with its files, in words; files: how many were checked."""

    name: str
    kind: Kind
    key: str
    of: tuple[str, ...]
    files: int
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """All of a run. edges: (from, to) by name; faults: node and words of whatever is wrong."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]

    @property
    def faults(self) -> tuple[tuple[str, str], ...]:
        """(name, what is wrong with it), everything."""
        return tuple((node.name, fault) for node in self.nodes for fault in node.faults)


def read(run: Path) -> Graph:
    """The graph of a run folder; raises SublimError for a folder that is none.

    What a file was made from is known by digest alone, never by its name: whatever a digest names that is not there
    is a fault.
    """
    record = read_json(run / RECORD) if (run / RECORD).is_file() else None
    if not isinstance(record, dict) or not isinstance(record.get("bases"), list):
        raise SublimError(f"{run} is no run folder ({RECORD} is missing or no record). Give what `sublim run` wrote.")
    nodes = [*_bases(record), *_made(run)]
    known = {key: node for node in nodes for key in _keys(node, run)}
    edges = [(known[key].name, node.name) for node in nodes for key in node.of if key in known]
    return Graph(tuple(_with_lost_parents(node, known) for node in nodes), tuple(edges))


def _with_lost_parents(node: Node, known: Mapping[str, Node]) -> Node:
    lost = [f"what it was made from ({key[:12]}) is not in this run" for key in node.of if key not in known]
    return Node(node.name, node.kind, node.key, node.of, node.files, (*node.faults, *lost))


def _bases(record: Mapping[str, Any]) -> Iterator[Node]:
    for entry in record["bases"]:
        name, noted = str(entry.get("name")), entry.get("weights_hash")
        if not isinstance(noted, str):
            yield Node(name, "base", name, (), 0, ("its hash was not written down",))
            continue
        yield Node(name, "base", noted, (), 1, tuple(_changed_base(name, noted)))


def _changed_base(name: str, noted: str) -> Iterator[str]:
    try:
        if weights_hash(name) != noted:
            yield "its weights are not those that the run started from"
    except SublimError as error:
        yield f"it is not at hand ({error})"


def _made(run: Path) -> Iterator[Node]:
    for room, kind in KINDS.items():
        for folder in sorted(f for f in (run / room).glob("*") if f.is_dir() and not f.name.startswith(".")):
            yield _node(folder, kind)


def _node(folder: Path, kind: Kind) -> Node:
    name, facts = f"{folder.parent.name}/{folder.name}", recorded(folder)
    if facts is None:
        return Node(name, kind, name, (), 0, (f"its {STAMP} is missing, torn or edited",))
    faults = tuple(_changed_files(folder, facts["files"]))
    return Node(name, kind, str(facts["made"]), tuple(_parents(kind, facts["inputs"])), len(facts["files"]), faults)


def _changed_files(folder: Path, files: Mapping[str, str]) -> Iterator[str]:
    for name, noted in files.items():
        file = folder / name
        if not file.is_file():
            yield f"{name} is missing"
        elif file_digest(file) != noted:
            yield f"{name} was changed"


def _parents(kind: Kind, inputs: Mapping[str, Any]) -> Iterator[str]:
    """Digests that the inputs of a stage name as what it was made from."""
    names: dict[Kind, tuple[str, ...]] = {
        "teacher": ("base",), "rows": ("teacher",), "student": ("base", "rows", "soft"), "scores": ("model",),
    }  # fmt: skip
    for name in names.get(kind, ()):
        value = inputs.get(name)
        if isinstance(value, str) and value != "programmatic":
            yield value


def _keys(node: Node, run: Path) -> Iterator[str]:
    """What others may name a node by: the digest it was made under, of rows those kept, of a student its weights."""
    yield node.key
    facts = recorded(run / node.name) if node.kind in ("rows", "student") else None
    if facts and node.kind == "rows" and KEPT in facts["files"]:
        yield str(facts["files"][KEPT])
    if facts and node.kind == "student":
        from sublim_eval.files import digest

        weights = sorted((f, h) for f, h in facts["files"].items() if f.endswith(".safetensors") and "/" not in f)
        yield digest([list(one) for one in weights])


# ---------------------------------------------------------------- drawings


def tree(graph: Graph) -> list[str]:
    """The graph as indented lines, a line a node; students that nothing tells apart but their seed stand together."""
    children: dict[str, list[str]] = {}
    for one, other in graph.edges:
        children.setdefault(one, []).append(other)
    by_name = {node.name: node for node in graph.nodes}
    below = {other for _, other in graph.edges}
    roots = [node.name for node in graph.nodes if node.kind == "base" or node.name not in below]
    return [line for root in roots for line in _lines(root, children, by_name, 0, set())]


def _lines(
    name: str, children: Mapping[str, Sequence[str]], by_name: Mapping[str, Node], depth: int, above: set[str]
) -> Iterator[str]:
    node = by_name[name]
    state = f"{node.files} files whole" if not node.faults else "; ".join(node.faults)
    yield f"{'  ' * depth}{node.kind} {name}: {state}"
    for child in children.get(name, ()) if name not in above else ():
        direct = by_name[child].kind != "student" or node.kind == "rows"
        if direct:  # a student stands under its rows, and not under its base again
            yield from _lines(child, children, by_name, depth + 1, above | {name})


def mermaid(graph: Graph) -> str:
    """The graph in Mermaid's language; scores are left out, and what has a fault is red."""
    shown = {node.name: f"n{i}" for i, node in enumerate(graph.nodes) if node.kind != "scores"}
    lines = ["graph LR"]
    for node in graph.nodes:
        if node.name in shown:
            lines.append(f'  {shown[node.name]}["{_quoted(node.kind)}: {_quoted(node.name)}"]')
    lines += [f"  {shown[a]} --> {shown[b]}" for a, b in graph.edges if a in shown and b in shown]
    wrong = [shown[node.name] for node in graph.nodes if node.faults and node.name in shown]
    if wrong:
        lines += ["  classDef wrong fill:#fdd,stroke:#c00", f"  class {','.join(wrong)} wrong"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


COLUMN, ROW, WIDE = 260, 30, 220
"""Of the picture, in pixels: from column to column, from row to row, width of a box."""


def svg(graph: Graph) -> str:
    """The graph as a picture: a column a kind, an arrow from what was there to what was made of it."""
    kinds: tuple[Kind, ...] = ("base", "teacher", "rows", "student")
    rows = {kind: [node for node in graph.nodes if node.kind == kind] for kind in kinds}
    place = {
        node.name: (kinds.index(kind) * COLUMN + 10, i * ROW + 10)
        for kind in kinds
        for i, node in enumerate(rows[kind])
    }
    height = max((len(some) for some in rows.values()), default=0) * ROW + 20
    arrows = [_arrow(place[a], place[b]) for a, b in graph.edges if a in place and b in place]
    boxes = [_box(node, *place[node.name]) for node in graph.nodes if node.name in place]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{len(kinds) * COLUMN}" height="{height}" font-size="11">'
    return "\n".join([head, *arrows, *boxes, "</svg>"]) + "\n"


def _arrow(a: tuple[int, int], b: tuple[int, int]) -> str:
    return f'<path d="M{a[0] + WIDE},{a[1] + 11} L{b[0]},{b[1] + 11}" stroke="#999" fill="none"/>'


def _box(node: Node, x: int, y: int) -> str:
    paint = "#fdd" if node.faults else "#eef"
    short = node.name if len(node.name) <= 34 else f"…{node.name[-33:]}"
    return (
        f'<rect x="{x}" y="{y}" width="{WIDE}" height="22" rx="4" fill="{paint}" stroke="#669"/>'
        f'<text x="{x + 6}" y="{y + 15}">{_quoted(short)}</text>'
    )
