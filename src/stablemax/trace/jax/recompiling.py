"""What JAX compiled of traced code that has become other code since: it is forgotten, and compiled anew."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import jax

from stablemax.trace.jax.jax_lines import JAX
from stablemax.trace.jax.rule_lines import on_its_own_lines
from stablemax.trace.traced_code import code_of, python_function


@dataclass(frozen=True, eq=False)
class Functions:
    """The functions of traced code, those that JAX compiles among them."""

    code: Callable[..., Any]
    function: Callable[..., Any]
    #: The code objects as they were at first.
    _codes: list[tuple[Any, ...]] = field(default_factory=list)

    @contextlib.contextmanager
    def fresh(self) -> Iterator[bool]:
        """Tell whether the code is other than at first; then JAX forgets before and after what it compiled of it."""
        now = tuple(getattr(python_function(f), "__code__", None) for f in self._all())
        if not self._codes:
            self._codes.append(now)
        is_other = self._codes[0] != now
        compiled = [f for f in self._all() if is_other and hasattr(f, "clear_cache")]
        for function in compiled:
            function.clear_cache()
        try:
            yield is_other
        finally:
            for function in compiled:
                function.clear_cache()

    def _all(self) -> list[Any]:
        others = (f for f in self._objects() if isinstance(f, FunctionType) or hasattr(f, "__wrapped__"))
        return [self.code, self.function, *others]

    def _objects(self) -> Iterator[Any]:
        for names in code_of(self.code, alone=(JAX,)).namespaces:
            yield from list(names.values())

    def own_rules(self) -> frozenset[str]:
        """Name the functions whose derivative is written by hand."""
        rules = (jax.custom_jvp, jax.custom_vjp)
        names = code_of(self.code, alone=(JAX,)).namespaces
        return frozenset(name for of_module in names for name, f in list(of_module.items()) if isinstance(f, rules))

    @contextlib.contextmanager
    def with_lines_of_rules(self) -> Iterator[None]:
        """Let the equations of a backward rule stand on its own lines: JAX puts them where the function was called."""
        found = [f for f in (*self._objects(), self.function, self.code) if isinstance(f, jax.custom_vjp)]
        rules = {id(f): (f, f.bwd) for f in found if f.bwd is not None}
        for function, rule in rules.values():
            function.bwd = on_its_own_lines(rule)
        try:
            yield
        finally:
            for function, rule in rules.values():
                function.bwd = rule
