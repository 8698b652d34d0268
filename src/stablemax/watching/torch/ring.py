"""The last operations of a run, held by reference: nothing is copied but what an operation overwrites."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch

from stablemax.watching.torch.operator_plan import OperatorPlan

LAST_OPERATIONS = 256
LAST_BYTES = 512 << 20
"""Outputs that are held beyond what the program itself holds."""
LARGEST_COPY = 16 << 20


class RingEntry:
    """One operation that ran: what it got, in which versions, what it gave, and where it was called."""

    __slots__ = (
        "arguments",
        "before",
        "call_site",
        "function",
        "number",
        "options",
        "plan",
        "result",
        "tensors",
        "versions",
        "written",
    )

    def __init__(self, function: Any, plan: OperatorPlan, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.function = function
        self.plan = plan
        self.arguments = arguments
        self.options = options
        #: Copies of what it overwrote, by the id of the tensor; of what is too large whether it was finite.
        self.before: dict[int, torch.Tensor | bool] | None = None
        #: The tensors that it writes to.
        self.written: list[torch.Tensor] = written_by(plan, arguments, options) if plan.writes else []
        if self.written and plan.reads_written:
            self.before = copies_of(self.written)
        self.tensors = tensors_of(arguments, options)
        try:
            self.versions = [t._version for t in self.tensors]
        except RuntimeError:
            # Tensors of inference mode have no versions.
            self.versions = [-1 if t.is_inference() else t._version for t in self.tensors]
        self.result: Any = None
        self.call_site: Any = None
        self.number = 0

    def outputs(self) -> list[torch.Tensor]:
        """Return the tensors that hold its results."""
        if self.plan.writes:
            return self.written
        results = self.result if isinstance(self.result, (list, tuple)) else (self.result,)
        return [t for t in results if isinstance(t, torch.Tensor)]


def written_by(plan: OperatorPlan, arguments: tuple[Any, ...], options: dict[str, Any]) -> list[torch.Tensor]:
    """Return the tensors that an operator writes to, those in lists too."""
    values = [arguments[i] for i in plan.written if i < len(arguments)]
    values += [options[name] for name in plan.written_names if name in options]
    flat: list[Any] = []
    for value in values:
        flat += value if isinstance(value, (list, tuple)) else [value]
    return [t for t in flat if isinstance(t, torch.Tensor)]


def copies_of(tensors: list[torch.Tensor]) -> dict[int, torch.Tensor | bool]:
    """Copy what is about to be overwritten, by the id of the tensor; of what is too large note whether it is finite."""
    return {
        id(t): t.clone() if t.numel() * t.element_size() <= LARGEST_COPY else bool(t.sum().isfinite()) for t in tensors
    }


def tensors_of(arguments: tuple[Any, ...], options: dict[str, Any]) -> list[torch.Tensor]:
    """Return the tensors among arguments, those in lists too."""
    found = []
    for value in (*arguments, *options.values()) if options else arguments:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += [v for v in value if isinstance(v, torch.Tensor)]
    return found


def address_of(tensor: torch.Tensor) -> int:
    """Return what tells the storage of a tensor, which its views share; of a sparse one the tensor itself."""
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else -id(tensor)


def is_leaf(tensor: torch.Tensor) -> bool:
    """Tell whether autograd takes gradients by a tensor itself."""
    try:
        return needs_gradient(tensor) and tensor.is_leaf
    except RuntimeError:
        return False  # PyTorch refuses to say where its views were written to in another mode


def needs_gradient(tensor: torch.Tensor) -> bool:
    """Tell whether autograd follows a tensor."""
    try:
        return tensor.requires_grad
    except RuntimeError:
        return True  # of a view that was written to in another mode PyTorch refuses to say


class Ring:
    """The last operations, as many as `LAST_OPERATIONS`, and fewer where their outputs are large."""

    def __init__(self) -> None:
        self._entries: deque[tuple[RingEntry, int]] = deque()
        self._bytes = 0

    def append(self, entry: RingEntry, size_bytes: int) -> None:
        """Add the operation that ran last, with the size of what it alone may hold."""
        self._entries.append((entry, size_bytes))
        self._bytes += size_bytes
        while len(self._entries) > LAST_OPERATIONS or (self._bytes > LAST_BYTES and len(self._entries) > 1):
            self._bytes -= self._entries.popleft()[1]

    def up_to(self, last: RingEntry) -> list[RingEntry]:
        """Return the operations up to one of them, the oldest first."""
        entries = [entry for entry, _ in self._entries if entry.number <= last.number]
        return entries if entries and entries[-1] is last else [*entries, last]

    @property
    def oldest(self) -> int:
        """The number of the oldest operation; 0 where there is none."""
        return self._entries[0][0].number if self._entries else 0

    def all(self) -> list[RingEntry]:
        """Return the operations, the oldest first."""
        return [entry for entry, _ in self._entries]

    def clear(self) -> None:
        """Let go of everything."""
        self._entries.clear()
        self._bytes = 0
