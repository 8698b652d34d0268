"""The public functions: arrays in, arrays out, as accurate as the format allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stablemax import operations as known_operations
from stablemax.arguments import axis_of, logits_of, named, numbers_of, options_of, reduction_of, resources_of, stream_of
from stablemax.arithmetic import Arithmetic
from stablemax.arrays import array_of
from stablemax.comparison import CompareOptions, compare_problem
from stablemax.errors import StablemaxError
from stablemax.formats import Array, format_of, get_format
from stablemax.inputs.logits import as_problem, restore
from stablemax.loss import cross_entropy_of
from stablemax.operations import get_operation
from stablemax.operations.operation import Second
from stablemax.operations.variant import default_variant, evaluate
from stablemax.vocabulary import Accumulation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.inputs.logits import Problem
    from stablemax.results import Comparison


def softmax(x: Any, axis: int = -1, *, threads: int | None = None) -> Array:
    """Probabilities from logits.

    Parameters
    ----------
    x : array_like
        Logits of one or more dimensions: float16, bfloat16, 8-bit, float32, float64 or integers.
        Integers that float64 cannot hold are warned of. A masked array is refused.
    axis : int
        The axis of the classes.
    threads : int, optional
        Worker threads; all cores when not given. They change no bit of the result.

    Returns
    -------
    ndarray
        Of the input's shape and dtype, float64 for integers. At most 0.51 ulp from the exact
        probability in every format of 32 bits or fewer, 4.1 ulp in float64. NaN in rows with a +inf
        or NaN, or of nothing but -inf.

    Raises
    ------
    StablemaxError
        If x has no elements, is not real, or has no such axis.

    References
    ----------
    `stablemax explain softmax/compensated`.

    Examples
    --------
    >>> softmax([1000.0, 1001.0, 1002.0]).round(8).tolist()
    [0.09003057, 0.24472847, 0.66524096]
    """
    return array_of(get_operation("softmax"), stream_of(x, axis_of(axis)), resources=resources_of(threads))


def log_softmax(x: Any, axis: int = -1, *, threads: int | None = None) -> Array:
    """Log-probabilities from logits; accurate also where a class is nearly certain.

    Parameters
    ----------
    x : array_like
        Logits, as for `softmax`.
    axis : int
        The axis of the classes.
    threads : int, optional
        Worker threads; all cores when not given. They change no bit of the result.

    Returns
    -------
    ndarray
        Of the input's shape and dtype, float64 for integers.

    Raises
    ------
    StablemaxError
        If x has no elements, is not real, or has no such axis.

    Examples
    --------
    >>> print(*(f"{y:.12g}" for y in log_softmax([0.0, -40.0])))
    -4.24835425529e-18 -40
    """
    return array_of(get_operation("log_softmax"), stream_of(x, axis_of(axis)), resources=resources_of(threads))


def logsumexp(x: Any, axis: int = -1, *, threads: int | None = None) -> Any:
    """Logarithm of the sum of exponentials along an axis.

    Parameters
    ----------
    x : array_like
        Logits, as for `softmax`.
    axis : int
        The axis to sum over.
    threads : int, optional
        As for `softmax`.

    Returns
    -------
    ndarray or scalar
        Of the input's shape without that axis. -inf for nothing but -inf, inf where +inf occurs.
        Ill-conditioned where it is near 0 and the logits are not, as of log-probabilities: m and
        log1p(q) then cancel, and what is right is an absolute error of an ulp of m.

    Raises
    ------
    StablemaxError
        If x has no elements, is not real, or has no such axis.

    Examples
    --------
    >>> print(f"{logsumexp([0.0, -40.0]):.12g}")
    4.24835425529e-18
    """
    return array_of(get_operation("logsumexp"), stream_of(x, axis_of(axis)), resources=resources_of(threads))[()]


def cross_entropy(
    logits: Any,
    labels: Any,
    *,
    axis: int | None = None,
    weight: Any = None,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    threads: int | None = None,
) -> Any:
    """Cross-entropy, as torch.nn.functional.cross_entropy defines it, computed in float64.

    Parameters
    ----------
    logits : array_like
        One or more dimensions.
    labels : array_like
        Classes, in the shape of the logits without the class axis, or soft targets in the shape of
        the logits.
    axis : int, optional
        The axis of the classes; found out from the shapes when not given.
    weight : array_like (K,), optional
        Weight of each class.
    ignore_index : int or None
        Rows with this label do not count.
    label_smoothing : float
        From 0 to 1.
    reduction : str
        "mean", "sum" or "none".
    threads : int, optional
        Worker threads; all cores when not given. They change no bit of the result.

    Returns
    -------
    float or ndarray of float64
        The sum over the rows is exact and rounded once. With "none" every row's loss, 0 where
        ignored. NaN for the mean of no rows.

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
    stream = stream_of(logits, axis, labels)
    options = options_of(weight, label_smoothing, ignore_index)
    result = cross_entropy_of(
        stream, reduction=reduction_of(reduction), options=options, resources=resources_of(threads)
    )
    return result.value if result.rows is None else result.rows.reshape(stream.others)[()]


