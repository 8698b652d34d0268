"""Arrays that are typed as a range: ``normal(0, 10, 4x3)``, ``uniform(-5, 5, 8)``, ``linspace(0, 1, 11)``, ``edge``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from stablemax.text.errors import StablemaxError, shown

if TYPE_CHECKING:
    import numpy as np

    from stablemax.numerics.formats import Array, Format

FORMS = "normal(0, 10, 4x3), uniform(-5, 5, 8), linspace(0, 100, 11), edge or edge(4x3)"
"""The ranges, as they are typed."""
MAX_NUMBERS = 1 << 24
_CALL = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_SHAPE = re.compile(r"\d+(x\d+)*", re.ASCII)

_Drawn = Callable[["np.random.Generator", float, float, tuple[int, ...]], "Array"]
_DRAWN: Mapping[str, _Drawn] = MappingProxyType({
    "normal": lambda rng, mean, deviation, shape: mean + deviation * rng.standard_normal(shape),
    "uniform": lambda rng, low, high, shape: low + (high - low) * rng.random(shape),
    "linspace": lambda _rng, low, high, shape: _evenly(low, high, shape),
})  # fmt: skip


@dataclass(frozen=True)
class Range:
    """A range, read: it is drawn in a number format."""

    name: str
    #: Mean and deviation, or the two ends; none for the edges of the format.
    numbers: tuple[float, ...]
    #: None for as many numbers as there are edges.
    shape: tuple[int, ...] | None

    def drawn(self, fmt: Format, seed: tuple[int, int]) -> Array:
        """Draw the numbers, rounded to the format."""
        import numpy as np

        if self.name == "edge":
            edges = edges_of(fmt)
            return fmt.cast(edges if self.shape is None else np.resize(edges, self.shape))
        assert self.shape is not None, "only edges know their number"
        first, second = self.numbers
        return fmt.cast(_DRAWN[self.name](np.random.default_rng(seed), first, second, self.shape))


def range_of(argument: str, text: str) -> Range | None:
    """Read a range; None for what is none, and an error for what only begins like one.

    >>> range_of("x", "normal(0, 10, 4x3)")
    Range(name='normal', numbers=(0.0, 10.0), shape=(4, 3))
    >>> range_of("x", "edge"), range_of("x", "mean")
    (Range(name='edge', numbers=(), shape=None), None)
    """
    call = _CALL.fullmatch(text.strip())
    name = text.strip() if call is None else call[1]
    if name != "edge" and (call is None or name not in _DRAWN):
        return None
    parts = [part.strip() for part in call[2].split(",")] if call is not None else []
    if name == "edge" and call is None:
        return Range(name, (), None)
    if name == "edge" and len(parts) == 1:
        return Range(name, (), _shape(argument, text, parts[0]))
    if len(parts) != 3:
        raise _not_a_range(argument, text)
    numbers = tuple(_number(argument, text, part) for part in parts[:2])
    return Range(name, numbers, _shape(argument, text, parts[2]))


def edges_of(fmt: Format) -> Array:
    """Return the numbers at which a format or a function of it changes its behaviour, and their negatives.

    >>> from stablemax.numerics.formats import FLOAT16
    >>> edges_of(FLOAT16).tolist()[:8]
    [0.0, 5.960464477539063e-08, 6.103515625e-05, 0.99951171875, 1.0, 1.0009765625, 11.0859375, 11.09375]
    """
    import numpy as np

    exp = fmt.exp_overflow
    near_one = (1 - fmt.u, 1.0, 1 + 2 * fmt.u)
    positive = (
        *(fmt.smallest_subnormal, fmt.smallest_normal, *near_one),
        *(exp.last_good, exp.first_bad, math.sqrt(fmt.max), fmt.max),
    )
    return np.array([0.0, *positive, *(-number for number in positive)])


def _evenly(low: float, high: float, shape: tuple[int, ...]) -> Array:
    import numpy as np

    return np.linspace(low, high, math.prod(shape)).reshape(shape)


def _number(argument: str, text: str, part: str) -> float:
    try:
        number = float(part)
    except ValueError:
        raise _not_a_range(argument, text) from None
    if not math.isfinite(number):
        raise _not_a_range(argument, text)
    return number


def _shape(argument: str, text: str, part: str) -> tuple[int, ...]:
    if not _SHAPE.fullmatch(part):
        raise _not_a_range(argument, text)
    shape = tuple(int(n) for n in part.split("x"))
    if not 0 < math.prod(shape) <= MAX_NUMBERS:
        raise StablemaxError(
            f"--arg {argument}={shown(text)}: a range has 1 to {MAX_NUMBERS:,} numbers", f"such as {FORMS}"
        )
    return shape


def _not_a_range(argument: str, text: str) -> StablemaxError:
    return StablemaxError(f"--arg {argument}={shown(text)} is not a range", f"such as {FORMS}")
