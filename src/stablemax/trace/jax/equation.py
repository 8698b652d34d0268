"""One equation of a jaxpr, and the numbers that go through it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun

from stablemax.numerics.formats import FORMATS, Array
from stablemax.trace.exact_cells import cells_of

UNBOUND = ("shard_map", "xla_pmap")
"""Primitives that need their functions beside their parameters."""


@dataclass(frozen=True, eq=False)
class Number:
    """An array of the run, beside its exact cells."""

    #: As JAX holds it.
    value: Any
    #: Cells of its shape; None for what has no shadow: integers, truth values, what could not be followed.
    cells: Array | None = None
    #: True where the cells equal the value.
    is_exact: bool = True

    @functools.cached_property
    def array(self) -> Array:
        """The value as NumPy's."""
        return np.asarray(self.value)

    @functools.cached_property
    def exact(self) -> Array:
        """The cells, or else those of the value."""
        return cells_of(self.array) if self.cells is None else self.cells

    @functools.cached_property
    def own(self) -> Array:
        """The cells of the value itself."""
        return self.exact if self.is_exact else cells_of(self.array)

    @property
    def is_float(self) -> bool:
        """True for numbers of a format."""
        return is_float(self.value)


def is_float(typed: Any) -> bool:
    """Tell whether an array, or the type of one, holds numbers of a format.

    >>> is_float(np.float32([1])), is_float(np.int32([1]))
    (True, False)
    """
    return getattr(getattr(typed, "dtype", None), "name", "") in FORMATS


@dataclass(frozen=True, eq=False)
class Equation:
    """A primitive with its parameters, as a jaxpr has it."""

    source: JaxprEqn

    @property
    def name(self) -> str:
        """The name of its primitive."""
        return str(self.source.primitive.name)

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters of its primitive."""
        return self.source.params

    @functools.cached_property
    def gives_floats(self) -> bool:
        """True where some of its outputs are numbers of a format."""
        return any(is_float(v.aval) for v in self.source.outvars)

    @functools.cached_property
    def gives_complex(self) -> bool:
        """True where some of its outputs are complex."""
        return any(getattr(getattr(v.aval, "dtype", None), "kind", "") == "c" for v in self.source.outvars)

    def bound(self, values: Sequence[Any], params: Mapping[str, Any] | None = None) -> list[Any]:
        """Run the primitive on values, as an evaluation without a compiler would: its outputs."""
        primitive: Any = self.source.primitive
        if self.name in UNBOUND:
            variables = list(dict.fromkeys(v for v in self.source.invars if not isinstance(v, Literal)))
            known = dict(zip(self.source.invars, values, strict=True))
            alone = ClosedJaxpr(Jaxpr((), variables, self.source.outvars, [self.source]), ())
            return list(jaxpr_as_fun(alone)(*(known[v] for v in variables)))
        with self.source.ctx.manager:
            result = primitive.bind(*values, **(self.params if params is None else params))
        return list(result) if primitive.multiple_results else [result]


def placed_like(array: Array, value: Any) -> Any:
    """Put an array of NumPy's where a value of JAX lies, in its dtype."""
    return jax.device_put(np.asarray(array).astype(value.dtype), getattr(value, "sharding", None))
