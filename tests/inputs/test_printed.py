"""Printed numbers: what each of them may stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from stablemax.inputs.open import _read_printed, open_array
from stablemax.inputs.printed import PrintedNumbers, parts_of, printed_numbers
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DRAW = np.random.default_rng(5)
NUMBERS = np.concatenate([DRAW.random((50, 4)), DRAW.random((50, 4)) * 1e-3, DRAW.normal(size=(50, 4)) * 300])
STYLES: dict[str, Callable[[float], str]] = {
    **{style: style.__mod__ for style in ("%.1f", "%.4f", "%.8f", "%.2g", "%.6g", "%.3e", "%+.5E")},
    "round 2": lambda v: repr(round(v, 2)),
    "round 6": lambda v: repr(round(v, 6)),
    "without zeros": lambda v: f"{v:.5f}".rstrip("0").rstrip(".") + ("" if round(v, 5) else ".0"),
}


def printed(*rows: str) -> PrintedNumbers | None:
    return printed_numbers([parts_of(row.split(",")) for row in rows])


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_a_number_lies_within_the_interval_that_its_text_stands_for(style: str) -> None:
    cells = [[STYLES[style](v) for v in row] for row in NUMBERS.tolist()]
    digits = printed_numbers([parts_of(row) for row in cells])
    assert digits is not None
    distance = np.abs(np.array(cells, dtype=np.float64) - NUMBERS)
    assert (distance <= digits.half_units * (1 + 1e-9) + 1e-15).all()


@pytest.mark.parametrize(("style", "unit"), [("%.1f", 0.1), ("%.4f", 1e-4), ("%.8f", 1e-8)])
def test_an_interval_is_no_wider_than_half_a_unit_of_the_last_digit(style: str, unit: float) -> None:
    digits = printed_numbers([parts_of([style % v for v in row]) for row in NUMBERS.tolist()])
    assert digits is not None
    assert digits.half_units.max() <= 0.5 * unit * (1 + 1e-15)
    assert digits.words == f"{style[2:-1]} decimal{'' if style == '%.1f' else 's'}"


@pytest.mark.parametrize(
    ("row", "half_units"),
    [
        ("0.190031,0.24", [5e-7, 5e-7]),
        ("0.090030,0.24", [5e-7, 5e-3]),
        ("0.141154,1", [5e-7, 5e-6]),
        ("0.1,0,1", [0.05, 0.0, 0.5]),
        ("0.0,0.123", [5e-4, 5e-4]),
        ("1.2e-5,nan,-inf", [5e-7, 0.0, 0.0]),
    ],
)
def test_each_number_has_the_unit_of_what_its_program_left_out(row: str, half_units: list[float]) -> None:
    digits = printed(row)
    assert digits is not None
    assert digits.half_units[0].tolist() == pytest.approx(half_units, rel=1e-12, abs=0.0)


@pytest.mark.parametrize(
    "row", ["0,1", "3", "0.5,0.25", "0.0,0.0", "0.000,0.000", "nan,inf", "1e3,20", "1.2e5,3", "25e-2,1"]
)
def test_numbers_that_may_be_exact_are_exact(row: str) -> None:
    assert printed(row) is None


def test_as_many_digits_as_a_format_needs_leave_nothing_open() -> None:
    needs = {
        fmt.name: next(n for n in range(30) if not PrintedNumbers(np.zeros(1), n).is_short_of(fmt))
        for fmt in (FLOAT64, FLOAT32, FLOAT16, BFLOAT16)
    }
    assert needs == {"float64": 17, "float32": 9, "float16": 5, "bfloat16": 4}


def test_the_digits_lie_where_the_numbers_of_the_table_lie(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text('# made by hand\nid,a,b\n0,0.12,0.1234\n1,0.50,"0.4321"\n\n', encoding="utf-8")
    digits = _read_printed(str(path))
    assert digits is not None
    assert digits.half_units.shape == open_array(str(path)).shape == (2, 2)
    assert digits.half_units.tolist() == pytest.approx(np.array([[5e-3, 5e-5], [5e-3, 5e-5]]))


def test_a_single_zero_at_an_end_tells_that_floats_were_printed_to_some_decimals() -> None:
    assert printed("0.5,0.25") is None
    for rows in (("0.50,0.25",), ("0.25,0.75", "0.50,0.50"), ("0.125,0.875", "1.000,0.000")):
        found = printed(*rows)
        assert found is not None
        decimals = len(rows[0].split(",")[0]) - 2
        assert found.decimals == decimals
        np.testing.assert_array_equal(found.half_units, np.full(found.half_units.shape, 0.5 * 10.0**-decimals))


@pytest.mark.parametrize("exponent", ["9" * 3, "9" * 10, "9" * 20, "9" * 100])
@pytest.mark.parametrize("cell", ["0e{}", "0e-{}", "0.00e+{}", "5e-{}", "-0.25e-{}"])
def test_an_exponent_may_have_any_number_of_digits(cell: str, exponent: str) -> None:
    digits = printed(f"{cell.format(exponent)},0.10,0.50")
    assert digits is not None
    assert digits.most_digits == 2
    assert np.isfinite(digits.half_units).all()
    assert digits.half_units[0, 1:].tolist() == [0.005, 0.005]
