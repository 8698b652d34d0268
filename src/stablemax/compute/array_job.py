"""The job of a block whose results have the size of its logits: put where they belong, not sent back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stablemax.compute.block_job import Job, Noticings
from stablemax.compute.proved import nearest
from stablemax.compute.sinks import Sink
from stablemax.inputs.blocks import Block
from stablemax.inputs.input_warnings import inexact_integers
from stablemax.inputs.workspace import Workspace
from stablemax.kernels import long_rows
from stablemax.kernels import row_kernels as kernels
from stablemax.kernels.passes import PIECE, Passes, Ways
from stablemax.kernels.row_sums import RowSums
from stablemax.numerics.formats import FLOAT64, Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.targets import LabelTargets, TargetOptions, kept_rows, row_weights


class BlockKernel(Protocol):
    """A kernel of a block of rows, which returns the rows in doubt."""

    def __call__(
        self,
        x: Array,
        labels: Array | None,
        weights: Array,
        divisor: float,
        out: Array,
        fmt: Format,
        passes: Passes,
        workspace: Workspace,
    ) -> Array:
        """Compute x (N, K) into `out`, (N, K) or (N, 1)."""
        ...


@dataclass(frozen=True)
class Kernel:
    """One of our kernels: an operation of a block of rows, and of a row that is too long to be taken at once.

    `piece` gets (x, sums, weight, divisor, out, passes, workspace). An operation of one number a row has none: it
    comes from the sums alone.
    """

    block: BlockKernel
    piece: Callable[[Array, RowSums, Array, float, Array, Passes, Workspace], None] | None = None


KERNELS: dict[str, Kernel] = {
    "softmax": Kernel(lambda x, _y, _w, _d, *rest: kernels.softmax(x, *rest), long_rows.softmax),
    "log_softmax": Kernel(
        lambda x, _y, _w, _d, *rest: kernels.log_softmax(x, *rest),
        lambda x, sums, _w, _d, *rest: long_rows.log_softmax(x, sums, *rest),
    ),
    "logsumexp": Kernel(lambda x, _y, _w, _d, *rest: kernels.logsumexps(x, *rest)),
    "gradient": Kernel(kernels.gradient, long_rows.softmax),
}
"""By the name that an operation's record gives."""


PROOF_CELLS = 1 << 15
"""Most results that are proved at once: a proof's arrays take hundreds of bytes for each."""


def classes_and_weights(labels: Array | None, options: TargetOptions, divisor: float) -> tuple[Array | None, Array]:
    """Return labels that are classes, and each row's weight: 0 where it does not count."""
    if labels is None:
        return None, np.ones(1)
    kept = kept_rows(labels, options.ignore_index)
    chosen = np.where(kept, labels, 0)
    weights = row_weights(chosen, options)
    if divisor == 0:
        # The mean over rows of no weight is 0/0, and so is its gradient.
        return chosen, np.where(kept, np.nan, 0.0)
    return chosen, np.where(kept, 1.0 if weights is None else weights, 0.0)


def fill(
    out: Array,
    operation: Operation,
    x: Array,
    given: tuple[Array | None, Array, float],
    fmt: Format,
    workspace: Workspace,
    *,
    ways: Ways,
) -> None:
    """Compute rows x (N, K) by the kernel of an operation into `out`, (N, K) or (N, 1), in a format.

    `given` are the labels, the weights of the rows, and the divisor of a gradient. Results of up to 32 bits are
    computed in a quick way first, the rows that it leaves in doubt in two numbers, and what these leave in doubt is
    proved.
    """
    block, careful = KERNELS[operation.kernel].block, ways.careful
    passes = careful if fmt == FLOAT64 else ways.quick
    rest = block(x, *given, out, fmt, passes, workspace)
    if len(rest) and passes is not careful:
        again = np.empty((len(rest), out.shape[1]), dtype=fmt.dtype)
        still = block(x[rest], *_of_rows(given, rest), again, fmt, careful, workspace)
        out[rest] = again
        rest = rest[still]
    prove(out, operation, x, given, fmt, rest)


def fill_nearest(
    out: Array, operation: Operation, x: Array, given: tuple[Array | None, Array, float], workspace: Workspace
) -> None:
    """Compute rows as `fill`, by Numba's proofs into float64."""
    # Only here: it loads Numba, and the exact arithmetic.
    from stablemax.kernels import exact_rows

    rest = exact_rows.KERNELS[operation.kernel](x, *given, out, workspace)
    prove(out, operation, x, given, FLOAT64, rest)


