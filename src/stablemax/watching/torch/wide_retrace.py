"""The last operations again beside float64: for those whose results are too many for exact arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from stablemax.results import Origin
from stablemax.text.words import counted
from stablemax.trace.blame import find_culprit
from stablemax.trace.observation import Kind
from stablemax.watching.torch.replay import Replay, ReplayedOperation, TensorNumber, ordinary

Tensors = dict[int, torch.Tensor]


@dataclass(frozen=True)
class WideStep:
    """What an operation did to its numbers, as the same operation in float64 tells."""

    kinds: set[Kind]
    #: In words: `exp gives 0 for 3 of 8 cells`.
    words: str
    #: Float64 tells no error of an operation from that of its inputs.
    origin: Origin = Origin.NONE


@dataclass(frozen=True)
class WideCause:
    """The operation that lost a cell of the result, and what it did."""

    operation: ReplayedOperation
    words: str
    #: What stood for the truth.
    truth: str


def caused_beside_float64(replay: Replay) -> WideCause | None:
    """Find the operation that lost the first bad cell of a replay; None where float64 has no ordinary number there."""
    if replay.expected.dtype is torch.float64 or replay.writes_to_views:
        return None
    with ordinary():
        cell = int((~torch.isfinite(replay.expected.flatten())).to(torch.uint8).argmax())
        right = float(_wide_from(replay, 0)[replay.result].flatten()[cell])
        info = torch.finfo(replay.expected.dtype)
        if not math.isfinite(right) or abs(right) > info.max:
            return _caused_by_zeros(replay, cell)
        tolerance = math.sqrt(info.eps) * abs(right) + info.tiny

        def is_good_if_rounded(count: int) -> bool:
            return math.isfinite(float(_rounded_to(replay, count)[replay.result].flatten()[cell]))

        def is_bad_if_forgotten(count: int) -> bool:
            value = float(_wide_from(replay, count)[replay.result].flatten()[cell])
            return not abs(value - right) <= tolerance

        steps = _steps(replay)
        culprit = find_culprit(steps, is_good_if_rounded, is_bad_if_forgotten)
    if culprit is None:
        return None
    index = culprit.root if Kind.ZERO in steps[culprit.root].kinds else culprit.index
    return WideCause(replay.operations[index], steps[index].words, "float64") if steps[index].words else None


def first_error_beside_float64(replay: Replay, position: int) -> int:
    """Return the first operation, up to a position, that lost more than half of the digits; else that position."""
    tensors = {n: t.clone() for n, t in replay.leaves.items()}
    with ordinary():
        wide = _widened({n: t.clone() for n, t in tensors.items()})
        for i, operation in enumerate(replay.operations[:position]):
            values, right = _apply(operation, tensors, is_wide=False), _apply(operation, wide, is_wide=True)
            for value, number in zip(values, right, strict=True):
                if value.is_floating_point() and not _is_close(value, number):
                    return i
    return position


def _is_close(value: torch.Tensor, right: torch.Tensor) -> bool:
    """Tell whether numbers are right to half of the digits, and none of them became 0."""
    if not bool(right.isfinite().all()) or bool(((value == 0) & (right != 0)).any()):
        return False
    scale = float(right.abs().max()) if right.numel() else 0.0
    return bool(((value - right).abs() <= math.sqrt(torch.finfo(value.dtype).eps) * scale).all())


_POSITIVE = frozenset(("exp", "exp2", "_softmax", "sigmoid"))
"""Operations that are 0 for no number in exact arithmetic."""


def _caused_by_zeros(replay: Replay, cell: int) -> WideCause | None:
    """Find an operation whose zeros are none exactly, though they are in float64; with others the cell is finite."""
    for i, operation in enumerate(replay.operations):
        if operation.plan.name not in _POSITIVE:
            continue
        tensors = {n: t.clone() for n, t in replay.leaves.items()}
        for before in replay.operations[:i]:
            _apply(before, tensors, is_wide=False)
        are_finite = all(bool(tensors[n].isfinite().all()) for n in _read(operation))
        (values,) = _apply(operation, tensors, is_wide=False)
        zeros = values == 0
        values.masked_fill_(zeros, torch.finfo(values.dtype).tiny)
        for after in replay.operations[i + 1 :]:
            _apply(after, tensors, is_wide=False)
        if are_finite and bool(zeros.any()) and bool(tensors[replay.result].flatten()[cell].isfinite()):
            share = f"for {int(zeros.sum()):,} of {counted(values.numel(), 'cell')}"
            return WideCause(
                operation, f"{operation.plan.name} gives 0 {share}, which exactly it never is", "exact arithmetic"
            )
    return None


def tensors_in_float64(replay: Replay) -> Tensors:
    """Run a replay in float64, and return all of its tensors by their numbers."""
    return _wide_from(replay, 0)


def _wide_from(replay: Replay, count: int) -> Tensors:
    """Run the first operations as they are, and all others in float64."""
    tensors = {n: t.clone() for n, t in replay.leaves.items()}
    for i, operation in enumerate(replay.operations):
        if i == count:
            tensors = _widened(tensors)
        _apply(operation, tensors, is_wide=i >= count)
    return tensors


def _rounded_to(replay: Replay, count: int) -> Tensors:
    """Run the first operations in float64, round what they gave, and run all others as they are."""
    dtypes = {n: t.dtype for n, t in replay.leaves.items()}
    for operation in replay.operations:
        dtypes.update(zip(operation.outputs, operation.dtypes, strict=True))
    tensors = _widened({n: t.clone() for n, t in replay.leaves.items()})
    for operation in replay.operations[:count]:
        _apply(operation, tensors, is_wide=True)
    tensors = {n: t.to(dtypes[n]) for n, t in tensors.items()}
    for operation in replay.operations[count:]:
        _apply(operation, tensors, is_wide=False)
    return tensors


def _widened(tensors: Tensors) -> Tensors:
    return {n: t.double() if t.is_floating_point() else t for n, t in tensors.items()}


def _widened_copies(tensors: Tensors, operation: ReplayedOperation) -> Tensors:
    """Return what one operation reads, and writes to, in float64."""
    return _widened({n: tensors[n].clone() for n in operation.inputs})


def _apply(operation: ReplayedOperation, tensors: Tensors, *, is_wide: bool) -> list[torch.Tensor]:
    def real(value: object) -> object:
        if isinstance(value, TensorNumber):
            return tensors[value.number]
        if isinstance(value, (list, tuple)):
            return [real(v) for v in value]
        is_type = isinstance(value, torch.dtype) and value.is_floating_point
        return torch.float64 if is_wide and is_type else value

    result = operation.function(
        *(real(a) for a in operation.arguments), **{k: real(v) for k, v in operation.options.items()}
    )
    if operation.plan.writes:
        return [tensors[n] for n in operation.outputs]
    fresh = [t for t in (result if isinstance(result, (list, tuple)) else (result,)) if isinstance(t, torch.Tensor)]
    tensors.update(zip(operation.outputs, fresh, strict=True))
    return fresh


def _steps(replay: Replay) -> list[WideStep]:
    tensors = {n: t.clone() for n, t in replay.leaves.items()}
    steps = []
    for operation in replay.operations:
        wide = _apply(operation, _widened_copies(tensors, operation), is_wide=True)
        read = [t for n, t in tensors.items() if n in _read(operation) and t.is_floating_point()]
        is_finite = all(bool(t.isfinite().all()) for t in read)
        has_nan = any(bool(t.isnan().any()) for t in read)
        values = _apply(operation, tensors, is_wide=False)
        steps.append(_step(operation.plan.name, values, wide, is_finite=is_finite, has_nan=has_nan))
    return steps


@dataclass(frozen=True)
class OperationRun:
    """An operation of a replay as it ran: what it read, what it gave, and what it gives in float64."""

    name: str
    read: tuple[torch.Tensor, ...]
    given: tuple[torch.Tensor, ...]
    wide: tuple[torch.Tensor, ...]

    def marked(self, output: int, kind: Kind) -> torch.Tensor | None:
        """Mark the cells in which it did something of a kind; None where another operation may have."""
        floats = [t for t in self.read if t.is_floating_point()]
        value = self.given[output]
        if any(bool(t.isnan().any()) for t in floats):
            return None
        if kind is Kind.ZERO:
            return (value == 0) & ((self.wide[output] != 0) | torch.tensor(self.name in _POSITIVE))
        if kind is Kind.INVALID:
            return value.isnan()
        return value.isinf() if all(bool(t.isfinite().all()) for t in floats) else None

    def operands(self, output: int, place: list[int]) -> tuple[float, ...] | None:
        """Return the numbers that a cell was made of; None where it was made of many."""
        try:
            spread = [t.broadcast_to(self.given[output].shape)[tuple(place)] for t in self.read]
        except (RuntimeError, IndexError):
            return None
        return tuple(map(float, spread))


def operation_run(replay: Replay, number: int) -> OperationRun | None:
    """Run a replay up to an operation, by its number in the run; None where it has none such, or none in float64."""
    tensors = {n: t.clone() for n, t in replay.leaves.items()}
    with ordinary():
        for operation in replay.operations:
            if operation.number == number:
                try:
                    wide = _apply(operation, _widened_copies(tensors, operation), is_wide=True)
                except (RuntimeError, TypeError, NotImplementedError):
                    return None  # there is none such for float64
                read = tuple(tensors[n].clone() for n in operation.inputs)
                given = tuple(_apply(operation, tensors, is_wide=False))
                return OperationRun(operation.plan.name, read, given, tuple(wide))
            _apply(operation, tensors, is_wide=False)
    return None


def _read(operation: ReplayedOperation) -> set[int]:
    flat = [*operation.arguments, *operation.options.values()]
    for value in list(flat):
        flat += value if isinstance(value, (list, tuple)) else []
    return {v.number for v in flat if isinstance(v, TensorNumber)}


def _step(
    name: str, values: list[torch.Tensor], wide: list[torch.Tensor], *, is_finite: bool, has_nan: bool
) -> WideStep:
    kinds, words = set(), ""
    for value, right in zip(values, wide, strict=True):
        if not value.is_floating_point():
            continue
        marks = {
            Kind.ZERO: (value == 0) & (right != 0) & ~right.isnan(),
            Kind.INVALID: value.isnan() & right.isnan() & (not has_nan),
            Kind.POLE: value.isinf() & right.isinf() & is_finite,
            Kind.OVERFLOW: ~value.isfinite() & right.isfinite(),
        }
        for kind, mark in marks.items():
            count = int(mark.sum())
            if count:
                kinds.add(kind)
                words = _words(name, kind, count, value.numel(), right[mark])
    return WideStep(kinds, words)


def _words(name: str, kind: Kind, count: int, cells: int, right: torch.Tensor) -> str:
    share = f"for {count:,} of {counted(cells, 'cell')}"
    size = f"{float(right.abs().max()):.3g}"
    return {
        Kind.ZERO: f"{name} gives 0 {share}, where float64 gives up to {size}",
        Kind.OVERFLOW: f"{name} overflows {share}, where float64 gives up to {size}",
        Kind.POLE: f"{name} is infinite {share}",
        Kind.INVALID: f"{name} gives NaN {share}",
    }[kind]
