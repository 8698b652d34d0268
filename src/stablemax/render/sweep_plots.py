"""The curves of a sweep: errors beside what theory allows, and outputs that are one number."""

from __future__ import annotations

import math
from collections.abc import Iterator

from stablemax.render.plots import Plot, PlottedLine
from stablemax.results import Sweep, SweptLine

FLOOR_U = 1e-3
"""What is less is drawn here: errors of tiny values fall to 1e-300 u, and would leave no room for the others."""


def plots(result: Sweep, *, details: bool = False, show_values: bool = False) -> list[Plot]:
    """Return a plot of errors for each format and operation with a bound, and with `show_values` of outputs."""
    groups: dict[tuple[str, str], list[SweptLine]] = {}
    for line in result.lines:
        if line.points:
            groups.setdefault((line.format, line.operation), []).append(line)
    found = []
    for (fmt, operation), lines in groups.items():
        title = f"{operation} in {fmt}"
        has_bounds = any(point.bound_u is not None for line in lines for point in line.points)
        curves = [c for line in lines for c in _errors(line)] if details or has_bounds else []
        if curves:
            found.append(
                Plot(
                    f"{title}: error and bound",
                    result.over,
                    f"error in u, {FLOOR_U:g} or more",
                    curves,
                    result.is_log,
                    is_log_y=True,
                )
            )
        values = [c for line in lines for c in _outputs(line)] if show_values else []
        if values:
            found.append(Plot(title, result.over, operation, values, result.is_log))
    return found


def _errors(line: SweptLine) -> Iterator[PlottedLine]:
    """Yield the errors of a formula and its bound, none below the floor: a logarithmic axis has no 0."""
    for figure, is_bound in (("error_u", False), ("bound_u", True)):
        values = [(point.value, getattr(point, figure)) for point in line.points]
        points = [(x, max(y, FLOOR_U)) for x, y in values if y is not None and y < math.inf]
        if points:
            yield PlottedLine(line.label, points, is_bound)


def _outputs(line: SweptLine) -> Iterator[PlottedLine]:
    points = [(p.value, p.values[0]) for p in line.points if len(p.values) == 1 and math.isfinite(p.values[0])]
    if len(points) > 1:
        yield PlottedLine(line.label, points)
