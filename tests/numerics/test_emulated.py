"""Formats without a dtype: every operation is rounded, as if there were one."""

from __future__ import annotations

import dataclasses
import math
import pickle
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stablemax.hazards.catalogue import HAZARDS
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.emulated import Emulated
from stablemax.numerics.formats import FLOAT16, FLOAT32, FORMATS, TF32, Format, format_of_array, get_format
from stablemax.operations.variant import evaluate, variants
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Accumulation
from stablemax.truth.case import case_of

from ..exactly import nearest_number, values_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.numerics.formats import Array

SHAPES = [get_format(name) for name in ("tf32", "e2m24", "e10m24", "e5m4fn")]
OPERATORS: dict[str, tuple[np.ufunc, Callable[[Fraction, Fraction], Fraction]]] = {
    "add": (np.add, lambda a, b: a + b),
    "subtract": (np.subtract, lambda a, b: a - b),
    "multiply": (np.multiply, lambda a, b: a * b),
    "divide": (np.divide, lambda a, b: a / b),
}
SMALL = [f for f in FORMATS.values() if f.bits <= 8]


def emulated(fmt: Format) -> Format:
    """The same format under a name that no dtype has."""
    return dataclasses.replace(fmt, name=f"{fmt.name}-emulated")


@pytest.mark.slow
@pytest.mark.parametrize("fmt", SHAPES, ids=lambda f: f.name)
@pytest.mark.parametrize("name", OPERATORS)
@settings(max_examples=100)
@given(data=st.data())
def test_an_operation_is_rounded_once(fmt: Format, name: str, data: st.DataObject) -> None:
    a, b = data.draw(values_of(fmt)), data.draw(values_of(fmt))
    operator, exactly = OPERATORS[name]
    if b == 0 and name == "divide":
        return
    with np.errstate(all="ignore"):
        got = float(operator(fmt.cast([a]), fmt.cast([b]))[0])
    right = nearest_number(exactly(Fraction(a), Fraction(b)), fmt)
    assert got == right or (math.isnan(got) and math.isnan(right))


@pytest.mark.parametrize("fmt", SHAPES, ids=lambda f: f.name)
@settings(max_examples=50)
@given(data=st.data())
def test_a_square_root_is_rounded_once(fmt: Format, data: st.DataObject) -> None:
    a = data.draw(values_of(fmt, least=0.0))
    root = Fraction(math.isqrt(int(Fraction(a) * 4**1100)), 2**1100)  # closer than any tie
    assert float(np.sqrt(fmt.cast([a]))[0]) == nearest_number(root, fmt)


