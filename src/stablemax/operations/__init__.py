"""The operations: what is computed. Each has a file with its record and its variants; loaded when first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from stablemax.text.errors import StablemaxError, shown
from stablemax.text.registry import plugin_records
from stablemax.text.suggest import suggest

if TYPE_CHECKING:
    from stablemax.operations.operation import Operation

NAMES = (
    "softmax",
    "log_softmax",
    "logsumexp",
    "cross_entropy",
    "cross_entropy_grad",
    "softmax_vjp",
    "sigmoid",
    "log_sigmoid",
    "softplus",
    "binary_cross_entropy",
    "binary_cross_entropy_grad",
    "entropy",
    "kl_divergence",
)
"""Every operation's name, which is also that of its module: all that the command line knows without NumPy."""


def _of_plugins() -> dict[str, Operation]:
    from stablemax.operations.operation import Operation

    return {o.name: o for o in plugin_records(Operation) if o.name not in NAMES}


def operation_names() -> tuple[str, ...]:
    """Name every operation, those of plugins too."""
    return (*NAMES, *_of_plugins())


def get_operation(name: str) -> Operation:
    """Look an operation up by its name, or that of the command that computes it.

    >>> get_operation("softmax").per_row, get_operation("bce").name
    (False, 'binary_cross_entropy')
    """
    if name in NAMES:
        operation: Operation = importlib.import_module(f"stablemax.operations.{name}").OPERATION
        return operation
    added = _of_plugins()
    if name in added:
        return added[name]
    by_command = {o.command: o for o in all_operations() if o.command}
    if name in by_command:
        return by_command[name]
    names = (*NAMES, *added)
    known = (*names, *(command for command in by_command if command.replace("-", "_") not in names))
    raise StablemaxError(f"there is no operation {shown(name)!r}", suggest(name, known, f"one of: {', '.join(names)}"))


def all_operations() -> tuple[Operation, ...]:
    """Return every operation, in the order of `NAMES`, and those of plugins."""
    return (*map(get_operation, NAMES), *_of_plugins().values())


def default_operations() -> tuple[Operation, ...]:
    """Return the operations that `compare` runs when none is asked for."""
    return tuple(o for o in all_operations() if o.by_default)


def is_built_in(name: str) -> bool:
    """Tell another library's built-in from a variant of ours by its id.

    >>> is_built_in("torch/softmax"), is_built_in("softmax/shifted")
    (True, False)
    """
    return name.partition("/")[0] not in operation_names()
