"""A shadow beside the storage of each tensor, so that views and writes in place need no rules of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import cells_of

NOWHERE = -1
"""Place of a cell that comes from no one logit and from no one row."""

_CROWD = 256


@dataclass
class _Shadow:
    """The shadow values of one storage, number by number."""

    #: While this reference lives, no other storage gets the storage's address.
    storage: StorageWeakRef
    cells: Array
    #: Which logit each number comes from.
    places: Array
    #: True while every number is equal to its shadow.
    exact: bool


def wide(tensor: torch.Tensor) -> Array:
    """Copy a tensor to float64, which holds each of its numbers exactly."""
    return tensor.detach().cpu().to(torch.float64).resolve_neg().numpy()


class Shadows:
    """The shadows of the living storages; a tensor without a shadow is a constant, and its numbers are exact.

    The place of a logit is ``row * (classes + 1) + class``, that of a row as a whole ``row * (classes + 1) + classes``.
    """

    def __init__(self, rows: int, classes: int) -> None:
        self.rows = rows
        self.classes = classes
        self._by_address: dict[int, _Shadow] = {}

    @property
    def of_logits(self) -> Array:
        """The places of the logits, (N, K)."""
        return np.arange(self.rows)[:, None] * (self.classes + 1) + np.arange(self.classes)

    def whole_row(self, places: Array) -> Array:
        """Return the places of the rows that places are in."""
        return np.where(places == NOWHERE, NOWHERE, places // (self.classes + 1) * (self.classes + 1) + self.classes)

    def has(self, tensor: torch.Tensor) -> bool:
        """Tell whether a tensor has a shadow."""
        return tensor.untyped_storage()._cdata in self._by_address

    def cells(self, tensor: torch.Tensor) -> Array:
        """Return the exact numbers of a tensor; writing to them writes to every view's."""
        shadow = self._of(tensor)
        return cells_of(wide(tensor)) if shadow is None else _seen_as(tensor, shadow.cells)

    def places(self, tensor: torch.Tensor) -> Array:
        """Return where the numbers of a tensor come from."""
        shadow = self._of(tensor)
        return np.full(tuple(tensor.shape), NOWHERE) if shadow is None else _seen_as(tensor, shadow.places)

    def is_exact(self, tensor: torch.Tensor) -> bool:
        """Tell whether a tensor is certain to be equal to its shadow."""
        shadow = self._of(tensor)
        return shadow is None or shadow.exact

    def shares(self, tensor: torch.Tensor, others: list[torch.Tensor]) -> bool:
        """Tell whether a tensor is a view of one of the others."""
        return tensor.untyped_storage()._cdata in {t.untyped_storage()._cdata for t in others}

    def write(self, tensor: torch.Tensor, cells: Array, places: Array, *, exact: bool) -> None:
        """Write exact numbers beside a tensor."""
        shadow = self._of(tensor) or self._fresh(tensor)
        _seen_as(tensor, shadow.cells)[...] = cells
        _seen_as(tensor, shadow.places)[...] = places
        shadow.exact = shadow.exact and exact

    def _fresh(self, tensor: torch.Tensor) -> _Shadow:
        """Give a tensor's storage a shadow equal to what it holds."""
        if len(self._by_address) > _CROWD:
            alive = {a: s for a, s in self._by_address.items() if not s.storage.expired()}  # type: ignore[no-untyped-call]
            self._by_address = alive
        storage = tensor.untyped_storage()
        whole = tensor.detach().as_strided((storage.nbytes() // tensor.element_size(),), (1,), 0)
        weak = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        shadow = _Shadow(weak, cells_of(wide(whole)), np.full(whole.numel(), NOWHERE), exact=True)
        self._by_address[storage._cdata] = shadow
        return shadow

    def forget(self, tensor: torch.Tensor) -> None:
        """Take what a tensor holds now for exact, with all of its views."""
        self._by_address.pop(tensor.untyped_storage()._cdata, None)

    def _of(self, tensor: torch.Tensor) -> _Shadow | None:
        return self._by_address.get(tensor.untyped_storage()._cdata)


def _seen_as(tensor: torch.Tensor, flat: Array) -> Array:
    """See a flat array as a tensor sees its storage."""
    strides = [s * flat.itemsize for s in tensor.stride()]
    start = tensor.storage_offset() if tensor.numel() else 0
    return np.lib.stride_tricks.as_strided(flat[start:], tuple(tensor.shape), strides)
