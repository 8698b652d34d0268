"""Arrays whose numbers are typed: ``array([[0, 3.5], [1, -2]])``."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from stablemax.text.errors import StablemaxError, shown

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array

_ARRAY = re.compile(r"array\((.*)\)", re.DOTALL)


def typed_array(argument: str, text: str) -> Array | None:
    """Read an array of floats, or of whole numbers where none has a point; None for what is not written as one.

    Raise `StablemaxError` where what stands in ``array()`` makes none.

    >>> typed_array("x", "array([[0, 3.5]])"), typed_array("x", "[0, 3.5]")
    (array([[0. , 3.5]]), None)
    """
    import numpy as np

    call = _ARRAY.fullmatch(text.strip())
    if call is None:
        return None
    try:
        array = np.array(ast.literal_eval(call[1]))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        array = np.array("")
    if array.dtype.kind not in "biuf" or not array.size:
        raise StablemaxError(
            f"--arg {argument}={shown(text)} is no array: numbers, in lists of equal lengths, make one",
            f"such as --arg '{argument}=array([[0, 3.5], [1, -2]])'",
        )
    return array
