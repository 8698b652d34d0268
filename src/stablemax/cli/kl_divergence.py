"""``stablemax kl-divergence``."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli import session
from stablemax.cli.arrays import ArrayFormatOption, ForceOption, array_output, how_to, write_result
from stablemax.cli.options import ArithmeticOptions, InputOptions, PrintOptions, StreamOptions
from stablemax.operations import get_operation


def kl_divergence(
    inputs: InputOptions,
    arithmetic: ArithmeticOptions,
    streaming: StreamOptions,
    printing: PrintOptions,
    first: Annotated[
        str, typer.Argument(metavar="FIRST", help="Logits of the first distribution: the teacher's in distillation.")
    ],
    second: Annotated[
        str, typer.Argument(metavar="SECOND", help="Logits of the second, in a file of the same shape: the student's.")
    ],
    force: ForceOption = False,
    output_format: ArrayFormatOption = None,
) -> int:
    """Compute KL(softmax(FIRST) || softmax(SECOND)) of every row, in nats.

    Infinite where SECOND has a -inf and FIRST has none.
    """
    from stablemax.arrays import compute

    operation = get_operation("kl_divergence")
    output = array_output(output_format, printing, first, second, force=force)
    how, resources = how_to(operation, arithmetic), session.resources(streaming)
    with session.progress(printing, session.reading(first), unit="B") as progress:
        stream = session.open_stream([first], [second], inputs, resources)
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
