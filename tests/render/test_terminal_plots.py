"""Pictures of characters: they fit, they hide no failure, and they read without colour and in ASCII."""

from __future__ import annotations

import pytest

from stablemax.render.console import Surface
from stablemax.render.document import Curve, Heatmap, Mark
from stablemax.render.terminal_plots import curve_lines, heatmap_lines
from stablemax.text.outcomes import Grade, Outcome

TICKS = [(0.0, "1"), (0.5, "10"), (1.0, "100")]


def drawn(block: Heatmap | Curve, width: int = 80, *, ascii_only: bool = False) -> list[str]:
    on = Surface(width, ascii_only=ascii_only)
    lines = heatmap_lines(block, on) if isinstance(block, Heatmap) else curve_lines(block, on)
    return ["".join(span.text for span in line) for line in lines]


def heatmap(signs: dict[float, Outcome | Grade | None]) -> Heatmap:
    return Heatmap("float32", ["softmax/naive"], [[Mark(place, sign) for place, sign in signs.items()]], "scale", TICKS)


@pytest.mark.parametrize("width", [40, 80, 120, 300])
def test_a_picture_fits_the_width_and_uses_it(width: int) -> None:
    lines = drawn(heatmap({0.0: Outcome.OK, 1.0: Outcome.NAN}), width)
    assert max(map(len, lines)) == min(width, len("softmax/naive ") + 160)
    curve = drawn(Curve("loss", "gap", [(i / 9, i * i) for i in range(10)], TICKS), width)
    assert max(map(len, curve)) <= width


def test_a_column_shows_the_worst_of_its_values() -> None:
    _, row, *_ = drawn(heatmap({0.0: Outcome.OK, 0.5: Outcome.OK, 0.5001: Outcome.LOST, 0.5002: Grade.STABLE}), 40)
    assert row.count("∅") == 1
    assert drawn(heatmap({0.0: Outcome.NAN, 1e-9: Grade.STABLE}), 40)[1].startswith("softmax/naive ✗◐")


def test_a_column_without_a_value_shows_the_nearest() -> None:
    _, row, *_ = drawn(heatmap({0.0: Outcome.OK, 1.0: Outcome.NAN}), 40)
    assert row == "softmax/naive " + "✓" * 13 + "✗" * 13


def test_a_picture_reads_in_ascii() -> None:
    lines = drawn(heatmap({0.0: Outcome.OK, 0.5: Grade.STABLE, 1.0: None}), 60, ascii_only=True)
    lines += drawn(Curve("loss", "gap", [(0.0, 1.0), (1.0, 2.0)], TICKS), 60, ascii_only=True)
    assert all(line.isascii() for line in lines)
    assert "+" in lines[1]
    assert "/" in lines[1]


def test_ticks_stand_at_their_places_and_never_over_one_another() -> None:
    ticks = [(i / 50, f"{i}000") for i in range(51)]
    *_, axis, below = drawn(Heatmap("float32", ["a"], [[Mark(0.0, Outcome.OK)]], "scale", ticks), 60)
    labels = below.split()
    assert labels[0] == "0000"
    assert all(label in dict.fromkeys(text for _, text in ticks) for label in labels)
    assert axis.count("┴") == len(labels) - 1


def test_a_curve_rises_from_left_to_right_where_its_points_do() -> None:
    title, *rows = drawn(Curve("loss", "gap", [(0.0, 0.0), (1.0, 8.0)], TICKS), 60, ascii_only=True)
    stars = [row.rfind("*") for row in rows if "*" in row]
    assert title == "loss"
    assert stars == sorted(stars, reverse=True)
    assert rows[0].split() == ["8", "***"]


def test_a_curve_of_equal_heights_is_a_line() -> None:
    rows = drawn(Curve("loss", "gap", [(0.0, 2.0), (1.0, 2.0)], TICKS), 60, ascii_only=True)
    assert sum("*" in row for row in rows) == 1
