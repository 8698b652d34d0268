"""An output that any program computed, held against the truth about its input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from stablemax.check.judge_job import JudgeJob
from stablemax.check.judge_options import JudgeOptions
from stablemax.check.judge_report import report_of
from stablemax.compute.arrays import divisor_of
from stablemax.compute.streaming import Progress, Resources
from stablemax.inputs.logits import Source, Stream
from stablemax.inputs.open import ComputedOutput
from stablemax.inputs.printed import PrintedNumbers
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.stored_rows import Part, Rows
from stablemax.numerics.formats import Array
from stablemax.operations.operation import Operation, Second
from stablemax.operations.targets import TargetOptions, check_options
from stablemax.results import JudgeReport, Outcome
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.vocabulary import Reduction
from stablemax.truth.sampling import judged_rows

_AS_PRINTED = (Outcome.OK, Outcome.UNDEFINED)
"""The worst outcome of an output that may agree to every digit."""


class WrongShapeError(StablemaxError):
    """The output has another shape than the operation's."""


def judge_output(
    output: Array,
    logits: Array,
    labels: Array | None,
    upstream: Array | None,
    options: JudgeOptions,
    *,
    printed: PrintedNumbers | None = None,
) -> JudgeReport:
    """Judge an output in memory, (N, K), (N,) or (N, 1), or the one number that is the mean of all losses.

    Targets of cells come as labels, a second array of logits as the upstream gradient.
    """
    operation = options.operation
    second = labels if operation.takes_labels else upstream
    stream = _stream_of(logits, "the logits", second)
    _check(stream, options)
    values: Stream | float
    if operation.is_reduced(output.shape, logits.shape):
        values, shape = float(output.astype(np.float64).reshape(())), (1, 1)
    else:
        _check_shape(output, operation, logits.shape, "the output")
        shape = (len(logits), output.size // len(logits))
        values = _stream_of(output.reshape(shape), "the output")
    printed = None if printed is None else printed.shaped(lambda digits: digits.reshape(shape))
    return judge_stream(stream, ComputedOutput(values, "the output", output.dtype, printed), options)


def judge_stream(
    stream: Stream,
    output: ComputedOutput,
    options: JudgeOptions,
    *,
    resources: Resources | None = None,
    progress: Progress | None = None,
    command: tuple[str, ...] = (),
) -> JudgeReport:
    """Judge every cell of an output of any size; the labels of the stream are the operation's second argument.

    The verdict and the counts are the same for any resources, and so are at least nine digits of an error.
    """
    operation = options.operation
    _check(stream, options)
    targets = replace(options.targets or TargetOptions(), ignore_index=options.ignore_index)
    divisor = 1.0
    if operation.of_losses and options.reduction is Reduction.MEAN:
        divisor = divisor_of(operation, stream, targets)
    is_one_number = isinstance(output.values, float)
    printed = output.printed
    # Six digits cannot show that an error is below 2 ulp: against a limit in ulps a number counts as it stands.
    if printed is not None and (options.max_ulp is not None or not printed.is_short_of(options.fmt)):
        printed = None
    job = JudgeJob(
        stream=stream,
        output=None if isinstance(output.values, float) else output.values,
        options=options,
        divisor=divisor,
        printed=None if is_one_number else printed,
    )
    if options.judge is not None and stream.rows > options.judge and not is_one_number:
        job = _sampled(job, options.judge)
    part = job.run(resources or Resources(), progress)
    if not part.rows and operation.needs_targets:
        raise StablemaxError(f"every row is ignored (label {options.ignore_index})", "nothing is left to judge")
    return report_of(job, part, output, printed, stream, command)


def _stream_of(array: Array, name: str, second: Array | None = None) -> Stream:
    """Take an array (N, K), or (N,) of one number a row, as it lies, with what stands beside it."""
    labels = None if second is None else _rows_of(StoredArray.of(second, "the labels"))
    sources = (Source(name, array.dtype.name, array.shape),)
    return Stream(_rows_of(StoredArray.of(array, name)), labels, array.shape, 1, (), sources)


def _rows_of(stored: StoredArray) -> Rows:
    return Rows((Part(stored, 1 if len(stored.shape) == 2 else None),))


def _sampled(job: JudgeJob, limit: int) -> JudgeJob:
    """Judge some rows alone, the extreme ones among them."""
    stream = job.stream
    chosen = judged_rows(stream.logits.whole(), limit)

    def some(rows: Rows) -> Rows:
        array, part = rows.whole()[chosen], rows.parts[0]
        return _rows_of(StoredArray.of(array[:, 0] if part.axis is None else array, part.stored.name))

    def of_stream(stream: Stream) -> Stream:
        labels = None if stream.labels is None else some(stream.labels)
        return replace(stream, logits=some(stream.logits), labels=labels)

    printed = None if job.printed is None else job.printed.shaped(lambda digits: digits[chosen])
    output = None if job.output is None else of_stream(job.output)
    return replace(job, stream=of_stream(stream), output=output, printed=printed, numbers=chosen)


def _check(stream: Stream, options: JudgeOptions) -> None:
    """Refuse an input that lacks what the operation takes beside the logits, and options that do not fit."""
    operation, noun = options.operation, options.operation.second.value
    if operation.takes_labels and options.targets is not None:
        check_options(options.targets, stream.classes)
    if operation.second is Second.NONE:
        return
    if stream.labels is None:
        hints = {
            Second.LABELS: "name a file of labels after the output",
            Second.CELL_TARGETS: "name a file of targets after the output",
            Second.UPSTREAM: "give it with --upstream FILE",
            Second.LOGITS: "name a file of them after the output, or give it with --second-logits FILE",
        }
        what = "labels" if operation.needs_targets else f"its {noun}"
        raise StablemaxError(f"{operation} needs {what}", hints[operation.second])
    is_labels = operation.takes_labels and not stream.has_soft_targets
    if not is_labels and (stream.labels.rows, stream.labels.classes) != (stream.rows, stream.classes):
        raise StablemaxError(
            f"the {noun}: has shape {shown(stream.labels.parts[0].stored.shape)}, and the logits have {stream.shape}",
            "one number for each logit",
        )


def _check_shape(output: Array, operation: Operation, logits_shape: tuple[int, int], name: str) -> None:
    rows, _ = logits_shape
    allowed = [(rows,), (rows, 1)] if operation.per_row else [logits_shape]
    if output.shape not in allowed:
        raise WrongShapeError(
            f"{name}: has shape {shown(output.shape)}, and {operation} of these logits has {allowed[0]}",
            "classes on the last axis; or name the operation that it is",
        )
