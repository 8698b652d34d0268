"""What NumPy's and SciPy's functions compute on cells, held to the same functions in float64."""

# mypy: disable-error-code="misc"
# It cannot infer a lambda that keeps a loop's variable as a default.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stablemax.numerics.formats import FLOAT32, Array
from stablemax.trace.exact_cells import nearest
from stablemax.trace.given_arguments import GivenArguments
from stablemax.trace.numpy.numpy_run import NumpyCode
from stablemax.trace.traced_code import code_of

ROWS = np.array([[0.5, -1.25, 2.0, 0.3], [1.5, 0.7, -0.2, -3.0]], dtype=np.float32)
SHARES = np.array([[0.5, 0.25, 0.2, 0.3], [0.15, 0.7, 0.2, 0.9]], dtype=np.float32)
GAPS = np.array([[0.5, np.nan, 0.2, 0.3], [0.15, 0.7, 0.2, 0.9]], dtype=np.float32)
ODD = np.array([[0.5, -np.inf], [-np.inf, -np.inf]], dtype=np.float32)

MODES = ("full", "same", "valid")


def norm_of(order: Any, axis: Any = None) -> Callable[[Any], Any]:
    return lambda x: np.linalg.norm(x, order, axis)


def along(function: Callable[..., Any], mode: str) -> Callable[[Any], Any]:
    return lambda x: function(x[0], x[1, :3], mode)


