"""The loss of logits that each have a target of their own, such as the binary cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stablemax.arithmetic import Arithmetic
from stablemax.errors import StablemaxError
from stablemax.formats import FLOAT64, get_format
from stablemax.inputs.input_warnings import inexact_integers
from stablemax.loss import LossPart, check_rows_fit, reduced, result_from
from stablemax.operations.targets import second_of
from stablemax.operations.variant import default_id, default_variant, evaluate
from stablemax.reduction import ExactSum
from stablemax.streaming import Resources, for_engine, plan, total_of
from stablemax.vocabulary import Reduction

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.blocks import Block
    from stablemax.formats import Array, Format
    from stablemax.inputs.logits import Stream
    from stablemax.operations.operation import Operation
    from stablemax.operations.variant import Variant
    from stablemax.results import LossResult
    from stablemax.vocabulary import Accumulation
    from stablemax.workspace import Workspace


@dataclass(frozen=True, eq=False)
class CellLossJob:
    """The losses of the cells of a block, each with its target; all but their sums is forgotten, if it may be."""

    #: Logits and targets, both (N, K).
    stream: Stream
    operation: Operation
    #: How many rows are computed at once.
    step: int = 1
    variant: Variant | None = None
    format: str = FLOAT64.name
    #: How sums are added.
    accumulation: Accumulation | None = None
    #: Whether every cell's loss is wanted.
    keeps_cells: bool = False

    def __call__(self, block: Block, workspace: Workspace) -> LossPart:
        """Compute the losses of a block."""
        return sum((self._compute(step, workspace) for step in block.steps(self.step)), LossPart())

    def _compute(self, step: Block, workspace: Workspace) -> LossPart:
        xp, labels = Arithmetic(get_format(self.format), self.accumulation), self.stream.labels
        assert labels is not None
        # What lies in the workspace is overwritten by the next reading.
        targets = labels.read(step.start, step.stop, workspace).astype(np.float64)
        self._check(targets, step.start)
        x = self.stream.logits.read(step.start, step.stop, workspace)
        formula = self.variant or default_variant(self.operation, xp.format)
        given = xp if self.variant or self.accumulation else xp.wider
        values = evaluate(formula, xp.array(x), xp, second_of(self.operation, targets, given))
        losses = values.astype(np.float64).ravel()
        bad = np.flatnonzero(~np.isfinite(losses))
        return LossPart(
            ExactSum.of(losses),
            ExactSum.of_ones(losses.size),
            step.rows,
            self._why(step.start, x, targets, losses, int(bad[0])) if len(bad) else None,
            inexact=inexact_integers(x, step.start),
            values=((values.ravel(), np.ones(losses.size, dtype=bool)),) if self.keeps_cells else (),
        )

    def _check(self, targets: Array, first_row: int) -> None:
        outside = ~((targets >= 0) & (targets <= 1))
        if outside.any():
            row, cell = np.unravel_index(int(np.argmax(outside)), outside.shape)
            raise StablemaxError(
                f"{self.stream.sources[-1].name}: row {first_row + int(row)}, class {int(cell)}: "
                f"target {targets[row, cell]:g} is not in [0, 1]",
                "a target is a probability; class numbers are for a loss without --binary",
            )

    def _why(self, first_row: int, x: Array, targets: Array, losses: Array, bad: int) -> tuple[int, str]:
        row, cell = divmod(bad, x.shape[-1])
        about = f"logit {float(x[row, cell]):g}, target {targets[row, cell]:g}"
        return first_row + row, f"row {first_row + row}, class {cell} has loss {losses[bad]}: {about}"


def cell_loss_of(
    operation: Operation,
    stream: Stream,
    *,
    reduction: Reduction = Reduction.MEAN,
    variant: Variant | None = None,
    fmt: Format | None = None,
    accumulation: Accumulation | None = None,
    resources: Resources | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> LossResult:
    """Compute the mean or the sum of the losses of all cells; the labels of the stream are their targets."""
    resources = resources or Resources()
    if not stream.has_soft_targets:
        raise StablemaxError(f"{operation} needs a target for each logit", "give targets in the shape of the logits")
    if reduction is Reduction.NONE:
        raise StablemaxError("--reduction none of cells is no loss of rows", "use mean or sum")
    xp = Arithmetic(fmt or FLOAT64, accumulation)
    formula = default_id(operation, xp.format) if variant is None else variant.id
    check_rows_fit(stream.rows * stream.classes, keeps_rows=fmt is not None, resources=resources)
    whole = variant is not None and not variant.rowwise
    cut = plan(stream.rows, stream.classes, resources, whole=whole, by_variant=True)
    job = CellLossJob(
        for_engine(stream, resources), operation, cut.step, variant, xp.format.name, accumulation, fmt is not None
    )
    total = total_of(job, cut, LossPart(), stream, resources, progress, formula)
    return result_from(total, stream, reduction, formula, xp.format, reduced(total, reduction, fmt, xp, None))
