"""What is timed without another library: our public functions, and plain NumPy on whole arrays."""

from __future__ import annotations

import contextlib
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stablemax import api
from stablemax.bench.bench_words import OURS, timed_operations
from stablemax.operations.cross_entropy import OPERATION as CROSS_ENTROPY
from stablemax.operations.cross_entropy_grad import OPERATION as CROSS_ENTROPY_GRAD
from stablemax.operations.log_softmax import OPERATION as LOG_SOFTMAX
from stablemax.operations.logsumexp import OPERATION as LOGSUMEXP
from stablemax.operations.softmax import OPERATION as SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stablemax.numerics.formats import Array
    from stablemax.operations.operation import Operation


class Ours:
    """The public functions on arrays in memory."""

    name = OURS
    libraries = ()
    needs_affinity = False

    @property
    def formulas(self) -> Mapping[Operation, str]:
        """The call of each operation that is timed."""
        return {o: f"stablemax.{o}({'x, y' if o.needs_targets else 'x'}, threads=threads)" for o in timed_operations()}

    def running(self, threads: int) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002
        """Nothing has to be set up."""
        return contextlib.nullcontext()

    def call(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:
        """Take the arrays as they are."""
        inputs = (x, y) if operation.needs_targets else (x,)
        return partial(getattr(api, operation.name), *inputs, threads=threads)

    def back(self, result: Any) -> Array:
        """Return it as an array."""
        return np.asarray(result)


def _exponentials(x: Array) -> tuple[Array, Array, Array]:
    m = x.max(axis=-1, keepdims=True)
    e = np.exp(x - m)
    return m, e, e.sum(axis=-1, keepdims=True)


def _softmax(x: Array, _: Array) -> Array:
    _, e, s = _exponentials(x)
    return np.asarray(e / s)


def _log_softmax(x: Array, _: Array) -> Array:
    d = x - x.max(axis=-1, keepdims=True)
    return np.asarray(d - np.log(np.exp(d).sum(axis=-1, keepdims=True)))


def _logsumexp(x: Array, _: Array) -> Array:
    m, _, s = _exponentials(x)
    return np.asarray((m + np.log(s))[:, 0])


def _cross_entropy(x: Array, y: Array) -> Any:
    m, _, s = _exponentials(x)
    return np.mean(np.log(s[:, 0]) - (x[np.arange(len(x)), y] - m[:, 0]))


def _cross_entropy_grad(x: Array, y: Array) -> Array:
    _, e, s = _exponentials(x)
    p = e / s
    p[np.arange(len(x)), y] -= 1
    p /= len(x)
    return np.asarray(p)


class _Plain(NamedTuple):
    """A formula and the function that computes it on whole arrays."""

    operation: Operation
    formula: str
    function: Callable[[Array, Array], Any]


_PLAIN = (
    _Plain(SOFTMAX, "e / sum(e),  e = exp(x - max(x))", _softmax),
    _Plain(LOG_SOFTMAX, "d - log(sum(exp(d))),  d = x - max(x)", _log_softmax),
    _Plain(LOGSUMEXP, "m + log(sum(exp(x - m))),  m = max(x)", _logsumexp),
    _Plain(CROSS_ENTROPY, "mean(log(sum(exp(x - m))) - (x_y - m)),  m = max(x)", _cross_entropy),
    _Plain(CROSS_ENTROPY_GRAD, "(e / sum(e) - onehot(y)) / N,  e = exp(x - max(x))", _cross_entropy_grad),
)


class WholeArrayNumpy:
    """What a NumPy user writes: the shifted formulas on the whole array at once, in its own dtype."""

    name = "numpy"
    libraries = ()
    needs_affinity = False
    formulas = MappingProxyType({plain.operation: plain.formula for plain in _PLAIN})
    _functions = MappingProxyType({plain.operation: plain.function for plain in _PLAIN})

    def running(self, threads: int) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002
        """Nothing has to be set up: NumPy's loops run in one thread."""
        return contextlib.nullcontext()

    def call(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:  # noqa: ARG002
        """Take the arrays as they are."""
        return partial(self._functions[operation], x, y)

    def back(self, result: Any) -> Array:
        """Return it as an array."""
        return np.asarray(result)
