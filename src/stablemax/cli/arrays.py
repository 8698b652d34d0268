"""``stablemax softmax``, ``log-softmax`` and ``logsumexp``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stablemax.cli import outputs, session
from stablemax.cli.options import (
    ArithmeticOptions,
    InputOptions,
    LogitsFilesArgument,
    PrintOptions,
    StreamOptions,
    one_of,
)
from stablemax.operations import get_operation
from stablemax.vocabulary import ARRAY_FORMATS, OutputFormat

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.arrays import How
    from stablemax.inputs.stream import Stream
    from stablemax.operations.operation import Operation
    from stablemax.sinks import Sink
    from stablemax.streaming import Resources

ArrayFormatOption = Annotated[
    OutputFormat | None,
    typer.Option(metavar=one_of(ARRAY_FORMATS), help="On standard output. csv.", show_default=False),
]
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
        from stablemax.render.arrays import check_target

        operation = get_operation(name)
        outputs.check_output(printing, *logits)
        check_target(printing.output, output_format, force=force)
        how, resources = how_to(operation, arithmetic), session.resources(streaming)
        with session.progress(printing, session.reading(logits[0]), unit="B") as progress:
            stream = session.open_stream(logits, [], inputs, resources)
            notes = write_result(
                operation,
                stream,
                how,
                lambda sink: compute(operation, stream, sink, how, resources=resources, progress=progress),
                resources,
                printing,
                output_format,
                force=force,
            )
        session.say([*stream.notes, *notes], printing)
        return 0

    run.__doc__ = f"{does}, to -o FILE.npy or .csv or to standard output."
    return run


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
    printing: PrintOptions,
    output_format: OutputFormat | None,
    *,
    force: bool,
) -> tuple[str, ...]:
    """Compute a result to where it goes: block by block into a .npy file, or whole and then as text."""
    from stablemax.arrays import result_in_npy, result_of
    from stablemax.render.arrays import write

    if printing.output is not None and printing.output.lower().endswith(".npy"):
        return result_in_npy(operation, stream, how, run, printing.output, force=force)
    with result_of(operation, stream, how, run, resources) as (result, notes):
        write(result, output_format, printing.output, force=force, stream=stream)
    return notes


softmax = command("softmax", "Compute probabilities")
log_softmax = command("log_softmax", "Compute log-probabilities")
logsumexp = command("logsumexp", "Compute the log-sum-exp of every row")
