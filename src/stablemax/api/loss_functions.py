"""Cross-entropy and its gradient, as PyTorch defines them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stablemax.api.arguments import (
    axis_of,
    logits_of,
    numbers_of,
    options_of,
    reduction_of,
    resources_of,
    stream_of,
    warn,
)
from stablemax.compute.arrays import array_of
from stablemax.compute.at_once import gradient_at_once, loss_at_once
from stablemax.compute.block_job import Method
from stablemax.compute.loss import loss_of
from stablemax.inputs.labels import fitting_axes, without_axis
from stablemax.inputs.probabilities import FIRST_CLASSES, with_probabilities_noted
from stablemax.numerics.formats import Array, format_of
from stablemax.operations import get_operation
from stablemax.operations.targets import TargetOptions, check_options
from stablemax.text.vocabulary import IGNORED, Reduction


def cross_entropy(
    logits: Any,
    labels: Any,
    weight: Any = None,
    *,
    axis: int | None = None,
    ignore_index: int | None = IGNORED,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    exact: bool = False,
    threads: int | None = None,
) -> Any:
    """Cross-entropy, as torch.nn.functional.cross_entropy defines it, computed in float64.

    Parameters
    ----------
    logits : array_like
        One or more dimensions, of any library, as for `softmax`. Rows that are probabilities already are warned of.
    labels : array_like
        Classes, in the shape of the logits without the class axis, or soft targets in theirs; one number for one row.
    weight : array_like (K,), of the losses of each class, optional
    axis : int, optional
        The axis of the classes. When not given it is axis 1 as in PyTorch, or the last where labels fit that alone.
    ignore_index : int or None
        Rows with this label do not count.
    label_smoothing : float
        From 0 to 1.
    reduction : "mean", "sum" or "none"
    exact : bool
        Prove the result: the nearest number to the mean, or the sum, of the exact losses.
    threads : int, as for `softmax`, optional

    Returns
    -------
    float or ndarray of float64
        Each loss is at most 1.5 ulp from the exact one; their sum is rounded once. With "none" every row's loss, 0
        where ignored. NaN for the mean of no rows; their sum is 0.

    Raises
    ------
    StablemaxError
        If labels and logits do not fit, or an option is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> print(f"{cross_entropy(np.float32([[1e8, 1e8, 1e8]]), [0]):.12g}")
    1.09861228867
    """
    options, reduced = options_of(weight, label_smoothing, ignore_index), reduction_of(reduction)
    x, y, at = _labelled(logits, labels, axis)
    if (others := _shape_without_rows(x, at, options)) is not None:
        return {Reduction.MEAN: math.nan, Reduction.SUM: 0.0, Reduction.NONE: np.zeros(others)}[reduced]
    _warn_of_probabilities(x, y, at)
    operation = get_operation("cross_entropy")
    if not exact and (found := loss_at_once(operation, x, y, at, reduced, options)) is not None:
        return found
    stream, resources = stream_of(x, at, y), resources_of(threads)
    result = loss_of(operation, stream, Method(exact=exact), reduction=reduced, options=options, resources=resources)
    return result.value if result.rows is None else result.rows.reshape(stream.others)[()]


def cross_entropy_grad(
    logits: Any,
    labels: Any,
    weight: Any = None,
    *,
    axis: int | None = None,
    ignore_index: int | None = IGNORED,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    exact: bool = False,
    threads: int | None = None,
) -> Array:
    """Gradient of `cross_entropy` with respect to the logits.

    Parameters
    ----------
    logits, labels, axis, weight, ignore_index, label_smoothing, reduction, threads
        As for `cross_entropy`; with "none" each row holds the gradient of its own loss.

    Returns
    -------
    ndarray
        Of the logits' shape and dtype, float64 for integers; 0 in ignored rows. Rounded correctly in every format of
        32 bits or fewer, and with soft or smoothed targets in float64, too; else at most 1.5 ulp from the exact
        gradient in float64.

    Raises
    ------
    StablemaxError
        If labels and logits do not fit, or an option is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> print(*(f"{g:.12g}" for g in cross_entropy_grad(np.float32([[20.0, 0.0]]), [0])[0]))
    -2.06115369217e-09 2.06115369217e-09
    """
    options, reduced = options_of(weight, label_smoothing, ignore_index), reduction_of(reduction)
    x, y, at = _labelled(logits, labels, axis)
    operation, resources = get_operation("cross_entropy_grad"), resources_of(threads)
    if _shape_without_rows(x, at, options) is not None:
        return np.empty(x.shape, format_of(x.dtype).dtype)
    _warn_of_probabilities(x, y, at)
    if not exact and (found := gradient_at_once(operation, x, y, at, reduced, options)) is not None:
        return found
    chosen = {"reduction": reduced, "options": options, "resources": resources}
    return array_of(operation, stream_of(x, at, y), method=Method(exact=exact), **chosen)


def _labelled(logits: Any, labels: Any, axis: Any) -> tuple[Array, Array, int]:
    """Take logits and labels that fit each other, and the axis of the classes, not negative."""
    x, y = logits_of(logits), numbers_of(labels)
    named = None if axis is None else axis_of(axis)
    fitting: list[int] = []
    if named is None or -x.ndim <= named < x.ndim:
        fitting = fitting_axes(x.shape, y.shape, None if named is None else named % x.ndim)
    if not fitting:
        stream_of(x, named, y)
        raise AssertionError("what fits no axis is refused in words")
    # Where two axes fit, PyTorch's comes first.
    return x, y, fitting[0]


def _shape_without_rows(x: Array, axis: int, options: TargetOptions) -> tuple[int, ...] | None:
    """Return the shape of the losses where there are none; None where there are some."""
    others = without_axis(x.shape, axis)
    if 0 not in others:
        return None
    check_options(options, x.shape[axis])
    return others


def _warn_of_probabilities(x: Array, y: Array, axis: int) -> None:
    """Warn of rows that are probabilities."""
    # Of logits, hardly ever do the first few lie in [0, 1], and this look at them costs nothing.
    first = x[tuple(slice(0, FIRST_CLASSES) if n == axis else 0 for n in range(x.ndim))].astype(np.float64)
    if x.size == 0 or not (first.min() >= 0 and first.max() <= 1):
        return
    stream = stream_of(x, axis, y)
    noted = with_probabilities_noted(stream).notes[len(stream.notes) :]
    # Rows of ones and zeros are as likely logits.
    if noted and ((x > 0) & (x < 1)).any():
        warn(noted[0])
