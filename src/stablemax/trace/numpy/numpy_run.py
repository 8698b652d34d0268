"""One run of a function with its shadow, at a precision that decides every digit."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flint
import numpy as np

from stablemax.errors import StablemaxError, shown
from stablemax.formats import FLOAT64
from stablemax.trace import exact_cells as cells
from stablemax.trace.numpy.array_makers import following
from stablemax.trace.numpy.shadow_array import ShadowArray
from stablemax.trace.numpy.shadowed import Shadowed, exact_of, plain, shadow, shadow_tree
from stablemax.trace.numpy.tape import Tape, boundary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stablemax.formats import Array

PRECISIONS = (256, 4096)
"""Bits of the shadow: the second where the first leave a digit of the result open."""

_SPARE_BITS = 12


@dataclass(frozen=True)
class ShadowRun:
    """What a function gave.

    Parameters
    ----------
    value : ndarray
        Its output, bit for bit that of an ordinary run.
    exact : object ndarray or None
        Cells of the output's shape, each a ``flint.arb`` or a `cells.Special`: what exact
        arithmetic gives for the same code. None where the shadow did not reach the end.
    not_followed : tuple of str
        What the shadow could not go through, with its line.
    tape : Tape
        What ran.
    bits : int
        Precision of the shadow.
    """

    value: Array
    exact: Array | None
    not_followed: tuple[str, ...]
    tape: Tape
    bits: int = PRECISIONS[0]


def run(function: Callable[..., Any], arguments: tuple[Any, ...], tape: Tape, bits: int = PRECISIONS[0]) -> ShadowRun:
    """Run a function once.

    Parameters
    ----------
    function : callable
        Takes NumPy arrays by position.
    arguments : tuple
        The arrays; those of a number format are shadowed, labels are handed on as they are. Copies
        are passed, so that the function may work in place.
    tape : Tape
        What to take down, and what to change.
    bits : int
        Precision of the shadow.

    Raises
    ------
    StablemaxError
        If the function raises, or returns no array of real numbers.
    """
    with flint.ctx.workprec(bits), np.errstate(all="ignore"):
        given = tuple(_shadowed(a, tape) for a in arguments)
        with following(tape), _quiet():
            try:
                result = boundary(function, given)
            except Exception as error:
                raise StablemaxError(*_words(error, tape)) from error
        value, exact = _apart(result, tape)
        tape.close()
        if exact is None and not tape.not_followed:
            last = tape.steps[-1].site.line if tape.steps else 0
            tape.not_followed["the result" + (f", after line {last}" if last else "")] = None
    return ShadowRun(value, exact, tuple(tape.not_followed), tape, bits)


def run_decided(function: Callable[..., Any], arguments: tuple[Any, ...], tape: Tape) -> ShadowRun:
    """Run a function, and once more with more bits where a digit of its exact result is open."""
    found = run(function, arguments, tape.fresh(), PRECISIONS[0])
    if found.exact is None:
        return found
    fmt = cells.format_or_none(found.value.dtype)
    wanted = (FLOAT64 if fmt is None else fmt).precision + _SPARE_BITS
    with flint.ctx.workprec(PRECISIONS[0]):
        open_cells = cells.is_undecided(found.exact, wanted)
    if not open_cells.any():
        return found
    return run(function, arguments, tape.fresh(), PRECISIONS[1])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the function prints and warns of to itself: it is run many times."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _shadowed(argument: Any, tape: Tape) -> Any:
    if isinstance(argument, np.ndarray) and cells.format_or_none(argument.dtype) is not None:
        values = argument.copy()
        return shadow(values, cells.cells_of(values), tape, ShadowArray)
    return argument.copy() if isinstance(argument, np.ndarray) else argument


def _apart(result: Any, tape: Tape) -> tuple[Array, Array | None]:
    """Split what came back into values and cells."""
    if isinstance(result, Shadowed):
        return np.asarray(plain(result)), exact_of(result)
    if isinstance(result, (list, tuple)):
        with contextlib.suppress(ValueError, TypeError):
            value = np.asarray(plain(result))
            exact = np.array(shadow_tree(result, tape), dtype=object)
            if cells.format_or_none(value.dtype) is not None and exact.shape == value.shape:
                return value, cells.settled(exact)
    if isinstance(result, (int, float, np.generic, np.ndarray)) and not isinstance(result, bool):
        value = np.asarray(result)
        known = tape.known(result) if isinstance(result, float) else None
        if known is not None:
            return value, cells.as_array(known)
        if value.dtype.kind in "iuf" or cells.format_or_none(value.dtype) is not None:
            return value, None
    raise StablemaxError(
        f"the traced function returns {shown(type(result).__name__)}, not an array of real numbers",
        "return the result as a NumPy array",
    )


def _words(error: Exception, tape: Tape) -> tuple[str, str]:
    """Say what the traced code raised, and where."""
    place = ""
    frames = error.__traceback__
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if tape.follows(file):
            place = f" at {shown(Path(file).name)}:{frames.tb_lineno}"
        frames = frames.tb_next
    text = shown(" ".join(str(error).split()), 300)
    return (
        f"the traced function raises {type(error).__name__}{place}: {text}",
        "it gets logits (N, K), and labels (N,) or an upstream gradient (N, K) where --operation has any",
    )