def cross_entropy_grad(
    logits: Any,
    labels: Any,
    *,
    axis: int | None = None,
    weight: Any = None,
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
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
        Of the logits' shape and dtype, float64 for integers; 0 in ignored rows. At most 0.51 ulp
        from the exact gradient in every format of 32 bits or fewer, 6 ulp in float64; with soft or
        smoothed targets p - t cancels where they are close, and digits are lost in that measure.

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
    options = options_of(weight, label_smoothing, ignore_index)
    return array_of(
        get_operation("cross_entropy_grad"),
        stream_of(logits, axis, labels),
        reduction=reduction_of(reduction),
        options=options,
        resources=resources_of(threads),
    )


def softmax_vjp(x: Any, g: Any, axis: int = -1) -> Array:
    """Gradient of ``sum(g * softmax(x))`` with respect to x.

    Parameters
    ----------
    x : array_like
        Logits, as for `softmax`.
    g : array_like
        Upstream gradient, of the same shape; rounded to the dtype of x.
    axis : int
        The axis of the classes.

    Returns
    -------
    ndarray
        Of the input's shape and dtype, float64 for integers. An entry whose g is close to the mean
        of g under the probabilities is ill-conditioned, and keeps fewer digits in float64.

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
    problem = as_problem(logits_of(x), axis=axis_of(axis))
    upstream = as_problem(numbers_of(g), axis=axis_of(axis))
    if upstream.shape != problem.shape:
        raise StablemaxError(
            f"the upstream gradient has shape {upstream.shape}, the logits {problem.shape}",
            "they need one shape",
        )
    xp = Arithmetic(format_of(problem.logits.dtype.newbyteorder("=")))
    formula = default_variant(get_operation("softmax_vjp"), xp.format)
    return restore(evaluate(formula, xp.array(problem.logits), xp, xp.array(upstream.logits)), problem)


def compare(
    logits: Any,
    labels: Any = None,
    *,
    axis: int | None = None,
    formats: Sequence[str] = ("float16", "bfloat16", "float32", "float64"),
    operations: Sequence[str] = (),
    variants: Sequence[str] = (),
    accumulate: str | None = None,
    max_ulp: float | None = None,
    judge: int | None = None,
    ignore_index: int | None = -100,
    reduction: str = "mean",
) -> Comparison:
    """Judge every variant on an input against the truth; what `stablemax compare` prints.

    Parameters
    ----------
    logits, labels, axis, ignore_index
        As for `cross_entropy`; without labels the cross-entropies are not run.
    formats : sequence of str
        Number formats to run in.
    operations, variants : sequence of str
        Names of operations, and globs of names or ids of variants; by default all.
    accumulate : str, optional
        "sequential", "pairwise", "float32" or "float64".
    max_ulp : float, optional
        Errors above are inaccurate; half of the format's bits when not given.
    judge : int, optional
        How many rows to judge; by default as many as 2**18 cells hold.
    reduction : str
        "mean" or "sum": what the gradient is the gradient of.

    Returns
    -------
    Comparison
        Verdicts by operation, variant and format, and the finding in a sentence.

    Raises
    ------
    StablemaxError
        If something has no such name, or labels and logits do not fit.

    Examples
    --------
    >>> result = compare([[1000.0, 1001.0, 1002.0]], operations=["softmax"], formats=["float32"])
    >>> [(v.variant, v.worst.value) for v in result.verdicts][0]
    ('softmax/naive', 'nan')
    """
    problem = _problem(logits, labels, axis, options_of(None, 0.0, ignore_index).ignore_index)
    options = CompareOptions(
        **_looked_up(formats, operations, accumulate),
        patterns=tuple(variants),
        max_ulp=max_ulp,
        judge=judge,
        reduction=reduction_of(reduction),
        ignore_index=ignore_index,
    )
    return compare_problem(problem, options)


def _problem(logits: Any, labels: Any, axis: int | None, ignore_index: int | None) -> Problem:
    return as_problem(
        logits_of(logits, above=4),
        None if labels is None else numbers_of(labels),
        axis=None if axis is None else axis_of(axis),
        ignore_index=ignore_index,
    )


def _looked_up(formats: Sequence[str], operations: Sequence[str], accumulate: str | None) -> dict[str, Any]:
    return {
        "formats": tuple(get_format(f) for f in formats),
        "operations": tuple(map(get_operation, operations)),
        "accumulation": None if accumulate is None else named(Accumulation, "accumulation", accumulate),
    }


def __getattr__(name: str) -> Any:
    """Give the operations that have no function of their own above one: ``f(x)`` or ``f(x, second)``."""
    if name not in known_operations.NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    operation = get_operation(name)

    def computed(x: Any, second: Any = None, *, axis: int = -1, threads: int | None = None) -> Any:
        if (second is None) is not (operation.second is Second.NONE):
            raise StablemaxError(
                f"{name} takes {operation.second.value} beside the logits", "one number for each logit"
            )
        stream = stream_of(x, axis_of(axis), second)
        return array_of(operation, stream, resources=resources_of(threads))[()]

    computed.__name__ = computed.__qualname__ = name
    computed.__doc__ = f"Compute {name} of logits, in their shape and dtype: stablemax explain {operation.best_id}."
    return computed
