"""``stablemax softmax``, ``log-softmax``, ``logsumexp``, ``sigmoid`` and others that take logits alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stablemax.cli import io, session
from stablemax.cli.options import (
    ArithmeticOptions,
    InputOptions,
    LogitsFilesArgument,
    PrintOptions,
    StreamOptions,
    format_option,
)
from stablemax.operations import get_operation
from stablemax.operations.operation import Operation
from stablemax.render.array_text import ARRAY, ArrayOfInput
from stablemax.render.writers import chosen

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.arrays import How
    from stablemax.inputs.logits import Stream
    from stablemax.operations.operation import Operation
    from stablemax.sinks import Sink
    from stablemax.streaming import Resources

ArrayFormatOption = Annotated[str | None, format_option(ARRAY, "On standard output. csv.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file of -o if it is there.")]


def command(name: str, does: str) -> Callable[..., int]:
    """Return the command of an operation that takes logits alone; `does` says what it does."""

    def run(
        inputs: InputOptions,
        arithmetic: ArithmeticOptions,
        streaming: StreamOptions,
        printing: PrintOptions,
        logits: LogitsFilesArgument,
        force: ForceOption = False,
        output_format: ArrayFormatOption = None,
    ) -> int:
        from stablemax.arrays import compute

        operation = get_operation(name)
        output = array_output(output_format, printing, *logits, force=force)
        how, resources = how_to(operation, arithmetic), session.resources(streaming)
        with session.progress(printing, session.reading(logits[0]), unit="B") as progress:
            stream = session.open_stream(logits, [], inputs, resources)
            notes = write_result(
                operation,
                stream,
                how,
                lambda sink: compute(operation, stream, sink, how, resources=resources, progress=progress),
                resources,
                output,
                force=force,
            )
        session.say([*stream.notes, *notes], printing)
        return 0

    run.__doc__ = f"{does}, to -o FILE.npy or .csv or to standard output."
    return run


def array_output(output_format: str | None, printing: PrintOptions, *read: str | None, force: bool) -> io.Output:
    """Return where an array goes; a file by its ending, which other results do not have."""
    from stablemax.render.array_files import check_target

    io.check_output(printing, *read)
    output = io.Output(ARRAY, chosen(ARRAY, output_format, None, "csv"), printing)
    check_target(printing.output, output_format, force=force)
    return output


def how_to(operation: Operation, options: ArithmeticOptions) -> How:
    """Turn the options into a way to compute."""
    from stablemax.arrays import How
    from stablemax.formats import get_format

    return How(
        session.chosen_variant(operation, options),
        None if options.number_format is None else get_format(options.number_format),
        options.accumulate,
    )


def write_result(
    operation: Operation,
    stream: Stream,
    how: How,
    run: Callable[[Sink], tuple[str, ...]],
    resources: Resources,
    output: io.Output,
    *,
    force: bool,
) -> tuple[str, ...]:
    """Compute a result to where it goes: block by block into a .npy file, or whole and then as text."""
    from stablemax.arrays import result_in_npy, result_of
    from stablemax.render.array_files import write_file

    path = output.printing.output
    if path is not None and path.lower().endswith(".npy"):
        return result_in_npy(operation, stream, how, run, path, force=force)
    with result_of(operation, stream, how, run, resources) as (result, notes):
        if path is None:
            output.write(ArrayOfInput(result, stream))
        else:
            write_file(result, path, force=force)
    return notes


softmax = command("softmax", "Compute probabilities")
log_softmax = command("log_softmax", "Compute log-probabilities")
logsumexp = command("logsumexp", "Compute the log-sum-exp of every row")
entropy = command("entropy", "Compute the entropy of every row's softmax, in nats")
sigmoid = command("sigmoid", "Compute the probability of each logit, whatever its row")
log_sigmoid = command("log_sigmoid", "Compute the log-probability of each logit, whatever its row")
softplus = command("softplus", "Compute log(1 + exp(x)) of each logit")
