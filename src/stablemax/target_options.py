"""How labels become targets: class weights, smoothing, and the rows that do not count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.errors import StablemaxError
from stablemax.limits import check_range
from stablemax.targets import LabelTargets, SoftTargets, Targets

if TYPE_CHECKING:
    from stablemax.formats import Array


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
    check_range("--label-smoothing", options.label_smoothing, 0.0, 1.0, "it is a share, from 0 to 1")
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
