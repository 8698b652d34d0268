"""What the public functions are called with, made what the workflows take, or refused in words."""

from __future__ import annotations

import operator
import warnings
from typing import Any

import numpy as np

from stablemax.compute.streaming import Resources
from stablemax.inputs.input_warnings import inexact_in_float64
from stablemax.inputs.logits import Stream, as_stream
from stablemax.inputs.probabilities import with_probabilities_noted
from stablemax.inputs.stored import StoredArray
from stablemax.numerics.formats import Array, format_of
from stablemax.operations.targets import TargetOptions
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.vocabulary import Reduction
from stablemax.text.words import counted


def numbers_of(values: Any) -> Array:
    """Take anything that NumPy makes an array of real numbers of."""
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


def logits_of(x: Any, above: int = 3) -> Array:
    """Take logits; integers that float64 cannot hold are warned of, `above` calls up."""
    array = numbers_of(x)
    if array.size:
        inexact = inexact_in_float64(array.reshape(1, -1))
        if inexact is not None and inexact.any():
            value = array.ravel()[int(np.argmax(inexact))]
            many = counted(int(np.count_nonzero(inexact)), "integer")
            warnings.warn(f"{many} among the logits cannot be exact in float64, such as {value}", stacklevel=above)
    return array


def stream_of(x: Any, axis: int | None, labels: Any = None) -> Stream:
    """Take logits, and labels if there are any, as rows."""
    targets = () if labels is None else StoredArray.of(numbers_of(labels), "the labels")
    return as_stream(StoredArray.of(logits_of(x, above=4), "the logits"), targets, axis=axis)


def probability_notes(rows: Array) -> tuple[str, ...]:
    """Note that rows of logits are probabilities, where they are."""
    return with_probabilities_noted(as_stream(StoredArray.of(rows, "the logits"))).notes


def labelled_rows_of(x: Any, axis: int | None, labels: Any) -> Stream:
    """Take logits with their labels; rows that are probabilities are warned of, two calls up."""
    targets = StoredArray.of(numbers_of(labels), "the labels")
    stored = StoredArray.of(logits_of(x, above=4), "the logits")
    stream = as_stream(stored, targets, axis=axis)
    noted = with_probabilities_noted(stream).notes[len(stream.notes) :]
    # Rows of ones and zeros are as likely logits.
    if noted and ((stored.array > 0) & (stored.array < 1)).any():
        warnings.warn(noted[0], stacklevel=3)
    return stream


def _whole(name: str, value: Any, hint: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise StablemaxError(f"{name}={shown(value)} is not a whole number", hint) from None


def axis_of(axis: Any) -> int:
    """Take one axis."""
    # SciPy's axis=None, over everything, would be another function.
    return _whole("axis", axis, "one axis: the last is -1; of all numbers at once: x.ravel()")


def resources_of(threads: int | None) -> Resources:
    """Take a number of threads."""
    hint = "1 or more; None: all cores"
    if threads is not None and _whole("threads", threads, hint) < 1:
        raise StablemaxError(f"threads={shown(threads)} is not a number of threads", hint)
    return Resources(threads=threads)


def options_of(weight: Any, label_smoothing: Any, ignore_index: Any) -> TargetOptions:
    """Take what turns labels into targets."""
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


def reduction_of(name: str) -> Reduction:
    """Take the name of a reduction."""
    return named(Reduction, "reduction", name)


def named(kind: Any, what: str, name: str) -> Any:
    """Take the name of one of a kind."""
    try:
        return kind(name)
    except ValueError:
        raise StablemaxError(f"there is no {what} {shown(name)!r}", f"one of: {', '.join(kind)}") from None
