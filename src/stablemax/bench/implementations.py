"""What is timed without another library: our public functions, and plain NumPy on whole arrays."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from stablemax import api
from stablemax.bench.bench_words import OURS, timed_operations
from stablemax.numerics.formats import Array
from stablemax.operations import get_operation
from stablemax.operations.operation import Operation


@dataclass(frozen=True)
class ArrayFunctions:
    """Functions of NumPy arrays in memory, which are timed as they are."""

    name: str
    formulas: Mapping[Operation, str]
    #: They take logits and labels.
    functions: Mapping[Operation, Callable[..., Any]]
    #: Those of each row's loss, where that is not what `functions` give
    by_row: Mapping[Operation, Callable[..., Any]] = field(default_factory=dict)
    #: True where they take a number of threads.
    takes_threads: bool = False
    libraries: tuple[str, ...] = ()
    needs_affinity: bool = False

    def running(self, threads: int) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002
        """Nothing has to be set up: NumPy's loops run in one thread."""
        return contextlib.nullcontext()

    def call(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:
        """Take the arrays as they are."""
        return self._calling(self.functions[operation], operation, x, y, threads)

    def call_by_row(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:
        """Take the arrays as they are, and of a loss the function that gives each row's."""
        return self._calling(self.by_row.get(operation, self.functions[operation]), operation, x, y, threads)

    def _calling(
        self, function: Callable[..., Any], operation: Operation, x: Array, y: Array, threads: int
    ) -> Callable[[], Any]:
        arrays = (x, y) if operation.needs_targets else (x,)
        return partial(function, *arrays, **({"threads": threads} if self.takes_threads else {}))

    def back(self, result: Any) -> Array:
        """Return it as an array."""
        return np.asarray(result)


def ours() -> ArrayFunctions:
    """Return the public functions."""
    return ArrayFunctions(
        OURS,
        {o: f"stablemax.{o}({'x, y' if o.needs_targets else 'x'}, threads=threads)" for o in timed_operations()},
        {o: getattr(api, o.name) for o in timed_operations()},
        {o: partial(getattr(api, o.name), reduction="none") for o in timed_operations() if o.reduces},
        takes_threads=True,
    )


def whole_array_numpy() -> ArrayFunctions:
    """Return what a NumPy user writes: the shifted formulas on the whole array at once, in its own dtype."""
    plain = {get_operation(one.operation): one for one in _PLAIN}
    formulas = {operation: one.formula for operation, one in plain.items()}
    return ArrayFunctions(
        "numpy",
        formulas,
        {operation: one.function for operation, one in plain.items()},
        {operation: one.by_row for operation, one in plain.items() if one.by_row},
    )


def _exponentials(x: Array) -> tuple[Array, Array, Array]:
    m = x.max(axis=-1, keepdims=True)
    e = np.exp(x - m)
    return m, e, e.sum(axis=-1, keepdims=True)


def _softmax(x: Array) -> Array:
    _, e, s = _exponentials(x)
    return np.asarray(e / s)


def _log_softmax(x: Array) -> Array:
    d = x - x.max(axis=-1, keepdims=True)
    return np.asarray(d - np.log(np.exp(d).sum(axis=-1, keepdims=True)))


def _logsumexp(x: Array) -> Array:
    m, _, s = _exponentials(x)
    return np.asarray((m + np.log(s))[:, 0])


def _losses(x: Array, y: Array) -> Array:
    m, _, s = _exponentials(x)
    return np.asarray(np.log(s[:, 0]) - (x[np.arange(len(x)), y] - m[:, 0]))


def _cross_entropy(x: Array, y: Array) -> Any:
    return np.mean(_losses(x, y))


def _cross_entropy_grad(x: Array, y: Array) -> Array:
    _, e, s = _exponentials(x)
    p = e / s
    p[np.arange(len(x)), y] -= 1
    p /= len(x)
    return np.asarray(p)


class _Plain(NamedTuple):
    """A formula and the function that computes it on whole arrays."""

    operation: str
    formula: str
    function: Callable[..., Any]
    by_row: Callable[..., Any] | None = None


_PLAIN = (
    _Plain("softmax", "e / sum(e),  e = exp(x - max(x))", _softmax),
    _Plain("log_softmax", "d - log(sum(exp(d))),  d = x - max(x)", _log_softmax),
    _Plain("logsumexp", "m + log(sum(exp(x - m))),  m = max(x)", _logsumexp),
    _Plain("cross_entropy", "mean(log(sum(exp(x - m))) - (x_y - m)),  m = max(x)", _cross_entropy, _losses),
    _Plain("cross_entropy_grad", "(e / sum(e) - onehot(y)) / N,  e = exp(x - max(x))", _cross_entropy_grad),
)
