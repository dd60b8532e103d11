"""Plots as SVG, by hand: bars and lines, a few lines each, readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bench.report import PLOTS, SIZE_NAMES

Json = dict[str, Any]

WIDTH, HEIGHT = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 80, 24, 56, 40
COLOURS = ("#8a8f98", "#2f81f7", "#d29922", "#bc4c00", "#8957e5", "#1a7f37")
"""Each is far enough from white and from black."""

_STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #57606a } .title { font-size: 14px; font-weight: 600; fill: #24292f }
.grid { stroke: #57606a; stroke-opacity: .25 } .value { font-size: 10px }
@media (prefers-color-scheme: dark) { text { fill: #9da7b3 } .title { fill: #e6edf3 } .grid { stroke: #9da7b3 } }"""

Points = Sequence[tuple[float, float]]


class _Axis:
    """A logarithmic scale from pixels `start` to `end` that holds `values`, from a power of ten to the next."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low = math.floor(math.log10(min(values)) + 1e-9)
        self._high = max(self._low + 1, math.ceil(math.log10(max(values)) - 1e-9))
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return round(self._start + share * (self._end - self._start), 1)

    @property
    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self._low, self._high + 1)]


def lines(title: str, unit: str, across: str, series: Mapping[str, Points]) -> str:
    """Points joined, both axes logarithmic. series: by name, (x, y) ascending, above zero."""
    every = [point for points in series.values() for point in points]
    x = _Axis([point[0] for point in every], LEFT, WIDTH - RIGHT)
    y = _Axis([point[1] for point in every], HEIGHT - BOTTOM, TOP)
    parts = [*_grid(y), *(_text(x.at(tick), HEIGHT - BOTTOM + 18, _number(tick), "middle") for tick in x.ticks)]
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 6, across, "end"))
    for colour, points in zip(COLOURS, series.values(), strict=False):
        path = " ".join(f"{x.at(a)},{y.at(b)}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x.at(a)}" cy="{y.at(b)}" r="3" fill="{colour}"/>' for a, b in points]
    return _drawing(f"{title} ({unit})", list(series), parts)


def bars(title: str, unit: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """A group of bars each, the axis logarithmic. groups: by label, the value of each name, above zero."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    values = [value for group in groups.values() for value in group.values()]
    y = _Axis([min(values) * 0.6, max(values)], HEIGHT - BOTTOM, TOP)
    step = (WIDTH - LEFT - RIGHT) / len(groups)
    wide = min(48.0, step * 0.8 / len(names))
    parts = _grid(y)
    for number, (label, group) in enumerate(groups.items()):
        middle = LEFT + step * (number + 0.5)
        parts.append(_text(middle, HEIGHT - BOTTOM + 18, label, "middle"))
        for place, name in enumerate(names):
            if name in group:
                left = round(middle + (place - len(names) / 2) * wide, 1)
                top = y.at(group[name])
                colour = COLOURS[place % len(COLOURS)]
                tall = round(HEIGHT - BOTTOM - top, 1)
                parts.append(f'<rect x="{left}" y="{top}" width="{wide - 3:.1f}" height="{tall}" fill="{colour}"/>')
                parts.append(_text(left + wide / 2 - 1.5, top - 4, _number(group[name]), "middle", "value"))
    return _drawing(f"{title} ({unit})", names, parts)


def _grid(y: _Axis) -> list[str]:
    parts: list[str] = []
    for tick in y.ticks:
        at = y.at(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(_text(LEFT - 8, at + 4, _number(tick), "end"))
    return parts


def _drawing(title: str, names: Sequence[str], parts: Sequence[str]) -> str:
    legend: list[str] = []
    left = float(LEFT)
    for colour, name in zip(COLOURS, names, strict=False):
        legend.append(f'<rect x="{left}" y="30" width="12" height="12" fill="{colour}"/>')
        legend.append(_text(left + 18, 41, name))
        left += 40 + 7 * len(name)
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>'
    body = [head, f"<style>{_STYLE}</style>", _text(LEFT, 18, title, kind="title"), *legend, *parts, "</svg>", ""]
    return "\n".join(body)


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text x="{round(x, 1)}" y="{round(y, 1)}" text-anchor="{anchor}"{of_kind}>{escape(words)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}".removesuffix(".0") if value >= 0.1 else f"{value:g}"


def drawings(result: Json) -> dict[str, str]:
    """The plots of a run, by file name without suffix."""
    memory: dict[str, list[tuple[float, float]]] = {}
    for one in result["crowd"]:
        if one["servers"]["processes"] <= 1 or one["way"] == "direct":
            name = f"{one['way']}{', asleep' if one['asleep'] else ''}"
            memory.setdefault(name, []).append(
                (one["sessions"], (one["total"]["pss"] or one["total"]["private"]) / 1e6)
            )
    trips = {
        SIZE_NAMES[int(size)]: {name: at["p50"] for name, at in ways.items()}
        for size, ways in result["round_trip"].items()
    }
    rates = {
        f"{count} session{'s' if count != '1' else ''}": {name: at["p50"] for name, at in ways.items()}
        for count, ways in result["rate"].items()
    }
    return {
        "memory": lines(PLOTS["memory"], "MB, proportional", "sessions", memory),
        "round-trip": bars(PLOTS["round-trip"], "µs", trips),
        "rate": bars(PLOTS["rate"], "1/s", rates),
    }
