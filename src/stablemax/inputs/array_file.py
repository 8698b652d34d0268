"""Arrays whose shape the logits decide, each from a file: class weights, and what a program computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stablemax.inputs.logits import as_problem
from stablemax.inputs.open import open_array
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from stablemax.inputs.logits import Problem
    from stablemax.numerics.formats import Array
    from stablemax.operations.operation import Operation


def read_weights(path: str) -> Array:
    """Read the weight of each class."""
    read = open_array(path)
    if read.array.dtype.kind not in "iuf":
        raise StablemaxError(f"{read.name}: weights of dtype {read.array.dtype} are not numbers", "use float64")
    if max(read.array.shape, default=0) != read.array.size:
        raise StablemaxError(
            f"{read.name}: shape {read.array.shape} is not a vector of weights",
            "give one weight for each class",
        )
    return np.asarray(read.array, dtype=np.float64).ravel()


def read_computed(path: str, problem: Problem, operation: Operation) -> tuple[Array, str]:
    """Read what a program computed, with its classes where the logits have theirs, and the name of the file."""
    read = open_array(path)
    values = read.array
    if values.dtype.kind not in "iuf":
        raise StablemaxError(f"{read.name}: holds {values.dtype}, not real numbers", "save it as float32")
    rows = problem.logits.shape[0]
    if operation.is_reduced(values.shape, problem.logits.shape) and not operation.per_row:
        return values.reshape(()), read.name
    # A table cannot say whether a single column is one number a row.
    if operation.per_row:
        others = problem.shape[: problem.axis] + problem.shape[problem.axis + 1 :]
        if values.shape not in {others, (rows,), (rows, 1), (), (1,), (1, 1)}:
            raise StablemaxError(
                f"{read.name}: has shape {values.shape}, and {operation} of these logits has {others}",
                "one number for each row, or for a cross-entropy their mean",
            )
        flat = np.asarray(values).reshape(-1)
        return (flat.reshape(()) if values.ndim == 0 else flat), read.name
    if values.shape != problem.shape:
        raise StablemaxError(
            f"{read.name}: has shape {values.shape}, and {operation} of these logits has {problem.shape}",
            "the output has the shape of the logits",
        )
    return as_problem(read, axis=problem.axis).logits, read.name
