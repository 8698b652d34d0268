"""Probabilities, log-probabilities, log-sum-exps and gradients of an input of any size, in its layout."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.compute.array_job import ArrayJob, Noticings
from stablemax.compute.sinks import MemorySink, file_sink, in_row_order, npy_sink
from stablemax.compute.streaming import ROW_CELLS, STEP_CELLS, Resources, for_engine, plan, total_of
from stablemax.inputs.blocks import blocks_of
from stablemax.inputs.foreign_text import size_of
from stablemax.inputs.input_warnings import inexact_notes, soft_target_notes
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.workspace import Workspace
from stablemax.numerics.exact_sum import ExactSum
from stablemax.numerics.formats import Format, format_of, get_format
from stablemax.operations.operation import Second
from stablemax.operations.targets import TargetOptions, check_options, kept_rows, row_weights
from stablemax.operations.variant import Variant, default_id
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.files import whole_file
from stablemax.text.vocabulary import Accumulation, Reduction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stablemax.compute.sinks import Sink
    from stablemax.inputs.logits import Stream
    from stablemax.numerics.formats import Array
    from stablemax.operations.operation import Operation

    Run = Callable[[Sink], tuple[str, ...]]


HELD_BYTES = 1 << 28
"""Largest result that is held in memory before it is written as text, where no cap is given."""


@dataclass(frozen=True)
class How:
    """How to compute, where not in the default way."""

    #: By default `wide`, in float64 the accurate variant.
    variant: Variant | None = None
    #: By default the input's own, float64 for integers.
    format: Format | None = None
    #: By default what an ordinary kernel of the format does.
    accumulation: Accumulation | None = None

    def result_format(self, stream: Stream) -> Format:
        """Return the format of the result."""
        return self.format or format_of(stream.logits.dtype)


def shape_of_result(operation: Operation, stream: Stream) -> tuple[tuple[int, ...], int | None]:
    """Return the shape of a result, and the axis of the classes in it if there is one."""
    return (stream.others, None) if operation.per_row else (stream.shape, stream.axis)


def array_of(operation: Operation, stream: Stream, how: How | None = None, **chosen: Any) -> Array:
    """Compute an operation of an input, in the layout of its logits; `chosen` as for `compute`."""
    return in_memory(operation, stream, how, lambda sink: compute(operation, stream, sink, how, **chosen))


def in_memory(operation: Operation, stream: Stream, how: How | None, run: Run) -> Array:
    """Return an array that a computation was run to fill."""
    shape, axis = shape_of_result(operation, stream)
    out = np.empty(shape, dtype=(how or How()).result_format(stream).dtype)
    run(MemorySink(out, axis))
    return out


def result_in_npy(
    operation: Operation, stream: Stream, how: How, run: Run, path: str, *, force: bool
) -> tuple[str, ...]:
    """Run a computation into a .npy file, which is there whole or not at all.

    Formats that NumPy lacks are written as float32, which holds every number of theirs.
    """
    shape, axis = shape_of_result(operation, stream)
    fmt = how.result_format(stream)
    told = f"{shown(path)}: {fmt.name} is written as {fmt.stored_dtype.name}, for NumPy lacks it"
    widened = () if fmt.is_native else (told,)
    with whole_file(path, force=force) as file:
        return (*run(npy_sink(file, shape, axis, fmt.stored_dtype)), *widened)


@contextlib.contextmanager
def result_of(
    operation: Operation, stream: Stream, how: How, run: Run, resources: Resources
) -> Iterator[tuple[StoredArray, tuple[str, ...]]]:
    """Run a computation for a result that is written as text: in memory, or a temporary file if it is large."""
    shape, axis = shape_of_result(operation, stream)
    fmt = how.result_format(stream)
    size = math.prod(shape) * fmt.stored_dtype.itemsize
    if size <= (HELD_BYTES if resources.memory is None else resources.memory // 4) and not resources.elsewhere:
        out = np.empty(shape, dtype=fmt.dtype)
        notes = run(MemorySink(out, axis))
        yield StoredArray.of(out, "the result"), notes
        return
    # Not opened as temporary: Windows would not let the workers open it once more.
    descriptor, path = tempfile.mkstemp(prefix="stablemax-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            try:
                sink = file_sink(file, path, 0, shape, axis, fmt.stored_dtype)
            except OSError as error:
                folder = shown(tempfile.gettempdir())
                raise StablemaxError(
                    f"the result of {size_of(size)} does not fit into {folder} ({error.strerror})",
                    "give -o FILE.npy, which needs no temporary file; or set TMPDIR to a folder with more room",
                ) from None
            notes = run(sink)
        yield StoredArray(shape, fmt.stored_dtype, "the result", path=path), notes
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108 - a name from tempfile is text


def compute(
    operation: Operation,
    stream: Stream,
    sink: Sink,
    how: How | None = None,
    *,
    reduction: Reduction = Reduction.MEAN,
    options: TargetOptions | None = None,
    resources: Resources | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[str, ...]:
    """Compute an operation of an input into a sink, and return what was noticed in the numbers, a sentence each.

    The gradient of a loss is that of the mean, the sum, or (none) of each row's own; ignored rows have 0.
    """
    how, options = how or How(), options or TargetOptions()
    if operation.needs_targets:
        if stream.labels is None:
            raise StablemaxError(
                "a gradient needs labels", "give a file of labels, or name a column with --label-column"
            )
        check_options(options, stream.classes)
    elif operation.second is not Second.NONE and not stream.has_soft_targets:
        raise StablemaxError(f"{operation} needs its {operation.second.value}", "one number for each logit")
    job = ArrayJob(
        stream,
        sink,
        operation,
        how.result_format(stream).name,
        variant=None if how.variant is None else how.variant.id,
        accumulation=how.accumulation,
        options=options,
        divisor=_divisor(operation, stream, options) if operation.of_losses and reduction is Reduction.MEAN else 1.0,
    )
    return _run(job, how, resources or Resources(), progress)


def _divisor(operation: Operation, stream: Stream, options: TargetOptions) -> float:
    """Return what the gradient of the mean is divided by: one look at the labels beforehand."""
    if stream.has_soft_targets:
        return float(operation.loss_count(stream.rows, stream.classes))
    total = ExactSum()
    with Workspace() as workspace:
        for block in blocks_of(stream.rows, STEP_CELLS // ROW_CELLS):
            labels = stream.read_labels(block, options.ignore_index, workspace)
            labels = labels[kept_rows(labels, options.ignore_index)]
            weights = row_weights(labels, options)
            total += ExactSum.of(np.ones(len(labels)) if weights is None else weights)
    return total.rounded() if total.count else 1.0


def _run(
    job: ArrayJob,
    how: How,
    resources: Resources,
    progress: Callable[[int, int, str], None] | None,
) -> tuple[str, ...]:
    stream = job.stream
    cut = plan(
        stream.rows,
        stream.classes,
        resources,
        whole=how.variant is not None and not how.variant.rowwise,
        by_variant=not job.is_fast,
    )
    formula = job.variant or default_id(job.operation, get_format(job.format))
    with in_row_order(job.sink) as sink:
        job = replace(job, stream=for_engine(stream, resources), sink=sink, step=cut.step)
        noticed = total_of(job, cut, Noticings(), stream, resources, progress, formula)
    return (
        *soft_target_notes(noticed.odd, stream.sources[-1].name),
        *inexact_notes(noticed.inexact, stream.sources[0].name),
    )
