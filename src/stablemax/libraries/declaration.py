"""A library's built-in declared as a variant: NumPy arrays in and out, whatever it works on inside."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.operations.operation import Operation
from stablemax.operations.targets import CellTargets, LabelTargets, SoftTargets
from stablemax.operations.variant import Variant, variant
from stablemax.text.vocabulary import IGNORED

ALL_FORMATS = ("float16", "bfloat16", "float32", "float64")


class Arrays(Protocol):
    """How arrays get into a library and out of it."""

    def running(self) -> contextlib.AbstractContextManager[None]:
        """What has to be set up around a computation."""

    def put(self, array: Array, device: str | None) -> Any:
        """Copy a NumPy array to the library, bit for bit."""

    def back(self, array: Any) -> Array:
        """Copy an array of the library to NumPy, bit for bit."""


class Given(NamedTuple):
    """Targets as libraries take them; a tuple, which JAX takes apart by itself."""

    #: Labels of int64 (N,), or soft targets (N, K) in the format of the logits.
    target: Any
    #: Weight of each class.
    weight: Any = None
    #: What the sum of the losses is divided by, where that is not the library's own mean.
    divisor: float | None = None
    #: Weight of the positive part of each class's losses, of a target for each cell.
    pos_weight: Any = None

    @property
    def is_soft(self) -> bool:
        """True for a weight for every class."""
        return bool(self.target.ndim == 2)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what a library warns of from standard error: a judgement follows, and says it better."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def built_in(
    library: str, arrays: Arrays, operation: Operation, name: str = "", **declaration: Any
) -> Callable[[Callable[..., Any]], Variant]:
    """Declare the decorated function of a library's own arrays as a variant.

    The function takes ``f(x)``, ``f(x, given)`` or ``f(x, g)`` and returns (N, K) or (N,); a `mean` takes the same
    and returns one number. The rest is declared as for `variant`. Without a name it has that of its operation,
    whose best variant is its cure.
    """
    mean = declaration.pop("mean", None)
    declaration.setdefault("cure", operation.best_id)

    def calling(function: Callable[..., Any]) -> Callable[..., Array]:
        @functools.wraps(function)
        def call(x: Array, *rest: Any, device: str | None = None) -> Array:
            second = rest[:-1]  # the last is the arithmetic, which a built-in does not use
            with quiet(), arrays.running():
                given = (_given(s, x, arrays, device) for s in second)
                return arrays.back(function(arrays.put(x, device), *given))

        return call

    def declare(function: Callable[..., Any]) -> Variant:
        called = calling(function)

        @functools.wraps(function)
        def columns(*arguments: Any, device: str | None = None) -> Array:
            out = called(*arguments, device=device)
            return out[:, None] if operation.per_row else out

        return variant(
            operation,
            name or operation.name,
            library=library,
            # Whole arrays, as their users pass them.
            rowwise=False,
            mean=None if mean is None else calling(mean),
            **declaration,
        )(columns)

    return declare


def _given(second: Any, x: Array, arrays: Arrays, device: str | None) -> Any:
    """Turn targets, or an upstream gradient, into what the library takes."""
    if isinstance(second, LabelTargets):
        counted = second.labels != IGNORED
        natural, weight = float(counted.sum()), None
        if second.weights is not None:
            weight = np.ones(x.shape[-1], dtype=x.dtype)
            weight[second.labels[counted]] = second.weights[counted, 0]
            natural = float(np.sum(second.weights[counted].astype(np.float64)))
            weight = arrays.put(weight, device)
        return Given(arrays.put(second.labels, device), weight, None if second.divisor == natural else second.divisor)
    if isinstance(second, SoftTargets):
        divisor = None if second.divisor == len(x) else second.divisor
        return Given(arrays.put(second.weights, device), None, divisor)
    if isinstance(second, CellTargets):
        divisor = None if second.divisor == x.size else second.divisor
        target, weight, pos_weight = (
            None if array is None else arrays.put(array, device)
            for array in (second.values, second.weight, second.pos_weight)
        )
        return Given(target, weight, divisor, pos_weight)
    return arrays.put(second, device)
