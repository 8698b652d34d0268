"""``stablemax softmax``, ``log-softmax`` and ``logsumexp``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stablemax.cli import session
from stablemax.cli.options import ArithmeticOptions, InputOptions, LogitsArgument, PrintOptions
from stablemax.vocabulary import Operation, OutputFormat

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.arrays import How

ArrayFormatOption = Annotated[
    OutputFormat | None,
    typer.Option(help="On standard output: csv, plain, json or ndjson. csv.", show_default=False),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file of -o if it is there.")]


_DOES = {
    Operation.SOFTMAX: "Compute probabilities",
    Operation.LOG_SOFTMAX: "Compute log-probabilities",
    Operation.LOGSUMEXP: "Compute the log-sum-exp of every row",
}


def command(operation: Operation) -> Callable[..., int]:
    """Return the command of an operation that takes logits alone."""

    def run(
        inputs: InputOptions,
        arithmetic: ArithmeticOptions,
        printing: PrintOptions,
        logits: LogitsArgument,
        force: ForceOption = False,
        output_format: ArrayFormatOption = None,
    ) -> int:
        from stablemax.arrays import array_of
        from stablemax.render.arrays import check_target, write

        check_target(printing.output, output_format, force=force)
        how = how_to(operation, arithmetic)
        with session.progress(printing, f"reading {logits}") as progress:
            problem = session.read_problem(logits, None, inputs)
            result = array_of(operation, problem, how, progress=progress)
        session.say(problem.notes, printing)
        write(result, output_format, printing.output, force=force, problem=problem)
        return 0

    run.__doc__ = f"{_DOES[operation]}, to -o FILE.npy or .csv or to standard output."
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


softmax = command(Operation.SOFTMAX)
log_softmax = command(Operation.LOG_SOFTMAX)
logsumexp = command(Operation.LOGSUMEXP)
