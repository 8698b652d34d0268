"""What is timed without another library: our public functions, and plain NumPy on whole arrays."""

from __future__ import annotations

import contextlib
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax import api
from stablemax.benchmarking.words import OPERATIONS, OURS
from stablemax.vocabulary import Operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.formats import Array


class Ours:
    """The public functions on arrays in memory."""

    name = OURS
    libraries = ()
    needs_affinity = False
    formulas = MappingProxyType(
        {o: f"stablemax.{o}({'x, y' if o.needs_targets else 'x'}, threads=threads)" for o in OPERATIONS}
    )

    def running(self, threads: int) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002
        """Nothing has to be set up."""
        return contextlib.nullcontext()

    def call(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:
        """Take the arrays as they are."""
        inputs = (x, y) if operation.needs_targets else (x,)
        return partial(getattr(api, operation.value), *inputs, threads=threads)

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


class WholeArrayNumpy:
    """What a NumPy user writes: the shifted formulas on the whole array at once, in its own dtype."""

    name = "numpy"
    libraries = ()
    needs_affinity = False
    formulas = MappingProxyType(
        {
            Operation.SOFTMAX: "e / sum(e),  e = exp(x - max(x))",
            Operation.LOG_SOFTMAX: "d - log(sum(exp(d))),  d = x - max(x)",
            Operation.LOGSUMEXP: "m + log(sum(exp(x - m))),  m = max(x)",
            Operation.CROSS_ENTROPY: "mean(log(sum(exp(x - m))) - (x_y - m)),  m = max(x)",
            Operation.CROSS_ENTROPY_GRAD: "(e / sum(e) - onehot(y)) / N,  e = exp(x - max(x))",
        }
    )
    _functions: MappingProxyType[Operation, Callable[[Array, Array], Any]] = MappingProxyType(
        {
            Operation.SOFTMAX: _softmax,
            Operation.LOG_SOFTMAX: _log_softmax,
            Operation.LOGSUMEXP: _logsumexp,
            Operation.CROSS_ENTROPY: _cross_entropy,
            Operation.CROSS_ENTROPY_GRAD: _cross_entropy_grad,
        }
    )

    def running(self, threads: int) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002
        """Nothing has to be set up: NumPy's loops run in one thread."""
        return contextlib.nullcontext()

    def call(self, operation: Operation, x: Array, y: Array, threads: int) -> Callable[[], Any]:  # noqa: ARG002
        """Take the arrays as they are."""
        return partial(self._functions[operation], x, y)

    def back(self, result: Any) -> Array:
        """Return it as an array."""
        return np.asarray(result)
