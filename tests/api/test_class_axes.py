"""Axes and layouts: whichever they are, the bits are those of the moved array without gaps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import stablemax
from stablemax.compute import at_once
from stablemax.compute.streaming import ALONE_CELLS
from stablemax.kernels.passes import PIECE

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.numerics.formats import Array

INF, NAN = math.inf, math.nan
PER_CLASS: dict[str, Callable[..., Any]] = {
    "softmax": stablemax.softmax,
    "log_softmax": stablemax.log_softmax,
    "softmax_vjp": lambda x, axis: stablemax.softmax_vjp(x, np.flip(x), axis),
}
PER_ROW: dict[str, Callable[..., Any]] = {
    "logsumexp": stablemax.logsumexp,
    "logsumexp-weighted": lambda x, axis: stablemax.logsumexp(x, axis, b=np.where(np.flip(x) > 0, 2.0, -0.5)),
    "entropy": stablemax.entropy,
    "kl_divergence": lambda x, axis: stablemax.kl_divergence(x, np.flip(x), axis),
}
DTYPES = [np.dtype(t) for t in ("f2", "f4", "f8", ">f4", "i2", ml_dtypes.bfloat16)]


@st.composite
def laid_out(draw: st.DrawFn) -> Array:
    """Logits of any shape and layout: transposed, reversed, with gaps, repeated or in Fortran order."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    dtype = draw(st.sampled_from(DTYPES))
    x = (np.random.default_rng(draw(st.integers(0, 99))).normal(size=shape) * 5).astype(dtype)
    if x.ndim:
        kept = tuple(slice(None, None, draw(st.sampled_from([1, 2, -1, -2]))) for _ in shape)
        x = np.transpose(x[kept], draw(st.permutations(range(x.ndim))))
    if draw(st.booleans()):
        x = np.asfortranarray(x)
    if draw(st.booleans()):
        x = np.broadcast_to(x, (2, *x.shape))
    return x


@st.composite
def with_axis(draw: st.DrawFn) -> tuple[Array, Any, tuple[int, ...]]:
    """Logits, an axis as it may be given, and the axes that it means, ascending."""
    x = draw(laid_out())
    axes = sorted(draw(st.sets(st.integers(0, x.ndim - 1)))) if x.ndim else []
    given_axis: Any = tuple(draw(st.permutations([a - draw(st.sampled_from([0, x.ndim])) for a in axes])))
    if len(axes) == 1 and draw(st.booleans()):
        given_axis = given_axis[0]
    if len(axes) == x.ndim and draw(st.booleans()):
        given_axis = None
    return x, given_axis, tuple(axes)


def moved(x: Array, axes: tuple[int, ...]) -> Array:
    """The rows of an array as the last axis of one without gaps."""
    last = np.moveaxis(x, axes, range(-len(axes), 0))
    others = last.shape[: x.ndim - len(axes)]
    classes = math.prod(last.shape[len(others) :])
    return np.ascontiguousarray(last.reshape((*others, classes)), x.dtype.newbyteorder("="))


def bits(values: Any) -> tuple[Any, ...]:
    array = np.asarray(values)
    # Which of the NaN's stands there is nobody's promise.
    return (
        array.dtype,
        array.shape,
        np.where(np.isnan(array.astype(np.float64)), NAN, array.astype(np.float64)).tobytes(),
    )


@pytest.mark.parametrize("name", PER_CLASS)
@given(with_axis())
def test_one_number_a_class_has_the_bits_of_the_moved_array(name: str, given_axis: Any) -> None:
    x, axis, axes = given_axis
    function = PER_CLASS[name]
    found = function(x, axis=axis)
    if name == "softmax_vjp":
        upstream = moved(np.flip(x), axes)
        expected = stablemax.softmax_vjp(moved(x, axes), upstream)
    else:
        expected = function(moved(x, axes), axis=-1)
    assert np.shape(found) == x.shape
    assert bits(moved(np.asarray(found), axes)) == bits(expected)


@pytest.mark.parametrize("name", PER_ROW)
@given(with_axis())
def test_one_number_a_row_has_the_bits_of_the_moved_array(name: str, given_axis: Any) -> None:
    x, axis, axes = given_axis
    rows, other = moved(x, axes), moved(np.flip(x), axes)
    expected = {
        "logsumexp": lambda: stablemax.logsumexp(rows),
        "logsumexp-weighted": lambda: stablemax.logsumexp(rows, b=np.where(other > 0, 2.0, -0.5)),
        "entropy": lambda: stablemax.entropy(rows),
        "kl_divergence": lambda: stablemax.kl_divergence(rows, other),
    }[name]()
    assert bits(PER_ROW[name](x, axis=axis)) == bits(expected)


