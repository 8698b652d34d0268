"""What went into an operation, as it was then; and the same operation again, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from stablemax.watching.torch.ring import RingEntry


@dataclass(frozen=True)
class Operand:
    """A tensor that an operation read, as it was then."""

    name: str
    tensor: torch.Tensor
    #: None where the operation overwrote it, and it was too large to be copied.
    value: torch.Tensor | None
    is_finite: bool

    @property
    def has_nan(self) -> bool:
        """True where it holds a NaN, or may hold one."""
        return not self.is_finite and (self.value is None or bool(self.value.isnan().any()))


def operands_of(entry: RingEntry) -> Iterator[Operand]:
    """Iterate over the tensors of numbers that an operation read."""
    schema = entry.function._schema.arguments
    by_name = dict(zip((a.name for a in schema), entry.arguments, strict=False)) | entry.options
    overwritten = {id(t) for t in entry.written}
    for name, given in by_name.items():
        is_list = isinstance(given, (list, tuple))
        for i, t in enumerate(given if is_list else [given]):
            if (
                isinstance(t, torch.Tensor)
                and t.layout is torch.strided
                and not t.is_complex()
                and (id(t) not in overwritten or entry.plan.reads_written)
            ):
                yield _operand(f"{name}[{i}]" if is_list else name, t, entry, is_overwritten=id(t) in overwritten)


def _operand(name: str, tensor: torch.Tensor, entry: RingEntry, *, is_overwritten: bool) -> Operand:
    value: Any = (entry.before or {}).get(id(tensor), False) if is_overwritten else tensor
    if isinstance(value, bool):
        return Operand(name, tensor, None, value)
    return Operand(name, tensor, value, not tensor.is_floating_point() or bool(torch.isfinite(value).all()))


def mapped(entry: RingEntry, change: Callable[[Any], Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments of an operation with each tensor and each plain value changed, those in lists too."""

    def changed(value: Any) -> Any:
        return [change(v) for v in value] if isinstance(value, (list, tuple)) else change(value)

    return [changed(a) for a in entry.arguments], {k: changed(v) for k, v in entry.options.items()}


def in_float64(entry: RingEntry, output: int = 0) -> torch.Tensor | None:
    """Run an operation again on its operands in float64; None where it cannot be."""
    values = {id(o.tensor): o.value for o in operands_of(entry)}
    if entry.plan.is_random or any(v is None for v in values.values()):
        return None

    def wide(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            known = values.get(id(value), value)
            assert known is not None, "those were refused"
            return known.to(torch.float64, copy=True) if known.is_floating_point() else known
        return torch.float64 if isinstance(value, torch.dtype) and value.is_floating_point else value

    arguments, options = mapped(entry, wide)
    try:
        result = entry.function(*arguments, **options)
    except (RuntimeError, NotImplementedError, TypeError):
        return None
    again = RingEntry(entry.function, entry.plan, tuple(arguments), options)
    again.result = result
    tensors = again.outputs()
    return tensors[output] if output < len(tensors) else None
