"""Charts as Vega-Lite: plain data that the page draws. Names stand in the data alone, never in an expression."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sublim_eval.compare.confusion import Confusion, Dose
from sublim_eval.report.plots.learning_curves import Curve
from sublim_eval.report.site.lines import Line
from sublim_eval.stats import KINDS

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
"""Which language the specification is in; nothing is loaded from there."""

VERDICTS = {
    "transferred": ("#D55E00", "circle"),
    "moved away": ("#0072B2", "triangle-down"),
    "small shift": ("#CC79A7", "diamond"),
    "no transfer": ("#009E73", "square"),
    "inconclusive": ("#8a8a8a", "cross"),
}
"""Verdict -> colour (Okabe and Ito's) and shape: neither alone tells them apart."""

Spec = dict[str, Any]


def _spec(values: Sequence[Mapping[str, Any]], **rest: Any) -> Spec:
    fit = {"autosize": {"type": "fit-x", "contains": "padding"}} if rest.get("width") == "container" else {}
    return {"$schema": SCHEMA, "data": {"values": list(values)}, **fit, **rest}


def forests(lines: Iterable[Line], delta: float) -> list[dict[str, Any]]:
    """A forest plot a run, all on one scale: gaps with their intervals, a row an arm, and the band of none."""
    runs: dict[str, list[Line]] = {}
    for line in lines:
        if line.gap is not None:
            runs.setdefault(line.run, []).append(line)
    ends = [end for held in runs.values() for line in held for end in (line.gap, line.gap_low, line.gap_high)]
    known = [end for end in ends if end is not None]
    scale = (min([-delta, *known]), max([delta, *known]))
    return [
        {"run": run or "without a run", "chart": _forest(held, delta, scale, legend=first == 0)}
        for first, (run, held) in enumerate(runs.items())
    ]


def _forest(lines: Sequence[Line], delta: float, scale: tuple[float, float], legend: bool) -> Spec:
    """scale: from where to where all plots of the page go; legend: whether this one explains the marks."""
    several = len({line.probe for line in lines}) > 1
    values = [
        {
            "name": f"{_arm_of(line)} · {line.probe}" if several else _arm_of(line),
            "probe": line.probe,
            "trait": line.trait,
            "gap": line.gap,
            "low": line.gap_low,
            "high": line.gap_high,
            "verdict": line.verdict_kind or "inconclusive",
            "words": line.verdict,
            "seeds": line.n,
        }
        for line in lines
    ]
    y: Spec = {"field": "name", "type": "nominal", "sort": None, "title": None}
    y["axis"] = {"labelLimit": 230, "minExtent": 230, "maxExtent": 230}  # one place for zero on all plots of the page
    x = {"type": "quantitative", "title": "gap", "scale": {"domain": list(scale), "nice": True}}
    domain = {"domain": list(VERDICTS), "range": [colour for colour, _ in VERDICTS.values()]}
    shapes = {"domain": list(VERDICTS), "range": [shape for _, shape in VERDICTS.values()]}
    tooltip = [{"field": name, "type": "nominal"} for name in ("name", "trait", "probe", "words", "seeds")]
    tooltip += [{"field": name, "type": "quantitative", "format": "+.3f"} for name in ("gap", "low", "high")]
    told = {"title": None} if legend else {"legend": None}
    colour = {"field": "verdict", "type": "nominal", "scale": domain, **told}
    return _spec(
        values,
        width="container",
        height={"step": 24},
        layer=[
            {
                "data": {"values": [{"a": -delta, "b": delta}]},
                "mark": {"type": "rect", "opacity": 0.13, "color": "#8a8a8a"},
                "encoding": {"x": {"field": "a", "type": "quantitative"}, "x2": {"field": "b"}},
            },
            {
                "data": {"values": [{"zero": 0}]},
                "mark": {"type": "rule", "color": "#8a8a8a", "strokeDash": [3, 3]},
                "encoding": {"x": {"field": "zero", "type": "quantitative"}},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}, "color": colour},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "gap"},
                    "color": colour,
                    "shape": {"field": "verdict", "type": "nominal", "scale": shapes, **told},
                    "tooltip": tooltip,
                },
            },
        ],
    )


def _arm_of(line: Line) -> str:
    """The arm, which the run above it tells apart; of a model without one its name."""
    return line.arm or line.model


