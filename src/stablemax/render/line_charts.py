"""Lines through points as SVG within a page: axes with ticks, and the figures in a table beneath."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stablemax.render.axis_ticks import axis_ticks, place_of
from stablemax.render.html_elements import Html, details, element, joined, scrolled

_WIDTH, _HEIGHT = 420, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 26, 44
# Told apart by their marks as well as by their colours, which the page's style has.
_MARKS = "circle", "square", "triangle", "diamond"
_EVERY = 4
_NEAR_END = 0.06


@dataclass(frozen=True)
class Series:
    """A line: places along the axis, from 0 to 1, and heights."""

    name: str
    points: Sequence[tuple[float, float]]
    #: Lines of one number have one colour; what theory allows is dashed and has no marks
    color: int = 0
    is_bound: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines with their axes."""

    title: str
    #: What stands along each axis
    x_name: str
    y_name: str
    x_ticks: Sequence[tuple[float, str]]
    series: Sequence[Series]
    #: Heights grow by factors
    is_log: bool = True
    #: Where they do, what is smaller stands on the floor
    floor: float = 0.0
    #: A column of the page's tables that it belongs to
    column: str | None = None
    #: What the figures beneath are listed by: places, and what stands for them
    listed: Sequence[tuple[float, str]] = ()


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    is_log: bool

    def y(self, value: float) -> float:
        """Return the height of a value in the picture."""
        place = place_of(max(value, self.low), self.low, self.high, is_log=self.is_log)
        return _HEIGHT - _BOTTOM - place * (_HEIGHT - _TOP - _BOTTOM)


def chart(chart: Chart) -> Html:
    """Write a figure: the picture, the key of its lines, and its figures."""
    scale = _scale(chart)
    lines = [part for series in chart.series for part in _line(series, scale)]
    words = f"{chart.y_name or 'height'} against {chart.x_name}: {', '.join(s.name for s in chart.series)}"
    picture = element(
        "svg",
        element("title", chart.title),
        element("desc", words),
        *_axes(chart, scale),
        *lines,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{chart.title}. {words}",
    )
    key = element("ul", *map(_key, chart.series), class_="key")
    figures = details("figures", _figures(chart))
    return element(
        "figure", element("figcaption", chart.title), picture, key, figures, class_="chart", data_column=chart.column
    )


def _scale(chart: Chart) -> _Scale:
    heights = [y for series in chart.series for _, y in series.points if y > 0 or not chart.is_log]
    low, high = max(min(heights, default=0.1), chart.floor), max(heights, default=1.0)
    if chart.is_log:
        high = max(low, high)
        return _Scale(10.0 ** math.floor(math.log10(low)), 10.0 ** (math.floor(math.log10(high)) + 1), is_log=True)
    room = (high - low or 1.0) / 20
    return _Scale(low - room, high + room, is_log=False)


def _x(place: float) -> float:
    return _LEFT + place * (_WIDTH - _LEFT - _RIGHT)


def _axes(chart: Chart, scale: _Scale) -> Iterator[Html]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for tick in axis_ticks(scale.low, scale.high, is_log=scale.is_log):
        y = f"{scale.y(tick):.1f}"
        yield element("line", x1=str(_LEFT), x2=str(right), y1=y, y2=y, class_="grid")
        yield element("text", f"{tick:g}", x=str(_LEFT - 6), y=y, dy="0.35em", text_anchor="end")
    yield element("path", d=f"M{_LEFT} {_TOP}V{bottom}H{right}", class_="axis")
    for place, text in chart.x_ticks:
        x = f"{_x(place):.1f}"
        yield element("line", x1=x, x2=x, y1=str(bottom), y2=str(bottom + 4), class_="axis")
        anchor = "end" if place > 1 - _NEAR_END else "middle"
        yield element(
            "text", text, x=f"{right}" if place > 1 - _NEAR_END else x, y=str(bottom + 17), text_anchor=anchor
        )
    middle = f"{(_LEFT + right) / 2:.1f}"
    yield element("text", chart.x_name, x=middle, y=str(_HEIGHT - 6), text_anchor="middle")
    yield element("text", chart.y_name, x="4", y="12")


def _line(series: Series, scale: _Scale) -> Iterator[Html]:
    places = [(f"{_x(x):.1f}", f"{scale.y(y):.1f}") for x, y in series.points]
    kind = "bound" if series.is_bound else "measured"
    yield element("polyline", points=" ".join(f"{x},{y}" for x, y in places), class_=f"{kind} color-{series.color}")
    if not series.is_bound:
        # A line of one point alone is seen by its mark.
        for x, y in places[series.color :: _EVERY] or places[:1]:
            yield _mark(series.color, x, y)


def _mark(color: int, x: str, y: str) -> Html:
    shapes = {
        "circle": "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0",
        "square": "M-3-3h6v6h-6z",
        "triangle": "M0-4l4 7h-8z",
        "diamond": "M0-4l4 4l-4 4l-4-4z",
    }
    shape = shapes[_MARKS[color % len(_MARKS)]]
    return element("path", d=shape, transform=f"translate({x} {y})", class_=f"mark color-{color}")


def _key(series: Series) -> Html:
    kind = "bound" if series.is_bound else "measured"
    sample = [element("line", x1="0", x2="28", y1="6", y2="6", class_=f"{kind} color-{series.color}")]
    if not series.is_bound:
        sample.append(_mark(series.color, "14", "6"))
    picture = element("svg", *sample, viewBox="0 0 28 12", class_="sample", aria_hidden="true")
    return element("li", picture, f" {series.name}")


def _figures(chart: Chart) -> Html:
    heights = [dict(series.points) for series in chart.series]
    names = dict(chart.listed)
    places = sorted({x for series in chart.series for x, _ in series.points})
    head = element(
        "tr", *(element("th", name, scope="col") for name in (chart.x_name, *(s.name for s in chart.series)))
    )
    rows = [
        element(
            "tr",
            element("th", names.get(place, f"{place:g}"), scope="row"),
            *(element("td", f"{of[place]:.4g}" if place in of else "-") for of in heights),
        )
        for place in places
    ]
    return scrolled(chart.title, element("table", element("thead", head), element("tbody", joined(rows, "\n"))))
