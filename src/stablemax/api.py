"""The public functions: arrays in, arrays out, as accurate as the format allows."""

from __future__ import annotations

import operator
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.arithmetic import Arithmetic
from stablemax.arrays import array_of, gradient_of
from stablemax.comparison import CompareOptions, compare_problem
from stablemax.errors import StablemaxError, shown
from stablemax.formats import Array, format_of, get_format
from stablemax.inputs.noticed import inexact_in_float64
from stablemax.inputs.problem import as_problem, restore
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.stream import Stream, as_stream
from stablemax.loss import cross_entropy_of
from stablemax.registry import default_variant, evaluate
from stablemax.streaming import Resources
from stablemax.target_options import TargetOptions
from stablemax.vocabulary import Accumulation, Operation, Reduction
from stablemax.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    return array_of(Operation.SOFTMAX, _stream(x, _axis(axis)), resources=_resources(threads))


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
    >>> log_softmax([0.0, -40.0]).tolist()
    [-4.248354255291589e-18, -40.0]
    """
    return array_of(Operation.LOG_SOFTMAX, _stream(x, _axis(axis)), resources=_resources(threads))


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
    >>> float(logsumexp([0.0, -40.0]))
    4.248354255291589e-18
    """
    return array_of(Operation.LOGSUMEXP, _stream(x, _axis(axis)), resources=_resources(threads))[()]


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
    >>> cross_entropy(np.float32([[1e8, 1e8, 1e8]]), [0])
    1.0986122886681098
    """
    stream = _stream(logits, axis, labels)
    options = _options(weight, label_smoothing, ignore_index)
    result = cross_entropy_of(stream, reduction=_reduction(reduction), options=options, resources=_resources(threads))
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
    >>> cross_entropy_grad(np.float32([[20.0, 0.0]]), [0]).tolist()
    [[-2.06115369216775e-09, 2.06115369216775e-09]]
    """
    options = _options(weight, label_smoothing, ignore_index)
    return gradient_of(
        _stream(logits, axis, labels), reduction=_reduction(reduction), options=options, resources=_resources(threads)
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
    >>> bool(softmax_vjp(np.float32([0, 0, 0]), np.float32([1000.0001, 1000, 1000]))[0] > 0)
    True
    """
    problem = as_problem(_logits(x), axis=_axis(axis))
    upstream = as_problem(_array(g), axis=_axis(axis))
    if upstream.shape != problem.shape:
        raise StablemaxError(
            f"the upstream gradient has shape {upstream.shape}, the logits {problem.shape}",
            "they need one shape",
        )
    xp = Arithmetic(format_of(problem.logits.dtype.newbyteorder("=")))
    formula = default_variant(Operation.SOFTMAX_VJP, xp.format)
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
    operations : sequence of str
        By default all.
    variants : sequence of str
        Globs of names or ids; by default all.
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
    problem = as_problem(
        _logits(logits),
        None if labels is None else _array(labels),
        axis=None if axis is None else _axis(axis),
        ignore_index=_options(None, 0.0, ignore_index).ignore_index,
    )
    options = CompareOptions(
        formats=tuple(get_format(f) for f in formats),
        operations=tuple(_named(Operation, "operation", o) for o in operations),
        patterns=tuple(variants),
        accumulation=None if accumulate is None else _named(Accumulation, "accumulation", accumulate),
        max_ulp=max_ulp,
        judge=judge,
        reduction=_reduction(reduction),
        ignore_index=ignore_index,
    )
    return compare_problem(problem, options)


def _array(values: Any) -> Array:
    if np.ma.is_masked(values):
        raise StablemaxError(
            "a masked array, whose mask would be lost", "x.filled(-numpy.inf) takes masked classes out of a row"
        )
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        # NumPy's own words of rows of different lengths; torch's of what NumPy lacks, or must not take.
        is_tensor = type(values).__module__.partition(".")[0] == "torch"
        hint = "x.detach().cpu().float().numpy()" if is_tensor else "rows need one length"
        raise StablemaxError(f"not an array: {shown(error)}", hint) from None
    if array.dtype.kind not in "iub":
        format_of(array.dtype)
    return array


def _logits(x: Any) -> Array:
    array = _array(x)
    if array.size:
        inexact = inexact_in_float64(array.reshape(1, -1))
        if inexact is not None and inexact.any():
            value = array.ravel()[int(np.argmax(inexact))]
            many = counted(int(np.count_nonzero(inexact)), "integer")
            # The caller of a function of this module is three calls up.
            warnings.warn(f"{many} among the logits cannot be exact in float64, such as {value}", stacklevel=4)
    return array


def _stream(x: Any, axis: int | None, labels: Any = None) -> Stream:
    targets = () if labels is None else StoredArray.of(_array(labels), "the labels")
    return as_stream(StoredArray.of(_logits(x), "the logits"), targets, axis=axis)


def _whole(name: str, value: Any, hint: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise StablemaxError(f"{name}={shown(value)} is not a whole number", hint) from None


def _axis(axis: Any) -> int:
    # SciPy's axis=None, over everything, would be another function.
    return _whole("axis", axis, "one axis: the last is -1; of all numbers at once: x.ravel()")


def _resources(threads: int | None) -> Resources:
    hint = "1 or more; None: all cores"
    if threads is not None and _whole("threads", threads, hint) < 1:
        raise StablemaxError(f"threads={shown(threads)} is not a number of threads", hint)
    return Resources(threads=threads)


def _options(weight: Any, label_smoothing: Any, ignore_index: Any) -> TargetOptions:
    try:
        weights = None if weight is None else np.asarray(weight, dtype=np.float64)
        smoothing = float(label_smoothing)
    except (TypeError, ValueError) as error:
        raise StablemaxError(
            f"weight or label_smoothing is not a number: {shown(error)}", "weights are (K,), the smoothing is a share"
        ) from None
    hint = "the label of rows that do not count; None: all count"
    return TargetOptions(
        weights, smoothing, None if ignore_index is None else _whole("ignore_index", ignore_index, hint)
    )


def _reduction(name: str) -> Reduction:
    return _named(Reduction, "reduction", name)


def _named(kind: Any, what: str, name: str) -> Any:
    try:
        return kind(name)
    except ValueError:
        raise StablemaxError(f"there is no {what} {shown(name)!r}", f"one of: {', '.join(kind)}") from None
