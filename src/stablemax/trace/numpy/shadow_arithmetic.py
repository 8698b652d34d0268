"""The `xp` of a variant under trace: each of its operations is one operation of the trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import arb

from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import FLOAT64, Array
from stablemax.trace.exact_cells import EXACT, as_array, as_cell, cells_of
from stablemax.trace.numpy.exact_functions import COMPUTED
from stablemax.trace.numpy.shadow_array import ShadowArray
from stablemax.trace.numpy.shadowed import Shadowed, carrier, operate, plain, shadow

if TYPE_CHECKING:
    from stablemax.trace.numpy.tape import Tape


@dataclass(frozen=True)
class ShadowArithmetic(Arithmetic):
    """The arithmetic of a variant under trace: each of its operations also runs on the shadow.

    A sum is one operation here, however the policy adds; so is a compensated one.
    """

    #: The record of the run.
    tape: Tape | None = None

    @cached_property
    def wider(self) -> ShadowArithmetic:
        """Float64, under the same trace."""
        return ShadowArithmetic(FLOAT64, tape=self.tape)

    @property
    def log2e(self) -> Any:
        """``log2(e)``: rounded to the format, and the number itself as its shadow."""
        assert self.tape is not None, "a variant is traced with a tape"
        return shadow(Arithmetic(self.format).log2e, as_array(1 / arb.const_log2()), self.tape, ShadowArray)

    @property
    def _plain(self) -> Arithmetic:
        return Arithmetic(self.format, self.accumulation)

    def _run(
        self, method: str, *inputs: Any, name: str = "", exactly: Callable[..., Any] | None = None, **options: Any
    ) -> Any:
        """Run a method of the plain arithmetic, and on cells `exactly`, or else the ufunc of its name."""
        plainly = partial(getattr(self._plain, method), **options)
        if not any(isinstance(i, Shadowed) for i in inputs):
            return plainly(*inputs)
        return operate(carrier(inputs), name or method, plainly, exactly or EXACT[method], inputs)

    def array(self, values: Any) -> Any:
        """Round values to the format."""
        return self.narrow(values)

    def max(self, x: Array) -> Any:
        """Maximum of each row."""
        return self._run("max", x, exactly=lambda c: COMPUTED["max"](c, -1, keepdims=True))

    def sum(self, x: Array, *, axis: int | None = -1) -> Any:
        """Sum over the last axis or over everything, kept."""

        def exactly(c: Array) -> Array:
            total = as_array(COMPUTED["sum"](c, axis, keepdims=True))
            return total.reshape(1, 1) if axis is None else total

        return self._run("sum", x, exactly=exactly, axis=axis)

    def mean(self, x: Array) -> Any:
        """Mean of a vector."""
        return self._run("mean", x, exactly=COMPUTED["mean"])

    def compensated_sum(self, x: Array, work: Array | None = None) -> Any:  # noqa: ARG002 - a shadow has memory of its own
        """Sum of each row, its rounding errors kept."""
        return self._run("compensated_sum", x, exactly=lambda c: COMPUTED["sum"](c, -1, keepdims=True))

    def over_sum(self, x: Array, e: Array, divisor: float, out: Array | None = None) -> Any:  # noqa: ARG002 - a shadow has memory of its own
        """``x / (sum(e) * divisor)``."""

        def exactly(x: Array, e: Array) -> Any:
            return EXACT["divide"](x, COMPUTED["sum"](e, -1, keepdims=True) * as_cell(divisor))

        return self._run("over_sum", x, e, exactly=exactly, divisor=divisor)

    def shifted_exp(self, x: Array, room: Any = None) -> Any:  # noqa: ARG002 - a shadow has memory of its own
        """``exp(x - c)``; the shadow subtracts the very c that the values do."""
        c: Any = self._offset(plain(x)) if isinstance(x, Shadowed) else None
        return self._run("shifted_exp", x, exactly=lambda cells: EXACT["exp"](np.subtract(cells, c)))

    def _offset(self, x: Array) -> Array:
        """Return c of `shift`, which is constant along a row, as cells: x minus d and r where x is largest."""
        d, r = self._plain.shift(x)
        column = np.argmax(x, axis=-1)[..., None]
        top, head, rest = (cells_of(np.take_along_axis(a, column, axis=-1)) for a in (x, d, r))
        finite = np.isfinite(np.take_along_axis(x, column, axis=-1).astype(np.float64))
        return np.where(finite, top - head - rest, as_cell(0))

    def odds(self, x: Array, room: Any = None) -> Any:  # noqa: ARG002 - a shadow has memory of its own
        """Sum of the other exponentials of each row over the largest."""
        top, others = self.take_max(self.shifted_exp(x), x)
        return self.compensated_sum(others) / top

    def take(self, values: Array, columns: Array) -> Any:
        """One value of each row, as a column."""
        return values[np.arange(len(values)), columns][:, None]

    def divided(self, x: Array, divisor: float) -> Any:
        """Divide by a number that need not exist in the format."""
        return self._run(
            "divided", x, name="divide", exactly=lambda c: EXACT["divide"](c, as_cell(divisor)), divisor=divisor
        )

    def narrow(self, x: Array) -> Any:
        """Round float64 to the format."""
        if isinstance(x, Shadowed) and x.dtype == self.format.dtype:
            return x
        return self._run("narrow", x, exactly=lambda c: c)


def _follow(name: str) -> None:
    def method(self: ShadowArithmetic, *inputs: Any) -> Any:
        return self._run(name, *inputs)

    setattr(ShadowArithmetic, name, method)


for _name in ("exp", "exp2", "log", "log1p", "maximum", "minimum"):
    _follow(_name)
