"""How a function wants to be called, and its output as a NumPy array."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stablemax.check.target.interpreter_state import OF_CALLS, InterpreterState
from stablemax.check.target.parameters import (
    Parameter,
    Roles,
    is_called_logits,
    is_called_output,
    parameters_of,
    refuse_missing,
    roles_of,
)  # fmt: skip
from stablemax.check.target.returned import Pick, item_of, item_text
from stablemax.numerics.formats import Array
from stablemax.operations.operation import Operation, Second
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.vocabulary import NO_OPERATION
from stablemax.trace.arrangement import InBatch

_AXIS_NAMES = ("axis", "dim")
# Sequences, heads of attention, and what PyTorch's losses take: the classes on axis 1 of sequences and pictures.
_BATCHES = ("1nk", "11nk", "1kn", "1kn1")
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
    #: True where the second argument stands before the logits.
    second_first: bool = False
    #: Names by which the logits and the second argument are passed; empty where they are passed by position.
    logits_name: str = ""
    second_name: str = ""
    #: True where a loss takes a number for every class, so that class numbers become one-hot rows.
    rows_of_targets: bool = False
    #: Which item of what it returns is judged; None where it returns a single array.
    pick: Pick = None
    #: True for a backward pass that takes the softmax itself where the operation has the logits.
    of_output: bool = False
    #: True for the backward pass of a layer, which keeps its input of the forward pass that comes first.
    after_forward: bool = False
    #: The axes in which it takes the rows, as of `InBatch`; empty for (N, K).
    axes: str = ""
    #: Further arguments, by their names, as they are written.
    further: tuple[tuple[str, str], ...] = ()

    @property
    def takes(self) -> frozenset[str]:
        """What it takes beyond logits and labels, from `hazards.hazard.NEEDS`."""
        return frozenset(_OPTIONS[name] for name in self.options if name != "label_smoothing")

    def __call__(
        self, function: Callable[..., Any], logits: Any, second_argument: Any, class_axis: int = -1, **options: Any
    ) -> Any:
        """Call a function on logits, with the classes on an axis, and the second argument, where there is any."""
        if self.axis:
            options[self.axis] = class_axis
        if not self.by_row:
            return self._item(function, logits, second_argument, options, guarded)
        rows = guarded(self._rows, function, logits, second_argument, options)
        if hasattr(rows[0], "detach"):
            from stablemax.libraries.torch_arrays import stacked

            # Through NumPy the gradient, and the trace, would be lost.
            return stacked(rows)
        if hasattr(rows[0], "aval"):
            from stablemax.libraries.jax_arrays import stacked as stacked_in_jax

            return stacked_in_jax(rows)
        return np.stack([as_array(row) for row in rows])

    def _item(
        self,
        function: Callable[..., Any],
        logits: Any,
        second_argument: Any,
        options: dict[str, Any],
        call: Callable[..., Any],
    ) -> Any:
        if self.after_forward:
            value = _after_forward(function, logits, second_argument, options)
        else:
            arguments, named = self._arguments(logits, second_argument)
            value = call(function, *arguments, **named, **options)
        return item_of(value, self.pick)

    def _rows(
        self, function: Callable[..., Any], logits: Any, second_argument: Any, options: dict[str, Any]
    ) -> list[Any]:
        """Call a function on one row after the other, guarded as a whole: that takes longer than many a call."""
        return [
            self._item(
                function, logits[i], None if second_argument is None else second_argument[i], options, operator.call
            )
            for i in range(len(logits))
        ]

    @property
    def kind(self) -> str:
        """How the rows are passed: all at once, one at a time, or as an item of a batch."""
        return "row" if self.by_row else "batch" if self.axes else "rows"

    def _arguments(self, logits: Any, second_argument: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what is passed by position, and what by name."""
        given = [(self.logits_name, logits)]
        if second_argument is not None:
            given.insert(0 if self.second_first else 1, (self.second_name, second_argument))
        return tuple(a for name, a in given if not name), {name: a for name, a in given if name}

    def written(self, expression: str, logits: str, second_argument: str, options: list[str]) -> list[str]:
        """Write the call as a person would: the lines before it, and the expression that gives its value."""
        further = [f"{name}={text}" for name, text in self.further]
        if self.axes:
            batch = InBatch(self.axes)
            logits = batch.code(logits, has_classes=True)
            has_classes = second_argument != "y" or self.rows_of_targets
            second_argument = second_argument and batch.code(second_argument, has_classes=has_classes)
        keywords = [*([f"{self.axis}=-1"] if self.axis else []), *options, *further]
        item = item_text(self.pick)
        if self.after_forward:
            layer, _, method = expression.rpartition(".")
            passed = second_argument if second_argument == "g" else ""
            forward = ", ".join(filter(None, [logits, second_argument if second_argument != "g" else ""]))
            return [f"layer = {layer}", f"layer.forward({forward})", f"layer.{method}({passed}){item}"]
        positional, named = self._arguments(logits, second_argument or None)
        texts = [*positional, *(f"{name}={text}" for name, text in named.items()), *keywords]
        return [f"{expression}({', '.join(texts)}){item}"]

    @property
    def in_words(self) -> str:
        """Show the call as a person would write it."""
        return self.written("f", "x[i]" if self.by_row else "x", "", [])[-1]


