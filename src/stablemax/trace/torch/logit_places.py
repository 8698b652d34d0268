"""Which logit, or which row of logits, each number of a tensor comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from stablemax.trace.observation import Event, Kind, Observation, Record
from stablemax.trace.torch.aten_call import MOVES, moved
from stablemax.trace.torch.exact_ops import REDUCTIONS, reduced
from stablemax.trace.torch.storage import NOWHERE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stablemax.numerics.formats import Array
    from stablemax.trace.torch.aten_call import Call
    from stablemax.trace.torch.storage import Shadows

    Places = Callable[[int, tuple[int, ...]], Array]

_PRODUCTS = ("mm", "bmm", "mv", "addmm")


@dataclass
class PlacedRecord(Record):
    """The runs of an operator at one place in the code, with the logit of the first cell of each kind of event."""

    places: dict[Kind, int] = field(default_factory=dict)

    def put(self, seen: Observation, places: Array) -> None:
        """Note which logits the events of a run come from."""
        for event in seen.events:
            self.places.setdefault(event.kind, int(places[event.place]))

    def place(self, event: Event, rows: int, classes: int) -> tuple[int | None, int | None]:  # noqa: ARG002 - as Record
        """Return row and class of the logit that an event comes from, each where it is known."""
        place = self.places.get(event.kind, NOWHERE)
        if place == NOWHERE:
            return None, None
        row, column = divmod(place, classes + 1)
        return row, None if column == classes else column


def places_of(call: Call, shadows: Shadows) -> Places:
    """Return, before an operator runs, a function that gives the places of an output, by its number and its shape."""
    if call.name in MOVES:
        outputs = moved(call, shadows.places, NOWHERE)
        if outputs is not None:
            return lambda i, _shape: outputs[i]
    seen = [shadows.places(t).copy() for t in call.floats]
    if call.name in REDUCTIONS and len(seen) == 1:
        return lambda _i, shape: _of_rows(call, seen[0], shape, shadows)
    if call.name in _PRODUCTS:
        seen = [shadows.whole_row(p[..., :1]) for p in seen[:1]]
    return lambda _i, shape: _of_cells(seen, shape, shadows)


def _of_rows(call: Call, places: Array, shape: tuple[int, ...], shadows: Shadows) -> Array:
    """A cell made of one row's numbers comes from that row."""
    rows = shadows.whole_row(places)
    dim, keepdim = (*call.arguments, None, None)[1:3]
    dim, keepdim = call.options.get("dim", dim), bool(call.options.get("keepdim", keepdim))
    if not places.size:
        return np.full(shape, NOWHERE)
    low, high = (reduced(ufunc, rows, dim, keepdim=keepdim) for ufunc in (np.minimum, np.maximum))
    return np.where(low == high, low, NOWHERE).reshape(shape)


def _of_cells(seen: Sequence[Array], shape: tuple[int, ...], shadows: Shadows) -> Array:
    """Take the place of each cell from the input that knows it best: a logit, or else a row."""
    out = np.full(shape, NOWHERE)
    for places in seen:
        try:
            spread = np.broadcast_to(places, shape)
        except ValueError:
            continue
        out = np.where(_knowledge(spread, shadows) > _knowledge(out, shadows), spread, out)
    return out


def _knowledge(places: Array, shadows: Shadows) -> Array:
    is_row = places % (shadows.classes + 1) == shadows.classes
    return np.where(places == NOWHERE, 0, np.where(is_row, 1, 2))
