"""``stablemax loss``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from stablemax.cli import io, session
from stablemax.cli.options import (
    ArithmeticOptions,
    FilesArgument,
    InputOptions,
    LabelFilesOption,
    LabelOptions,
    LossOptions,
    PrintOptions,
    StreamOptions,
    format_option,
)
from stablemax.errors import StablemaxError, shown
from stablemax.operations import get_operation
from stablemax.render.losses import LOSS, LossOfInput
from stablemax.vocabulary import Reduction

if TYPE_CHECKING:
    from stablemax.results import LossResult


MaxLossOption = Annotated[
    float | None, typer.Option(metavar="X", help="Exit 1 if the loss is above.", show_default=False)
]


def loss(
    inputs: InputOptions,
    counted: LabelOptions,
    losses: LossOptions,
    arithmetic: ArithmeticOptions,
    streaming: StreamOptions,
    printing: PrintOptions,
    files: FilesArgument,
    labels: LabelFilesOption = None,
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
    from stablemax.formats import get_format
    from stablemax.loss import cross_entropy_of

    output = io.output_of(LOSS, output_format, printing, *files, *(labels or ()), losses.weight, default="plain")
    if max_loss is not None and math.isnan(max_loss):
        raise StablemaxError(f"--max-loss {shown(max_loss)} is not a number to compare with", "give a finite limit")
    variant = session.chosen_variant(get_operation("cross_entropy"), arithmetic)
    options = session.target_options(losses, counted)
    named, targets = session.logits_and_labels(files, labels)
    resources = session.resources(streaming)
    with session.progress(printing, session.reading(named[0]), unit="B") as progress:
        stream = session.open_stream(named, targets, inputs, resources)
        result = cross_entropy_of(
            stream,
            reduction=reduction,
            options=options,
            variant=variant,
            fmt=None if arithmetic.number_format is None else get_format(arithmetic.number_format),
            accumulation=arithmetic.accumulate,
            resources=resources,
            progress=progress,
        )
    session.say([*stream.notes, *result.notes], printing)
    output.write(LossOfInput(result, stream))
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
