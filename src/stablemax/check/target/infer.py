"""What a function computes and on whose arrays, read off its name and its code."""

from __future__ import annotations

import functools
import inspect
import re
import types
from typing import TYPE_CHECKING, Any

from stablemax.vocabulary import Operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BACKENDS = ("numpy", "torch", "jax")

_GRADIENT = r"grad|backward|vjp|jacobian|derivative"
_LOSS = r"cross_?entropy|x_?ent(?=_|$)|nll|loss(?=_|$|es)"
# The first pattern that is found in the name decides: a softmax that is computed by a log-sum-exp is one.
_NAMES: tuple[tuple[str, Operation], ...] = (
    (rf"({_LOSS}|ce_).*({_GRADIENT})|({_GRADIENT}).*({_LOSS})", Operation.CROSS_ENTROPY_GRAD),
    (rf"softmax.*({_GRADIENT})|({_GRADIENT}).*softmax", Operation.SOFTMAX_VJP),
    (rf"{_LOSS}|^ce$", Operation.CROSS_ENTROPY),
    (r"log_?soft_?max", Operation.LOG_SOFTMAX),
    (r"soft_?max", Operation.SOFTMAX),
    (r"log_?sum_?exp|(?<![a-z])lse(?![a-z])", Operation.LOGSUMEXP),
)


def operation_in(name: str) -> Operation | None:
    """Read the operation off a function's or a file's name; None where it does not say.

    Examples
    --------
    >>> operation_in("my_log_softmax"), operation_in("CrossEntropyLoss"), operation_in("f")
    (<Operation.LOG_SOFTMAX: 'log_softmax'>, <Operation.CROSS_ENTROPY: 'cross_entropy'>, None)
    >>> operation_in("softmax_lse"), operation_in("softmax_nograd"), operation_in("pulse")
    (<Operation.SOFTMAX: 'softmax'>, <Operation.SOFTMAX: 'softmax'>, None)
    """
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("-", "_")
    plain = re.sub(r"no_?grad", "", plain)
    return next((operation for pattern, operation in _NAMES if re.search(pattern, plain)), None)


def differentiated(operation: Operation) -> Operation | None:
    """Return the operation that is the gradient of another; None where there is none."""
    return {
        Operation.SOFTMAX: Operation.SOFTMAX_VJP,
        Operation.CROSS_ENTROPY: Operation.CROSS_ENTROPY_GRAD,
    }.get(operation)


def backend_of(function: Callable[..., Any]) -> str:
    """Find out on whose arrays a function works: numpy, torch or jax.

    Its own module and annotations say so, or else the libraries that its code names; numpy where
    nothing does.

    Examples
    --------
    >>> import numpy
    >>> backend_of(lambda x: numpy.exp(x))
    'numpy'
    """
    # Decorators and partial applications hide the code; what jax.jit gives is an object of JAX's own.
    inner = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = inspect.unwrap(inner.func)
    homes = [
        getattr(inner, "__module__", None),
        *(c.__module__ for c in (*type(function).__mro__, *type(inner).__mro__)),
    ]
    for home in homes:
        root = (home or "").partition(".")[0].removesuffix("lib")
        if root in BACKENDS:
            return root
    target = getattr(inner, "forward", None) or inner
    code_owner = target if hasattr(target, "__code__") else getattr(target, "__func__", None)
    if code_owner is None:
        code_owner = vars(type(inner)).get("__call__")
    for annotation in getattr(code_owner, "__annotations__", {}).values():
        # Postponed annotations keep the quotes of one that was quoted besides.
        text = annotation.strip("'\"") if isinstance(annotation, str) else getattr(annotation, "__module__", "")
        for name in ("torch", "jax"):
            if re.match(rf"{name}\b", text):
                return name
    used = _libraries_used(code_owner)
    if not used and code_owner is not None:
        used = _libraries_among(getattr(code_owner, "__globals__", {}).values())
    for name in ("torch", "jax"):
        if name in used:
            return name
    return "numpy"


def _libraries_used(function: Any) -> set[str]:
    """Roots of the libraries whose modules or functions a function's code names."""
    code, names = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    if code is None:
        return set()
    mentioned = {name for block in _blocks(code) for name in block.co_names}
    cells = getattr(function, "__closure__", None) or ()
    enclosed = [cell.cell_contents for cell in cells if _is_filled(cell)]
    return _libraries_among([*(names[n] for n in mentioned if n in names), *enclosed])


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - reading it is the test
    except ValueError:
        return False
    return True


def _libraries_among(values: Any) -> set[str]:
    roots = set()
    for value in list(values):
        home = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
        if isinstance(home, str):
            roots.add(home.partition(".")[0])
    return roots & set(BACKENDS)


def _blocks(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _blocks(constant)
