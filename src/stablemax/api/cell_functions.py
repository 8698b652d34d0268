"""Functions of each logit alone, whatever the axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from stablemax.api.arguments import logits_of, numbers_of, reduction_of, same_shape
from stablemax.api.class_axes import ClassAxes
from stablemax.api.row_results import result_of_rows
from stablemax.compute.proved import accurate
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.exact_sum import ExactSum
from stablemax.numerics.formats import FLOAT64, Array, format_of
from stablemax.operations import get_operation
from stablemax.operations.targets import CellTargets, TargetOptions, second_of
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Reduction


def sigmoid(x: Any, *, threads: int | None = None) -> Any:
    """Probability of each logit: 1 / (1 + exp(-x)).

    Parameters
    ----------
    x : array_like
        Logits of any shape, as for `softmax`.
    threads : int, optional
        As for `softmax`.

    Returns
    -------
    ndarray or scalar
        Of the input's shape and dtype, float64 for integers; rounded correctly, subnormal results included. -inf
        gives 0 and inf gives 1.

    Raises
    ------
    StablemaxError
        If x is not real.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.float32([-np.inf, 0.0, 17.0, np.inf])).tolist()
    [0.0, 0.5, 0.9999999403953552, 1.0]
    """
    return result_of_rows("sigmoid", x, -1, threads=threads)


def log_sigmoid(x: Any, *, threads: int | None = None) -> Any:
    """Log-probability of each logit: min(x, 0) - log1p(exp(-abs(x))).

    Parameters
    ----------
    x, threads
        As for `sigmoid`.

    Returns
    -------
    ndarray or scalar
        Of the input's shape and dtype, float64 for integers; as accurate as `sigmoid`.

    Raises
    ------
    StablemaxError
        If x is not real.

    Examples
    --------
    >>> import numpy as np
    >>> log_sigmoid(np.float32([-1000.0, 1000.0])).tolist() == [-1000.0, 0.0]
    True
    """
    return result_of_rows("log_sigmoid", x, -1, threads=threads)


def softplus(x: Any, *, threads: int | None = None) -> Any:
    """Softplus of each logit: log(1 + exp(x)).

    Parameters
    ----------
    x, threads
        As for `sigmoid`.

    Returns
    -------
    ndarray or scalar
        Of the input's shape and dtype, float64 for integers; as accurate as `sigmoid`.

    Raises
    ------
    StablemaxError
        If x is not real.

    Examples
    --------
    >>> import numpy as np
    >>> softplus(np.float32([-np.inf, 1000.0])).tolist()
    [0.0, 1000.0]
    """
    return result_of_rows("softplus", x, -1, threads=threads)


def binary_cross_entropy(
    logits: Any, targets: Any, *, weight: Any = None, pos_weight: Any = None, reduction: str = "mean"
) -> Any:
    """Binary cross-entropy, as torch.nn.functional.binary_cross_entropy_with_logits, computed in float64.

    Parameters
    ----------
    logits : array_like
        Of any shape.
    targets : array_like
        In the shape of the logits, from 0 to 1.
    weight : array_like, optional
        Of the losses, 0 or more; of a shape that is repeated to that of the logits.
    pos_weight : array_like (K,), optional
        Of positive targets, 0 or more, for each class of the last axis.
    reduction : str
        "mean" over all cells, whatever their weights, "sum" or "none".

    Returns
    -------
    float or ndarray of float64
        Every loss is rounded correctly, their sum is exact and rounded once. With "none" every loss. A logit of -inf or
        inf has the loss 0 where its target agrees, or its weight is 0. NaN for the mean of no cells.

    Raises
    ------
    StablemaxError
        If the shapes do not fit, a target is not in [0, 1], or a weight is negative.

    Examples
    --------
    >>> import numpy as np
    >>> losses = binary_cross_entropy(np.float32([-20.0, -np.inf]), [0.0, 0.0], reduction="none")
    >>> [f"{loss:.6g}" for loss in losses]
    ['2.06115e-09', '0']
    """
    reduced = reduction_of(reduction)
    x = logits_of(logits)
    rows, given = _cells(x, targets, weight, pos_weight)
    operation = get_operation("binary_cross_entropy")
    losses = accurate(operation, rows.astype(np.float64), given, FLOAT64).reshape(x.shape)
    if reduced is Reduction.NONE:
        return losses[()]
    total = ExactSum.of(losses.ravel())
    return total.rounded() if reduced is Reduction.SUM else total.mean(ExactSum.of_ones(losses.size))


def binary_cross_entropy_grad(
    logits: Any, targets: Any, *, weight: Any = None, pos_weight: Any = None, reduction: str = "mean"
) -> Any:
    """Gradient of `binary_cross_entropy` with respect to the logits.

    Parameters
    ----------
    logits, targets, weight, pos_weight, reduction
        As for `binary_cross_entropy`; with "none" each cell holds the gradient of its own loss.

    Returns
    -------
    ndarray or scalar
        Of the logits' shape and dtype, float64 for integers; rounded correctly, also where the sigmoid is close to
        the target.

    Raises
    ------
    StablemaxError
        If the shapes do not fit, a target is not in [0, 1], or a weight is negative.

    Examples
    --------
    >>> import numpy as np
    >>> f"{binary_cross_entropy_grad(np.float32([20.0]), [1.0])[0]:.6g}"
    '-2.06115e-09'
    """
    x = logits_of(logits)
    divisor = float(max(x.size, 1)) if reduction_of(reduction) is Reduction.MEAN else 1.0
    rows, given = _cells(x, targets, weight, pos_weight, divisor=divisor)
    operation, fmt = get_operation("binary_cross_entropy_grad"), format_of(x.dtype.newbyteorder("="))
    return accurate(operation, rows.astype(np.float64), given, fmt).reshape(x.shape)[()]


def _cells(x: Array, targets: Any, weight: Any, pos_weight: Any, *, divisor: float = 1.0) -> tuple[Array, CellTargets]:
    """Take logits as rows (N, K), with their targets and weights in float64."""
    t = numbers_of(targets)
    same_shape(x, t, "the targets")
    rows = ClassAxes.of(-1, x.shape).rows(x)
    cell_weight = _repeated("weight", weight, x.shape)
    options = TargetOptions(
        None if cell_weight is None else cell_weight.reshape(rows.shape),
        pos_weight=_repeated("pos_weight", pos_weight, rows.shape[1:]),
    )
    operation, array = get_operation("binary_cross_entropy"), t.astype(np.float64).reshape(rows.shape)
    return rows, second_of(operation, array, Arithmetic(FLOAT64), divisor, options)


def _repeated(name: str, weight: Any, shape: tuple[int, ...]) -> Array | None:
    """Take weights of 0 or more, repeated to a shape."""
    if weight is None:
        return None
    values = numbers_of(weight).astype(np.float64)
    if not (np.isfinite(values) & (values >= 0)).all():
        raise StablemaxError(f"{name} holds what is not a finite number of 0 or more", "weights are 0 or more")
    try:
        return np.broadcast_to(values, shape)
    except ValueError:
        raise StablemaxError(
            f"{name} has shape {values.shape}, which is not repeated to {shape}",
            "give one for each class, or for each cell",
        ) from None
