"""Arrays that are typed as a range: ``normal(0, 10, 4x3)``, ``uniform(-5, 5, 8)``, ``linspace(0, 1, 11)``, ``edge``."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from stablemax.text.errors import StablemaxError, shown
from stablemax.text.suggest import nearest

if TYPE_CHECKING:
    from stablemax.check.any_function.input_ranges import Range

FORMS = "normal(0, 10, 4x3), uniform(-5, 5, 8), linspace(0, 100, 11), edge or edge(4x3)"
"""The ranges, as they are typed."""
MAX_NUMBERS = 1 << 24
_CALL = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_OF_NUMBERS = re.compile(r"\s*[-+.\d]")
_SHAPE = re.compile(r"\d+(x\d+)*", re.ASCII)


def range_of(argument: str, text: str) -> Range | None:
    """Read a range; None for what is none, and an error for what only begins like one.

    >>> range_of("x", "normal(0, 10, 4x3)")
    Range(name='normal', numbers=(0.0, 10.0), shape=(4, 3))
    >>> range_of("x", "edge"), range_of("x", "mean")
    (Range(name='edge', numbers=(), shape=None), None)
    """
    from stablemax.check.any_function.input_ranges import NAMES, Range

    call = _CALL.fullmatch(text.strip())
    name = text.strip() if call is None else call[1]
    if name != "edge" and (call is None or name not in NAMES):
        # Of numbers alone: what else is written like a call may be a word that the function takes.
        near = nearest(name, NAMES) if call is not None and _OF_NUMBERS.match(call[2]) else None
        if near:
            raise StablemaxError(f"--arg {argument}={shown(text)}: there is no range {name!r}", f"did you mean {near}?")
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