def guarded(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call somebody's function, and put back what it breaks in Python itself."""
    own_process, state = os.getpid(), InterpreterState(OF_CALLS)
    try:
        return function(*arguments, **options)
    finally:
        state.put_back()
        # Code that forks must not come back twice: the child would go on calling it, and so would its
        # children, until the machine stands still.
        if os.getpid() != own_process:
            os._exit(0)


def _after_forward(backward: Any, logits: Any, second_argument: Any, options: dict[str, Any]) -> Any:
    """Call the forward pass of a layer, and then its backward pass, with the upstream gradient where it takes one."""
    forward = backward.__self__.forward
    is_loss = len([p for p in parameters_of(forward) or [] if p.is_required]) > 1
    guarded(forward, *((logits, second_argument) if is_loss else (logits,)), **options)
    if not is_loss:
        return guarded(backward, second_argument)
    # The backward pass of a loss begins with 1, which is the default where it is a parameter at all.
    needs_upstream = any(p.is_required for p in parameters_of(backward) or [])
    return guarded(backward, *((1.0,) if needs_upstream else ()))


def call_styles(
    function: Callable[..., Any], operation: Operation, further: tuple[tuple[str, str], ...] = (), pick: Pick = None
) -> list[CallStyle]:
    """List how a function might be called, the likeliest first; one row at a time comes after them, and batches last.

    A parameter `axis` or `dim` is given -1: the default may be the whole array (scipy.special.softmax). Where Python
    cannot show the signature (torch.softmax is C), each style is listed, to be tried.

    >>> from stablemax.operations import get_operation
    >>> [style.in_words for style in call_styles(lambda x, axis=0: x, get_operation("softmax"))]
    ['f(x, axis=-1)', 'f(x[i])', 'f(x[None, :, :], axis=-1)', 'f(x[None, None, :, :], axis=-1)',
     'f(x.T[None, :, :], axis=-1)', 'f(x.T[None, :, :, None], axis=-1)']
    """
    if is_backward_of_layer(function, operation):
        return [CallStyle(after_forward=True, pick=pick, further=further)]
    styles = _styles_of_parameters(function, operation, tuple(n for n, _ in further))
    styles = [replace(style, further=further, pick=pick) for style in styles]
    if operation.second is Second.LABELS:
        # Class numbers first: what takes both, PyTorch's own loss for one, is a loss of class numbers.
        styles += [replace(style, rows_of_targets=True) for style in styles]
    if parameters_of(function) is None:
        return styles
    by_row = [replace(style, axis="", by_row=True) for style in styles]
    return [*styles, *by_row, *(replace(style, axes=axes) for axes in _BATCHES for style in styles)]


class LogitsByNameError(StablemaxError):
    """All that a function must get was given for it by name, the logits of its operation among them."""


def refuse_missing_arguments(
    function: Callable[..., Any],
    operation: Operation,
    further: tuple[str, ...],
    name: str,
    arrays: tuple[str, ...] = (),
) -> None:
    """Raise `StablemaxError` where a function needs more arguments than an operation has for it, or has no room.

    `further` are the arguments that are given by name, `arrays` those of them that are arrays; it is a
    `LogitsByNameError` where these are all that it takes.
    """
    if is_backward_of_layer(function, operation):
        return
    parameters = parameters_of(function) or []
    set_apart = _set_apart(parameters, operation, further)
    is_full = bool(further and parameters) and all(p.name in set_apart for p in parameters)
    error = LogitsByNameError if _gives_all(parameters, operation, further, arrays) else StablemaxError
    if is_full or error is LogitsByNameError:
        raise error(
            f"{shown(name)}: every parameter is given by --arg, and none is left for the logits of {operation}",
            f"--operation {NO_OPERATION} takes it for any function; or leave out --arg for the logits",
        )
    roles = roles_of(parameters, operation, set_apart)
    whole = roles_of(parameters, operation, _set_apart(parameters, operation, ()))
    if roles is None and whole is not None and whole.second is not None and whole.second.name in further:
        raise StablemaxError(
            f"--arg {whole.second.name}: {shown(name)} gets it with the logits of {operation}",
            f"leave it out, or give {whole.logits.name} by --arg, too: then it is any function",
        )
    if roles is not None:
        refuse_missing(name, parameters, roles, set_apart)


def _gives_all(
    parameters: list[Parameter], operation: Operation, further: tuple[str, ...], arrays: tuple[str, ...]
) -> bool:
    """True where every parameter that must be given is, and an array is given for the logits."""
    required = [p.name for p in parameters if p.is_required]
    if not required or not arrays or not set(required) <= set(further):
        return False
    roles = roles_of(parameters, operation, _set_apart(parameters, operation, ()))
    return roles is None or roles.logits.name in arrays


def _set_apart(parameters: list[Parameter], operation: Operation, further: tuple[str, ...]) -> tuple[str, ...]:
    """Name the parameters that get neither logits nor a second argument: those of a loss, the axis, further ones."""
    known = (*_AXIS_NAMES, *(_OPTIONS if operation.needs_targets else ()))
    return (*further, *(p.name for p in parameters if p.name in known))


def _styles_of_parameters(
    function: Callable[..., Any], operation: Operation, further: tuple[str, ...]
) -> list[CallStyle]:
    parameters = parameters_of(function)
    if parameters is None:
        return [CallStyle("dim"), CallStyle("axis"), CallStyle()]
    set_apart = _set_apart(parameters, operation, further)
    options = tuple(name for name in _OPTIONS if name in set_apart and name not in further)
    axis = next((name for name in _AXIS_NAMES if name in set_apart and name not in further), "")
    roles = roles_of(parameters, operation, set_apart)
    if roles is None:
        return [CallStyle(axis, options=options)]
    both = [roles, roles.swapped] if roles.is_guess and operation.second is not Second.LOGITS else [roles]
    styles = [_style(r, axis, options) for r in both]
    if operation.second is not Second.UPSTREAM or is_called_logits(roles.logits):
        return styles
    of_output = [replace(style, of_output=True) for style in styles]
    return [*of_output, *styles] if is_called_output(roles.logits) else [*styles, *of_output]


def _style(roles: Roles, axis: str, options: tuple[str, ...]) -> CallStyle:
    pair = [p for p in (roles.logits, roles.second) if p is not None]
    places = [p.position for p in pair]
    # By position, as everybody calls it, where they stand first.
    is_positional = None not in places and sorted(places) == list(range(len(places)))  # type: ignore[type-var]
    if is_positional:
        return CallStyle(axis, options=options, second_first=len(pair) == 2 and places[0] == 1)
    second_name = "" if roles.second is None else roles.second.name
    return CallStyle(axis, options=options, logits_name=roles.logits.name, second_name=second_name)


def is_backward_of_layer(function: Any, operation: Operation) -> bool:
    """True for the hand-written backward pass of a layer: a method that gets an upstream gradient at most."""
    layer, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    if operation.forward is None or not callable(getattr(layer, "forward", None)) or "backward" not in name:
        return False
    return len([p for p in parameters_of(function) or [] if p.is_required]) <= 1


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
