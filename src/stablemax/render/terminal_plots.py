"""Pictures of characters: a heatmap of signs, and a curve; lines of spans, for a terminal as for Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stablemax.render.console import Surface
from stablemax.render.document import Curve, Heatmap, Mark, Span
from stablemax.text.outcomes import Grade, Outcome, sign_words

_MOST_COLUMNS = 160
_CURVE_HEIGHT = 12
_BRAILLE = 0x2800
# Bits of the dots of a Braille character: four rows of two.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def heatmap_lines(block: Heatmap, on: Surface) -> Iterator[list[Span]]:
    """Draw a heatmap: its title, a line of signs for each label, the axis and its ticks."""
    gutter = max(map(len, (*block.labels, block.axis))) + 1
    columns = max(10, min(on.width - gutter, _MOST_COLUMNS))
    yield [Span(block.title, "bold")]
    for label, marks in zip(block.labels, block.rows, strict=True):
        yield [Span(label.ljust(gutter)), *_in_runs(_columns(marks, columns), on)]
    yield from _axis(block.axis, block.ticks, gutter, columns, on)


def _columns(marks: Sequence[Mark], columns: int) -> Iterator[Outcome | Grade | None]:
    """Give each column the worst sign of the values within it; without one, that of the nearest value."""
    within: dict[int, list[Mark]] = {}
    for mark in marks:
        within.setdefault(min(int(mark.place * columns), columns - 1), []).append(mark)
    for column in range(columns):
        middle = (column + 0.5) / columns
        nearest = min(marks, key=lambda mark: abs(mark.place - middle))
        yield max((mark.sign for mark in within.get(column, [nearest])), key=_badness)


def _badness(sign: Outcome | Grade | None) -> int:
    """Rank what a picture shows: failures over what has no value, and that over what is right."""
    if isinstance(sign, Outcome):
        return 10 + sign.severity if sign.is_failure else sign.severity
    return {None: -1, Grade.STABLE: 0, Grade.BROKEN: 30}.get(sign, 20)


def _in_runs(signs: Iterator[Outcome | Grade | None], on: Surface) -> list[Span]:
    """Join equal neighbours to one span."""
    runs: list[Span] = []
    for sign in signs:
        words = None if sign is None else sign_words(sign)
        glyph = " " if words is None else words.ascii_glyph if on.ascii_only else words.glyph
        style = "" if words is None else words.style
        if runs and runs[-1].style == style and runs[-1].text[0] == glyph:
            runs[-1] = Span(runs[-1].text + glyph, style)
        else:
            runs.append(Span(glyph, style))
    return runs


def _axis(
    name: str, ticks: Sequence[tuple[float, str]], gutter: int, columns: int, on: Surface
) -> Iterator[list[Span]]:
    """Draw an axis with its ticks, and beneath it their values, none over another."""
    line, corner, cross = ("-", "+", "+") if on.ascii_only else ("─", "└", "┴")
    drawn = [line] * columns
    drawn[0] = corner
    beneath = [" "] * (columns + gutter)
    free_from = 0
    for place, text in ticks:
        column = min(round(place * columns), columns - 1)
        start = gutter + min(max(column - len(text) // 2, 1 - gutter), columns - len(text))
        if start < free_from:
            continue
        drawn[column] = cross if column else corner
        beneath[start : start + len(text)] = text
        free_from = start + len(text) + 1
    yield [Span(name.ljust(gutter), "dim"), Span("".join(drawn), "dim")]
    yield [Span("".join(beneath).rstrip(), "dim")]


def curve_lines(block: Curve, on: Surface) -> Iterator[list[Span]]:
    """Draw a curve in Braille dots, or in stars: its title, the picture beside its values, the axis and its ends."""
    points = sorted(block.points)
    low, high = (pick(y for _, y in points) for pick in (min, max))
    labels = {0: f"{high:.4g}", _CURVE_HEIGHT // 2: f"{(low + high) / 2:.4g}", _CURVE_HEIGHT - 1: f"{low:.4g}"}
    gutter = max(map(len, (*labels.values(), block.axis))) + 1
    columns = max(10, min(on.width - gutter, _MOST_COLUMNS))
    dots = (1, 1) if on.ascii_only else (2, 4)
    rows = _drawn(_heights(points, columns * dots[0]), low, high, dots)
    yield [Span(block.title, "bold")]
    for row, text in enumerate(rows):
        yield [Span(labels.get(row, "").rjust(gutter - 1) + " ", "dim"), Span(text, "cyan")]
    yield from _axis(block.axis, block.ticks, gutter, columns, on)


def _heights(points: Sequence[tuple[float, float]], count: int) -> list[float]:
    """Follow the straight lines between points at equal distances of x."""
    first, last = points[0][0], points[-1][0]
    heights, i = [], 0
    for column in range(count):
        x = first + (last - first) * column / max(count - 1, 1)
        while i < len(points) - 2 and points[i + 1][0] < x:
            i += 1
        (x0, y0), (x1, y1) = points[i], points[min(i + 1, len(points) - 1)]
        heights.append(y0 if x1 == x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0))
    return heights


def _drawn(heights: Sequence[float], low: float, high: float, dots: tuple[int, int]) -> list[str]:
    """Set a dot for each height, and those between it and the one before."""
    across, down = dots
    tall = _CURVE_HEIGHT * down
    cells = [[0] * (len(heights) // across) for _ in range(_CURVE_HEIGHT)]
    before = None
    for column, height in enumerate(heights):
        level = round((high - height) / (high - low) * (tall - 1)) if high > low else tall // 2
        between = range(min(level, before), max(level, before)) if before is not None else ()
        for dot in (level, *between):
            cells[dot // down][column // across] |= _DOTS[dot % down][column % across] if down > 1 else 1
        before = level
    glyph = (lambda bits: chr(_BRAILLE + bits) if bits else " ") if down > 1 else (lambda bits: "*" if bits else " ")
    return ["".join(map(glyph, row)).rstrip() for row in cells]
