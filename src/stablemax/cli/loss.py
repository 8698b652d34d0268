"""``stablemax loss``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from stablemax.cli import io, session
from stablemax.cli.option_groups import CommandLine
from stablemax.cli.options import (
    ArithmeticOptions,
    LabelledSourceOptions,
    LabelOptions,
    LossOptions,
    PrintOptions,
    StreamOptions,
    format_option,
    number_format_named,
)
from stablemax.cli.progress import progress
from stablemax.cli.source import labelled_source, target_options
from stablemax.operations import get_operation
from stablemax.render.losses import LOSS, LossOfInput
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.vocabulary import Reduction

if TYPE_CHECKING:
    from stablemax.results import LossResult


MaxLossOption = Annotated[
    float | None, typer.Option(metavar="X", help="Exit 1 if the loss is above.", show_default=False)
]


def loss(
    line: CommandLine,
    source: LabelledSourceOptions,
    judged: LabelOptions,
    losses: LossOptions,
    arithmetic: ArithmeticOptions,
    streaming: StreamOptions,
    printing: PrintOptions,
    reduction: Annotated[Reduction, typer.Option(help="What becomes of the rows' losses.")] = Reduction.MEAN,
    max_loss: MaxLossOption = None,
    output_format: Annotated[
        str | None, format_option(LOSS, "plain and table: the number alone. By the ending of -o; else plain.")
    ] = None,
) -> int:
    """Print the cross-entropy: one number, the shortest decimal of the float64 result.

    Defined as torch.nn.functional.cross_entropy, computed in float64 whatever the input's format, the
    sum over the rows exact and rounded once: the same digits for any threads, memory and files.
    --variant and --format show what another formula gives.
    A result that is not finite is printed, and the exit code is 1.
    """
    from stablemax.compute.block_job import Method
    from stablemax.compute.loss import loss_of

    read = (*(source.files or ()), *(source.labels or ()), losses.weight)
    output = io.output_of(LOSS, output_format, printing, *read, default="plain")
    if max_loss is not None and math.isnan(max_loss):
        raise StablemaxError(f"--max-loss {shown(max_loss)} is not a number to compare with", "give a finite limit")
    operation = get_operation("cross_entropy")
    variant, fmt = session.chosen_variant(operation, arithmetic), number_format_named(arithmetic.number_format)
    logits, targets = labelled_source(line, source), target_options(losses, judged)
    resources = session.resources(streaming)
    with progress(printing, logits.reading, unit="B") as step:
        given = logits.input_for(operation, fmt, targets, resources)
        result = loss_of(
            operation,
            given.stream,
            Method(variant, fmt, arithmetic.accumulate),
            reduction=reduction,
            options=given.targets,
            resources=resources,
            progress=step,
        )
    session.say([*given.stream.notes, *result.notes], printing)
    output.write(LossOfInput(result, given.stream))
    return exit_code(result, reduction, max_loss)


def exit_code(result: LossResult, reduction: Reduction, max_loss: float | None) -> int:
    """Say what is wrong with a loss; 1 if anything is."""
    if result.first_bad is not None:
        session.warn(f"not finite: {result.first_bad[1]}")
        return 1
    if result.rows is None and not math.isfinite(result.value):
        reason = "every row is ignored, and the mean of no rows is 0/0"
        session.warn(f"not finite: {reason if result.kept_rows == 0 else f'the {reduction} of finite losses'}")
        return 1
    worst = result.value if result.rows is None else float(result.rows.max(initial=-math.inf))
    if max_loss is not None and worst > max_loss:
        session.warn(f"failed: the loss {worst!r} is above --max-loss {max_loss!r}")
        return 1
    return 0
