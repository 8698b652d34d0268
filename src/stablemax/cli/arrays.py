"""The commands whose result is an array: ``stablemax softmax``, ``sigmoid``, ``entropy`` and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stablemax.cli import io, session
from stablemax.cli.option_groups import CommandLine
from stablemax.cli.options import (
    ArithmeticOptions,
    PrintOptions,
    SourceOptions,
    StreamOptions,
    TwoSourceOptions,
    format_option,
    number_format_named,
)
from stablemax.cli.progress import progress
from stablemax.cli.source import Source, logits_and_labels, source_of
from stablemax.operations import get_operation
from stablemax.render.array_text import ARRAY, ArrayOfInput
from stablemax.render.writers import chosen
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.compute.block_job import Method
    from stablemax.compute.sinks import Sink
    from stablemax.compute.streaming import Resources
    from stablemax.inputs.logits import Stream
    from stablemax.operations.operation import Operation
    from stablemax.operations.targets import TargetOptions

ArrayFormatOption = Annotated[str | None, format_option(ARRAY, "On standard output. csv.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file of -o if it is there.")]


def command(name: str, does: str, options: type[SourceOptions] = SourceOptions) -> Callable[..., int]:
    """Return the command of an operation that takes logits alone, or two arrays of them; `does` says what it does."""

    def run(
        line: CommandLine,
        source: Any,
        arithmetic: ArithmeticOptions,
        streaming: StreamOptions,
        printing: PrintOptions,
        force: ForceOption = False,
        output_format: ArrayFormatOption = None,
    ) -> int:
        output = array_output(output_format, printing, *(source.files or ()), force=force)
        return write_array(get_operation(name), _source(line, source), arithmetic, streaming, output, force=force)

    run.__annotations__["source"] = options
    run.__doc__ = f"{does}, to -o FILE.npy or .csv or to standard output."
    return run


def _source(line: CommandLine, options: SourceOptions) -> Source:
    """Return the source of logits, or of two arrays of them."""
    if not isinstance(options, TwoSourceOptions) or not options.files:
        return source_of(line, options)
    if len(options.files) != 2:
        raise StablemaxError(f"{line.command} compares two arrays of logits", "name two files: LOGITS OTHER")
    return source_of(line, options, logits_and_labels(options.files, None))


def array_output(output_format: str | None, printing: PrintOptions, *read: str | None, force: bool) -> io.Output:
    """Return where an array goes; a file by its ending, which other results do not have."""
    from stablemax.render.array_files import check_target

    io.check_output(printing, *read)
    output = io.Output(ARRAY, chosen(ARRAY, output_format, None, "csv"), printing)
    check_target(printing.output, output_format, force=force)
    return output


def write_array(
    operation: Operation,
    source: Source,
    arithmetic: ArithmeticOptions,
    streaming: StreamOptions,
    output: io.Output,
    *,
    force: bool,
    targets: Callable[[], TargetOptions] | None = None,
    **chosen_options: Any,
) -> int:
    """Compute an operation of a source to where it goes; `chosen_options` as for `arrays.compute`."""
    from stablemax.compute.arrays import compute
    from stablemax.compute.block_job import Method

    fmt = number_format_named(arithmetic.number_format)
    method = Method(session.chosen_variant(operation, arithmetic), fmt, arithmetic.accumulate)
    resources = session.resources(streaming)
    options = None if targets is None else targets()
    with progress(output.printing, source.reading, unit="B") as step:
        given = source.input_for(operation, fmt, options, resources)

        def run(sink: Sink) -> tuple[str, ...]:
            return compute(
                operation, given.stream, sink, method,
                options=given.targets, resources=resources, progress=step, **chosen_options,
            )  # fmt: skip

        notes = _write_result(operation, given.stream, method, run, resources, output, force=force)
    session.say([*given.stream.notes, *notes], output.printing)
    return 0


def _write_result(
    operation: Operation,
    stream: Stream,
    method: Method,
    run: Callable[[Sink], tuple[str, ...]],
    resources: Resources,
    output: io.Output,
    *,
    force: bool,
) -> tuple[str, ...]:
    """Compute a result to where it goes: block by block into a .npy file, or whole and then as text."""
    from stablemax.compute.arrays import result_in_npy, result_of
    from stablemax.render.array_files import write_file

    path = output.printing.output
    if path is not None and path.lower().endswith(".npy"):
        return result_in_npy(operation, stream, method, run, path, force=force)
    with result_of(operation, stream, method, run, resources) as (result, notes):
        if path is None:
            output.write(ArrayOfInput(result, stream))
        else:
            write_file(result, path, force=force)
    return notes


softmax = command("softmax", "Compute probabilities")
log_softmax = command("log_softmax", "Compute log-probabilities")
logsumexp = command("logsumexp", "Compute the log-sum-exp of every row")
sigmoid = command("sigmoid", "Compute the sigmoid of every logit")
log_sigmoid = command("log_sigmoid", "Compute the log-sigmoid of every logit")
softplus = command("softplus", "Compute log(1 + exp(x)) of every logit")
entropy = command("entropy", "Compute the entropy of the softmax of every row, in nats")
kl_divergence = command(
    "kl_divergence", "Compute the Kullback-Leibler divergence of every row from the other's", TwoSourceOptions
)
