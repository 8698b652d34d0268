"""Tensors with infinities or NaN that are known: the code writes them, they came in, or an operation made them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from stablemax.results.watched import IncomingTensor
from stablemax.watching.torch.ring import address_of

if TYPE_CHECKING:
    from stablemax.watching.torch.findings import Found

_CROWD = 1024


class OriginKind(enum.IntEnum):
    """Where infinities and NaN come from; of several inputs the kind that stands last counts."""

    #: The user's code says so: constants, masks.
    WRITTEN = 0
    #: Overflows of gradients that GradScaler has scaled up.
    SCALED = 1
    #: No watched operation made them.
    INCOMING = 2
    #: A watched operation made them of numbers.
    MADE = 3


@dataclass(frozen=True)
class NonFiniteOrigin:
    """The origin of the infinities and NaN of a tensor; it holds no tensor of the run, which would live as long."""

    kind: OriginKind
    #: Of what came in: in words, and whether a backward pass saw it first.
    incoming: IncomingTensor | None = None
    is_of_gradient: bool = False
    #: Of what was made: the operation, and what stood before it.
    found: Found | None = None


WRITTEN = NonFiniteOrigin(OriginKind.WRITTEN)
SCALED = NonFiniteOrigin(OriginKind.SCALED)


class KnownOrigins:
    """The origins of tensors that live, by their storage."""

    def __init__(self) -> None:
        # While the reference lives, no other storage gets the address.
        self._by_address: dict[int, tuple[StorageWeakRef, NonFiniteOrigin]] = {}

    def of(self, tensor: torch.Tensor) -> NonFiniteOrigin | None:
        """Return the origin of a tensor's infinities and NaN; None where it is not known."""
        known = self._by_address.get(address_of(tensor))
        # An address may belong to another tensor by now.
        return None if known is None or known[0].expired() else known[1]  # type: ignore[no-untyped-call]

    def made(self) -> list[tuple[int, NonFiniteOrigin]]:
        """Return the addresses of storages that live and hold what was made, with its origin."""
        self.forget_dead()
        return [(a, known[1]) for a, known in self._by_address.items() if known[1].kind is OriginKind.MADE]

    def knows(self, tensor: torch.Tensor) -> bool:
        """Tell whether a tensor is known not to be finite."""
        return self.of(tensor) is not None

    def forget_dead(self) -> None:
        """Let go of the origins of tensors that live no more."""
        alive = {a: known for a, known in self._by_address.items() if not known[0].expired()}  # type: ignore[no-untyped-call]
        self._by_address = alive

    def note(self, tensor: torch.Tensor, origin: NonFiniteOrigin) -> None:
        """Note the origin of a tensor's infinities and NaN."""
        if len(self._by_address) > _CROWD:
            self.forget_dead()
        storage = tensor.untyped_storage()
        self._by_address[storage._cdata] = (StorageWeakRef(storage), origin)  # type: ignore[no-untyped-call]