@given(with_axis())
def test_kept_axes_are_those_that_the_result_lacks_otherwise(given_axis: Any) -> None:
    x, axis, axes = given_axis
    kept = stablemax.logsumexp(x, axis, keepdims=True)
    # A single number is taken for an array of one, as SciPy takes it.
    assert kept.shape == (tuple(1 if a in axes else n for a, n in enumerate(x.shape)) or (1,))
    assert kept.tobytes() == np.asarray(stablemax.logsumexp(x, axis)).tobytes()


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", "cross_entropy", "cross_entropy_grad"])
@given(hnp.array_shapes(min_dims=1, max_dims=3, max_side=6), st.sampled_from(DTYPES), st.data())
def test_one_call_of_a_kernel_gives_the_bits_of_a_computation_in_blocks(
    name: str, shape: tuple[int, ...], dtype: np.dtype[Any], data: st.DataObject
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = (np.random.default_rng(0).normal(size=shape) * data.draw(st.sampled_from([1.0, 30.0, 3e3]))).astype(dtype)
    arguments: tuple[Any, ...] = (x,)
    options: dict[str, Any] = {"axis": axis}
    if name.startswith("cross_entropy"):
        others = np.delete(np.array(shape), axis)
        arguments = x, np.random.default_rng(1).integers(0, shape[axis], others)
        options |= {"reduction": data.draw(st.sampled_from(["mean", "sum", "none"])), "ignore_index": 0}
        if data.draw(st.booleans()):
            options["weight"] = np.arange(shape[axis]) + 0.5
        if data.draw(st.booleans()):
            arguments[1][...] = 0
    function = getattr(stablemax, name)
    at_once_found = bits(function(*arguments, **options))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at_once, "ALONE_CELLS", 0)
        assert bits(function(*arguments, **options)) == at_once_found


@pytest.mark.parametrize("shape", [(2, PIECE + 1), (3, ALONE_CELLS // 2)])
def test_what_is_too_large_for_one_call_is_computed_in_blocks(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(at_once, "fill")
    x = np.zeros(shape, np.float32)
    assert (stablemax.softmax(x) == np.float32(1 / shape[1])).all()


def test_the_order_of_axes_changes_no_bit() -> None:
    x = np.random.default_rng(0).normal(size=(20, 40, 30))
    for function in (stablemax.softmax, stablemax.logsumexp, stablemax.entropy):
        assert function(x, (2, 0)).tobytes() == function(x, (0, -1)).tobytes()
        assert function(x, (1, 0)).tobytes() == function(x, (0, 1)).tobytes()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4"])
def test_the_byte_order_changes_no_bit_of_rows_that_need_care(dtype: str) -> None:
    rows = [[3e4, 0.1, 0.0], [20.0, 0.0, 0.0], [0.0, -40.0, -41.0], [3e4, 3e4, 1.0], [0.0, 1e-5, -700.0]]
    x = np.array(rows).astype(dtype)
    swapped = x.astype(x.dtype.newbyteorder())
    for function in (stablemax.softmax, stablemax.log_softmax, stablemax.logsumexp):
        assert bits(function(swapped)) == bits(function(x))
    for loss in (stablemax.cross_entropy, stablemax.cross_entropy_grad):
        for label in range(3):
            found = loss(swapped, [label] * 5, reduction="none")
            assert bits(found) == bits(loss(x, [label] * 5, reduction="none"))


def test_axes_that_lie_together_are_not_copied() -> None:
    from stablemax.api.class_axes import ClassAxes

    x = np.zeros((2, 3, 4, 5))
    for axis in (1, (1, 2), (2, 3), None, (0, 1), (0, 1, 2, 3), ()):
        assert np.shares_memory(ClassAxes.of(axis, x.shape).merged(x), x)
    turned = stablemax.softmax(x, axis=(0, 2))
    assert turned.flags.c_contiguous
    assert np.abs(turned - 1 / 8).max() == 0


@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 1), (), None])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)])
def test_nothing_gives_nothing_and_a_sum_of_nothing_is_0(shape: tuple[int, ...], axis: Any) -> None:
    x = np.zeros(shape, np.float32)
    if len(shape) == 1 and axis in (1, (0, 1)):
        with pytest.raises(stablemax.StablemaxError, match="axis 1"):
            stablemax.softmax(x, axis)
        return
    for function in (stablemax.softmax, stablemax.log_softmax, lambda x, axis: stablemax.softmax_vjp(x, x, axis)):
        found = function(x, axis)
        assert (found.shape, found.dtype) == (shape, np.float32)
    log, sign = stablemax.logsumexp(x, axis, return_sign=True)
    assert np.shape(log) == np.shape(np.sum(x, axis))
    assert (np.asarray(log) == -INF).all()
    assert (np.asarray(sign) == 0).all()
    weighted = stablemax.logsumexp(x, axis, b=x, return_sign=True)
    assert [np.asarray(w).tolist() for w in weighted] == [np.asarray(log).tolist(), np.asarray(sign).tolist()]
    assert np.isnan(stablemax.entropy(x, axis)).all()
    assert np.isnan(stablemax.kl_divergence(x, x, axis)).all()
    for cells in (stablemax.sigmoid, stablemax.log_sigmoid, stablemax.softplus):
        assert cells(x).shape == shape
    assert stablemax.binary_cross_entropy(x, x, reduction="none").shape == shape
    assert stablemax.binary_cross_entropy_grad(x, x).shape == shape


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ml_dtypes.bfloat16, "int64"])
def test_a_number_gives_a_number_of_its_format(dtype: Any) -> None:
    x = np.asarray(3, dtype)
    expected = np.float64 if dtype == "int64" else x.dtype.type
    for axis in (-1, 0, None, ()):
        assert [(type(v), float(v)) for v in (
            stablemax.softmax(x, axis), stablemax.log_softmax(x, axis), stablemax.logsumexp(x, axis)
        )] == [(expected, 1.0), (expected, 0.0), (expected, 3.0)]  # fmt: skip
    assert type(stablemax.sigmoid(x)) is expected
    assert stablemax.softmax_vjp(x, x) == 0
    assert stablemax.entropy(x) == 0
