"""How JAX code is called on its input: as it is, or each of its equations through a step."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from stablemax.libraries.jax_arrays import JaxArrays
from stablemax.numerics.formats import Array
from stablemax.text.errors import StablemaxError, shown
from stablemax.trace.exact_cells import cells_of, format_or_none
from stablemax.trace.jax.eager_walk import Lose, Ran, run_eagerly
from stablemax.trace.jax.equation import Number, is_float
from stablemax.trace.jax.jax_lines import JAX, Lines
from stablemax.trace.jax.jaxpr_shadow import Correcting
from stablemax.trace.jax.jaxpr_walk import Step, Walk, needed_for
from stablemax.trace.jax.recompiling import Functions
from stablemax.trace.run import Inputs, raised
from stablemax.trace.traced_code import boundary, code_of

ARRAYS = JaxArrays()
_NEEDS_NUMBERS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
_64_BITS = ("float64", "int64", "uint64", "complex128")


@dataclass(frozen=True, eq=False)
class JaxCall:
    """A call of JAX code, or of its gradient, on one input."""

    given: Inputs
    function: Callable[..., Any]
    functions: Functions
    #: The device, as JAX calls it; None for its first choice.
    device: str | None
    #: The result is the gradient of the sum of the function's output.
    backward: bool
    #: The second argument is the upstream gradient of that, and not for the function.
    upstream: bool
    #: So many of the arrays, the first ones, get a gradient: that of several is one row of all their numbers.
    leaves: int

    def plain(self) -> tuple[Any, ...]:
        """Call the code as it is, compiled where it compiles itself: its result, or gradient and result."""
        with self._settings():
            return boundary(lambda: self._called(*self._arrays()))

    def walked(
        self, step: Step, lines: Lines, numbers: Sequence[Number] | None = None, *, lose: Lose | None = None
    ) -> list[Number]:
        """Take each equation of the code through a step; what leaves JAX for Python is told to `lose`."""
        with self._settings():
            walk, given = Walk(lines, step), numbers or self.numbers()
            if self._jaxpr is not None:
                return walk.through(self._jaxpr, given)
            return run_eagerly(self._called, given, walk, of_gradient=self._eager_gradient[0], lose=lose).results

    @functools.cached_property
    def _jaxpr(self) -> ClosedJaxpr | None:
        """The equations of the function; None where which ones there are depends on numbers."""
        try:
            return boundary(lambda: jax.make_jaxpr(self._called)(*self._arrays()))
        except _NEEDS_NUMBERS:
            return None

    @functools.cached_property
    def of_gradient(self) -> frozenset[int]:
        """The equations, by their identities, that the gradient needs, and the function's own output does not."""
        with self._settings():
            if not self.backward:
                return frozenset()
            if self._jaxpr is None:
                return self._eager_gradient[1]
            of_gradient, of_output = (needed_for(self._jaxpr, wanted) for wanted in ([True, False], [False, True]))
            return frozenset(of_gradient - of_output)

    @functools.cached_property
    def _eager_gradient(self) -> tuple[frozenset[int], frozenset[int], Ran | None]:
        """The same of code whose equations are not known before it runs, of a run as it is.

        Its own equations are other ones in each run, and known by their numbers; those of the functions that it calls
        stay, and are known by their identities while that run is kept.
        """
        if not self.backward:
            return frozenset(), frozenset(), None
        walk = Walk(Lines(code_of(self.functions.code, alone=(JAX,))), Correcting({}))
        ran = run_eagerly(self._called, self.numbers(), walk)
        alone = ran.needed_for(0) - ran.needed_for(1)
        own = frozenset(i for i, source in enumerate(ran.sources) if id(source) in alone)
        return own, alone - frozenset(map(id, ran.sources)), ran

    def numbers(self) -> list[Number]:
        """Return the input, each array of floats with its shadow."""
        with self._settings():
            arrays = self._arrays()
        first = Number(arrays[0], self.given.cells_of_first(), self.given.first_is_exact)
        return [first if is_float(arrays[0]) else Number(arrays[0]), *(_shadowed(a) for a in arrays[1:])]

    def _arrays(self) -> list[Any]:
        return [ARRAYS.put(array, self.device) for array in self.given.arguments]

    def _called(self, *arrays: Any) -> tuple[Any, ...]:
        """Call the function; return its result, or the gradient of that, and that."""
        if not self.backward:
            return (_array(self.function(*arrays)),)
        leaves, others = arrays[: self.leaves], arrays[self.leaves :]
        rest: Sequence[Any] = () if self.upstream else others
        with self.functions.with_lines_of_rules():
            out, pull_back = jax.vjp(lambda *given: _array(self.function(*given, *rest)), *leaves)
            gradients = pull_back(others[0] if self.upstream else jnp.ones_like(out))
        if len(gradients) == 1:
            return gradients[0], out
        return jnp.concatenate([gradient.reshape(-1) for gradient in gradients]), out

    @contextlib.contextmanager
    def _settings(self) -> Iterator[None]:
        """Set up what all runs have alike: 64-bit numbers where an argument has them, no warnings."""
        has_64_bits = any(array.dtype.name in _64_BITS for array in self.given.arguments if is_float(array))
        with (
            jax.enable_x64(True) if has_64_bits else contextlib.nullcontext(),  # noqa: FBT003 - its signature
            warnings.catch_warnings(),
            np.errstate(all="ignore"),
        ):
            warnings.simplefilter("ignore")
            try:
                yield
            except StablemaxError:
                raise
            except Exception as error:
                words, hint = raised(error, code_of(self.functions.code, alone=(JAX,)).holds)
                if isinstance(error, _NEEDS_NUMBERS):
                    words = f"{words.partition(': ')[0]}: it needs a number in Python, and JAX's equations have none"
                    hint = "in what jax.jit, vmap or scan run, write jnp.where or jax.lax.cond for if, jnp for np"
                raise StablemaxError(words, hint) from error


def _shadowed(array: Any) -> Number:
    return Number(array, cells_of(np.asarray(array))) if is_float(array) else Number(array)


def _array(result: Any) -> Any:
    """Return what a function gave as an array of JAX's."""
    if isinstance(result, (jax.Array, np.ndarray, np.generic, int, float)) and not isinstance(result, bool):
        return jnp.asarray(result)
    raise _no_array(result)


def values_of(result: Any) -> Array:
    """Take a result to NumPy."""
    value = np.array(result)
    if value.dtype.kind in "iuf" or format_or_none(value.dtype) is not None:
        return value
    raise _no_array(result)


def _no_array(result: Any) -> StablemaxError:
    return StablemaxError(
        f"the traced function returns {shown(type(result).__name__)}, not an array of real numbers",
        "return the result as a jax.Array",
    )