@pytest.mark.parametrize("fmt", SMALL, ids=lambda f: f.name)
def test_the_emulation_of_a_small_format_is_its_arithmetic_in_ml_dtypes_cell_by_cell(fmt: Format) -> None:
    numbers = np.arange(1 << fmt.bits, dtype=np.uint8).view(fmt.dtype)
    a, b = (part.ravel() for part in np.meshgrid(numbers, numbers))
    own = emulated(fmt)
    assert own.is_emulated
    assert not fmt.is_emulated
    with np.errstate(all="ignore"):
        x, y = own.cast(a.astype(np.float64)), own.cast(b.astype(np.float64))
        for ufunc in (np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum):
            np.testing.assert_array_equal(np.asarray(ufunc(x, y)), ufunc(a, b).astype(np.float64), ufunc.__name__)
        x = own.cast(numbers.astype(np.float64))
        for function in (np.exp, np.exp2, np.log, np.log1p, np.expm1, np.sqrt, np.tanh, np.negative, np.abs):
            np.testing.assert_array_equal(
                np.asarray(function(x)), function(numbers).astype(np.float64), function.__name__
            )
        running = np.add.accumulate(numbers[:: len(numbers) // 16])
        np.testing.assert_array_equal(np.asarray(np.add.accumulate(x[:: len(x) // 16])), running.astype(np.float64))


@pytest.mark.parametrize("name", ["exp", "exp2", "log", "log1p", "expm1", "tanh"])
def test_a_function_is_off_by_half_an_ulp_and_a_trifle(name: str) -> None:
    fmt = get_format("e8m24")
    x = fmt.cast(np.random.default_rng(1).uniform(0.01, 5.0, 3000))
    got = getattr(np, name)(x)
    exact = (lambda v: flint.arb(2) ** v) if name == "exp2" else getattr(flint.arb, name)
    with flint.ctx.workprec(200):
        for v, y in zip(x.tolist(), got.tolist(), strict=True):
            right = exact(flint.arb(v))
            assert abs(right - flint.arb(y)) <= (0.5 + 2.0 ** (fmt.precision - 52)) * float(fmt.ulp(float(right)))


def held(value: Any, fmt: Format) -> bool:
    """Whether a result is an array of the format, with nothing but numbers of it."""
    values = np.asarray(value)
    return isinstance(value, Emulated) and value.format == fmt and np.array_equal(values, fmt.round(values))


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: x / 3,
        lambda x: 1.0 / x,
        lambda x: x[0, 0] / 3,
        lambda x: x.sum(axis=1) / 3,
        lambda x: x.mean(axis=-1, keepdims=True),
        lambda x: np.mean(x, axis=0) / 7,
        lambda x: np.where(x > 0, x, 1e-3),
        lambda x: np.concatenate([x, np.full((1, 4), 0.1)]),
        lambda x: np.log(np.exp(x).sum(axis=1, keepdims=True)),
        lambda x: x.cumsum(axis=1),
        lambda x: x @ x.T,
        lambda x: x.dot(x.T),
        lambda x: np.dot(x, x.T),
        lambda x: np.einsum("ij,kj->ik", x, x),
        lambda x: x.std(axis=1),
        lambda x: np.logaddexp.reduce(x, axis=1),
        lambda x: np.take_along_axis(x, np.array([[0], [1], [2]]), axis=1),
        lambda x: np.multiply.outer(x[0], x[1]),
        lambda x: np.clip(x, 0.1, 0.3),
        lambda x: np.zeros_like(x) + 0.1,
        lambda x: np.array(x, subok=True) * 0.1,
        lambda x: np.add.reduce(x, axis=(0, 1), initial=0.1),
        lambda x: np.sum(x, axis=1, where=x > 0),
        lambda x: np.max(x, axis=1, keepdims=True),
        lambda x: pickle.loads(pickle.dumps(x)),
    ],
)
def test_what_comes_of_an_array_stays_in_its_format(compute: Callable[[Array], Any]) -> None:
    x = TF32.cast(np.random.default_rng(2).standard_normal((3, 4)))
    assert held(x, TF32)
    assert held(compute(x), TF32)


def test_what_is_written_into_an_array_is_rounded() -> None:
    x = TF32.cast(np.zeros((2, 3)))
    x[0] = 0.1
    x += 1 / 3
    np.divide(x, 7.0, out=x)
    np.copyto(x, x * 3)
    assert held(x, TF32)
    assert float(x[0, 0]) != 0


def test_masks_and_places_are_ordinary_arrays_and_astype_leaves_the_format() -> None:
    x = TF32.cast(np.random.default_rng(3).standard_normal((3, 4)))
    for value in (x > 0, np.argmax(x, axis=1), np.isfinite(x), x.astype(np.float64), np.asarray(x)):
        assert not isinstance(value, Emulated)
    assert np.array_equal(x.sum(axis=1, dtype=np.float64), np.asarray(x).sum(axis=1)), "a wider sum is one"
    assert format_of_array(x) is TF32
    assert format_of_array(x.astype(np.float32)) is FLOAT32


def test_a_sum_rounds_each_addition() -> None:
    fmt = get_format("e8m7")
    ones = fmt.cast(np.ones(4096))
    assert float(np.add.accumulate(ones)[-1]) == 256, "one by one it stands still, as bfloat16 does"
    assert float(ones.sum()) == 4096
    assert float(fmt.cast([256.0, 1.0, 1.0, 0.0]).sum()) == 256, "257 is a tie, and 256 the even neighbour"


@pytest.mark.parametrize(
    ("name", "emin", "emax", "largest", "beyond"),
    [
        ("e5m10", -14, 15, 65504.0, math.inf),
        ("e8m7", -126, 127, 3.3895313892515355e38, math.inf),
        ("e5m4fn", -14, 16, 122880.0, math.nan),
        ("e3m3fn", -2, 4, 30.0, 30.0),
    ],
)
def test_a_shape_says_what_the_format_is(name: str, emin: int, emax: int, largest: float, beyond: float) -> None:
    fmt = get_format(name)
    assert fmt.is_emulated
    assert (fmt.emin, fmt.emax, fmt.max) == (emin, emax, largest)
    np.testing.assert_equal(float(fmt.round(fmt.max * 2)), beyond)


@pytest.mark.parametrize("name", ["e1m3", "e11m3", "e5m0", "e5m25", "e5", "m3", "e5m10b", "e05m100"])
def test_a_shape_that_cannot_be_emulated_is_no_format(name: str) -> None:
    with pytest.raises(StablemaxError, match="there is no number format") as caught:
        get_format(name)
    assert "X of 2 to 10 and Y of 1 to 24" in caught.value.hint


def test_a_format_too_wide_for_float64_to_emulate_is_refused_where_it_is_used() -> None:
    with pytest.raises(StablemaxError, match="cannot emulate"):
        Format("float40", 33, 127, -126).cast([1.0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "own", "policy"),
    [
        ("e5m10", "float16", Accumulation.SEQUENTIAL),
        ("e5m10", "float16", None),
        ("e8m7", "bfloat16", Accumulation.FLOAT64),
    ],
)
def test_every_variant_gives_on_every_hazard_what_it_gives_in_the_format_with_a_dtype(
    name: str, own: str, policy: Accumulation | None
) -> None:
    compared = 0
    arithmetics = [Arithmetic(get_format(n), policy) for n in (name, own)]
    for hazard in HAZARDS.values():
        case = hazard.case(get_format(own))
        if not 0 < case.logits.size <= 200:
            continue
        for variant in variants():
            if variant.operation not in hazard.operations or variant.refusal(own, case.logits.shape[1]):
                continue
            given = case_of(case, variant.operation)
            kept = slice(None) if given.kept is None else given.kept
            ours, theirs = (
                evaluate(variant, xp.array(case.logits[kept]), xp, _rows(given.second(xp), kept)) for xp in arithmetics
            )
            np.testing.assert_array_equal(np.asarray(ours), theirs.astype(np.float64), f"{variant.id} {hazard.name}")
            compared += ours.size
    assert compared > 5_000


def _rows(second: Any, kept: Any) -> Any:
    return second if second is None else second[kept] if isinstance(second, np.ndarray) else second.rows(kept)


def test_float16_is_computed_in_its_emulation() -> None:
    quickest = FLOAT16.quickest
    assert quickest.is_emulated
    assert dataclasses.replace(quickest, name="e5m10") == get_format("e5m10")
    assert FLOAT32.quickest is FLOAT32


@pytest.mark.parametrize(
    "function", [np.where, np.maximum, np.negative, np.abs], ids=["where", "maximum", "negative", "abs"]
)
def test_what_a_function_that_rounds_nothing_is_given_from_outside_the_format_is_rounded(function: Any) -> None:
    x = TF32.cast([-0.1, 0.2])
    given = {np.where: (x > 0, x, 0.1), np.maximum: (x, 0.1)}.get(function, (x,))
    assert held(function(*given), TF32)
    inside = {np.where: (x > 0, x, -x), np.maximum: (x, -x)}.get(function, (x,))
    assert held(function(*inside), TF32)