def prove(
    out: Array, operation: Operation, x: Array, given: tuple[Array | None, Array, float], fmt: Format, rest: Array
) -> None:
    """Put the nearest numbers to the exact results where rows are in doubt, whose indices are `rest`."""
    step = max(1, PROOF_CELLS // x.shape[1])
    for first in range(0, len(rest), step):
        rows = rest[first : first + step]
        labels, weights, divisor = _of_rows(given, rows)
        second = None if labels is None else LabelTargets(labels, weights[:, None], divisor)
        out[rows] = fmt.cast(nearest(operation, x[rows].astype(np.float64), second, fmt)[0])


def _of_rows(given: tuple[Array | None, Array, float], rows: Array) -> tuple[Array | None, Array, float]:
    labels, weights, divisor = given
    return (None, weights, divisor) if labels is None else (labels[rows], weights[rows], divisor)


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayJob(Job):
    """The results of a block of rows, put where they belong."""

    sink: Sink  #: takes the results
    divisor: float = 1.0  #: of a gradient

    @property
    def has_kernel(self) -> bool:
        """True where there is a kernel: of the accurate formula, in a dtype, and of the gradients that of labels."""
        changed = self.method.is_formula or self.xp.format.is_emulated
        # The results of rows in pieces are right to a little more than a half ulp.
        changed |= self.method.exact and self.stream.classes > PIECE
        has_kernel = self.operation.kernel and (self.has_plain_labels or not self.operation.needs_targets)
        return bool(has_kernel and not changed)

    def rehearse(self) -> None:
        """Compute two logits."""
        x = np.zeros((1, 2), dtype=self.in_format(np.zeros(1, dtype=self.stream.logits.dtype)).dtype)
        out = np.empty((1, 1 if self.operation.per_row else 2), dtype=self.xp.format.dtype)
        labels = np.zeros(1, dtype=np.int64) if self.operation.needs_targets else None
        with np.errstate(all="ignore"):
            self._fill(out, x, (labels, np.ones(1), 1.0), Workspace())

    def __call__(self, block: Block, workspace: Workspace) -> Noticings:
        """Compute a block."""
        return sum((self._compute(step, workspace) for step in block.steps(self.step)), Noticings())

    def _compute(self, block: Block, workspace: Workspace) -> Noticings:
        labels = self.read_second(block, workspace)
        if self.is_fast and self.stream.classes > PIECE:
            rows = range(block.rows)
            by_row = [None] * block.rows if labels is None else [labels[row : row + 1] for row in rows]
            return sum((self._long(block.start + row, by_row[row], workspace) for row in rows), Noticings())
        x = self.stream.logits.read(block.start, block.stop, workspace)
        noticed = Noticings(self.odd_targets(labels, block.start), inexact_integers(x, block.start))
        (self._fast if self.is_fast else self._by_variant)(block, x, labels, workspace)
        return noticed

    def _fast(self, block: Block, x: Array, labels: Array | None, workspace: Workspace) -> None:
        fmt = self.xp.format
        if self.operation.per_row:
            out = np.empty((block.rows, 1), dtype=fmt.dtype)
        else:
            out = self.sink.room(block.start, block.stop, workspace, dtype=fmt.dtype)
        given = *classes_and_weights(labels, self.options, self.divisor), self.divisor
        self._fill(out, self.in_format(x), given, workspace)
        self.sink.put(block.start, out, workspace)

    def _fill(self, out: Array, x: Array, given: tuple[Array | None, Array, float], workspace: Workspace) -> None:
        if self.needs_loops:
            fill_nearest(out, self.operation, x, given, workspace)
        else:
            fill(out, self.operation, x, given, self.xp.format, workspace, ways=self.ways)

    def _long(self, row: int, labels: Array | None, workspace: Workspace) -> Noticings:
        """Compute a row that is too long to be taken at once, in pieces."""
        sums, inexact = self.sums_of_long_row(row, workspace)

        def read(first: int, last: int) -> Array:
            return self.in_format(self.stream.logits.read(row, row + 1, workspace, first=first, last=last))

        if self.operation.per_row:
            out = np.empty((1, 1), dtype=self.xp.format.dtype)
            kernels.put_logsumexps(sums, read(0, 1), out, self.xp.format, self.passes)
            self.sink.put(row, out, workspace)
            return Noticings(inexact=inexact)
        chosen, weight = classes_and_weights(labels, self.options, self.divisor)
        kernel = KERNELS[self.operation.kernel].piece
        assert kernel is not None, "one number a row comes from the sums"
        for first in range(0, self.stream.classes, PIECE):
            last = min(first + PIECE, self.stream.classes)
            out = self.sink.room(row, row + 1, workspace, first=first, last=last, dtype=self.xp.format.dtype)
            kernel(read(first, last), sums, weight, self.divisor, out, self.passes, workspace)
            if chosen is not None and first <= chosen[0] < last:
                label = int(chosen[0])
                mine = long_rows.gradient_at_label(read(label, label + 1), sums, weight, self.divisor, self.passes)
                out[0, label - first] = self.xp.narrow(mine)[0]
            self.sink.put(row, out, workspace, first=first)
        return Noticings(inexact=inexact)

    def _by_variant(self, block: Block, x: Array, labels: Array | None, workspace: Workspace) -> None:
        xp, method = self.xp, self.method
        # A second argument is no part of the logits' format, unless a formula is asked for as it is written.
        second_xp = xp if method.is_formula else xp.wider
        if not self.operation.needs_targets:
            values = self.evaluate(x, labels, second_xp, self.divisor)
        else:
            assert labels is not None
            index = np.flatnonzero(kept_rows(labels, self.options.ignore_index))
            values = np.zeros(x.shape, dtype=xp.format.dtype)
            if len(index) and self.divisor == 0:
                values[index] = np.nan
            elif len(index):
                values[index] = self.evaluate(x[index], labels[index], second_xp, self.divisor)
        self.sink.put(block.start, values.reshape(block.rows, -1), workspace)
