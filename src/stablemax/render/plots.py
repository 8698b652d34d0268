"""Curves as data: what a figure shows, whatever draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PlottedLine:
    """A curve: its points, and whether it is what theory allows."""

    name: str
    points: Sequence[tuple[float, float]]
    is_bound: bool = False


@dataclass(frozen=True)
class Plot:
    """A figure of curves over one axis."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[PlottedLine]
    is_log_x: bool = False
    is_log_y: bool = False
