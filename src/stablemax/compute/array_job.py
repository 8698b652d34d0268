"""The job of a block whose results have the size of its logits: put where they belong, not sent back."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.inputs.input_warnings import Noticed, inexact_integers, odd_targets
from stablemax.kernels import array_kernels as kernels
from stablemax.kernels import long_rows
from stablemax.kernels.row_kernels import PIECE, logsumexp_from, logsumexps
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import format_of, get_format
from stablemax.operations.operation import Second
from stablemax.operations.targets import TargetOptions, kept_rows, row_weights, second_of, targets_of
from stablemax.operations.variant import Variant, default_variant, evaluate, get

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.compute.sinks import Sink
    from stablemax.inputs.blocks import Block
    from stablemax.inputs.logits import Stream
    from stablemax.inputs.workspace import Workspace
    from stablemax.kernels.odds import Odds
    from stablemax.numerics.formats import Array
    from stablemax.operations.operation import Operation
    from stablemax.text.vocabulary import Accumulation


@dataclass(frozen=True)
class Noticings:
    """What a block of logits and targets gave reason to note; parts merge in any order."""

    odd: Noticed = field(default_factory=Noticed)
    inexact: Noticed = field(default_factory=Noticed)

    def __add__(self, other: Noticings) -> Noticings:
        """Merge two parts."""
        return Noticings(self.odd + other.odd, self.inexact + other.inexact)


@dataclass(frozen=True)
class Kernel:
    """One of our kernels: an operation of a block of rows, and of a row that is too long to be taken at once.

    `block` gets (x, labels, weights, divisor, out, workspace); `piece` gets (x, odds, weight, divisor, out,
    workspace). An operation of one number a row has neither: it comes from the odds alone.
    """

    block: Callable[[Array, Any, Any, float, Array, Workspace], None] | None = None
    piece: Callable[[Array, Odds, Array, float, Array, Workspace], None] | None = None


KERNELS: dict[str, Kernel] = {
    "softmax": Kernel(lambda x, _y, _w, _d, out, ws: kernels.softmax(x, out, ws), long_rows.softmax),
    "log_softmax": Kernel(
        lambda x, _y, _w, _d, out, ws: kernels.log_softmax(x, out, ws),
        lambda x, odds, _w, _d, out, ws: long_rows.log_softmax(x, odds, out, ws),
    ),
    "logsumexp": Kernel(),
    "gradient": Kernel(kernels.gradient, long_rows.softmax),
}
"""By the name that an operation's record gives."""


