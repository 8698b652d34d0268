"""How a function wants to be called, and its output as a NumPy array."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stablemax.check.target.interpreter_state import OF_CALLS, InterpreterState
from stablemax.numerics.formats import Array
from stablemax.operations.operation import Operation

_AXIS_NAMES = ("axis", "dim")
# Parameters by which a loss shows what it takes beyond logits and labels (`hazards.hazard.NEEDS`).
_OPTIONS = {"ignore_index": "ignore-index", "weight": "weights", "label_smoothing": "soft-targets"}


@dataclass(frozen=True)
class CallStyle:
    """How a function is called."""

    #: Name of the parameter that the class axis goes to; empty for none.
    axis: str = ""
    #: True where it takes one row at a time.
    by_row: bool = False
    #: Optional parameters that a loss has: ``ignore_index``, ``weight``, ``label_smoothing``.
    options: tuple[str, ...] = ()
    #: What the function does on several rows, where it is called one row at a time.
    reason: str = ""

    @property
    def takes(self) -> frozenset[str]:
        """What it takes beyond logits and labels, from `hazards.hazard.NEEDS`."""
        return frozenset(_OPTIONS[name] for name in self.options if name != "label_smoothing")

    def __call__(self, function: Callable[..., Any], logits: Any, second_argument: Any, **options: Any) -> Any:
        """Call a function on logits (N, K) and, where its operation has one, the second argument."""
        if self.axis:
            options[self.axis] = -1
        if not self.by_row:
            return _called(function, logits, second_argument, options)
        rows = [
            _called(function, logits[i], None if second_argument is None else second_argument[i], options)
            for i in range(len(logits))
        ]
        if hasattr(rows[0], "detach"):
            from stablemax.libraries.torch_arrays import stacked

            # Through NumPy the gradient, and the trace, would be lost.
            return stacked(rows)
        return np.stack([as_array(row) for row in rows])

    @property
    def in_words(self) -> str:
        """Show the call as a person would write it."""
        axis = f", {self.axis}=-1" if self.axis else ""
        return f"f({'x[i]' if self.by_row else 'x'}{axis})"


def _called(function: Callable[..., Any], logits: Any, second_argument: Any, options: dict[str, Any]) -> Any:
    own_process, state = os.getpid(), InterpreterState(OF_CALLS)
    try:
        if second_argument is None:
            return function(logits, **options)
        return function(logits, second_argument, **options)
    finally:
        state.put_back()
        # Code that forks must not come back twice: the child would go on calling it, and so would its
        # children, until the machine stands still.
        if os.getpid() != own_process:
            os._exit(0)


def call_styles(function: Callable[..., Any], operation: Operation) -> list[CallStyle]:
    """List how a function might be called, the likeliest first.

    A parameter `axis` or `dim` is given -1: the default may be the whole array (scipy.special.softmax).
    Where Python cannot show the signature (torch.softmax is C), each style is listed, to be tried. One row
    at a time comes last, for functions that refuse several rows.

    >>> from stablemax.operations import get_operation
    >>> [style.in_words for style in call_styles(lambda x, axis=0: x, get_operation("softmax"))]
    ['f(x, axis=-1)', 'f(x[i])']
    """
    try:
        names = list(inspect.signature(function).parameters)
    except (ValueError, TypeError):
        return [CallStyle("dim"), CallStyle("axis"), CallStyle()]
    options = tuple(name for name in _OPTIONS if name in names) if operation.needs_targets else ()
    axis = next((name for name in _AXIS_NAMES if name in names), "")
    return [CallStyle(axis, options=options), CallStyle(by_row=True, options=options)]


def signature_of(function: Callable[..., Any]) -> str:
    """Write a function's parameters as they are declared, without types; empty where Python cannot show them.

    >>> signature_of(lambda x, axis=-1: x)
    'x, axis=-1'
    """
    try:
        declared = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return ""
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in declared]
    # A default that is an object cannot be written down.
    known = [p if _is_literal(p.default) else p.replace(default=None) for p in plain]
    return str(inspect.Signature(known)).strip("()")


def _is_literal(value: Any) -> bool:
    return value is inspect.Parameter.empty or value is None or type(value) in (bool, int, float, str)


def as_array(value: Any) -> Array:
    """Take an output to NumPy: a tensor, a JAX array, a number, a list; raise TypeError where it is not real."""
    if hasattr(value, "detach"):
        from stablemax.libraries.torch_arrays import to_numpy

        return to_numpy(value)
    if isinstance(value, (tuple, dict, set, str, bytes)) or value is None:
        raise TypeError(f"returned {'None' if value is None else f'a {type(value).__name__}'}, not an array")
    try:
        array = np.asanyarray(value)
    except ValueError as error:
        raise TypeError(f"returned what is no array: {error}") from None
    if array.dtype == object or array.dtype.kind in "mMUSOcb" or array.dtype.type is np.void:
        raise TypeError(f"returned an array of dtype {array.dtype}, not of real numbers")
    return array
