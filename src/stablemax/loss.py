"""The cross-entropy of an input, as torch.nn.functional.cross_entropy defines it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.arithmetic import Arithmetic
from stablemax.errors import StablemaxError, shown
from stablemax.formats import FLOAT64, Array, Format, format_of
from stablemax.reduction import exact_sum, reduced_mean, reduced_sum, rounded
from stablemax.registry import Variant, evaluate, get
from stablemax.results import LossResult
from stablemax.targets import LabelTargets, SoftTargets, Targets
from stablemax.vocabulary import Accumulation, Operation, Reduction

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.inputs.problem import Problem

CELLS_PER_READ = 1 << 20
"""Rows are computed in pieces of about this many cells: a mapped file may be larger than memory."""


@dataclass(frozen=True)
class TargetOptions:
    """How labels become targets; as in torch.nn.functional.cross_entropy.

    Parameters
    ----------
    weight : ndarray of float64 (K,), optional
        Weight of each class, 0 or more.
    label_smoothing : float
        From 0 to 1: the share of every target that is spread evenly over the classes.
    ignore_index : int or None
        Rows with this label do not count.
    weight_name : str
        What to call the weights in messages.
    """

    weight: Array | None = None
    label_smoothing: float = 0.0
    ignore_index: int | None = -100
    weight_name: str = "the weights"


def check_options(options: TargetOptions, classes: int) -> None:
    """Refuse options that do not fit.

    Raises
    ------
    StablemaxError
        If the smoothing is not in [0, 1], or the weights are not K finite numbers of 0 or more.
    """
    smoothing = options.label_smoothing
    if not 0.0 <= smoothing <= 1.0:
        raise StablemaxError(f"--label-smoothing {shown(smoothing)} is out of range", "it is a share, from 0 to 1")
    weight = options.weight
    if weight is None:
        return
    if weight.shape != (classes,):
        raise StablemaxError(
            f"{options.weight_name}: shape {weight.shape} does not fit {classes:,} classes",
            "give one weight for each class",
        )
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if bad.size:
        raise StablemaxError(
            f"{options.weight_name}: weight {weight[bad[0]]!s} of class {bad[0]} is not a finite number of 0 or more",
            "class weights are 0 or more",
        )


def kept_rows(labels: Array, ignore_index: int | None) -> Array:
    """Mark the rows that count: all but those labelled `ignore_index`."""
    if labels.ndim == 2 or ignore_index is None:
        return np.ones(len(labels), dtype=bool)
    return np.asarray(labels != ignore_index)


def row_weights(labels: Array, options: TargetOptions) -> Array | None:
    """Return what the mean divides by the sum of, (N,); None where it divides by the number of rows."""
    if options.weight is None or labels.ndim == 2:
        return None
    return np.asarray(options.weight[labels])


def targets_of(labels: Array, classes: int, options: TargetOptions, xp: Any, divisor: float = 1.0) -> Targets:
    """Turn the labels of kept rows into targets in an arithmetic.

    Smoothed: ``(1 - eps) w_y`` at the label plus ``eps / K w_c`` everywhere. Soft targets:
    ``((1 - eps) t + eps / K) w_c``.

    Parameters
    ----------
    labels : ndarray of int64 (N,) or float64 (N, K)
        None of them ignored.
    classes : int
        K.
    options : TargetOptions
        Weights and smoothing.
    xp : Arithmetic
        Whose dtype the weights get.
    divisor : float
        What gradients are divided by.
    """
    eps, weight = options.label_smoothing, options.weight
    if labels.ndim == 1 and eps == 0.0:
        rows = None if weight is None else xp.array(weight[labels][:, None])
        return LabelTargets(labels, rows, divisor)
    soft = labels if labels.ndim == 2 else np.zeros((len(labels), classes))
    if labels.ndim == 1:
        soft[np.arange(len(labels)), labels] = 1.0
    if eps:
        soft = (1.0 - eps) * soft + eps / classes
    if weight is not None:
        soft = soft * weight
    return SoftTargets(xp.array(soft), divisor)


def default_variant(operation: Operation, fmt: Format) -> Variant:
    """Return what the public functions compute with: `wide`, or in float64 the accurate variant."""
    return get(f"{operation}/wide" if fmt.precision < FLOAT64.precision else operation.accurate_variant)


def cross_entropy_of(
    problem: Problem,
    *,
    reduction: Reduction = Reduction.MEAN,
    options: TargetOptions | None = None,
    variant: Variant | None = None,
    fmt: Format | None = None,
    accumulation: Accumulation | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> LossResult:
    """Compute the loss of a problem.

    Parameters
    ----------
    problem : Problem
        Logits (N, K) and labels.
    reduction : Reduction
        Mean over the rows that count (weighted by their labels' weights), their sum, or each row.
    options : TargetOptions, optional
        Weights, smoothing, ignored label.
    variant : Variant, optional
        Another formula than the accurate one.
    fmt : Format, optional
        A format to compute in, its sums and its mean included. Without it everything is computed in
        float64, and the sum over the rows is exact and rounded once.
    accumulation : Accumulation, optional
        How sums are added; the format's ordinary kernel when not given.
    progress : callable, optional
        Called with (rows done, rows in all, what runs).

    Returns
    -------
    LossResult
        The value, and the first row that is not finite.

    Raises
    ------
    StablemaxError
        If there are no labels or the options do not fit.
    """
    options = options or TargetOptions()
    if problem.labels is None:
        raise StablemaxError("a loss needs labels", "give a file of labels, or name a column with --label-column")
    rows, classes = problem.logits.shape
    check_options(options, classes)
    xp = Arithmetic(fmt or FLOAT64, accumulation)
    formula = variant or default_variant(Operation.CROSS_ENTROPY, xp.format)
    keep = kept_rows(problem.labels, options.ignore_index)
    losses = np.zeros(rows, dtype=xp.format.dtype)
    step = max(1, CELLS_PER_READ // classes)
    for start in range(0, rows, step):
        if progress is not None:
            progress(start, rows, formula.id)
        at = start + np.flatnonzero(keep[start : start + step])
        if at.size:
            labels = problem.labels[at]
            targets = targets_of(labels, classes, options, xp)
            losses[at] = evaluate(formula, xp.array(problem.logits[at]), xp, targets)
    weights = row_weights(problem.labels[keep], options)
    value = _reduce(losses[keep], weights, reduction, xp, exact=fmt is None)
    bad = np.flatnonzero(~np.isfinite(losses) & keep)
    return LossResult(
        value=value,
        rows=losses.astype(np.float64) if reduction is Reduction.NONE else None,
        variant=formula.id,
        format=xp.format.name,
        kept_rows=int(keep.sum()),
        total_rows=rows,
        first_bad=_first_bad(problem, losses, bad, xp.format),
    )


def _reduce(losses: Array, weights: Array | None, reduction: Reduction, xp: Arithmetic, *, exact: bool) -> float:
    if reduction is Reduction.NONE:
        return math.nan
    if exact:
        return reduced_sum(losses) if reduction is Reduction.SUM else reduced_mean(losses, weights)
    with np.errstate(all="ignore"):
        if reduction is Reduction.SUM:
            return float(xp.sum(losses.reshape(1, -1))[0, 0]) if losses.size else 0.0
        if losses.size == 0:
            return math.nan
        mean = xp.mean(losses)
        if weights is None:
            return float(mean)
        # A weighted mean is the plain one times N over the sum of the weights.
        share = Arithmetic(FLOAT64).number(rounded(exact_sum(weights) / losses.size))
        return float(xp.array(np.float64(mean) / share))


def _first_bad(problem: Problem, losses: Array, bad: Array, fmt: Format) -> tuple[int, str] | None:
    if not bad.size:
        return None
    row = int(bad[0])
    x = problem.logits[row].astype(np.float64)
    labels = problem.labels
    assert labels is not None
    value = float(losses[row])
    for what, where in (("NaN", np.isnan(x)), ("+inf", np.isposinf(x))):
        if where.any():
            return row, f"row {row} has loss {value}: its logit of class {int(np.argmax(where))} is {what}"
    beyond = np.isfinite(x) & ~np.isfinite(fmt.round(x))
    if beyond.any():
        at = int(np.argmax(beyond))
        return row, f"row {row} has loss {value}: its logit of class {at}, {x[at]:g}, is beyond {fmt.name}"
    if np.isneginf(x).all():
        return row, f"row {row} has loss {value}: all its logits are -inf"
    if labels.ndim == 1 and np.isneginf(x[labels[row]]):
        return row, f"row {row} has loss {value}: the logit of its label, class {labels[row]}, is -inf"
    if np.isneginf(x).any():
        column = int(np.argmax(np.isneginf(x)))
        return row, f"row {row} has loss {value}: class {column} has weight in the target and logit -inf"
    return row, f"row {row} has loss {value}, though its logits are finite, from {x.min():g} to {x.max():g}"


def format_of_problem(problem: Problem) -> Format:
    """Return the format that the logits' own dtype stands for; float64 for integers."""
    return format_of(problem.logits.dtype.newbyteorder("="))
