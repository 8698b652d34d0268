"""How a function wants to be called, and its output as a NumPy array."""

from __future__ import annotations

import inspect
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.formats import Array
    from stablemax.vocabulary import Operation

_AXIS_NAMES = ("axis", "dim")
# Parameters of a loss by which it shows what else it takes (hazards.NEEDS).
_OPTIONS = {"ignore_index": "ignore-index", "weight": "weights", "label_smoothing": "soft-targets"}


@dataclass(frozen=True)
class Convention:
    """How a function is called.

    Parameters
    ----------
    axis : str
        Name of the parameter that the class axis goes to; empty for none.
    by_row : bool
        True where it takes one row at a time.
    options : tuple of str
        Parameters of a loss that it has: ``ignore_index``, ``weight``, ``label_smoothing``.
    """

    axis: str = ""
    by_row: bool = False
    options: tuple[str, ...] = ()

    @property
    def takes(self) -> frozenset[str]:
        """What it takes beyond logits and labels, from `hazards.NEEDS`."""
        return frozenset(_OPTIONS[name] for name in self.options if name != "label_smoothing")

    def __call__(self, function: Callable[..., Any], x: Any, second: Any, **options: Any) -> Any:
        """Call a function on logits (N, K) and, where its operation has one, the second argument."""
        if self.axis:
            options[self.axis] = -1
        if self.by_row:
            rows = [_called(function, x[i], None if second is None else second[i], options) for i in range(len(x))]
            if hasattr(rows[0], "detach"):
                from stablemax.peers.torch_arrays import stacked

                # Through NumPy the gradient, and the trace, would be lost.
                return stacked(rows)
            return np.stack([as_array(row) for row in rows])
        return _called(function, x, second, options)

    @property
    def in_words(self) -> str:
        """Show the call as a person would write it."""
        axis = f", {self.axis}=-1" if self.axis else ""
        return f"f({'x[i]' if self.by_row else 'x'}{axis})"


def _called(function: Callable[..., Any], x: Any, second: Any, options: dict[str, Any]) -> Any:
    own, path = os.getpid(), list(sys.path)
    try:
        return function(x, **options) if second is None else function(x, second, **options)
    finally:
        # Code that forks must not come back twice: the child would go on calling it, and so would its
        # children, until the machine stands still.
        if os.getpid() != own:
            os._exit(0)
        # What is imported later must be found, whatever the code did.
        sys.path[:] = path


def conventions(function: Callable[..., Any], operation: Operation) -> list[Convention]:
    """List how a function might be called, the likeliest first.

    A parameter `axis` or `dim` is given -1: the default may be the whole array (scipy.special.softmax).
    Where Python cannot show the signature (torch.softmax is C), each way is listed, to be tried. One row
    at a time comes last: for a function that refuses several.

    Examples
    --------
    >>> from stablemax.vocabulary import Operation
    >>> [c.in_words for c in conventions(lambda x, axis=0: x, Operation.SOFTMAX)]
    ['f(x, axis=-1)', 'f(x[i])']
    """
    try:
        names = list(inspect.signature(function).parameters)
    except (ValueError, TypeError):
        return [Convention("dim"), Convention("axis"), Convention()]
    options = tuple(name for name in _OPTIONS if name in names) if operation.needs_targets else ()
    axis = next((name for name in _AXIS_NAMES if name in names), "")
    return [Convention(axis, options=options), Convention(by_row=True, options=options)]


def as_array(value: Any) -> Array:
    """Take an output to NumPy: a tensor, a JAX array, a number, a list.

    Raises
    ------
    TypeError
        If it holds no real numbers.
    """
    if hasattr(value, "detach"):
        from stablemax.peers.torch_arrays import to_numpy

        return to_numpy(value)
    if isinstance(value, (tuple, dict, set, str, bytes)) or value is None:
        raise TypeError(f"returned {'None' if value is None else f'a {type(value).__name__}'}, not an array")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TypeError(f"returned what is no array: {error}") from None
    if array.dtype == object or array.dtype.kind in "mMUSOcb" or array.dtype.type is np.void:
        raise TypeError(f"returned an array of dtype {array.dtype}, not of real numbers")
    return array
