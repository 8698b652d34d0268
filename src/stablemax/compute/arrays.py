"""Probabilities, log-probabilities, log-sum-exps and gradients of an input of any size, in its layout."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stablemax.compute.array_job import ArrayJob
from stablemax.compute.block_job import Method, Noticings, check_second
from stablemax.compute.sinks import MemorySink, Sink, file_sink, in_row_order, npy_sink
from stablemax.compute.streaming import ROW_CELLS, STEP_CELLS, Progress, Resources
from stablemax.inputs.blocks import blocks_of
from stablemax.inputs.foreign_text import size_of
from stablemax.inputs.logits import Stream
from stablemax.inputs.spooled import Spool
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.workspace import Workspace
from stablemax.numerics.exact_sum import ExactSum
from stablemax.numerics.formats import Array
from stablemax.operations.operation import Operation
from stablemax.operations.targets import TargetOptions, kept_rows, row_weights
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.files import whole_file
from stablemax.text.vocabulary import Reduction

Run = Callable[[Sink], tuple[str, ...]]


HELD_BYTES = 1 << 28
"""Largest result that is held in memory before it is written as text, where no cap is given."""


def shape_of_result(operation: Operation, stream: Stream) -> tuple[tuple[int, ...], int | None]:
    """Return the shape of a result, and the axis of the classes in it if there is one."""
    return (stream.others, None) if operation.per_row else (stream.shape, stream.axis)


def array_of(operation: Operation, stream: Stream, **chosen: Any) -> Array:
    """Compute an operation of an input, in the layout of its logits; `chosen` are reduction, options and resources."""
    shape, axis = shape_of_result(operation, stream)
    out = np.empty(shape, dtype=Method().result_format(stream).dtype)
    compute(operation, stream, MemorySink(out, axis), **chosen)
    return out


def result_in_npy(
    operation: Operation, stream: Stream, method: Method, run: Run, path: str, *, force: bool
) -> tuple[str, ...]:
    """Run a computation into a .npy file, which is there whole or not at all.

    Formats that NumPy lacks are written as float32, which holds every number of theirs.
    """
    shape, axis = shape_of_result(operation, stream)
    fmt = method.result_format(stream)
    note = f"{shown(path)}: {fmt.name} is written as {fmt.stored_dtype.name}, for NumPy lacks it"
    with whole_file(path, force=force) as file:
        notes = run(npy_sink(file, shape, axis, fmt.stored_dtype))
    return notes if fmt.is_native else (*notes, note)


@contextlib.contextmanager
def result_of(
    operation: Operation, stream: Stream, method: Method, run: Run, resources: Resources
) -> Iterator[tuple[StoredArray, tuple[str, ...]]]:
    """Run a computation for a result that is written as text: in memory, or a temporary file if it is large."""
    shape, axis = shape_of_result(operation, stream)
    fmt = method.result_format(stream)
    size = math.prod(shape) * fmt.stored_dtype.itemsize
    if size <= (HELD_BYTES if resources.memory is None else resources.memory // 4) and not resources.elsewhere:
        out = np.empty(shape, dtype=fmt.dtype)
        notes = run(MemorySink(out, axis))
        yield StoredArray.of(out, "the result"), notes
        return
    with Spool("the result", in_memory=-1) as spool:
        with Path(spool.path).open("r+b") as file:
            try:
                sink = file_sink(file, spool.path, 0, shape, axis, fmt.stored_dtype)
            except OSError as error:
                folder = shown(tempfile.gettempdir())
                raise StablemaxError(
                    f"the result of {size_of(size)} does not fit into {folder} ({error.strerror})",
                    "give -o FILE.npy, which needs no temporary file; or set TMPDIR to a folder with more room",
                ) from None
            notes = run(sink)
        yield StoredArray(shape, fmt.stored_dtype, "the result", path=spool.path), notes


def compute(
    operation: Operation,
    stream: Stream,
    sink: Sink,
    method: Method | None = None,
    *,
    reduction: Reduction = Reduction.MEAN,
    options: TargetOptions | None = None,
    resources: Resources | None = None,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Compute an operation of an input into a sink, and return what was noticed in the numbers, a sentence each.

    The gradient of a loss is that of the mean, the sum, or (none) of each row's own; ignored rows have 0.
    """
    method, options = method or Method(), options or TargetOptions()
    check_second(operation, stream, options)
    of_mean = operation.of_losses and reduction is Reduction.MEAN
    divisor = divisor_of(operation, stream, options) if of_mean else 1.0
    with in_row_order(sink) as sink_of_rows:
        job = ArrayJob(
            stream=stream,
            operation=operation,
            method=replace(method, format=method.result_format(stream)),
            options=options,
            sink=sink_of_rows,
            divisor=divisor,
        )
        return job.run(Noticings(), resources or Resources(), progress).notes(stream)


def divisor_of(operation: Operation, stream: Stream, options: TargetOptions) -> float:
    """Return what the gradient of the mean is divided by: one look at the labels beforehand."""
    if stream.has_soft_targets or not operation.needs_targets:
        return float(operation.loss_count(stream.rows, stream.classes))
    total = ExactSum()
    with Workspace() as workspace:
        for block in blocks_of(stream.rows, STEP_CELLS // ROW_CELLS):
            labels = stream.read_labels(block, options.ignore_index, workspace)
            total += weight_of(labels, options)
    return total.rounded() if total.count else 1.0


def weight_of(labels: Array, options: TargetOptions) -> ExactSum:
    """Return what the mean of the losses of labels is divided by: how many count, or their weights."""
    labels = labels[kept_rows(labels, options.ignore_index)]
    weights = row_weights(labels, options)
    return ExactSum.of_ones(len(labels)) if weights is None else ExactSum.of(weights)
