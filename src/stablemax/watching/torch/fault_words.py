"""A fault in words, and the tensors that took part as a result tells of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from stablemax.results.watched import IncomingTensor, WatchedFault, WatchedTensor
from stablemax.text.words import counted
from stablemax.trace.traced_code import display_name
from stablemax.watching.torch.operands import Operand, operands_of
from stablemax.watching.watch_options import WatchedKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.watching.torch.call_sites import CallSite, CallSites
    from stablemax.watching.torch.ring import RingEntry

_DEEDS = {WatchedKind.OVERFLOW: "gives inf", WatchedKind.NAN: "gives NaN", WatchedKind.LOST: "gives 0"}


def tensor_seen(name: str, tensor: torch.Tensor, value: torch.Tensor | None) -> WatchedTensor:
    """Take the figures of a tensor; without its value, that it was overwritten."""
    dtype, shape = str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
    if value is None:
        return WatchedTensor(name, dtype, shape, None, None, is_overwritten=True)
    wide = value.detach().double()
    finite = wide[wide.isfinite()]
    return WatchedTensor(
        name=name,
        dtype=dtype,
        shape=shape,
        smallest=float(finite.min()) if finite.numel() else None,
        largest=float(finite.max()) if finite.numel() else None,
        inf=int(wide.isinf().sum()),
        nan=int(wide.isnan().sum()),
        zeros=int((wide == 0).sum()),
    )


def first_place(mask: torch.Tensor) -> tuple[int, ...]:
    """Return the index of the first cell of a mask."""
    places = mask.nonzero()
    return tuple(int(i) for i in places[0]) if len(places) else ()


def fault_of(
    entry: RingEntry, output: torch.Tensor, kind: WatchedKind, made: torch.Tensor, step: int, sites: CallSites
) -> WatchedFault:
    """Describe an operation that made something, or saw it first."""
    site = sites.resolved(entry.call_site)
    place = first_place(made)
    operands = list(operands_of(entry))
    count = int(made.sum())
    seen = [tensor_seen(sites.parameter_name(o.tensor) or o.name, o.tensor, o.value) for o in operands]
    numbers = _numbers_at(operands, output, place)
    share = f"for {count:,} of {counted(output.numel(), 'cell')}" if output.numel() > 1 else ""
    of = f" of {' and '.join(numbers)}" if numbers else ""
    deed = " ".join(part for part in (f"{entry.plan.name} {_DEEDS[kind]}", share) if part)
    if kind is WatchedKind.OVERFLOW and bool((output[made] < 0).all()):
        deed = deed.replace("gives inf", "gives -inf")
    where = f" (first: {list(place)}{of})" if place else of
    return WatchedFault(
        kind=str(kind),
        step=step,
        module=sites.module_name(site.module),
        file="" if site.code is None else display_name(site.code.co_filename),
        line=site.line,
        text=site.text,
        phase=site.site.phase,
        operation=f"aten.{entry.plan.name}",
        inputs=tuple(seen),
        output=tensor_seen("output", output, output),
        place=place,
        sentence=f"{deed}{where}",
    )


def _numbers_at(operands: Sequence[Operand], output: torch.Tensor, place: tuple[int, ...]) -> list[str]:
    """Write the numbers that a cell was made of; none where it was made of many."""
    if not 1 <= len(operands) <= 2 or any(o.value is None for o in operands):
        return []
    try:
        cells = [o.value.broadcast_to(output.shape)[place] for o in operands if o.value is not None]
    except RuntimeError:
        return []
    if any(o.value is not None and o.value.numel() > output.numel() for o in operands):
        return []
    return [f"{float(c.detach()):.6g}" for c in cells]


def incoming_at(operand: Operand, entry: RingEntry, step: int, sites: CallSites) -> IncomingTensor:
    """Describe a tensor with an inf or a NaN that no watched operation made, and the operation that saw it."""
    place: tuple[int, ...] = ()
    value, cells = "not finite", None
    if operand.value is not None:
        bad = operand.value.isnan() if operand.has_nan else ~operand.value.isfinite()
        place, cells = first_place(bad), int(bad.sum())
        number = float(operand.value[place])
        value = "nan" if math.isnan(number) else "inf" if number > 0 else "-inf"
    site = sites.resolved(entry.call_site)
    return IncomingTensor(
        name=sites.parameter_name(operand.tensor),
        dtype=str(operand.tensor.dtype).removeprefix("torch."),
        shape=tuple(operand.tensor.shape),
        place=place,
        value=value,
        cells=cells,
        file="" if site.code is None else display_name(site.code.co_filename),
        line=site.line,
        operation=f"aten.{entry.plan.name}",
        step=step,
    )


def incoming_as_used(first: IncomingTensor, entry: RingEntry, step: int, sites: CallSites) -> IncomingTensor:
    """Describe what came in where it is used, if it was a single number at first, or is a parameter by now."""
    operands = [o for o in operands_of(entry) if not o.is_finite]
    named = [o for o in operands if sites.parameter_name(o.tensor)]
    used = next(iter(named or operands), None)
    return first if used is None or (first.shape and not named) else incoming_at(used, entry, step, sites)


def where_words(site: CallSite) -> str:
    """Name a line: `train.py:12`."""
    return "" if site.code is None else f"{display_name(site.code.co_filename)}:{site.line}"


def fault_where(fault: WatchedFault) -> str:
    """Say where a fault is: the line, the pass, the module."""
    words = [f"{fault.file}:{fault.line}"] if fault.file else []
    if fault.phase == "backward":
        words = [f"the backward pass of {words[0]}" if words else "the backward pass"]
    words += [f"in {fault.module}"] if fault.module else []
    return ", ".join(words)
