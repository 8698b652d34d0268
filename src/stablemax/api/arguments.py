"""What the public functions are called with, made what the workflows take, or refused in words."""

from __future__ import annotations

import operator
import sys
import warnings
from typing import Any

import numpy as np

from stablemax.api.foreign_arrays import array_from
from stablemax.compute.streaming import Resources
from stablemax.inputs.input_warnings import inexact_in_float64
from stablemax.inputs.labels import check_logits_dtype
from stablemax.inputs.logits import Stream, as_stream
from stablemax.inputs.probabilities import with_probabilities_noted
from stablemax.inputs.stored import StoredArray
from stablemax.numerics.formats import Array, format_of
from stablemax.operations.targets import TargetOptions
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.vocabulary import Reduction
from stablemax.text.words import counted


def numbers_of(values: Any) -> Array:
    """Take real numbers: an array or a tensor of any library, nested lists, a number."""
    array = array_from(values)
    if array.dtype.kind not in "iub":
        format_of(array.dtype)
    return array


def logits_of(x: Any) -> Array:
    """Take logits; integers that float64 cannot hold are warned of."""
    array = numbers_of(x)
    kind = array.dtype.kind
    if kind == "b":
        check_logits_dtype(array.dtype, "the logits")
    if kind in "iu" and array.size:
        inexact = inexact_in_float64(array.reshape(1, -1))
        if inexact is not None and inexact.any():
            value = array.ravel()[int(np.argmax(inexact))]
            many = counted(int(np.count_nonzero(inexact)), "integer")
            warn(f"{many} among the logits cannot be exact in float64, such as {value}")
    return array


def warn(message: str) -> None:
    """Warn of something at the line that called the package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("stablemax."):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def same_shape(x: Array, other: Array, name: str) -> None:
    """Refuse an array that does not have the shape of the logits."""
    if x.shape != other.shape:
        raise StablemaxError(f"{name} have shape {other.shape}, the logits {x.shape}", "they need one shape")


def stream_of(array: Array, axis: int | None, second: Array | None = None) -> Stream:
    """Describe logits, and what an operation takes beside them, as rows."""
    targets = () if second is None else StoredArray.of(second, "the labels")
    return as_stream(StoredArray.of(array, "the logits"), targets, axis=axis)


def probability_notes(rows: Array) -> tuple[str, ...]:
    """Note that rows of logits are probabilities, where they are."""
    return with_probabilities_noted(as_stream(StoredArray.of(rows, "the logits"))).notes


def _whole(name: str, value: Any, hint: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise StablemaxError(f"{name}={shown(value)} is not a whole number", hint) from None


def axis_of(axis: Any) -> int:
    """Take one axis."""
    return _whole("axis", axis, "one axis: the last is -1")


def resources_of(threads: int | None) -> Resources:
    """Take a number of threads."""
    hint = "1 or more; None: all cores"
    if threads is not None and _whole("threads", threads, hint) < 1:
        raise StablemaxError(f"threads={shown(threads)} is not a number of threads", hint)
    return Resources(threads=threads)


def options_of(weight: Any, label_smoothing: Any, ignore_index: Any) -> TargetOptions:
    """Take what turns labels into targets."""
    try:
        weights = None if weight is None else array_from(weight).astype(np.float64, casting="same_kind")
        smoothing = float(label_smoothing)
    except (TypeError, ValueError) as error:
        raise StablemaxError(
            f"weight or label_smoothing is not a number: {shown(error)}", "weights are (K,), the smoothing is a share"
        ) from None
    hint = "the label of rows that do not count; None: all count"
    return TargetOptions(
        weights, smoothing, None if ignore_index is None else _whole("ignore_index", ignore_index, hint)
    )


def reduction_of(name: str) -> Reduction:
    """Take the name of a reduction."""
    return named(Reduction, "reduction", name)


def named(kind: Any, what: str, name: str) -> Any:
    """Take the name of one of a kind."""
    try:
        return kind(name)
    except ValueError:
        raise StablemaxError(f"there is no {what} {shown(name)!r}", f"one of: {', '.join(kind)}") from None
