"""``stablemax grad``."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli.arrays import ArrayFormatOption, ForceOption, array_output, write_array
from stablemax.cli.option_groups import CommandLine
from stablemax.cli.options import (
    ArithmeticOptions,
    LabelledSourceOptions,
    LabelOptions,
    LossOptions,
    PrintOptions,
    StreamOptions,
)
from stablemax.cli.source import labelled_source, target_options
from stablemax.operations import get_operation
from stablemax.text.vocabulary import Reduction


def grad(
    line: CommandLine,
    source: LabelledSourceOptions,
    judged: LabelOptions,
    losses: LossOptions,
    arithmetic: ArithmeticOptions,
    streaming: StreamOptions,
    printing: PrintOptions,
    reduction: Annotated[
        Reduction, typer.Option(help="What it is the gradient of; none: each row of its own loss.")
    ] = Reduction.MEAN,
    force: ForceOption = False,
    output_format: ArrayFormatOption = None,
) -> int:
    """Compute the gradient of the cross-entropy with respect to the logits.

    Rows that are ignored have gradient 0.
    """
    read = (*(source.files or ()), *(source.labels or ()), losses.weight)
    output = array_output(output_format, printing, *read, force=force)
    return write_array(
        get_operation("cross_entropy_grad"),
        labelled_source(line, source),
        arithmetic,
        streaming,
        output,
        force=force,
        targets=lambda: target_options(losses, judged),
        reduction=reduction,
    )
