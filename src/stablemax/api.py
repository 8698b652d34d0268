"""The public functions: arrays in, arrays out, as accurate as the format allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stablemax import operations as known_operations
from stablemax.arguments import (
    axis_of,
    labelled_rows_of,
    logits_of,
    named,
    numbers_of,
    options_of,
    probability_notes,
    reduction_of,
    resources_of,
    stream_of,
)
from stablemax.comparing.comparison import CompareOptions, compare_problem
from stablemax.compute.arrays import array_of
from stablemax.compute.loss import loss_of
from stablemax.inputs.logits import Problem, as_problem, restore
from stablemax.inputs.second_array import check_second, kind_of_second
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.exact_sum import ExactSum
from stablemax.numerics.formats import FLOAT64, Array, format_of, get_format
from stablemax.operations import get_operation
from stablemax.operations.operation import Second
from stablemax.operations.targets import CellTargets, TargetOptions, second_of
from stablemax.operations.variant import default_variant, evaluate
from stablemax.results import Comparison, Sweep
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import IGNORED, Accumulation, Reduction


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
    x, axis, threads
        As for `softmax`.

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
    x, axis, threads
        As for `softmax`; the sum is over the axis.

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
    ignore_index: int | None = IGNORED,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    threads: int | None = None,
) -> Any:
    """Cross-entropy, as torch.nn.functional.cross_entropy defines it, computed in float64.

    Parameters
    ----------
    logits : array_like
        One or more dimensions. Rows that are probabilities already are warned of.
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
    stream = labelled_rows_of(logits, axis, labels)
    options = options_of(weight, label_smoothing, ignore_index)
    result = loss_of(
        get_operation("cross_entropy"),
        stream,
        reduction=reduction_of(reduction),
        options=options,
        resources=resources_of(threads),
    )
    return result.value if result.rows is None else result.rows.reshape(stream.others)[()]


def cross_entropy_grad(
    logits: Any,
    labels: Any,
    *,
    axis: int | None = None,
    weight: Any = None,
    ignore_index: int | None = IGNORED,
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
        labelled_rows_of(logits, axis, labels),
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
        Of the input's shape and dtype, float64 for integers. At most 0.51 ulp from the exact value in every
        format of 32 bits or fewer, 1.8 ulp in float64, subnormal results included. -inf gives 0 and inf gives 1.

    Raises
    ------
    StablemaxError
        If x has no elements or is not real.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.float32([-np.inf, 0.0, 17.0, np.inf])).tolist()
    [0.0, 0.5, 0.9999999403953552, 1.0]
    """
    return _of_cells("sigmoid", x, threads)


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
        If x has no elements or is not real.

    Examples
    --------
    >>> import numpy as np
    >>> log_sigmoid(np.float32([-1000.0, 1000.0])).tolist() == [-1000.0, 0.0]
    True
    """
    return _of_cells("log_sigmoid", x, threads)


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
        If x has no elements or is not real.

    Examples
    --------
    >>> import numpy as np
    >>> softplus(np.float32([-np.inf, 1000.0])).tolist()
    [0.0, 1000.0]
    """
    return _of_cells("softplus", x, threads)


def entropy(x: Any, axis: int = -1, *, threads: int | None = None) -> Any:
    """Entropy of the softmax of each row, in nats.

    Parameters
    ----------
    x, axis, threads
        As for `softmax`.

    Returns
    -------
    ndarray or scalar
        Of the input's shape without that axis. A class at -inf adds nothing. At most 0.51 ulp from the exact
        value in every format of 32 bits or fewer, 4 ulp in float64. NaN where there is no softmax.

    Raises
    ------
    StablemaxError
        If x has no elements, is not real, or has no such axis.

    Examples
    --------
    >>> f"{entropy([0.0, -40.0]):.4g}"
    '1.742e-16'
    """
    return array_of(get_operation("entropy"), stream_of(x, axis_of(axis)), resources=resources_of(threads))[()]


def kl_divergence(x: Any, y: Any, axis: int = -1, *, threads: int | None = None) -> Any:
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
        at -inf in both adds nothing. At most 0.51 ulp from the exact value in every format of 32 bits or
        fewer, 8 ulp in float64, however close the rows.

    Raises
    ------
    StablemaxError
        If the shapes differ, or x has no elements, is not real, or has no such axis.

    Examples
    --------
    >>> f"{kl_divergence([0.0, 1e-9], [1e-9, 0.0]):.6g}"
    '5e-19'
    """
    operation = get_operation("kl_divergence")
    _same_shape(numbers_of(x), numbers_of(y), "the second logits")
    return array_of(operation, stream_of(x, axis_of(axis), y), resources=resources_of(threads))[()]


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
        The sum over the cells is exact and rounded once. With "none" the loss of every cell. A logit of -inf or
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
    x, given = _cells(logits, targets, weight, pos_weight, divisor=1.0)
    xp = Arithmetic(FLOAT64)
    formula = default_variant(get_operation("binary_cross_entropy"), FLOAT64)
    losses = evaluate(formula, xp.array(x), xp, given).reshape(np.shape(logits))
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
        Of the logits' shape and dtype, float64 for integers. At most 0.51 ulp from the exact gradient in every
        format of 32 bits or fewer; in float64 3 u of what moving a logit by an ulp changes: digits are lost
        where the sigmoid comes within many ulp of a target other than 0, 1/2 and 1.

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
    size = max(np.size(logits), 1)
    divisor = float(size) if reduction_of(reduction) is Reduction.MEAN else 1.0
    x, given = _cells(logits, targets, weight, pos_weight, divisor=divisor)
    xp = Arithmetic(format_of(x.dtype.newbyteorder("=")))
    formula = default_variant(get_operation("binary_cross_entropy_grad"), xp.format)
    return evaluate(formula, xp.array(x), xp, given).reshape(np.shape(logits))[()]


