"""What an operation with an inf or a NaN in its output did: made it, passed it on, or wrote what the code says."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from stablemax.results.watched import IncomingTensor
from stablemax.watching.torch.non_finite import WRITTEN, KnownOrigins, NonFiniteOrigin, OriginKind
from stablemax.watching.torch.operands import Operand, in_float64, operands_of
from stablemax.watching.torch.ring import RingEntry
from stablemax.watching.watch_options import WatchedKind


class Deed(enum.Enum):
    """What an operation did."""

    MADE = "made"
    PASSED_ON = "passed on"


@dataclass(frozen=True)
class Suspicion:
    """An output that is not finite, and what is to be said of it."""

    deed: Deed
    kind: WatchedKind
    #: Mask of the cells that the operation made.
    made: torch.Tensor | None = None
    #: Of the infinities or NaN that went in, where some did.
    origin: NonFiniteOrigin | None = None

    @property
    def has_nan(self) -> bool:
        """True where the output holds a NaN."""
        return self.kind is WatchedKind.NAN


def suspicion_of(
    entry: RingEntry,
    output: torch.Tensor,
    origins: KnownOrigins,
    describe: Callable[[Operand], IncomingTensor],
    producer: Callable[[torch.Tensor], RingEntry | None],
) -> Suspicion | None:
    """Judge an output; None where it is finite after all. The origin of what is passed on is noted."""
    bad, nan = ~torch.isfinite(output), output.isnan()
    if not bool(bad.any()):
        return None
    operands = list(operands_of(entry))
    sources = [o for o in operands if not o.is_finite]
    numbers = [v for v in (*entry.arguments, *entry.options.values()) if isinstance(v, float) and not math.isfinite(v)]
    is_constant = entry.plan.is_constant or not operands
    origin = max((_origin_of(o, entry, origins, describe) for o in sources), key=lambda o: o.kind, default=None)
    has_nan = any(map(math.isnan, numbers)) or any(o.has_nan for o in sources)
    if bool(nan.any()) and not has_nan and not is_constant:
        return Suspicion(Deed.MADE, WatchedKind.NAN, nan, origin)
    if not (sources or numbers or is_constant) and not _is_log_of_mask(entry, operands, producer):
        return Suspicion(Deed.MADE, WatchedKind.OVERFLOW, bad)
    if entry.plan.is_pointwise and sources and not numbers:
        made = bad & _where_finite(operands, output)
        if bool(made.any()):
            return Suspicion(Deed.MADE, _kind(made & nan), made)
    origins.note(output, origin or WRITTEN)
    return Suspicion(Deed.PASSED_ON, _kind(nan), None, origin or WRITTEN)


_ROW_BY_ROW = frozenset(("_softmax", "_log_softmax", "_softmax_backward_data", "_log_softmax_backward_data", "cumsum"))


def mixes(entry: RingEntry) -> bool:
    """Tell whether an operation mixes an inf or a NaN with other numbers, so that no mask takes it out any more.

    Code may make infinities and take them out again: ``where(x > 0, log(x), 0)``, ``nan_to_num(a / b)``, or rows of a
    softmax that are masked as a whole.
    """
    return not (entry.plan.is_copy or entry.plan.is_pointwise or entry.plan.name in _ROW_BY_ROW)


def _kind(nan: torch.Tensor) -> WatchedKind:
    return WatchedKind.NAN if bool(nan.any()) else WatchedKind.OVERFLOW


def _origin_of(
    operand: Operand, entry: RingEntry, origins: KnownOrigins, describe: Callable[[Operand], IncomingTensor]
) -> NonFiniteOrigin:
    known = origins.of(operand.tensor)
    if known is None:
        # A single infinity is a number that the code says: torch.tensor(-inf).
        is_number = not operand.tensor.ndim and not operand.has_nan
        is_of_gradient = entry.call_site.node is not None
        known = (
            WRITTEN
            if is_number
            else NonFiniteOrigin(OriginKind.INCOMING, describe(operand), is_of_gradient=is_of_gradient)
        )
        origins.note(operand.tensor, known)
    return known


def _where_finite(operands: Sequence[Operand], output: torch.Tensor) -> torch.Tensor:
    """Mark the cells all of whose operands are finite."""
    finite = torch.ones_like(output, dtype=torch.bool)
    for o in operands:
        finite = finite & (o.is_finite if o.value is None else torch.isfinite(o.value))
    return finite


def _is_log_of_mask(
    entry: RingEntry, operands: Sequence[Operand], producer: Callable[[torch.Tensor], RingEntry | None]
) -> bool:
    """Tell whether the logarithm of a mask is taken: that is how some code writes -inf where the mask has 0."""
    if entry.plan.name != "log" or operands[0].value is None:
        return False
    value = operands[0].value
    return bool(((value == 0) | (value == 1)).all()) and _is_mask(operands[0].tensor, producer)


def _is_mask(tensor: torch.Tensor, producer: Callable[[torch.Tensor], RingEntry | None]) -> bool:
    """Tell whether numbers come from a constant, from integers or from outside, and were only moved since."""
    if not tensor.is_floating_point():
        return True
    made_by = producer(tensor)
    if made_by is None or made_by.plan.is_constant:
        return True
    is_moved = made_by.plan.is_copy or not made_by.plan.is_checked
    return is_moved and all(_is_mask(t, producer) for t in made_by.tensors if t is not tensor)


def is_expected_of_scaled(suspicion: Suspicion, entry: RingEntry, output: torch.Tensor, scale: float) -> bool:
    """Tell whether an overflow is one of a gradient that was scaled up: without the scale it would fit."""
    if suspicion.origin is not None and suspicion.origin.kind is OriginKind.SCALED:
        return True
    if suspicion.kind is not WatchedKind.OVERFLOW or suspicion.made is None:
        return False
    position = next((i for i, t in enumerate(entry.outputs()) if t is output), 0)
    wide = in_float64(entry, position)
    if wide is None:
        return False
    cells = wide[suspicion.made]
    return bool((cells.isfinite() & (cells.abs() / scale <= torch.finfo(output.dtype).max)).all())
