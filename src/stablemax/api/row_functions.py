"""Functions of rows of classes: softmax, log-sum-exp and their relatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from stablemax.api.arguments import logits_of, numbers_of, same_shape
from stablemax.api.class_axes import ClassAxes
from stablemax.api.row_results import result_of_rows, weighted_logsumexp
from stablemax.compute.proved import accurate
from stablemax.numerics.formats import format_of
from stablemax.operations import get_operation

Axis = int | tuple[int, ...] | None


def softmax(x: Any, axis: Axis = -1, *, exact: bool = False, threads: int | None = None) -> Any:
    """Probabilities from logits.

    Parameters
    ----------
    x : array_like
        Logits of any shape: float16, bfloat16, 8-bit, float32, float64 or integers. Integers that float64 cannot
        hold are warned of. A masked array is refused. Arrays and tensors of other libraries are taken where they
        lie, without a copy; they must be on the CPU, and no gradient is recorded.
    axis : int, tuple of int, or None
        The axis of the classes; several axes, or with None all, are one row together.
    exact : bool
        Round float64 results, and those of rows of more than 262,144 classes, correctly, too.
    threads : int, optional
        Worker threads; all cores when not given. They change no bit of the result.

    Returns
    -------
    ndarray or scalar
        A NumPy array of the input's shape and dtype, float64 for integers; a scalar for a single number, and nothing
        for nothing. Rounded correctly in every format of 32 bits or fewer, at most 1.5 ulp from the exact probability
        in float64, and the same bits on every machine. NaN in rows with a +inf or NaN, or of nothing but -inf.

    Raises
    ------
    StablemaxError
        If x is not real, or has no such axis.

    References
    ----------
    `stablemax explain softmax/compensated`.

    Examples
    --------
    >>> softmax([1000.0, 1001.0, 1002.0]).round(8).tolist()
    [0.09003057, 0.24472847, 0.66524096]
    """
    return result_of_rows("softmax", x, axis, exact=exact, threads=threads)


def log_softmax(x: Any, axis: Axis = -1, *, exact: bool = False, threads: int | None = None) -> Any:
    """Log-probabilities from logits; accurate also where a class is nearly certain.

    Parameters
    ----------
    x, axis, exact, threads
        As for `softmax`.

    Returns
    -------
    ndarray or scalar
        As of `softmax`, log-probabilities.

    Raises
    ------
    StablemaxError
        If x is not real, or has no such axis.

    Examples
    --------
    >>> print(*(f"{y:.12g}" for y in log_softmax([0.0, -40.0])))
    -4.24835425529e-18 -40
    """
    return result_of_rows("log_softmax", x, axis, exact=exact, threads=threads)


def logsumexp(
    x: Any,
    axis: Axis = -1,
    b: Any = None,
    keepdims: bool = False,  # noqa: FBT001, FBT002 - in the order of SciPy's
    return_sign: bool = False,  # noqa: FBT001, FBT002
    *,
    exact: bool = False,
    threads: int | None = None,
) -> Any:
    """Logarithm of the sum of exponentials along an axis, or of their weighted sum.

    Parameters
    ----------
    x, axis, exact, threads
        As for `softmax`; the sum is over the axis.
    b : array_like, optional
        Factors of the exponentials, of any sign, in a shape that is repeated to that of x. A factor of 0 ignores even
        an infinite or NaN logit.
    keepdims : bool
        Keep the axes of the sum as axes of length 1.
    return_sign : bool
        Return the logarithm of the absolute value of the sum, and its sign.

    Returns
    -------
    ndarray or scalar
        Of the input's shape without that axis, in its dtype, or the common dtype of x and b. -inf for a sum of 0, such
        as that of nothing, or of nothing but -inf; inf where +inf occurs. NaN for a negative sum whose sign is not
        asked for. As accurate as `softmax`, also near 0; with factors of both signs as far as these do not cancel.
    ndarray or scalar
        The sign where it is asked for: 1, 0, -1 or NaN, in the same dtype.

    Raises
    ------
    StablemaxError
        If x or b is not real, b does not fit, or x has no such axis.

    Examples
    --------
    >>> print(f"{logsumexp([0.0, -40.0]):.12g}")
    4.24835425529e-18
    >>> print(*(f"{v:.6g}" for v in logsumexp([1.0, 2.0], b=[1, -1], return_sign=True)))
    1.54132 -1
    """
    if b is not None:
        log, sign = weighted_logsumexp(x, b, axis, keepdims=keepdims)
        return (log, sign) if return_sign else np.where(sign < 0, np.nan, log).astype(log.dtype)[()]
    log = result_of_rows("logsumexp", x, axis, exact=exact, threads=threads, keepdims=keepdims, of_nothing=-np.inf)
    return (log, np.where(np.isnan(log), log, log > -np.inf).astype(log.dtype)[()]) if return_sign else log


def softmax_vjp(x: Any, g: Any, axis: Axis = -1) -> Any:
    """Gradient of ``sum(g * softmax(x))`` with respect to x.

    Parameters
    ----------
    x : array_like
        Logits, as for `softmax`.
    g : array_like
        Upstream gradient, of the same shape; rounded to the dtype of x.
    axis : int, tuple of int, or None
        As for `softmax`.

    Returns
    -------
    ndarray or scalar
        Of the input's shape and dtype, float64 for integers. Every number is proved to be the nearest one, also where
        g is close to its mean under the probabilities.

    Raises
    ------
    StablemaxError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> bool(softmax_vjp(np.float32([0, 0, 0]), np.float32([1000.0001, 1000, 1000]))[0] > 0)
    True
    """
    array, upstream = logits_of(x), numbers_of(g)
    same_shape(array, upstream, "the upstream gradients")
    fmt, axes = format_of(array.dtype), ClassAxes.of(axis, array.shape)
    if array.size == 0:
        return np.empty(array.shape, fmt.dtype)
    rows, g_rows = (fmt.cast(axes.rows(part)).astype(np.float64) for part in (array, upstream))
    return axes.of_rows(accurate(get_operation("softmax_vjp"), rows, g_rows, fmt))[()]


def entropy(x: Any, axis: Axis = -1, *, threads: int | None = None) -> Any:
    """Entropy of the softmax of each row, in nats.

    Parameters
    ----------
    x, axis, threads
        As for `softmax`.

    Returns
    -------
    ndarray or scalar
        Of the input's shape without that axis, rounded correctly. A class at -inf adds nothing. NaN where there is
        no softmax.

    Raises
    ------
    StablemaxError
        If x is not real, or has no such axis.

    Examples
    --------
    >>> f"{entropy([0.0, -40.0]):.4g}"
    '1.742e-16'
    """
    return result_of_rows("entropy", x, axis, threads=threads)


def kl_divergence(x: Any, y: Any, axis: Axis = -1, *, threads: int | None = None) -> Any:
    """Kullback-Leibler divergence of two rows of logits: KL(softmax(x) || softmax(y)).

    Parameters
    ----------
    x : array_like
        Logits of the first distribution, which the logarithms are averaged over: the teacher's in distillation.
    y : array_like
        Logits of the second, in the shape of x: the student's.
    axis, threads
        As for `softmax`.

    Returns
    -------
    ndarray or scalar
        Of the shape of x without that axis, in its dtype. Infinite where y has a -inf and x has none; a class
        at -inf in both adds nothing. Rounded correctly, however close the rows.

    Raises
    ------
    StablemaxError
        If the shapes differ, or x has no elements, is not real, or has no such axis.

    Examples
    --------
    >>> f"{kl_divergence([0.0, 1e-9], [1e-9, 0.0]):.6g}"
    '5e-19'
    """
    return result_of_rows("kl_divergence", x, axis, y, threads=threads)
