"""The backward pass, node by node: where a gradient first is no number, and which node handed back the 0 before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from stablemax.trace.torch.singular_points import ZEROS

if TYPE_CHECKING:
    from stablemax.trace.torch.torch_trace import TorchCode


@dataclass(frozen=True)
class _Passed:
    """A node of autograd's with the gradients that it got and gave."""

    node: Any
    got: tuple[Any, ...]
    gave: tuple[Any, ...]

    @property
    def name(self) -> str:
        return stem_of(self.node.name())


def stem_of(node: str) -> str:
    """Return the name of a node without its number.

    >>> stem_of("SqrtBackward0"), stem_of("NormBackward2")
    ('Sqrt', 'Norm')
    """
    return re.sub(r"Backward\d*$", "", node)


def zero_before(code: TorchCode, stems: tuple[str, ...]) -> str:
    """Return the node that handed back a gradient of 0, to the first node that made inf or NaN of it.

    That node must have one of some names. Empty where it got another number than 0, or where it is not known.
    """
    passed = _run(code)
    first = next((p for p in passed if p.name in stems and _breaks(p)), None)
    if first is None:
        return ""
    place = _place(first)
    return "" if place is None else _origin(passed, first, place)


def _run(code: TorchCode) -> list[_Passed]:
    passed: list[_Passed] = []
    with code.settings():
        tensors = code.tensors()
        out = code.function(*tensors)
        waiting, known = [out.grad_fn], set()
        while waiting:
            node = waiting.pop()
            if node is None or node in known:
                continue
            known.add(node)
            node.register_hook(lambda gave, got, node=node: passed.append(_Passed(node, got, gave)))
            waiting += [following for following, _ in node.next_functions]
        ones = None if out.ndim == 0 else torch.ones_like(out)
        torch.autograd.grad(out, tensors[: code.leaves], ones, allow_unused=True)
    return passed


def _breaks(passed: _Passed) -> bool:
    got = [g for g in passed.got if g is not None]
    gave = [g for g in passed.gave if g is not None]
    return all(bool(g.isfinite().all()) for g in got) and not all(bool(g.isfinite().all()) for g in gave)


def _place(passed: _Passed) -> Any:
    """Mark the first number that breaks; None where no 0 was handed to it, or the shapes do not tell."""
    got = passed.got[0]
    for gave in passed.gave:
        if gave is None or got is None or gave.shape != got.shape or gave.isfinite().all():
            continue
        place = tuple(int(i[0]) for i in (~gave.isfinite()).nonzero(as_tuple=True)) if gave.ndim else ()
        return place if float(got[place]) == 0 else None
    return None


def _origin(passed: list[_Passed], of: _Passed, place: tuple[int, ...]) -> str:
    """Walk up from a node, through those that were handed a 0, too, to the one that was not."""
    for earlier in passed:
        for (following, _), gave in zip(earlier.node.next_functions, earlier.gave, strict=False):
            if following is not of.node or gave is None:
                continue
            got = earlier.got[0] if earlier.got else None
            if got is None or got.shape != gave.shape:
                return earlier.name if earlier.name in ZEROS else ""
            if float(gave[place]) == 0 and float(got[place]) != 0:
                return earlier.name
            return _origin(passed, earlier, place)
    return ""
