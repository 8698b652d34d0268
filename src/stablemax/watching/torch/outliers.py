"""A finite number of the data that stands far from the others, and without which a fault is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from stablemax.results.watched import OutlyingNumber
from stablemax.trace.traced_code import display_name
from stablemax.watching.torch.call_sites import CallSites
from stablemax.watching.torch.replay import Replay, ordinary

_FAR = 1000.0
_LEAST = 3
"""Of fewer samples none stands apart from the others."""
_PARTS = {0: "sample", 1: "column"}


@dataclass(frozen=True)
class _Apart:
    """Some samples, or columns, of a tensor whose numbers are far larger than those of all others."""

    axis: int
    parts: list[int]
    #: One that has the usual size.
    usual: int
    #: The largest number of all others, without its sign.
    others: float


def outlier_of(replays: Iterable[Replay], is_outside: Callable[[int], bool], sites: CallSites) -> OutlyingNumber | None:
    """Find a number of the data that makes a fault: with its sample replaced by another, the fault is not there.

    None where the data have no such number, or where the fault is there without it, too: then others give it as well.
    `is_outside` tells by what tells the storage of a tensor whether that is no weight.
    """
    for replay in replays:
        for number, tensor in replay.leaves.items():
            if number in replay.of_weights or not is_outside(replay.addresses[number]):
                continue
            for apart in _apart(tensor):
                if _is_finite_without(replay, number, apart):
                    return _outlier(replay, number, apart, sites)
    return None


def _apart(tensor: torch.Tensor) -> Iterator[_Apart]:
    """Iterate over the samples, then the columns, that stand apart."""
    if tensor.layout is not torch.strided or tensor.is_complex() or tensor.dtype is torch.bool:
        return
    wide = tensor.double()
    if not wide.numel() or not bool(wide.isfinite().all()):
        return
    for axis in (0, 1) if wide.ndim == 2 else (0,) if wide.ndim else ():
        sizes = wide.abs().movedim(axis, 0).flatten(1).amax(1) if wide.ndim > 1 else wide.abs()
        if len(sizes) < _LEAST:
            continue
        # Whole numbers are labels and indices, whose size tells nothing.
        apart = _far(axis, sizes) if tensor.is_floating_point() else _negative(wide) if wide.ndim == 1 else None
        if apart is not None:
            yield apart


def _far(axis: int, sizes: torch.Tensor) -> _Apart | None:
    """Find the parts beyond a gap in their sizes: fewer than half of them."""
    ordered, order = sizes.sort()
    below, above = ordered[:-1], ordered[1:]
    gaps = ((below > 0) & (above >= _FAR * below)).nonzero().flatten().tolist()
    first = next((int(g) + 1 for g in gaps if g + 1 > len(sizes) / 2), None)
    if first is None:
        return None
    parts = sorted(int(i) for i in order[first:])
    return _Apart(axis, parts, int(order[first // 2]), float(ordered[first - 1]))


def _negative(labels: torch.Tensor) -> _Apart | None:
    """Find the labels below 0, where all others are none: Python counts those from the end."""
    parts = [int(i) for i in (labels < 0).nonzero().flatten()]
    if not parts or 2 * len(parts) >= len(labels):
        return None
    usual = int((labels >= 0).nonzero().flatten()[0])
    return _Apart(0, parts, usual, float(labels.max()))


def _is_finite_without(replay: Replay, number: int, apart: _Apart) -> bool:
    leaves = {n: t.clone() for n, t in replay.leaves.items()}
    moved = leaves[number].movedim(apart.axis, 0)
    moved[apart.parts] = moved[apart.usual].clone()
    try:
        with ordinary():
            return bool(replay.run(leaves).isfinite().all())
    except (RuntimeError, IndexError):
        return False


def _outlier(replay: Replay, number: int, apart: _Apart, sites: CallSites) -> OutlyingNumber:
    tensor = replay.leaves[number]
    first = tensor.movedim(apart.axis, 0)[apart.parts[0]]
    cell = int(first.flatten().double().abs().argmax())
    inner = [int(i) for i in torch.unravel_index(torch.tensor(cell), first.shape)] if first.ndim else []
    inner.insert(apart.axis, apart.parts[0])
    reader = next(o for o in replay.operations if number in o.inputs)
    site = sites.resolved(reader.call_site)
    return OutlyingNumber(
        dtype=str(tensor.dtype).removeprefix("torch."),
        shape=tuple(tensor.shape),
        place=tuple(inner),
        value=float(first.flatten()[cell]),
        others=apart.others,
        part=_PARTS[apart.axis],
        parts=len(apart.parts),
        file="" if site.code is None else display_name(site.code.co_filename),
        line=site.line,
        operation=f"aten.{reader.plan.name}",
    )
