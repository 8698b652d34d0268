"""``stablemax grad``."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli import outputs, session
from stablemax.cli.arrays import ArrayFormatOption, ForceOption, how_to, write_result
from stablemax.cli.options import (
    ArithmeticOptions,
    FilesArgument,
    InputOptions,
    LabelFilesOption,
    LabelOptions,
    LossOptions,
    PrintOptions,
    StreamOptions,
)
from stablemax.operations import get_operation
from stablemax.vocabulary import Reduction


def grad(
    inputs: InputOptions,
    counted: LabelOptions,
    losses: LossOptions,
    arithmetic: ArithmeticOptions,
    streaming: StreamOptions,
    printing: PrintOptions,
    files: FilesArgument,
    labels: LabelFilesOption = None,
    reduction: Annotated[
        Reduction, typer.Option(help="What it is the gradient of; none: each row of its own loss.")
    ] = Reduction.MEAN,
    force: ForceOption = False,
    output_format: ArrayFormatOption = None,
) -> int:
    """Compute the gradient of the cross-entropy with respect to the logits.

    Rows that are ignored have gradient 0.
    """
    from stablemax.arrays import compute
    from stablemax.render.arrays import check_target

    outputs.check_output(printing, *files, *(labels or ()), losses.weight)
    check_target(printing.output, output_format, force=force)
    operation = get_operation("cross_entropy_grad")
    how, resources = how_to(operation, arithmetic), session.resources(streaming)
    options = session.target_options(losses, counted)
    named, targets = session.logits_and_labels(files, labels)
    with session.progress(printing, session.reading(named[0]), unit="B") as progress:
        stream = session.open_stream(named, targets, inputs, resources)
        notes = write_result(
            operation,
            stream,
            how,
            lambda sink: compute(
                operation,
                stream,
                sink,
                how,
                reduction=reduction,
                options=options,
                resources=resources,
                progress=progress,
            ),
            resources,
            printing,
            output_format,
            force=force,
        )
    session.say([*stream.notes, *notes], printing)
    return 0
