"""Tensors with infinities or NaN that are known: the user wrote them, they came in, or scaled gradients overflowed."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from stablemax.watching.ring import RingEntry

_CROWD = 1024


class OriginKind(enum.IntEnum):
    """Where infinities and NaN come from; of several inputs the kind that stands last counts."""

    #: The user's code says so: constants, masks.
    WRITTEN = 0
    #: Overflows of gradients that GradScaler has scaled up.
    SCALED = 1
    #: No watched operation made them.
    INCOMING = 2


@dataclass(frozen=True)
class NonFiniteOrigin:
    """The origin of the infinities and NaN of a tensor."""

    kind: OriginKind
    #: Of what came in: the tensor, what it was used in first, and in which step.
    tensor: torch.Tensor | None = None
    entry: RingEntry | None = None
    step: int = 0


WRITTEN = NonFiniteOrigin(OriginKind.WRITTEN)
SCALED = NonFiniteOrigin(OriginKind.SCALED)


class KnownOrigins:
    """The origins of tensors that live, by their storage."""

    def __init__(self) -> None:
        # While the reference lives, no other storage gets the address.
        self._by_address: dict[int, tuple[StorageWeakRef, NonFiniteOrigin]] = {}

    def of(self, tensor: torch.Tensor) -> NonFiniteOrigin | None:
        """Return the origin of a tensor's infinities and NaN; None where it is not known."""
        known = self._by_address.get(tensor.untyped_storage()._cdata)
        return None if known is None else known[1]

    def note(self, tensor: torch.Tensor, origin: NonFiniteOrigin) -> None:
        """Note the origin of a tensor's infinities and NaN."""
        if len(self._by_address) > _CROWD:
            alive = {a: known for a, known in self._by_address.items() if not known[0].expired()}  # type: ignore[no-untyped-call]
            self._by_address = alive
        storage = tensor.untyped_storage()
        self._by_address[storage._cdata] = (StorageWeakRef(storage), origin)  # type: ignore[no-untyped-call]
