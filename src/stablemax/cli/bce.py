"""``stablemax bce`` and ``stablemax bce-grad``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from stablemax.cli import io, session
from stablemax.cli.arrays import ArrayFormatOption, ForceOption, array_output, how_to, write_result
from stablemax.cli.loss import MaxLossOption, exit_code
from stablemax.cli.options import ArithmeticOptions, InputOptions, PrintOptions, StreamOptions, format_option
from stablemax.errors import StablemaxError
from stablemax.operations import get_operation
from stablemax.render.losses import LOSS, LossOfInput
from stablemax.vocabulary import Reduction

if TYPE_CHECKING:
    from stablemax.operations.targets import TargetOptions

CellLogitsArgument = Annotated[str, typer.Argument(metavar="LOGITS", help="Logits, in a file or - for standard input.")]
CellTargetsArgument = Annotated[
    str, typer.Argument(metavar="TARGETS", help="Targets from 0 to 1, one for each logit, in a file of the same shape.")
]


@dataclass(frozen=True)
class CellLossOptions:
    """How cells become one loss; as torch.nn.functional.binary_cross_entropy_with_logits."""

    weight: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weight of each class's losses.", show_default=False)
    ] = None
    pos_weight: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weight of each class's positive targets.", show_default=False)
    ] = None


def bce(
    inputs: InputOptions,
    losses: CellLossOptions,
    arithmetic: ArithmeticOptions,
    streaming: StreamOptions,
    printing: PrintOptions,
    logits: CellLogitsArgument,
    targets: CellTargetsArgument,
    reduction: Annotated[
        Reduction, typer.Option(help="What becomes of the losses of all cells; their mean divides by their number.")
    ] = Reduction.MEAN,
    max_loss: MaxLossOption = None,
    output_format: Annotated[
        str | None, format_option(LOSS, "plain and table: the number alone. By the ending of -o; else plain.")
    ] = None,
) -> int:
    """Print the binary cross-entropy of logits: one number, the shortest decimal of the float64 result.

    Defined as torch.nn.functional.binary_cross_entropy_with_logits, computed in float64 whatever the input's
    format, the sum over the cells exact and rounded once.
    A logit of -inf or inf has the loss 0 where its target agrees. A result that is not finite is printed, and the
    exit code is 1.
    """
    from stablemax.compute.cell_loss import binary_cross_entropy_of
    from stablemax.formats import get_format

    if reduction is Reduction.NONE:
        raise StablemaxError(
            "--reduction none: bce prints a single number",
            "--reduction mean or sum; in Python all have reduction='none'",
        )
    output = io.output_of(
        LOSS, output_format, printing, logits, targets, losses.weight, losses.pos_weight, default="plain"
    )
    variant = session.chosen_variant(get_operation("binary_cross_entropy"), arithmetic)
    options, resources = _options(losses), session.resources(streaming)
    with session.progress(printing, session.reading(logits), unit="B") as progress:
        stream = session.open_stream([logits], [targets], inputs, resources)
        result = binary_cross_entropy_of(
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


def bce_grad(
    inputs: InputOptions,
    losses: CellLossOptions,
    arithmetic: ArithmeticOptions,
    streaming: StreamOptions,
    printing: PrintOptions,
    logits: CellLogitsArgument,
    targets: CellTargetsArgument,
    reduction: Annotated[
        Reduction, typer.Option(help="What it is the gradient of; none: each cell of its own loss.")
    ] = Reduction.MEAN,
    force: ForceOption = False,
    output_format: ArrayFormatOption = None,
) -> int:
    """Compute the gradient of the binary cross-entropy: sigmoid(x) - t, times the weights, over the number of cells."""
    from stablemax.arrays import compute

    output = array_output(output_format, printing, logits, targets, losses.weight, losses.pos_weight, force=force)
    operation = get_operation("binary_cross_entropy_grad")
    how, resources, options = how_to(operation, arithmetic), session.resources(streaming), _options(losses)
    with session.progress(printing, session.reading(logits), unit="B") as progress:
        stream = session.open_stream([logits], [targets], inputs, resources)
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
            output,
            force=force,
        )
    session.say([*stream.notes, *notes], printing)
    return 0


def _options(losses: CellLossOptions) -> TargetOptions:
    """Read the weights."""
    from stablemax.operations.targets import TargetOptions

    weight, pos_weight = (
        None if path is None else session.weights(path) for path in (losses.weight, losses.pos_weight)
    )
    return TargetOptions(weight, weight_name=losses.weight or losses.pos_weight or "", pos_weight=pos_weight)
