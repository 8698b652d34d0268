"""``stablemax bce`` and ``stablemax bce-grad``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from stablemax.cli import io, session
from stablemax.cli.arrays import ArrayFormatOption, ForceOption, array_output, write_array
from stablemax.cli.loss import MaxLossOption, exit_code
from stablemax.cli.option_groups import CommandLine
from stablemax.cli.options import (
    ArithmeticOptions,
    LabelledSourceOptions,
    PrintOptions,
    StreamOptions,
    format_option,
    number_format_named,
    worded,
)
from stablemax.cli.progress import progress
from stablemax.cli.source import labelled_source
from stablemax.operations import get_operation
from stablemax.render.losses import LOSS, LossOfInput
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Reduction

if TYPE_CHECKING:
    from stablemax.operations.targets import TargetOptions


@dataclass(frozen=True)
class CellLossOptions:
    """How cells become one loss; as torch.nn.functional.binary_cross_entropy_with_logits."""

    weight: Annotated[str | None, worded("Weight of each class's losses.", metavar="FILE")] = None
    pos_weight: Annotated[str | None, worded("Weight of each class's positive targets.", metavar="FILE")] = None


def bce(
    line: CommandLine,
    source: LabelledSourceOptions,
    losses: CellLossOptions,
    arithmetic: ArithmeticOptions,
    streaming: StreamOptions,
    printing: PrintOptions,
    reduction: Annotated[
        Reduction, typer.Option(help="What becomes of the losses of all cells; their mean divides by their number.")
    ] = Reduction.MEAN,
    max_loss: MaxLossOption = None,
    output_format: Annotated[
        str | None, format_option(LOSS, "plain and table: the number alone. By the ending of -o; else plain.")
    ] = None,
) -> int:
    """Print the binary cross-entropy of logits, each with a target from 0 to 1: one number.

    Defined as torch.nn.functional.binary_cross_entropy_with_logits, computed in float64 whatever the input's
    format, the sum over the cells exact and rounded once.
    A logit of -inf or inf has the loss 0 where its target agrees. A result that is not finite is printed, and the
    exit code is 1.
    """
    from stablemax.compute.block_job import Method
    from stablemax.compute.loss import loss_of

    if reduction is Reduction.NONE:
        raise StablemaxError(
            "--reduction none: bce prints a single number",
            "--reduction mean or sum; in Python all have reduction='none'",
        )
    output = io.output_of(LOSS, output_format, printing, *_read(source, losses), default="plain")
    operation = get_operation("binary_cross_entropy")
    variant, fmt = session.chosen_variant(operation, arithmetic), number_format_named(arithmetic.number_format)
    logits, options, resources = labelled_source(line, source), _options(losses), session.resources(streaming)
    with progress(printing, logits.reading, unit="B") as step:
        stream = logits.input_for(operation, fmt, options, resources).stream
        result = loss_of(
            operation,
            stream,
            Method(variant, fmt, arithmetic.accumulate),
            reduction=reduction,
            options=options,
            resources=resources,
            progress=step,
        )
    session.say([*stream.notes, *result.notes], printing)
    output.write(LossOfInput(result, stream))
    return exit_code(result, reduction, max_loss)


def bce_grad(
    line: CommandLine,
    source: LabelledSourceOptions,
    losses: CellLossOptions,
    arithmetic: ArithmeticOptions,
    streaming: StreamOptions,
    printing: PrintOptions,
    reduction: Annotated[
        Reduction, typer.Option(help="What it is the gradient of; none: each cell of its own loss.")
    ] = Reduction.MEAN,
    force: ForceOption = False,
    output_format: ArrayFormatOption = None,
) -> int:
    """Compute the gradient of the binary cross-entropy: sigmoid(x) - t, times the weights, over the number of cells."""
    output = array_output(output_format, printing, *_read(source, losses), force=force)
    return write_array(
        get_operation("binary_cross_entropy_grad"),
        labelled_source(line, source),
        arithmetic,
        streaming,
        output,
        force=force,
        targets=lambda: _options(losses),
        reduction=reduction,
    )


def _read(source: LabelledSourceOptions, losses: CellLossOptions) -> tuple[str | None, ...]:
    """Name the files that are read."""
    return (*(source.files or ()), *(source.labels or ()), losses.weight, losses.pos_weight)


def _options(losses: CellLossOptions) -> TargetOptions:
    """Read the weights."""
    from stablemax.inputs.open import read_weights
    from stablemax.operations.targets import TargetOptions

    weight, pos_weight = (None if path is None else read_weights(path) for path in (losses.weight, losses.pos_weight))
    return TargetOptions(weight, weight_name=losses.weight or losses.pos_weight or "", pos_weight=pos_weight)