@dataclass(frozen=True, eq=False)
class ArrayJob:
    """The results of a block of rows, put where they belong."""

    stream: Stream  #: logits, and the labels or the second array of the operation
    sink: Sink  #: takes the results
    operation: Operation
    format: str  #: of the result
    step: int = 1  #: how many rows are computed at once
    holds: bool = False  #: whether there is memory for the rows of a block as they lie in the files, see `held_bytes`
    variant: str | None = None  #: another formula than the accurate one
    accumulation: Accumulation | None = None
    options: TargetOptions = field(default_factory=TargetOptions)  #: weights, smoothing, ignored label
    divisor: float = 1.0  #: of a gradient

    @cached_property
    def _xp(self) -> Arithmetic:
        return Arithmetic(get_format(self.format), self.accumulation)

    @property
    def is_fast(self) -> bool:
        """Whether the kernels compute it: the accurate formula, in a dtype, and of the gradients that of labels."""
        changed = self.variant or self.accumulation or self._xp.format.is_emulated
        soft = self.stream.has_soft_targets or self.options.label_smoothing
        return bool(self.operation.kernel) and not changed and not (self.operation.needs_targets and soft)

    def __call__(self, block: Block, workspace: Workspace) -> Noticings:
        """Compute a block."""
        return sum((self._compute(step, workspace) for step in block.steps(self.step)), Noticings())

    def _compute(self, block: Block, workspace: Workspace) -> Noticings:
        labels = self._second(block, workspace)
        if self.is_fast and self.stream.classes > PIECE:
            found = (
                self._long(block.start + row, None if labels is None else labels[row : row + 1], workspace)
                for row in range(block.rows)
            )
            return sum(found, Noticings())
        x = self.stream.logits.read(block.start, block.stop, workspace)
        noticed = Noticings(
            odd_targets(labels, block.start) if self.operation.needs_targets and labels.ndim == 2 else Noticed(),
            inexact_integers(x, block.start),
        )
        (self._fast if self.is_fast else self._by_variant)(block, x, labels, workspace)
        return noticed

    def _second(self, block: Block, workspace: Workspace) -> Any:
        """Read the labels of a block, or the array (n, K) that the operation takes; None for none."""
        if self.operation.needs_targets:
            return self.stream.read_labels(block, self.options.ignore_index, workspace)
        if self.operation.second is Second.NONE or self.stream.labels is None:
            return None
        in_unit_range = self.operation.second is Second.CELL_TARGETS
        return self.stream.read_array(block, workspace, in_unit_range=in_unit_range)

    def _fast(self, block: Block, x: Array, labels: Array | None, workspace: Workspace) -> None:
        dtype = self._xp.format.dtype
        if x.dtype != dtype and format_of(x.dtype) is not self._xp.format:
            x = self._xp.array(x)
        if self.operation.per_row:
            values = self._xp.narrow(logsumexps(x, workspace))[:, None]
            self.sink.put(block.start, values, workspace)
            return
        out = self.sink.room(block.start, block.stop, workspace, dtype=dtype)
        kernel = KERNELS[self.operation.kernel].block
        assert kernel is not None, "one number a row comes from the odds"
        chosen, weights = (None, None) if labels is None else self._weighted(labels)
        kernel(x, chosen, weights, self.divisor, out, workspace)
        self.sink.put(block.start, out, workspace)

    def _weighted(self, labels: Array) -> tuple[Array, Array]:
        """Return labels that are classes, and each row's weight: 0 where it does not count."""
        kept = kept_rows(labels, self.options.ignore_index)
        chosen = np.where(kept, labels, 0)
        weights = row_weights(chosen, self.options)
        if self.divisor == 0:
            # The mean over rows of no weight is 0/0, and so is its gradient.
            return chosen, np.where(kept, np.nan, 0.0)
        return chosen, np.where(kept, 1.0 if weights is None else weights, 0.0)

    def _long(self, row: int, labels: Array | None, workspace: Workspace) -> Noticings:
        """Compute a row that is too long to be taken at once, in pieces."""
        logits, xp, inexact = self.stream.logits, self._xp, Noticed()

        def read(first: int, last: int) -> Array:
            x = logits.read(row, row + 1, workspace, first=first, last=last)
            return x if format_of(x.dtype) is xp.format else xp.array(x)

        def read_first(first: int, last: int) -> Array:
            nonlocal inexact
            x = read(first, last)
            inexact += inexact_integers(x, row, first)
            return x

        odds = long_rows.odds(read_first, self.stream.classes, workspace)
        if self.operation.per_row:
            self.sink.put(row, xp.narrow(logsumexp_from(odds))[:, None], workspace)
            return Noticings(inexact=inexact)
        chosen, weight = (None, np.ones(1)) if labels is None else self._weighted(labels)
        kernel = KERNELS[self.operation.kernel].piece
        assert kernel is not None, "one number a row comes from the odds"
        for first in range(0, self.stream.classes, PIECE):
            last = min(first + PIECE, self.stream.classes)
            out = self.sink.room(row, row + 1, workspace, first=first, last=last, dtype=xp.format.dtype)
            x = read(first, last)
            kernel(x, odds, weight, self.divisor, out, workspace)
            if chosen is not None and first <= chosen[0] < last:
                at_label = long_rows.gradient_at_label(read, int(chosen[0]), odds, weight, self.divisor, workspace)
                out[0, chosen[0] - first] = xp.narrow(at_label)[0, 0]
            self.sink.put(row, out, workspace, first=first)
        return Noticings(inexact=inexact)

    def _by_variant(self, block: Block, x: Array, labels: Array | None, workspace: Workspace) -> None:
        xp, formula = self._xp, self._formula
        # A second argument is no part of the logits' format, unless a formula is asked for as it is written.
        given = xp if self.variant or self.accumulation else xp.wider
        if not self.operation.needs_targets:
            second = second_of(self.operation, labels, given, self.divisor, self.options)
            values = evaluate(formula, xp.array(x), xp, second)
        else:
            assert labels is not None
            keep = np.flatnonzero(kept_rows(labels, self.options.ignore_index))
            values = np.zeros(x.shape, dtype=xp.format.dtype)
            if len(keep) and self.divisor == 0:
                values[keep] = np.nan
            elif len(keep):
                targets = targets_of(labels[keep], x.shape[1], self.options, given, self.divisor)
                values[keep] = evaluate(formula, xp.array(x[keep]), xp, targets)
        self.sink.put(block.start, values.reshape(block.rows, -1), workspace)

    @property
    def _formula(self) -> Variant:
        return get(self.variant) if self.variant else default_variant(self.operation, self._xp.format)
