"""What a worker does with a block of rows: look at each logit once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.inputs.blocks import Block, blocks_of
from stablemax.inputs.input_warnings import Noticed, inexact_integers
from stablemax.inspect.row_numbers import RowNumbers, joined, row_numbers, stacked
from stablemax.inspect.tails import Tails, second_looks, tails_of, together
from stablemax.inspect.tally import Tally, tally_of
from stablemax.kernels.odds import widened
from stablemax.kernels.row_kernels import PIECE
from stablemax.kernels.ufunc_buffer import quick_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.inputs.logits import Stream
    from stablemax.inputs.workspace import Workspace
    from stablemax.numerics.formats import Array


@dataclass(frozen=True)
class Look:
    """Look at a block of rows."""

    stream: Stream
    formats: tuple[str, ...]
    step: int  #: Rows that are read at a time, so that they stay in the cache.
    ignore_index: int | None  #: Rows with this label do not count.

    @quick_columns()
    def __call__(self, block: Block, workspace: Workspace) -> Tally:
        """Look at a block."""
        labels, classes = None, self.stream.classes
        kept = np.ones(block.rows, dtype=bool)
        if self.stream.labels is not None:
            labels = self.stream.read_labels(block, self.ignore_index, workspace)
            kept = labels != self.ignore_index
        numbers, tails, inexact = [], [], Noticed()
        for part in blocks_of(block.rows, self.step if classes <= PIECE else 1):
            # The label of an ignored row need not be a class.
            own = None if labels is None else np.where(kept, labels, 0)[part.start : part.stop]
            look = self._rows if classes <= PIECE else self._long_row
            of_part, its_tails, noticed = look(block.start + part.start, block.start + part.stop, own, workspace)
            numbers.append(of_part)
            tails.append(its_tails)
            inexact += noticed
        every = stacked(numbers), together(tails)
        return tally_of(*every, labels, kept, classes, self.formats, block.start, inexact)

    def _rows(
        self, start: int, stop: int, labels: Array | None, workspace: Workspace
    ) -> tuple[RowNumbers, Tails, Noticed]:
        stored = self.stream.logits.read(start, stop, workspace)
        x = _computable(stored, workspace)
        numbers = row_numbers(x, labels, workspace)
        looks = second_looks(numbers, self.stream.classes, self.formats)
        e = workspace.take("exponentials", x.shape)
        tails = tails_of(looks, numbers, len(self.formats), lambda: [(x, e)], workspace)
        return numbers, tails, inexact_integers(stored, start)

    def _long_row(
        self, start: int, stop: int, labels: Array | None, workspace: Workspace
    ) -> tuple[RowNumbers, Tails, Noticed]:
        """Look at one row that is too long to be taken at once."""
        numbers: RowNumbers | None = None
        inexact = Noticed()
        for first, x, stored in self._pieces(start, stop, workspace):
            inexact += inexact_integers(stored, start)
            piece = row_numbers(x, None, workspace)
            numbers = piece if numbers is None else joined(numbers, piece, first)
        assert numbers is not None
        if labels is not None:
            at = int(labels[0])
            cell = self.stream.logits.read(start, stop, workspace, first=at, last=at + 1)
            numbers = replace(numbers, label=_computable(cell, workspace)[:, 0].astype(np.float64))
        found = numbers

        def exponentials() -> Iterator[tuple[Array, Array]]:
            for first, x, _ in self._pieces(start, stop, workspace):
                e = workspace.take("exponentials", x.shape)
                np.copyto(e, x)
                e -= found.top[:, None]
                np.exp(e, out=e)
                if first <= found.at[0] < first + x.shape[1]:
                    e[0, found.at[0] - first] = 0.0
                yield x, e

        looks = second_looks(found, self.stream.classes, self.formats)
        return found, tails_of(looks, found, len(self.formats), exponentials, workspace), inexact

    def _pieces(self, start: int, stop: int, workspace: Workspace) -> Iterator[tuple[int, Array, Array]]:
        classes = self.stream.classes
        for first in range(0, classes, PIECE):
            last = min(first + PIECE, classes)
            stored = self.stream.logits.read(start, stop, workspace, first=first, last=last)
            yield first, _computable(stored, workspace), stored


def _computable(x: Array, workspace: Workspace) -> Array:
    return x if x.dtype in (np.float32, np.float64) else widened(x, workspace)
