"""Code that ends the process at once, in the process of somebody's tests: no test may pass for want of a verdict."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from stablemax.check.target.messages import NoAnswerError

# All others that `os` has to replace a process go through these.
_ENDS = {
    "_exit": "ends its process (os._exit)",
    "execv": "replaces its process (exec)",
    "execve": "replaces its process (exec)",
}


@contextlib.contextmanager
def exits_refused() -> Iterator[None]:
    """Make what ends or replaces the process at once raise `NoAnswerError`, wherever a module has a name for it.

    `os._exit` would end pytest with exit code 0 and without a word. What ends it from C is not seen here:
    `check` runs code in a process of its own.
    """
    found = {name: getattr(os, name) for name in _ENDS if hasattr(os, name)}
    refusals = [_refusal(getattr(function, "real", function), _ENDS[name]) for name, function in found.items()]
    namespaces = _namespaces()
    held = list(_replaced(namespaces.values(), {id(vars(refusal)["real"]): refusal for refusal in refusals}))
    try:
        yield
    finally:
        real = {id(refusal): vars(refusal)["real"] for refusal in refusals}
        # Modules that were imported meanwhile know the refusals alone.
        imported = [namespace for key, namespace in _namespaces().items() if key not in namespaces]
        for _ in _replaced((*held, *imported), real):
            pass


def _namespaces() -> dict[int, dict[str, Any]]:
    """Return the names of all modules, by id."""
    modules = [module for module in list(sys.modules.values()) if hasattr(module, "__dict__")]
    return {id(vars(module)): vars(module) for module in modules}


def _replaced(
    namespaces: Iterable[dict[str, Any]], functions: dict[int, Callable[..., Any]]
) -> Iterator[dict[str, Any]]:
    """Replace functions, by id, wherever a module has a name for them; yield the names of each such module.

    ``from os import _exit`` makes one more name.
    """
    for namespace in namespaces:
        # Beside PyTorch and JAX a million names: a loop in Python over them takes longer than a check.
        if functions.keys().isdisjoint(map(id, list(namespace.values()))):
            continue
        for name, value in list(namespace.items()):
            if id(value) in functions:
                namespace[name] = functions[id(value)]
        yield namespace


def _refusal(real: Callable[..., Any], words: str) -> Callable[..., Any]:
    own_process = os.getpid()

    def refuse(*arguments: Any) -> Any:
        if os.getpid() != own_process:  # a child that was forked is to end
            return real(*arguments)
        raise NoAnswerError(words)

    # For a check within a check, or beside it in a thread.
    vars(refuse)["real"] = real
    return refuse
