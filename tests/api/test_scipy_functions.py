"""What people know of scipy.special's softmax, log_softmax and logsumexp, of real numbers, holds of ours."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import stablemax
from stablemax import log_softmax, logsumexp, softmax

INF, NAN = math.inf, math.nan
BFLOAT16 = ml_dtypes.bfloat16
# Of 0, 1, 2, 3, to more digits than float64 has.
PROBABILITIES = [0.0320586032800849873, 0.0871443187420325640, 0.236882818089910137, 0.643914259887972245]
LOGS = [-3.44018969856119530, -2.44018969856119530, -1.44018969856119530, -0.440189698561195301]


def error_ulp(found: Any, right: Any) -> float:
    found, right = np.asarray(found, np.float64), np.asarray(right, np.float64)
    assert found.shape == right.shape
    return float(np.max(np.abs(found - right) / np.spacing(np.abs(right)), initial=0.0))


# --- log-sum-exp ----------------------------------------------------------------------------------------


def test_large_logits_do_not_overflow() -> None:
    assert error_ulp(logsumexp([1000.0, 1000.0]), 1000 + math.log(2)) <= 1
    assert error_ulp(logsumexp(np.full(1000, 10_000)), 10_000 + math.log(1000)) <= 1
    assert error_ulp(logsumexp(np.arange(200.0)), 199 + math.log1p(1 / (math.e - 1))) <= 1
    assert error_ulp(logsumexp([1000, 1000], b=[1.2, 1.2]), 1000 + math.log(2.4)) <= 1


def test_a_million_tiny_numbers_add_up() -> None:
    x = np.full((2, 1_000_000), math.log(1e-40))
    assert error_ulp(logsumexp(x, axis=1), [math.log(1e-40) + math.log(1e6)] * 2) <= 1
    assert error_ulp(logsumexp(x, axis=0)[:3], [math.log(1e-40) + math.log(2)] * 3) <= 1
    assert error_ulp(logsumexp(x, axis=None), math.log(1e-40) + math.log(2e6)) <= 1
    # 500.5 on average: (1 + ... + 1000) / 1000 of each.
    weighted = logsumexp(x[:, :1000], b=np.arange(1.0, 1001), axis=1)
    assert error_ulp(weighted, [math.log(1e-40) + math.log(500_500)] * 2) <= 1


@pytest.mark.parametrize("x", [INF, -INF, NAN])
def test_what_is_not_finite_stays_as_it_is(x: float) -> None:
    assert repr(float(logsumexp([x]))) == repr(x)
    assert repr(float(logsumexp([x, x]))) == repr(x)


def test_rows_of_different_sizes_do_not_touch_each_other() -> None:
    x = np.array([[1e10, 1e-10], [-1e10, -INF]])
    assert logsumexp(x, axis=-1).tolist() == [1e10, -1e10]
    assert logsumexp(x, axis=-1, keepdims=True).tolist() == [[1e10], [-1e10]]
    assert logsumexp(x, axis=(-1, -2)) == 1e10
    assert logsumexp(x, None) == 1e10


def test_a_factor_may_be_negative_or_0() -> None:
    log, sign = logsumexp([1, 1, 1], b=[1, -1, -1], return_sign=True)
    assert (log, sign) == (1.0, -1.0)
    assert math.isnan(logsumexp([1, 1, 1], b=[1, -1, -1]))
    assert logsumexp([1, 1], b=[1, -1], return_sign=True) == (-INF, 0.0)
    assert logsumexp([1, 10_000], b=[1, 0]) == 1.0
    # The largest logit may have a negative factor in a positive sum: scipy 22903.
    x, b = [3.06409428, 0.37251854, 3.87471931], [1.88190708, 2.84174795, -0.85016884]
    assert logsumexp(x, b=b) == logsumexp(x, b=b, return_sign=True)[0]
    assert math.isnan(logsumexp(x, b=[*b[:2], -3.85016884]))


def test_an_infinite_sum_has_a_sign() -> None:
    assert logsumexp([INF], return_sign=True) == (INF, 1.0)
    assert logsumexp([INF], b=[-1.0], return_sign=True) == (INF, -1.0)
    assert logsumexp([0.0, -INF], return_sign=True) == (0.0, 1.0)
    assert logsumexp([-INF], return_sign=True) == (-INF, 0.0)
    assert [math.isnan(v) for v in logsumexp([NAN], return_sign=True)] == [True, True]


@pytest.mark.parametrize(("axis", "shape"), [(2, (1, 2, 4)), ((1, 3), (1, 3))])
def test_the_sign_has_the_shape_of_the_logarithm(axis: Any, shape: tuple[int, ...]) -> None:
    x = np.ones((1, 2, 3, 4))
    for b in (None, np.ones_like(x)):
        log, sign = logsumexp(x, axis=axis, b=b, return_sign=True)
        assert (log.shape, sign.shape) == (shape, shape)


def test_logits_and_factors_are_repeated_to_each_other_and_left_as_they_were() -> None:
    x, b = np.zeros((4, 1, 2, 1)), np.ones((3, 1, 5))
    assert error_ulp(logsumexp(x, None, b), math.log(4 * 3 * 2 * 5)) <= 1
    logits, factors = np.array([5.0, 4.0]), np.array([3.0, 0.0])
    logsumexp(logits, b=factors)
    assert [*logits, *factors] == [5.0, 4.0, 3.0, 0.0]


def test_the_rest_beside_a_large_term_is_not_lost() -> None:
    # scipy 18295.
    assert error_ulp(logsumexp([0.0, -40.0]), math.log1p(math.exp(-40))) <= 1


@pytest.mark.parametrize(("a", "b", "dtype"), [
    ("f4", "f4", "f4"), ("f4", "f8", "f8"), ("f4", "i4", "f8"), ("f4", "i1", "f4"), ("i4", "f4", "f8"),
    ("i8", "i8", "f8"), ("f4", "?", "f4"), ("f2", "f2", "f2"), (BFLOAT16, "i8", "f8"), (BFLOAT16, "f4", "f4"),
])  # fmt: skip
def test_with_factors_the_format_is_the_common_one(a: Any, b: str, dtype: str) -> None:
    x, factors = np.array([2, 1]).astype(a), np.array([1, 0]).astype(b)
    log, sign = logsumexp(x, b=factors, return_sign=True)
    assert (log.dtype, sign.dtype) == (dtype, dtype)
    assert (log, sign) == (2.0, 1.0)


def test_a_plain_number_as_the_factor_leaves_the_format_alone() -> None:
    assert type(logsumexp(np.zeros(2, np.float32), b=2.0)) is np.float32


# --- softmax and log-softmax ------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize(("shape", "axis"), [((4,), -1), ((2, 2), None), ((2, 2), (0, 1)), ((1, 4), 1), ((4, 1), 0)])
def test_the_results_of_0_to_3_are_known(shape: tuple[int, ...], axis: Any, offset: float) -> None:
    x = np.arange(4.0).reshape(shape) + offset
    assert error_ulp(softmax(x, axis), np.reshape(PROBABILITIES, shape)) <= 4
    assert error_ulp(log_softmax(x, axis), np.reshape(LOGS, shape)) <= 4
    assert error_ulp(softmax(x.astype(int), axis), np.reshape(PROBABILITIES, shape)) <= 4


def test_certain_classes_are_certain() -> None:
    assert softmax([1000, 0, 0, 0]).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert log_softmax([1000.0, 1.0]).tolist() == [0.0, -999.0]
    x = np.array([[1000.0, 1.0], [1000.0, 1.0]])
    assert softmax(x, axis=0).tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert log_softmax(x, axis=1).tolist() == [[0.0, -999.0], [0.0, -999.0]]


def test_a_tuple_of_axes_is_one_row() -> None:
    x = np.array([[-25.0, 0.0, 25.0, 50.0], [1.0, 325.0, 749.0, 750.0]])
    cube = x.reshape(2, 2, 2)
    assert softmax(cube, axis=(1, 2)).tolist() == softmax(x, axis=1).reshape(2, 2, 2).tolist()
    assert softmax(x.T, axis=0).tolist() == softmax(x, axis=1).T.tolist()
    # exp(25 - 50), exp(0 - 50) and exp(-25 - 50), over 1 and next to nothing.
    first = [2.678636961770877e-33, 1.9287498479371314e-22, 1.3887943864771144e-11, 0.999999999986112]
    assert error_ulp(softmax(x, axis=1)[0], first) <= 4


# --- SciPy itself as the oracle ------------------------------------------------------------------------------

SHAPES: list[tuple[tuple[int, ...], Any]] = [
    ((), None), ((), -1), ((), 0), ((3,), -1), ((3,), None), ((1,), 0), ((2, 3), 0), ((2, 3), 1), ((2, 3), None),
    ((2, 3), (0, 1)), ((2, 3), ()), ((2, 3, 4), (0, 2)), ((2, 3, 4), (-1, 0)), ((2, 3, 4), 1), ((0, 3), 1),
    ((0, 3), -1), ((2, 0, 3), 2), ((2, 0), 0),
]  # fmt: skip
EMPTY_ROWS: list[tuple[tuple[int, ...], int]] = [((0,), -1), ((3, 0), 1), ((0, 2), 0)]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES + EMPTY_ROWS, ids=str)
def test_type_shape_and_value_are_those_of_scipy(shape: tuple[int, ...], axis: Any, dtype: str) -> None:
    special = pytest.importorskip("scipy.special", reason="scipy is not installed")
    x = (np.random.default_rng(0).normal(size=shape) * 3).astype(dtype)
    factors: list[Any] = [None, 2.0, np.full(shape, -0.5, "f4")]
    calls: list[tuple[str, dict[str, Any]]] = [
        ("logsumexp", {"keepdims": k, "return_sign": s, "b": b})
        for k, s, b in itertools.product([False, True], [False, True], factors)
    ]
    if (shape, axis) in SHAPES:
        # SciPy refuses the softmax of rows without classes.
        calls += [("softmax", {}), ("log_softmax", {})]
    for name, options in calls:
        found = getattr(stablemax, name)(x, axis=axis, **options)
        right = getattr(special, name)(x, axis=axis, **options)
        for mine, theirs in zip(*(v if isinstance(v, tuple) else (v,) for v in (found, right)), strict=True):
            assert type(mine) is type(theirs)
            assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        log, other = (v[0] if isinstance(v, tuple) else v for v in (found, right))
        same_nan = np.isnan(log) == np.isnan(other)
        # The errors are SciPy's own, which computes in the format.
        with np.errstate(invalid="ignore"):
            close = np.abs(log.astype("f8") - other) <= 32 * np.finfo(other.dtype).eps * np.maximum(1, np.abs(other))
        assert (same_nan & (np.isnan(log) | close | (log == other))).all(), (name, options)
        if isinstance(found, tuple) and x.size:
            # SciPy's sign of a sum of nothing is -1; it is 0.
            assert (found[1] == right[1]).all()


@pytest.mark.parametrize(("x", "y"), list(itertools.product([-INF, INF, NAN, 0.0], repeat=2)))
def test_infinities_are_scipys(x: float, y: float) -> None:
    special = pytest.importorskip("scipy.special", reason="scipy is not installed")
    for b in (None, [1.0, -2.0], [-1.0, -2.0], [0.0, 3.0]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            log, sign = special.logsumexp([x, y], b=b, return_sign=True)
        if b == [0.0, 3.0]:
            # SciPy's own ignores what has no weight only where the rest is finite.
            log, sign = special.logsumexp([y], b=[3.0], return_sign=True)
        found = logsumexp([x, y], b=b, return_sign=True)
        assert repr(float(found[1])) == repr(float(sign))
        assert found[0] == log or error_ulp(found[0], log) <= 2 or (math.isnan(found[0]) and math.isnan(log))


@pytest.mark.parametrize("function", [softmax, log_softmax, logsumexp])
def test_what_scipy_raises_for_a_wrong_axis_is_refused(function: Any) -> None:
    for axis in (2, (0, 0), (0, -2), 1.0, "0", (0, None)):
        with pytest.raises(stablemax.StablemaxError):
            function(np.ones((2, 3)), axis)