def _of_cells(name: str, x: Any, threads: int | None) -> Any:
    """Compute what is taken of each logit alone, whatever the axes."""
    array = logits_of(x, above=4)
    flat = stream_of(array.reshape(1, -1) if array.ndim == 0 else array, -1)
    return array_of(get_operation(name), flat, resources=resources_of(threads)).reshape(array.shape)[()]


def _cells(logits: Any, targets: Any, weight: Any, pos_weight: Any, *, divisor: float) -> tuple[Array, CellTargets]:
    """Take logits as rows (N, K), with their targets and weights in float64."""
    x, t = logits_of(logits, above=4), numbers_of(targets)
    _same_shape(x, t, "the targets")
    rows = x.reshape(-1, x.shape[-1] if x.ndim else 1)
    cell_weight = _repeated("weight", weight, x.shape)
    options = TargetOptions(
        None if cell_weight is None else cell_weight.reshape(rows.shape),
        pos_weight=_repeated("pos_weight", pos_weight, rows.shape[1:]),
    )
    operation, array = get_operation("binary_cross_entropy"), t.astype(np.float64).reshape(rows.shape)
    return rows, second_of(operation, array, Arithmetic(FLOAT64), divisor, options)


def _same_shape(x: Array, other: Array, name: str) -> None:
    if x.shape != other.shape:
        raise StablemaxError(f"{name} have shape {other.shape}, the logits {x.shape}", "they need one shape")


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
    ignore_index: int | None = IGNORED,
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
    options = CompareOptions(
        formats=tuple(map(get_format, formats)),
        operations=tuple(map(get_operation, operations)),
        accumulation=None if accumulate is None else named(Accumulation, "accumulation", accumulate),
        patterns=tuple(variants),
        max_ulp=max_ulp,
        judge=judge,
        reduction=reduction_of(reduction),
        ignore_index=options_of(None, 0.0, ignore_index).ignore_index,
    )
    return compare_problem(_problem(logits, labels, axis, options), options)


def sweep(
    over: str = "scale",
    function: Callable[..., Any] | str | None = None,
    *,
    start: float | None = None,
    stop: float | None = None,
    steps: int | None = None,
    log: bool | None = None,
    formats: Sequence[str] = (),
    operations: Sequence[str] = (),
    variants: Sequence[str] = (),
    accumulate: str | None = None,
    max_ulp: float | None = None,
    show_values: bool = False,
) -> Sweep:
    """Move one quantity through its range and find where formulas break; what `stablemax sweep` prints.

    Parameters
    ----------
    over : str
        What is moved: "scale", "offset", "gap", "classes", "temperature" or "rows".
    function : callable or str, optional
        Code to sweep instead of our formulas: a function, or "my.py:softmax". It runs in a process of its own where
        that can be.
    start, stop, steps, log : optional
        The range, how many values the result holds, and whether they grow by a factor. Without start and stop
        breaking points are looked for up to the format's largest number.
    formats, operations, variants, accumulate, max_ulp
        As for `compare`; by default the naive, the usual and the most accurate formula of three operations.
    show_values : bool
        Keep the outputs, too.

    Returns
    -------
    Sweep
        Lines by format, operation and variant: points, breaking points, and every change between two neighbours.

    Examples
    --------
    >>> result = sweep("scale", variants=["softmax/naive"], formats=["float32"])
    >>> [(b.below.value, b.above.value, b.above.outcome.value) for b in result.lines[0].breaks]
    [(88.72283172607422, 88.72283935546875, 'nan')]
    """
    # Whoever computes a softmax need not wait for what judges somebody's code.
    from stablemax.sweeping.sweep_options import SweepOptions
    from stablemax.sweeping.sweep_run import sweep_function, sweep_variants

    options = SweepOptions(
        *(over, start, stop, steps, log),
        formats=tuple(map(get_format, formats)),
        operations=tuple(map(get_operation, operations)),
        patterns=tuple(variants),
        accumulation=None if accumulate is None else named(Accumulation, "accumulation", accumulate),
        max_ulp=max_ulp,
        keeps_values=show_values,
    )
    return sweep_variants(options) if function is None else sweep_function(function, options)


def _problem(logits: Any, labels: Any, axis: int | None, options: CompareOptions) -> Problem:
    """Take logits with labels, or with what the operations take in their place."""
    problem = as_problem(
        logits_of(logits, above=4),
        None if labels is None else numbers_of(labels),
        axis=None if axis is None else axis_of(axis),
        ignore_index=options.ignore_index,
        second=kind_of_second(options.operations),
    )
    for operation in options.operations:
        check_second(operation, problem.labels)
    of_cells = bool(options.operations) and all(operation.cellwise for operation in options.operations)
    return problem if of_cells else replace(problem, notes=(*problem.notes, *probability_notes(problem.logits)))


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
