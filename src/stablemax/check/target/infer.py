"""What a function computes and on whose arrays, read off its name and its code."""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from stablemax.check.target.parameters import is_autograd_apply
from stablemax.operations import NAMES, all_operations
from stablemax.operations.operation import Operation
from stablemax.text.errors import StablemaxError, shown

BACKENDS = ("numpy", "torch", "jax")


def operation_in(name: str) -> Operation | None:
    """Read the operation off a function's or a file's name; None where it does not say.

    >>> str(operation_in("my_log_softmax")), str(operation_in("CrossEntropyLoss")), str(operation_in("f"))
    ('log_softmax', 'cross_entropy', 'None')
    >>> str(operation_in("softmax_lse")), str(operation_in("softmax_nograd")), str(operation_in("pulse"))
    ('softmax', 'softmax', 'None')
    """
    snake_case = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("-", "_").replace(".", "_")
    without_no_grad = re.sub(r"no_?grad", "", snake_case)
    by_rank = sorted(all_operations(), key=lambda operation: operation.looks_rank)
    return next((operation for operation in by_rank if re.search(operation.looks_like, without_no_grad)), None)


def operation_named(target: str) -> Operation | None:
    """Read the operation off what was typed for a target: its last part, then the whole, then its file."""
    module, _, name = target.rpartition(":")
    # A method's own name says more than that of its class: `NumpyCrossEntropy.log_softmax` is a log-softmax. Where it
    # says nothing, as `backward` and `forward` do, both together do.
    names = (name.rpartition(".")[2], name, Path(module).stem)
    return next((operation for operation in map(operation_in, names) if operation is not None), None)


def operation_of(target: str, function: Callable[..., Any]) -> Operation:
    """Read the operation off a target's name (its last part, then the whole), its file's or the function's own."""
    operation = operation_named(target) or operation_in(getattr(function, "__name__", ""))
    if operation is None:
        raise StablemaxError(
            f"{shown(target)}: its name does not say what it computes", f"--operation {' or '.join(NAMES)}"
        )
    return operation


def gradient_of(operation: Operation) -> Operation:
    """Return the operation that is the gradient of another; a gradient stands for itself."""
    if operation.gradient is None and operation.forward is None:
        raise StablemaxError(f"--backward: the gradient of {operation} is not judged", "leave it out")
    return operation.gradient or operation


def backend_of(function: Callable[..., Any]) -> str:
    """Name the library on whose arrays a function most likely works: numpy, torch or jax.

    >>> import numpy
    >>> backend_of(lambda x: numpy.exp(x))
    'numpy'
    """
    return backends_of(function)[0]


def backends_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Name the libraries on whose arrays a function may work, the likeliest first.

    Its own module and annotations say so, or else the libraries that its code names, and that of the functions that
    it calls. Where nothing does, those that its file imports have to be tried.
    """
    # Decorators and partial applications hide the code; jax.jit gives an object of JAX's own.
    inner = inspect.unwrap(function)
    while isinstance(inner, functools.partial):
        inner = inspect.unwrap(inner.func)
    modules = [getattr(inner, "__module__", None)]
    # A method works on what its object does: a torch module's on tensors.
    objects = (function, inner, getattr(inner, "__self__", None))
    modules += [c.__module__ for one in objects if not inspect.isclass(one) for c in type(one).__mro__]
    for module in modules:
        root = (module or "").partition(".")[0].removesuffix("lib")
        if root in BACKENDS:
            return (root,)
    if is_autograd_apply(inner):
        return ("torch",)
    code_owner = _code_owner(inner)
    libraries = _libraries_annotated(code_owner) or _libraries_used(code_owner, _methods_beside(inner), set())
    if libraries or code_owner is None:
        return (next((name for name in ("torch", "jax") if name in libraries), "numpy"),)
    imported = _libraries_among(getattr(code_owner, "__globals__", {}).values())
    others = tuple(name for name in ("torch", "jax") if name in imported)
    return ("numpy", *others) if "numpy" in imported or not others else (*others, "numpy")


def _code_owner(function: Any) -> Any:
    """Return the function that holds the code: of a module, of a method, of an object that is called."""
    target = getattr(function, "forward", None) or function
    owner = target if hasattr(target, "__code__") else getattr(target, "__func__", None)
    return vars(type(function)).get("__call__") if owner is None else owner


def _methods_beside(function: Any) -> dict[str, Any]:
    """Return the methods of the object that a function belongs to, by name."""
    owner = type(getattr(function, "__self__", function))
    if owner.__module__ in ("builtins", "functools"):
        return {}
    return {name: value for name, value in vars(owner).items() if isinstance(value, types.FunctionType)}


def _libraries_annotated(function: Any) -> set[str]:
    """Name the libraries of the annotations, torch and jax alone."""
    roots = set()
    for annotation in getattr(function, "__annotations__", {}).values():
        # A postponed annotation that was also quoted keeps its quotes.
        text = annotation.strip("'\"") if isinstance(annotation, str) else getattr(annotation, "__module__", "")
        roots |= {name for name in ("torch", "jax") if re.match(rf"{name}\b", text)}
    return roots


def _libraries_used(function: Any, methods: dict[str, Any], seen: set[Any]) -> set[str]:
    """Name the libraries whose modules or functions a function's code uses, or that of the functions that it calls."""
    code, names = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    if code is None or code in seen:
        return set()
    seen.add(code)
    mentioned = {name for block in _blocks(code) for name in block.co_names}
    values = [names[name] for name in mentioned if name in names]
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # the variable has no value yet
            values.append(cell.cell_contents)
    found = _libraries_among(values)
    called = [v for v in values if isinstance(v, types.FunctionType) and v.__globals__ is names]
    for helper in (*called, *(methods[name] for name in mentioned if name in methods)):
        found |= _libraries_used(helper, methods, seen)
    return found


def _libraries_among(values: Any) -> set[str]:
    roots = set()
    for value in list(values):
        module = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
        if isinstance(module, str):
            roots.add(module.partition(".")[0])
    return roots & set(BACKENDS)


def _blocks(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _blocks(constant)
