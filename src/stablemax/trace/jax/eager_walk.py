"""JAX code that asks for numbers in Python: run operation by operation, as it calls them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Trace, Tracer
from jax.extend.core import JaxprEqn, Var, new_jaxpr_eqn, set_current_trace, take_current_trace
from jax.extend.source_info_util import current

from stablemax.trace.exact_cells import nearest, nonzero
from stablemax.trace.jax.equation import Equation, Number
from stablemax.trace.jax.exact_primitives import truncated
from stablemax.trace.jax.jaxpr_walk import Walk, needed_for
from stablemax.trace.observation import BACKWARD, Site
from stablemax.trace.traced_code import boundary

# ruff: noqa: ARG002 - the arguments are those that JAX hands over

Lose = Callable[[str, Site], None]


class EagerWalk(Trace):
    """The trace that JAX hands every primitive to while the code runs: each goes through the step of a walk."""

    def __init__(self, walk: Walk, below: Trace, of_gradient: Collection[int], lose: Lose | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.walk = walk
        #: JAX's own trace, which computes.
        self.below = below
        #: Equations, by their numbers, that only a gradient needs.
        self.of_gradient = of_gradient
        self.lose = lose
        #: All equations: a site is known by the identity of its equation, so that none may be freed.
        self.sources: list[JaxprEqn] = []

    def shown(self, number: Number) -> KnownTracer:
        """Return what the code gets for a number."""
        return KnownTracer(self, Var(jax.typeof(number.value)), number)

    def stage_value(self, val: Any) -> Any:
        """Take a value of NumPy's or Python's to an array of JAX's."""
        return val if isinstance(val, KnownTracer) else self.below.stage_value(val)  # type: ignore[no-untyped-call]

    def process_primitive(self, primitive: Any, tracers: Sequence[Any], params: dict[str, Any], /) -> Any:
        """Run a primitive on the numbers of its arguments."""
        with set_current_trace(self.below):  # type: ignore[no-untyped-call]
            # A constant of the code is exact as it is in its format, as a jaxpr holds it.
            known = [t if isinstance(t, KnownTracer) else self.shown(Number(jnp.asarray(t))) for t in tracers]
            avals, effects = primitive.abstract_eval(*(t.aval for t in known), **params)
            avals = avals if primitive.multiple_results else [avals]
            variables = [Var(aval) for aval in avals]
            source = new_jaxpr_eqn([t.variable for t in known], variables, primitive, params, effects, current())
            above = Site(phase=BACKWARD) if len(self.sources) in self.of_gradient else Site()
            self.sources.append(source)
            outputs = self.walk.outputs(Equation(source), [t.number for t in known], above)
        out = [KnownTracer(self, v, n) for v, n in zip(variables, outputs, strict=True)]
        return out if primitive.multiple_results else out[0]

    def process_custom_jvp_call(self, primitive: Any, fun: Any, jvp: Any, tracers: Sequence[Any], /, **_: Any) -> Any:
        """Run a function with a derivative of its own, which no gradient asks for."""
        with set_current_trace(self):  # type: ignore[no-untyped-call]
            return fun.call_wrapped(*tracers)

    def process_custom_vjp_call(
        self, primitive: Any, fun: Any, fwd: Any, bwd: Any, tracers: Sequence[Any], /, **_: Any
    ) -> Any:
        """Run a function with a backward rule of its own, which no gradient asks for."""
        with set_current_trace(self):  # type: ignore[no-untyped-call]
            return fun.call_wrapped(*tracers)


class KnownTracer(Tracer[Any]):
    """An array that the code holds: its number is known, and taking it into Python is noted."""

    __slots__ = ("number", "variable")

    def __init__(self, trace: EagerWalk, variable: Any, number: Number) -> None:
        super().__init__(trace, variable.aval)
        self.variable = variable
        self.number = number

    def to_concrete_value(self) -> Any:
        """Return the array: JAX itself asks for it too, and nothing is noted."""
        return self.number.value

    def __bool__(self) -> bool:
        """Return a truth value; noted where the exact number is 0 and this is not, or the other way round."""
        answer = bool(self.number.array)
        self._note("bool()", unless=bool(nonzero(self.number.exact).any()) == answer)
        return answer

    def __int__(self) -> int:
        """Return an integer; noted where the exact number is cut off to another one."""
        whole = int(self.number.array)
        cut = nearest(truncated(self.number.exact)) if self.number.is_float else self.number.array
        self._note("int()", unless=bool((cut == whole).all()))
        return whole

    def __float__(self) -> float:
        """Return a number of Python's."""
        self._note("float()")
        return float(self.number.array)

    def __complex__(self) -> complex:
        """Return a complex number of Python's."""
        self._note("complex()")
        return complex(self.number.array)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the numbers as NumPy's."""
        self._note("conversion to a NumPy array")
        return np.asarray(self.number.value, *args, **kwargs)

    def tolist(self) -> Any:
        """Return the numbers as lists."""
        self._note(".tolist()")
        return self.number.array.tolist()

    def item(self, *args: Any) -> Any:
        """Return one number."""
        self._note(".item()")
        return self.number.array.item(*args)

    def _note(self, what: str, *, unless: bool = False) -> None:
        walk: EagerWalk = self._trace
        if walk.lose is not None and self.number.is_float and not unless:
            walk.lose(what, walk.walk.lines.caller())


@dataclass(frozen=True, eq=False)
class Ran:
    """A run of code, operation by operation."""

    results: list[Number]
    #: Its equations in order.
    sources: list[JaxprEqn]
    #: Of the results.
    variables: list[Any]

    def needed_for(self, result: int) -> frozenset[int]:
        """Return the identities of the equations that a result needs; those of calls too."""
        whole = SimpleNamespace(eqns=self.sources, outvars=[self.variables[result]])
        return frozenset(needed_for(whole, [True]))


def run_eagerly(
    called: Callable[..., Sequence[Any]],
    numbers: Sequence[Number],
    walk: Walk,
    *,
    of_gradient: Collection[int] = (),
    lose: Lose | None = None,
) -> Ran:
    """Call code on numbers, and take each operation through the step of a walk as it is called."""
    with take_current_trace() as below:
        pass
    trace = EagerWalk(walk, below, of_gradient, lose)
    with set_current_trace(trace):  # type: ignore[no-untyped-call]
        results = boundary(lambda: called(*map(trace.shown, numbers)))
    known = [r if isinstance(r, KnownTracer) else trace.shown(Number(r)) for r in results]
    return Ran([t.number for t in known], trace.sources, [t.variable for t in known])