def heat_map(one: Confusion) -> Spec:
    """Shift of every answer (columns) in the students of every trait (rows), in log-odds, mean over seeds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an answer that no student was scored on stays unknown
        shifts = np.nanmean(one.shifts, axis=1)
    values = [
        {"arm": arm, "answer": answer, "shift": float(shift) if np.isfinite(shift) else None, "own": trait == answer}
        for arm, trait, row in zip(one.arms, one.traits, shifts, strict=True)
        for answer, shift in zip(one.answers, row, strict=True)
    ]
    known = np.abs(shifts[np.isfinite(shifts)])
    reach = float(known.max()) if known.size and known.max() > 0 else 1.0
    others = sorted(set(one.answers) - set(one.traits))
    x = {
        "field": "answer",
        "type": "nominal",
        "sort": [*one.traits, *others],
        "title": "answer",
        "axis": {"labelAngle": -45},
    }
    y = {"field": "arm", "type": "nominal", "sort": list(one.arms), "title": "students of"}
    colour = {
        "field": "shift",
        "type": "quantitative",
        "title": "log-odds",
        "scale": {"domain": [-reach, 0, reach], "range": ["#0072B2", "#f7f7f7", "#D55E00"], "type": "linear"},
    }
    text = {"condition": {"test": f"datum.shift < {-0.75 * reach:.6f}", "value": "#fff"}, "value": "#111"}
    tooltip = [{"field": "arm"}, {"field": "answer"}, {"field": "shift", "type": "quantitative", "format": "+.2f"}]
    own = {"condition": {"test": "datum.own", "value": "#000"}, "value": None}
    return _spec(
        values,
        width={"step": 44},
        height={"step": 30},
        encoding={"x": x, "y": y},
        layer=[
            {
                "mark": {"type": "rect", "strokeWidth": 2},
                "encoding": {"color": colour, "stroke": own, "tooltip": tooltip},
            },
            {
                "mark": {"type": "text", "fontSize": 10},
                "encoding": {"text": {"field": "shift", "type": "quantitative", "format": "+.1f"}, "color": text},
            },
        ],
    )


def learning(curves: Iterable[Curve]) -> Spec | None:
    """A line a student: its trait's probability while it trained, on training phrasings."""
    values = [
        {"who": "control" if curve.control else curve.arm, "student": f"{curve.arm} {index}", "step": step, "p": chance}
        for index, curve in enumerate(curves)
        for step, chance in curve.points
    ]
    if not values:
        return None
    who = list(dict.fromkeys(value["who"] for value in values))
    return _spec(
        values,
        width="container",
        height=220,
        mark={"type": "line", "point": {"size": 22}, "strokeWidth": 1.5},
        encoding={
            "x": {"field": "step", "type": "quantitative", "title": "training steps"},
            "y": {"field": "p", "type": "quantitative", "title": "probability of the trait", "scale": {"domainMin": 0}},
            "detail": {"field": "student", "type": "nominal"},
            "color": {
                "field": "who",
                "type": "nominal",
                "title": None,
                "scale": {"domain": who, "range": ["#8a8a8a" if name == "control" else "#D55E00" for name in who]},
            },
            "strokeDash": {
                "field": "who",
                "type": "nominal",
                "title": None,
                "scale": {"domain": who, "range": [[4, 3] if name == "control" else [1, 0] for name in who]},
            },
        },
    )


def dose(one: Dose, delta: float) -> Spec:
    """How the gap goes with how much of one thing; the band within which a gap is none is always in sight."""
    values = [
        {
            "dose": amount,
            "gap": gap.mean,
            "low": gap.low if np.isfinite(gap.low) else None,
            "high": gap.high if np.isfinite(gap.high) else None,
        }
        for amount, gap in one.points
    ]
    amounts = [amount for amount, _ in one.points]
    ticks = {"values": amounts, "labelOverlap": True, "grid": False, "format": "~g"}
    x = {"field": "dose", "type": "quantitative", "title": one.axis, "scale": {"zero": False}, "axis": ticks}
    y = {"type": "quantitative", "title": "gap"}
    once: Spec = {"data": {"values": [{}]}}  # a mark of all data would be drawn for each of them
    band = {"y": {"datum": -delta, "type": "quantitative"}, "y2": {"datum": delta}}
    return _spec(
        values,
        width="container",
        height=220,
        layer=[
            {**once, "mark": {"type": "rect", "opacity": 0.13, "color": "#8a8a8a"}, "encoding": band},
            {**once, "mark": {"type": "rule", "color": "#8a8a8a"}, "encoding": {"y": {"datum": 0}}},
            {"mark": {"type": "line", "color": "#D55E00"}, "encoding": {"x": x, "y": {**y, "field": "gap"}}},
            {
                "mark": {"type": "rule", "color": "#D55E00", "strokeWidth": 2},
                "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 70, "color": "#D55E00", "opacity": 1},
                "encoding": {
                    "x": x,
                    "y": {**y, "field": "gap"},
                    "tooltip": [{"field": name, "type": "quantitative"} for name in ("dose", "gap", "low", "high")],
                },
            },
        ],
    )


def by_question(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Spec | None:
    """A row a question, a mark for each of `names` (student, control, base). rows: {"question", name: share, ...}."""
    values = [
        {"question": row["question"], "who": name, "share": row[name]}
        for row in rows
        for name in names
        if row.get(name) is not None
    ]
    if not values:
        return None
    colours, shapes = ["#D55E00", "#0072B2", "#8a8a8a"], ["circle", "square", "diamond"]
    return _spec(
        values,
        width="container",
        height={"step": 17},
        mark={"type": "point", "filled": True, "size": 60, "opacity": 0.9},
        encoding={
            "x": {"field": "share", "type": "quantitative", "title": "share of the trait", "scale": {"domainMin": 0}},
            "y": {"field": "question", "type": "nominal", "title": None, "sort": None, "axis": {"grid": True}},
            "color": {
                "field": "who",
                "type": "nominal",
                "title": None,
                "scale": {"domain": list(names), "range": colours[: len(names)]},
            },
            "shape": {
                "field": "who",
                "type": "nominal",
                "title": None,
                "scale": {"domain": list(names), "range": shapes[: len(names)]},
            },
            "tooltip": [
                {"field": "question"},
                {"field": "who"},
                {"field": "share", "type": "quantitative", "format": ".3f"},
            ],
        },
    )


if set(VERDICTS) != set(KINDS):
    raise AssertionError("a kind of verdict has no colour: add it to VERDICTS")
