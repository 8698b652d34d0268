"""Arrays that the traced code keeps between calls, in its modules and its object: they are numbers that go in, too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from stablemax.trace.exact_cells import cells_of, format_or_none
from stablemax.trace.numpy.shadow_array import ShadowArray
from stablemax.trace.numpy.shadowed import Shadowed, shadow
from stablemax.trace.numpy.tape import Tape

_MOST_NUMBERS = 1 << 12
"""Larger arrays stay plain: they are exact all the same where they meet a shadowed number."""


@contextlib.contextmanager
def kept_arrays_shadowed(tape: Tape) -> Iterator[None]:
    """Give the arrays of floats that the traced code keeps a shadow until the block ends.

    What is computed of them alone would else be taken for exact: an exp of them that overflows, for infinity.
    """
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for names in (*tape.code.namespaces, *tape.code.objects):
            for name, value in [item for item in names.items() if _is_kept(item[1])]:
                replaced.append((names, name, value))
                names[name] = shadow(value, cells_of(value), tape, ShadowArray)
        yield
    finally:
        for names, name, value in replaced:
            # What the code has put there meanwhile stays.
            if isinstance(names.get(name), Shadowed):
                names[name] = value


def _is_kept(value: Any) -> bool:
    if type(value) is not np.ndarray or not 0 < value.size <= _MOST_NUMBERS:
        return False
    return format_or_none(value.dtype) is not None
