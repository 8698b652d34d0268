"""``stablemax grad``."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli import session
from stablemax.cli.arrays import ArrayFormatOption, ForceOption, how_to
from stablemax.cli.options import (
    ArithmeticOptions,
    InputOptions,
    LabelOptions,
    LabelsArgument,
    LogitsArgument,
    LossOptions,
    PrintOptions,
)
from stablemax.vocabulary import Operation, Reduction


def grad(
    inputs: InputOptions,
    counted: LabelOptions,
    losses: LossOptions,
    arithmetic: ArithmeticOptions,
    printing: PrintOptions,
    logits: LogitsArgument,
    labels: LabelsArgument = None,
    reduction: Annotated[
        Reduction, typer.Option(help="What it is the gradient of; none: each row of its own loss.")
    ] = Reduction.MEAN,
    force: ForceOption = False,
    output_format: ArrayFormatOption = None,
) -> int:
    """Compute the gradient of the cross-entropy with respect to the logits.

    Rows that are ignored have gradient 0.
    """
    from stablemax.arrays import gradient_of
    from stablemax.render.arrays import check_target, write

    check_target(printing.output, output_format, force=force)
    how = how_to(Operation.CROSS_ENTROPY_GRAD, arithmetic)
    options = session.target_options(losses, counted)
    with session.progress(printing, f"reading {logits}") as progress:
        problem = session.read_problem(logits, labels, inputs, counted.ignore_index)
        result = gradient_of(problem, how, reduction=reduction, options=options, progress=progress)
    session.say(problem.notes, printing)
    write(result, output_format, printing.output, force=force, problem=problem)
    return 0
