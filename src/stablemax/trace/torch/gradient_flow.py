"""The backward pass, node by node: where a gradient first is no number, and which node handed back the 0 before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from stablemax.trace.gradients.differentiable import Dialect, ZeroHandedBack
from stablemax.trace.gradients.singular_points import stem_of

if TYPE_CHECKING:
    from stablemax.trace.torch.torch_trace import TorchCode

DIALECT = Dialect(
    modules={"torch": ("torch", "import torch")},
    words={
        "where": "{torch}.where",
        "inf": "{torch}.inf",
        "size": "{x}.abs()",
        "detach": "{x}.detach()",
        "keepdim": "keepdim",
        "log_sigmoid": "{torch}.nn.functional.logsigmoid",
        "log_softmax": "{torch}.nn.functional.log_softmax",
    },
    hiding=frozenset((
        "detach", "detach_", "no_grad", "inference_mode", "set_grad_enabled", "data", "apply", "register_hook",
    )),
)  # fmt: skip

ZEROS = {
    "Where": ("untaken-branch", "torch.where hands back 0 for the branch that it does not take"),
    "MaskedFill": ("masked-out", "masked_fill hands back 0 for what it overwrites"),
    "MaskedSelect": ("masked-out", "masked_select hands back 0 for what it leaves out"),
    "Index": ("masked-out", "the index hands back 0 for what it leaves out"),
    "Gather": ("masked-out", "gather hands back 0 for what it leaves out"),
    "Clamp": ("masked-out", "clamp hands back 0 for what it cuts off"),
    "ClampMin": ("masked-out", "clamp hands back 0 for what it cuts off"),
    "ClampMax": ("masked-out", "clamp hands back 0 for what it cuts off"),
    "Maximum": ("masked-out", "maximum hands back 0 to the smaller number"),
    "Minimum": ("masked-out", "minimum hands back 0 to the larger number"),
    "Relu": ("masked-out", "relu hands back 0 for what it cuts off"),
    "NanToNum": ("masked-out", "nan_to_num hands back 0 for what it replaces"),
    "Mul": ("zero-times-infinity", "the product with 0 hands back 0"),
}
"""Autograd's nodes that hand back a gradient of 0: the id of the pattern, and what they do."""


@dataclass(frozen=True)
class _Passed:
    """A node of autograd's with the gradients that it got and gave."""

    node: Any
    got: tuple[Any, ...]
    gave: tuple[Any, ...]

    @property
    def name(self) -> str:
        return stem_of(self.node.name())


def zero_before(code: TorchCode, stems: tuple[str, ...]) -> ZeroHandedBack | None:
    """Return what handed back a gradient of 0, to a node of some names that made inf or NaN of it.

    None where that got another number than 0, where it is not known, and where several such nodes got it from nodes
    of different names.
    """
    passed = _run(code)
    origins = set()
    for breaking in (p for p in passed if p.name in stems and _breaks(p)):
        place = _place(breaking)
        origins.add("" if place is None else _origin(passed, breaking, place))
    known = ZEROS.get(origins.pop()) if len(origins) == 1 else None
    return None if known is None else ZeroHandedBack(*known)


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
        # What the nodes saved is looked at afterwards.
        torch.autograd.grad(out, tensors[: code.leaves], ones, allow_unused=True, retain_graph=True)
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
        for i, ((following, _), gave) in enumerate(zip(earlier.node.next_functions, earlier.gave, strict=False)):
            if following is not of.node or gave is None:
                continue
            got = earlier.got[0] if earlier.got else None
            if got is None or got.shape != gave.shape:
                return earlier.name if earlier.name in ZEROS else ""
            if float(gave[place]) == 0 and float(got[place]) != 0:
                is_product = earlier.name == "Mul"
                return earlier.name if not is_product or _is_by_zero(earlier.node, i, place, gave.shape) else ""
            return _origin(passed, earlier, place)
    return ""


def _is_by_zero(node: Any, operand: int, place: tuple[int, ...], shape: Any) -> bool:
    """Tell whether a product is by 0: that of two small numbers may underflow."""
    factor = getattr(node, "_saved_other" if operand == 0 else "_saved_self", None)
    return isinstance(factor, torch.Tensor) and float(factor.detach().broadcast_to(shape)[place]) == 0
