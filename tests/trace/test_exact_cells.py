"""Exact cells: balls with the infinities of IEEE arithmetic."""

from __future__ import annotations

import math
from typing import Any

import flint
import numpy as np
import pytest
from flint import arb

from stablemax.trace.exact_cells import (
    EXACT,
    INFINITE,
    MINUS_INFINITE,
    NO_VALUE,
    UNDECIDED,
    as_cell,
    cells_of,
    distance,
    is_undecided,
    nearest,
)

SPECIALS = (0.0, 1.0, -1.0, 2.0, 0.5, -3.0, math.inf, -math.inf, math.nan)
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "logaddexp", "fmax", "fmin")
UNARY = (
    "exp", "log", "log1p", "expm1", "log2", "log10", "exp2", "sqrt", "square", "negative", "absolute", "reciprocal",
    "tanh", "sign", "floor", "ceil", "rint", "sinh", "cosh", "sin", "cos", "tan", "arcsin", "arccos", "arctan",
    "arcsinh", "arccosh", "arctanh",
)  # fmt: skip


def one(name: str, *values: float) -> float:
    """Apply an operation to cells and round the result to float64."""
    cells = [cells_of(np.array([v])) for v in values]
    return float(nearest(np.asarray(EXACT[name](*cells)))[0])


def same(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or a == pytest.approx(b, rel=1e-15, abs=0)


@pytest.mark.parametrize("name", BINARY)
def test_an_operation_of_two_gives_what_ieee_arithmetic_does_at_infinities_and_nan(name: str) -> None:
    with np.errstate(all="ignore"):
        for a in SPECIALS:
            for b in SPECIALS:
                assert same(one(name, a, b), float(getattr(np, name)(a, b))), (name, a, b)


@pytest.mark.parametrize("name", UNARY)
def test_an_operation_of_one_gives_what_ieee_arithmetic_does_at_infinities_and_nan(name: str) -> None:
    with np.errstate(all="ignore"):
        for a in SPECIALS:
            assert same(one(name, a), float(getattr(np, name)(a))), (name, a)


@pytest.mark.parametrize(("a", "b"), [(2.0, 0.5), (0.0, 2.0), (0.0, 0.0), (-2.0, 3.0), (-2.0, 0.5), (4.0, -1.0)])
def test_powers_are_those_of_numpy(a: float, b: float) -> None:
    with np.errstate(all="ignore"):
        assert same(one("power", a, b), float(np.power(a, b)))


def test_a_number_beyond_float64_is_not_an_infinity() -> None:
    beyond = EXACT["exp"](cells_of(np.array([1000.0])))
    assert nearest(beyond)[0] == math.inf
    assert isinstance(beyond[0], arb)
    with flint.ctx.workprec(128):
        assert nearest(EXACT["log"](EXACT["exp"](cells_of(np.array([1000.0])))))[0] == 1000.0


def test_an_exponent_that_no_ball_holds_is_undecided_and_stays_so() -> None:
    huge = EXACT["exp"](cells_of(np.array([1e300])))
    assert huge[0] is UNDECIDED
    assert (huge + cells_of(np.array([1.0])))[0] is UNDECIDED
    assert EXACT["divide"](huge, huge)[0] is UNDECIDED
    assert is_undecided(huge, 20)[0]


def test_what_has_no_value_has_none_however_many_bits_there_are() -> None:
    assert INFINITE - INFINITE is NO_VALUE
    assert INFINITE * as_cell(0) is NO_VALUE
    assert as_cell(1.0) - INFINITE is MINUS_INFINITE
    assert UNDECIDED + NO_VALUE is NO_VALUE


def test_reductions_run_over_several_axes_and_none() -> None:
    values = np.array([[1.0, -np.inf, 3.0], [2.0, 5.0, -1.0]])
    cells = cells_of(values)
    for axis in (0, 1, (0, 1), None):
        for name, plain in (("maximum", np.max), ("minimum", np.min), ("add", np.sum)):
            found = np.asarray(EXACT[name].reduce(cells, axis=axis), dtype=object)
            assert nearest(found).tolist() == np.asarray(plain(values, axis=axis)).tolist()


def test_distances_see_what_float64_does_not() -> None:
    with flint.ctx.workprec(128):
        third = cells_of(np.array([1.0])) / 3
        off: Any = distance(np.array([1.0 / 3.0]), third)[0]
    assert off == pytest.approx(-(2.0**-54) / 3, rel=1e-12)
