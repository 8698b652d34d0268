"""Whether the operations of a part of a replay read and give what they did in the whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from stablemax.watching.torch.replay import Replay, ReplayedOperation
from stablemax.watching.torch.replay_axes import Axes
from stablemax.watching.torch.replay_parts import Kept, ReplayRun, positions_of


def is_alike(
    number: int, start: tuple[Replay, ReplayRun], part: tuple[Replay, ReplayRun], axes: Axes, kept: Kept
) -> bool:
    """Tell whether a faulty operation, and the forward ones on its line, read and give in a part what they did before.

    The gradients of fewer numbers have other sizes: of these it is told where they are 0, infinite and NaN.
    """
    faulty = next(o for o in start[0].operations if o.number == number)
    for operation in start[0].operations:
        is_forward = operation.call_site.node is None
        is_on_line = faulty.call_site.node is not None and is_forward and _is_on_line(operation, faulty)
        if operation is not faulty and not is_on_line:
            continue
        for n in {*operation.inputs, *operation.outputs}:
            old, new = (run.tensors[n] for _, run in (start, part))
            places = tuple(positions_of(axes, d, kept) for d in axes.dimensions[n])
            by_value = is_forward and (operation is not faulty or n in operation.inputs)
            if not is_like(cells_at(old, places), new, by_value=by_value):
                return False
    return True


def _is_on_line(one: ReplayedOperation, other: ReplayedOperation) -> bool:
    a, b = one.call_site, other.call_site
    return a.code is not None and (a.code, a.instruction) == (b.code, b.instruction)


def cells_at(tensor: torch.Tensor, places: Sequence[torch.Tensor | None]) -> torch.Tensor:
    """Return the cells of a tensor at some indices along each dimension; all along one without any."""
    for i, indices in enumerate(places):
        tensor = tensor if indices is None else tensor.index_select(i, indices)
    return tensor


def is_like(old: torch.Tensor, new: torch.Tensor, *, by_value: bool) -> bool:
    """Tell whether numbers are inf and NaN in the same places, and alike to half of the digits; else 0 where they were.

    Integers, such as indices, may have other values.
    """
    if old.shape != new.shape:
        return False
    if not old.is_floating_point() or torch.equal(old, new):
        return True
    if not (torch.equal(old.isnan(), new.isnan()) and torch.equal(old.isinf(), new.isinf())):
        return False
    if not by_value:
        return torch.equal(old == 0, new == 0)
    finite = old.isfinite()
    a, b = old[finite].double(), new[finite].double()
    scale = float(a.abs().max()) if a.numel() else 0.0
    return bool(((a - b).abs() <= math.sqrt(torch.finfo(old.dtype).eps) * scale).all())


def is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Tell whether two tensors hold the same gradient, to what another order of its sums changes."""
    return one.shape == other.shape and one.dtype == other.dtype and torch.allclose(one, other, equal_nan=True)