Case = tuple[Callable[[Any], Any], Array]
CASES: dict[str, Case] = {
    "cov": (np.cov, ROWS),
    "cov of two": (lambda x: np.cov(x[0], x[1], bias=True), ROWS),
    "corrcoef": (np.corrcoef, ROWS),
    "var": (lambda x: np.var(x, axis=1, ddof=1), ROWS),
    "std": (lambda x: x.std(axis=0), ROWS),
    "median": (lambda x: np.median(x, axis=1), ROWS),
    "quantile": (lambda x: np.quantile(x, 0.3), ROWS),
    "percentile": (lambda x: np.percentile(x, 25, axis=0), ROWS),
    **{f"norm, {order}": (norm_of(order, 1), ROWS) for order in (None, 0, 1, 2, 3, 0.5, np.inf, -np.inf)},
    **{f"matrix norm, {order}": (norm_of(order), ROWS) for order in (None, "fro", 1, -1, np.inf, -np.inf)},
    "norm of two axes": (lambda x: np.linalg.norm(x, axis=(0, 1), keepdims=True), ROWS),
    "einsum": (lambda x: np.einsum("ij,kj->ik", x, x), ROWS),
    **{f"{f.__name__}, {mode}": (along(f, mode), ROWS) for f in (np.convolve, np.correlate) for mode in MODES},
    "interp": (lambda x: np.interp(x[0], [-1.0, 0.0, 1.5], [1.0, 2.0, 4.0]), ROWS),
    "interp between traced numbers": (lambda x: np.interp([0.25, 9.0], [-2.0, 0.0, 1.5, 3.0], x[0], left=0.0), ROWS),
    "polyval": (lambda x: np.polyval(x[0], x[1]), ROWS),
    "cross": (lambda x: np.cross(x[:, :3], x[:, 1:]), ROWS),
    "ediff1d": (np.ediff1d, ROWS),
    "matrix_power": (lambda x: np.linalg.matrix_power(x @ x.T, 3), ROWS),
    "det": (lambda x: np.linalg.det(x @ x.T), ROWS),
    "inv": (lambda x: np.linalg.inv(x @ x.T), ROWS),
    "solve": (lambda x: np.linalg.solve(x @ x.T, x), ROWS),
    "solve for a vector": (lambda x: np.linalg.solve(x @ x.T, x[:, 0]), ROWS),
    **{
        name: (lambda x, name=name: getattr(np, name)(x * 3, SHARES), ROWS)
        for name in ("fmod", "remainder", "mod", "floor_divide", "heaviside")
    },
    "% and //": (lambda x: np.stack([x % 0.75, x // 0.75, *np.divmod(x, 0.25)]), ROWS),
    "piecewise": (lambda x: np.piecewise(x, [x < 0, x > 1], [np.negative, np.sqrt, 0.5]), ROWS),
    "partition": (lambda x: np.partition(x, 2, axis=1), ROWS),
    "quantiles": (lambda x: np.quantile(x, [0.25, 0.5], axis=1), ROWS),
    "percentiles": (lambda x: np.percentile(x, [10, 90], axis=0), ROWS),
    "gradient": (lambda x: np.gradient(x, axis=1), ROWS),
    "gradient of a spacing": (lambda x: np.gradient(x[0], 0.5, edge_order=2), ROWS),
    "gradient at places": (lambda x: np.gradient(x[0], np.array([0.0, 1.0, 3.0, 4.0]), edge_order=2), ROWS),
    "diff": (lambda x: np.diff(x, n=2, axis=1), ROWS),
    "unique": (np.unique, ROWS),
    "meshgrid": (lambda x: np.meshgrid(x[0], x[1])[1], ROWS),
    "vander": (lambda x: np.vander(x[0]), ROWS),
    "polynomials": (
        lambda x: np.polyadd(np.polymul(np.polyder(x[0]), x[1]), np.polysub(np.polyint(x[0]), x[1])),
        ROWS,
    ),
    "slogdet": (lambda x: np.linalg.slogdet(x @ x.T)[1], ROWS),
    "dets": (lambda x: np.linalg.det(np.stack([x @ x.T, x @ x[::-1].T])), ROWS),
    "invs": (lambda x: np.linalg.inv(np.stack([x @ x.T, x @ x[::-1].T])), ROWS),
    "cholesky": (lambda x: np.linalg.cholesky(x @ x.T), ROWS),
    "qr": (lambda x: np.linalg.qr(x)[1], ROWS),
    "qr, complete": (lambda x: np.linalg.qr(x.T, mode="complete").Q, ROWS),
    "svd": (lambda x: np.abs(np.linalg.svd(x, full_matrices=False).Vh), ROWS),
    "singular values": (lambda x: np.linalg.svd(x, compute_uv=False), ROWS),
    "eigvalsh": (lambda x: np.linalg.eigvalsh(x @ x.T), ROWS),
    "eigh": (lambda x: np.abs(np.linalg.eigh(x @ x.T)[1]), ROWS),
    "pinv": (np.linalg.pinv, ROWS),
    **{f"cond, {p}": (lambda x, p=p: np.linalg.cond(x @ x.T, p), ROWS) for p in (None, 1, -2, "fro")},
    **{f"norm of singular values, {p}": (norm_of(p), ROWS) for p in (2, -2, "nuc")},
    "matrix_power, -2": (lambda x: np.linalg.matrix_power(x @ x.T, -2), ROWS),
    "cumsum": (lambda x: np.cumsum(x, axis=1), ROWS),
    "cumprod": (lambda x: np.cumprod(x, axis=1), ROWS),
    "hypot": (lambda x: np.hypot(x, x + 1), ROWS),
    "arctan2": (lambda x: np.arctan2(x, x + 1), ROWS),
    "copysign": (lambda x: np.copysign(x, -x), ROWS),
    "logaddexp2": (lambda x: np.logaddexp2(x, x + 1), ROWS),
    **{name: (getattr(np, name), ROWS) for name in ("sinc", "trunc", "fix", "deg2rad", "degrees", "i0")},
    **{
        name: (getattr(np, name), GAPS)
        for name in ("nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin", "nancumsum", "nancumprod")
    },
}


def agrees(function: Callable[[Any], Any], x: Array) -> bool:
    """Tell whether a function is followed to its end, to what it gives in float64."""
    run = NumpyCode(GivenArguments(("x",), (x,)), FLOAT32, function, code_of(function)).observed()
    assert run.not_followed == ()
    assert run.exact is not None
    right = np.asarray(function(x.astype(np.float64)))
    scale = np.abs(right[np.isfinite(right)]).max()
    return np.allclose(nearest(run.exact).reshape(right.shape), right, rtol=1e-9, atol=1e-11 * scale, equal_nan=True)


@pytest.mark.parametrize("name", CASES)
def test_a_function_of_numpy_is_followed_exactly(name: str) -> None:
    assert agrees(*CASES[name])


OF_ONE = (
    "expit", "logit", "log_expit", "erf", "erfc", "erfcx", "erfinv", "erfcinv", "ndtr", "log_ndtr", "ndtri", "gammaln",
    "gamma", "digamma", "psi", "entr", "i0", "i1", "i0e", "i1e", "j0", "j1", "exprel", "exp10", "cosm1", "log1p",
    "cbrt",
)  # fmt: skip
OF_TWO = (
    "xlogy", "xlog1py", "rel_entr", "kl_div", "boxcox", "boxcox1p", "inv_boxcox", "gammainc", "gammaincc", "huber",
    "pseudo_huber", "betaln", "beta", "binom",
)  # fmt: skip


@pytest.mark.parametrize("name", OF_ONE)
def test_a_ufunc_of_scipy_is_followed_exactly(name: str) -> None:
    special = pytest.importorskip("scipy.special")
    assert agrees(getattr(special, name), SHARES)


@pytest.mark.parametrize("name", OF_TWO)
def test_a_ufunc_of_two_numbers_of_scipy_is_followed_exactly(name: str) -> None:
    special = pytest.importorskip("scipy.special")
    assert agrees(lambda x: getattr(special, name)(x + 0.5, x), SHARES)


@pytest.mark.parametrize("x", [ROWS, ODD], ids=["numbers", "infinities"])
def test_the_reductions_of_scipy_are_followed_exactly(x: Array) -> None:
    special = pytest.importorskip("scipy.special")
    assert agrees(lambda x: special.logsumexp(x, axis=1), x)
    assert agrees(lambda x: special.logsumexp(x, axis=1, b=np.abs(SHARES[:, : x.shape[1]]), keepdims=True), x)
    assert agrees(lambda x: special.softmax(x[:1], axis=1), x)
    assert agrees(lambda x: special.log_softmax(x[:1], axis=1), x)


def test_combinations_of_scipy_are_followed_exactly_also_where_there_are_none() -> None:
    special = pytest.importorskip("scipy.special")
    assert agrees(lambda n: special.comb(n, 2.0), np.array([5.0, 3.0, 2.0, 1.0, 0.0]))


def test_a_polygamma_function_of_scipy_is_followed_exactly() -> None:
    special = pytest.importorskip("scipy.special")
    assert agrees(lambda x: special.polygamma(1, x), SHARES)


def test_a_function_that_has_no_exact_form_is_named() -> None:
    run = NumpyCode(GivenArguments(("x",), (ROWS,)), FLOAT32, lambda x: np.spacing(x) + 1).observed()
    assert run.exact is None
    assert "np.spacing(x)" in run.not_followed[0]


def test_scipy_has_its_own_functions_back_after_a_run() -> None:
    special = pytest.importorskip("scipy.special")
    before = special.logsumexp
    agrees(lambda x: special.logsumexp(x, axis=1), ROWS)
    assert special.logsumexp is before
