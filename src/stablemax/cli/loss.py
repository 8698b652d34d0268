"""The commands that print a loss, one number: ``stablemax loss`` and ``stablemax bce``."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from stablemax.cli import io, options
from stablemax.cli.option_groups import CommandLine, in_panel, option, worded
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.cli.source import LabelledSourceOptions, NetworkOptions, source_of
from stablemax.operations import get_operation
from stablemax.render.losses import LOSS, LossOfInput
from stablemax.results import LossResult
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.vocabulary import Reduction
from stablemax.text.words import either


class OneNumber(enum.StrEnum):
    """The reductions to one number."""

    MEAN = Reduction.MEAN.value
    SUM = Reduction.SUM.value


@in_panel(Panel.FORMULAS)
@dataclass(frozen=True)
class ReducedLossOptions(options.LossOptions):
    """How rows become a loss, and what is printed of it."""

    reduction: Reduction = option(
        f"What becomes of the losses of the rows: {either(list(Reduction))} (each is printed).",
        metavar="REDUCTION",
        default=Reduction.MEAN,
    )


@in_panel(Panel.FORMULAS)
@dataclass(frozen=True)
class ReducedCellLossOptions(options.CellLossOptions):
    """How cells become a loss, and what is printed of it."""

    reduction: OneNumber = option(
        f"What becomes of the losses of all cells: {either(list(OneNumber))}. The mean divides by their number. "
        "In Python all have reduction='none'.",
        metavar="REDUCTION",
        default=OneNumber.MEAN,
    )


def command(
    name: str, losses: type[ReducedLossOptions | ReducedCellLossOptions], text: str, *examples: Example
) -> Callable[..., int]:
    """Return the command that prints the loss of an operation; `text` and examples are its help."""

    def run(
        line: CommandLine,
        source: LabelledSourceOptions,
        losses: Any,
        arithmetic: options.ArithmeticOptions,
        network: NetworkOptions,
        streaming: options.StreamOptions,
        printing: options.PrintOptions,
        max_loss: Annotated[
            float | None, worded("Exit 1 if the loss is above X.", metavar="X", panel=Panel.JUDGING)
        ] = None,
        output_format: Annotated[
            str | None,
            options.format_option(
                LOSS, "plain and table print the number alone.", unset="by the ending of -o, else plain"
            ),
        ] = None,
    ) -> int:
        from stablemax.compute.loss import loss_of
        from stablemax.kernels.passes import note_on_speed

        output = io.output_of(LOSS, output_format, printing, *source.read, *losses.read, default="plain")
        if max_loss is not None and math.isnan(max_loss):
            raise StablemaxError(f"--max-loss {shown(max_loss)} is not a number to compare with", "give a finite limit")
        operation, reduction = get_operation(name), Reduction(losses.reduction)
        method, logits = arithmetic.method(operation), source_of(line, source, timeout_s=network.timeout)
        targets, resources = losses.targets(network.timeout), streaming.resources()
        with io.progress(printing, logits.reading, unit="B") as step:
            given = logits.input_for(operation, method.format, targets, resources)
            result = loss_of(
                operation,
                given.stream,
                method,
                reduction=reduction,
                options=given.targets,
                resources=resources,
                progress=step,
            )
        notes = [*given.stream.notes, *result.notes, *note_on_speed(given.stream.rows * given.stream.classes)]
        failed = _failed(result, reduction, max_loss)
        if result.first_bad is not None:
            # Only here: the exact arithmetic costs a third of the start and 8 MB of the cap.
            from stablemax.comparing.loss_cause import cause_of

            row = result.first_bad[0]
            failed = [f"{failed[0]}{cause_of(given.stream, row, operation, method, given.targets)}", *failed[1:]]
        return output.finish(LossOfInput(result, given.stream), notes, failed)

    run.__annotations__["losses"] = losses
    run.__doc__ = text
    return help_entry(CommandPanel.COMPUTE, *examples)(run)


def _failed(result: LossResult, reduction: Reduction, max_loss: float | None) -> list[str]:
    """Word what is wrong with a loss."""
    if result.first_bad is not None:
        return [f"not finite: {result.first_bad[1]}"]
    if result.rows is None and not math.isfinite(result.value):
        reason = "every row is ignored, and the mean of no rows is 0/0"
        return [f"not finite: {reason if result.kept_rows == 0 else f'the {reduction} of finite losses'}"]
    worst = result.value if result.rows is None else float(result.rows.max(initial=-math.inf))
    if max_loss is not None and worst > max_loss:
        return [f"failed: the loss {worst!r} is above --max-loss {max_loss!r}"]
    return []


loss = command(
    "cross_entropy",
    ReducedLossOptions,
    """Print the cross-entropy: one number, the shortest decimal of the float64 result.

    Defined as torch.nn.functional.cross_entropy, computed in float64 whatever the input's format, the
    sum over the rows exact and rounded once: the same digits for any threads, memory and files.
    --variant and --format show what another formula gives.
    A result that is not finite is printed, and the exit code is 1.
    """,
    Example("Mean loss of logits and labels", "stablemax loss logits.npy labels.npy"),
    Example("Stop a job whose loss is too large", "cat logits.csv | stablemax loss - labels.csv --max-loss 5"),
)
bce = command(
    "binary_cross_entropy",
    ReducedCellLossOptions,
    """Print the binary cross-entropy of logits, each with a target from 0 to 1: one number.

    Defined as torch.nn.functional.binary_cross_entropy_with_logits, computed in float64 whatever the input's
    format, the sum over the cells exact and rounded once.
    A logit of -inf or inf has the loss 0 where its target agrees. A result that is not finite is printed, and the
    exit code is 1.
    """,
    Example("Mean loss of logits and targets from 0 to 1", "stablemax bce logits.npy targets.npy"),
    Example("What the naive formula gives in float32", "stablemax bce --scale 200 --variant naive --format float32"),
)
