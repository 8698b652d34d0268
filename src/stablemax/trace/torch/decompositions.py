"""Operators that PyTorch itself writes in terms of simpler ones: exact where all of these are."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch._decomp import decomposition_table
from torch.utils._python_dispatch import TorchDispatchMode

from stablemax.numerics.formats import Array
from stablemax.trace.divergences import exact_answers
from stablemax.trace.exact_cells import nearest
from stablemax.trace.torch.aten_names import COMPARISONS, CONSTANTS
from stablemax.trace.torch.exact_ops import NotExact
from stablemax.trace.torch.storage import NOWHERE, Shadows

if TYPE_CHECKING:
    from stablemax.trace.torch.aten_call import Call, See

_DEEPEST = 8
"""A decomposition of decompositions ends sooner."""
_FAILURES = (
    NotExact,
    ImportError,
    RuntimeError,
    NotImplementedError,
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    AssertionError,
)

Compute = Callable[["Call", "See", int], "list[Any] | None"]


def decomposed(call: Call, see: See, compute: Compute, depth: int) -> list[Any] | None:
    """Run PyTorch's own decomposition of an operator on exact cells; None where it has none, or one is not exact.

    Its tensors are of float64, and only carry the cells: what they hold decides nothing that cells can decide.
    """
    if torch.Tag.nondeterministic_seeded in call.function.tags:
        return None  # it would draw other random numbers
    decomposition = decomposition_table.get(call.function)
    if depth > _DEEPEST or (decomposition is None and not call.function._can_decompose()):
        return None
    shadows = Shadows(1, 0)

    def carried(tensor: torch.Tensor) -> torch.Tensor:
        cells = see(tensor)
        carrier = torch.from_numpy(nearest(cells).copy())
        shadows.write(carrier, cells, np.full(cells.shape, NOWHERE), exact=False)
        return carrier

    arguments, options = _in_float64(*call.on(carried, whole=lambda t: t.cpu()))
    with contextlib.suppress(*_FAILURES), np.errstate(all="ignore"):
        with _without_compiler(), _OnCells(type(call), shadows, compute, depth):
            run = decomposition or call.function.decompose
            result = run(*arguments, **{k: v for k, v in options.items() if k != "out"})
        outputs = list(result) if isinstance(result, (list, tuple)) else [result]
        is_real = [isinstance(t, torch.Tensor) and t.is_floating_point() for t in outputs]
        return [shadows.cells(t).copy() if real else None for t, real in zip(outputs, is_real, strict=True)]
    return None


@contextlib.contextmanager
def _without_compiler() -> Iterator[None]:
    """Let a decomposition fail that would import PyTorch's compiler, only to keep it off: that takes seconds."""
    if "torch._dynamo" in sys.modules:
        yield
        return
    sys.modules["torch._dynamo"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch._dynamo"]


def _in_float64(arguments: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    def wider(value: Any) -> Any:
        return torch.float64 if isinstance(value, torch.dtype) and value.is_floating_point else value

    return tuple(map(wider, arguments)), {k: wider(v) for k, v in options.items()}


class _OnCells(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs the operators of a decomposition on the cells of its tensors, or gives up."""

    def __init__(self, call: type[Call], shadows: Shadows, compute: Compute, depth: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._call, self._shadows, self._compute = call, shadows, compute
        self._depth = depth

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator on the carriers, and give its results their cells."""
        arguments, options = _in_float64(tuple(args), dict(kwargs or {}))
        call = self._call(func, arguments, options)
        # What is written in place has to be looked at before.
        cells = self._cells_of(call) if call.written else None
        result = func(*arguments, **options)
        outputs = call.outputs(result)
        call = call if call.written else replace(call, ran=outputs)
        tensors = [t for t in outputs if isinstance(t, torch.Tensor)]
        real = [t for t in tensors if t.is_floating_point()]
        if call.name in COMPARISONS and call.floats:
            self._answer(call, tensors[0])
        elif not real or not call.floats or call.name in CONSTANTS or self._is_view(call, outputs):
            if not real and any(self._shadows.has(t) for t in call.floats):
                raise NotExact(call.name)
            return result
        else:
            for tensor, exact in zip(outputs, cells or self._cells_of(call), strict=True):
                if exact is not None:
                    shape = tuple(tensor.shape)
                    self._shadows.write(tensor, exact.reshape(shape), np.full(shape, NOWHERE), exact=False)
        return result

    def _cells_of(self, call: Call) -> list[Any]:
        cells = self._compute(call, self._shadows.cells, self._depth + 1)
        if cells is None:
            raise NotExact(call.name)
        return cells

    def _is_view(self, call: Call, outputs: list[Any]) -> bool:
        tensors = [t for t in outputs if isinstance(t, torch.Tensor)]
        return not call.written and all(self._shadows.shares(t, call.floats) for t in tensors)

    def _answer(self, call: Call, answers: torch.Tensor) -> None:
        operands: list[Array | Any] = [self._shown(a) for a in call.arguments[:2]]
        exact = exact_answers(COMPARISONS[call.name], operands, answers.numpy().copy())
        answers.copy_(torch.from_numpy(exact))

    def _shown(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return self._shadows.cells(value) if value.is_floating_point() else value.numpy().astype(np.float64)
