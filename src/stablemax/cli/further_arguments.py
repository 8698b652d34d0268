"""Further arguments of somebody's code: ``--arg temperature=0.5``, ``mask=FILE.npy``, ``x=normal(0, 10, 4x3)``.

A list is one, as Python has it; ``x=array([0, 3.5])`` is an array.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stablemax.cli.argument_ranges import range_of
from stablemax.cli.typed_arrays import typed_array
from stablemax.inputs.server_limits import TIMEOUT_S
from stablemax.text.errors import StablemaxError, shown

if TYPE_CHECKING:
    from stablemax.check.any_function.input_ranges import RangedArgument
    from stablemax.check.target.messages import FurtherArgument
    from stablemax.numerics.formats import Array, Format

_TYPED = "array()"
"""The text of an array that was typed, until it is in a format."""


def further_arguments(
    texts: Iterable[str], timeout_s: float = TIMEOUT_S, *, fmt: Format | None = None, seed: int = 0
) -> tuple[FurtherArgument, ...]:
    """Read --arg: a name, and a number, a word, a Python literal, a file that holds an array, an array, or a range.

    Arrays of floats are rounded to a format where one is given; without, ranges are drawn in that of the first file of
    floats, else in float32, and typed arrays are rounded to that.

    >>> [(one.name, one.value, one.text) for one in further_arguments(["temperature=0.5", "reduction=sum"])]
    [('temperature', 0.5, '0.5'), ('reduction', 'sum', '"sum"')]
    """
    from stablemax.numerics.formats import FLOAT32

    arguments = [_argument(text, timeout_s) for text in texts]
    own = (found for one in arguments if one.text != _TYPED and (found := _format_of(one.value)) is not None)
    drawn_in = fmt or next(own, FLOAT32)
    arguments = [_in_format(argument, fmt, drawn_in, (seed, i)) for i, argument in enumerate(arguments)]
    names = [argument.name for argument in arguments]
    for name in names:
        if names.count(name) > 1:
            raise StablemaxError(f"--arg {name} is given twice", "leave out one of the two")
    return tuple(arguments)


def ranged_arguments(texts: Iterable[str]) -> tuple[RangedArgument, ...]:
    """Read the arguments of --arg that are given by a range, each with its place among all.

    >>> [(one.name, one.place) for one in ranged_arguments(["by=2", "x=uniform(0, 1, 4)"])]
    [('x', 1)]
    """
    from stablemax.check.any_function.input_ranges import RangedArgument

    split = [(i, *text.partition("=")[::2]) for i, text in enumerate(texts)]
    read = [(i, name, range_of(name, value), value) for i, name, value in split]
    return tuple(RangedArgument(name, found, i, value) for i, name, found, value in read if found is not None)


def _argument(text: str, timeout_s: float) -> FurtherArgument:
    from stablemax.check.any_function.input_ranges import Range
    from stablemax.check.target.messages import FurtherArgument
    from stablemax.inputs.file_format import NAMES, ReadingLimits

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise StablemaxError(f"--arg {shown(text)} is not NAME=VALUE", "such as temperature=0.5, or mask=FILE.npy")
    if Path(value).suffix.lower().lstrip(".") in NAMES:
        from stablemax.inputs.open import open_array

        read = open_array(value, limits=ReadingLimits(timeout_s=timeout_s)).array
        return FurtherArgument(name, read, f'np.load("{value}")')
    array = typed_array(name, value)
    if array is not None:
        return FurtherArgument(name, array, _TYPED)
    literal = range_of(name, value) or _literal(value)
    if isinstance(literal, Range):
        return FurtherArgument(name, literal, value)
    if isinstance(literal, str):
        return FurtherArgument(name, literal, f'"{literal}"')
    is_special = isinstance(literal, float) and not math.isfinite(literal)
    return FurtherArgument(name, literal, f'float("{literal}")' if is_special else repr(literal))


def _format_of(value: Any) -> Format | None:
    """Return the number format of an array of floats; None for all else."""
    import numpy as np

    from stablemax.numerics.formats import format_of_array

    return format_of_array(value) if isinstance(value, np.ndarray) and value.dtype.kind not in "biuOSU" else None


def _in_format(
    argument: FurtherArgument, fmt: Format | None, drawn_in: Format, seed: tuple[int, int]
) -> FurtherArgument:
    """Draw a range, and round floats of a file where a format is asked for."""
    from stablemax.check.any_function.input_ranges import Range

    if isinstance(argument.value, Range):
        return _written_out(argument, argument.value.drawn(drawn_in, seed))
    if argument.text == _TYPED:
        is_whole = argument.value.dtype.kind != "f"
        return _written_out(argument, argument.value if is_whole else drawn_in.cast(argument.value))
    own = _format_of(argument.value)
    return argument if fmt is None or own is None else replace(argument, value=fmt.cast(argument.value))


def _written_out(argument: FurtherArgument, values: Array) -> FurtherArgument:
    """Put an array in the place of an argument, with its numbers as Python code has them."""
    numbers = (values if values.dtype.kind in "biu" else values.astype("float64")).tolist()
    return replace(argument, value=values, text=f'np.array({numbers}, dtype="{values.dtype}")')


def _literal(text: str) -> Any:
    """Read a Python literal; a word is a string, with or without quotes."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        special = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}
        return special.get(text.lower(), text)
