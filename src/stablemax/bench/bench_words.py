"""What can be asked for, as words: importable without NumPy."""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, NamedTuple

from stablemax.operations import all_operations
from stablemax.text.errors import StablemaxError, shown

if TYPE_CHECKING:
    from stablemax.operations.operation import Operation

OURS = "stablemax"


def timed_operations() -> tuple[Operation, ...]:
    """Return the operations that other libraries have ready-made."""
    return tuple(o for o in all_operations() if o.timed)


class TimedDtype(enum.StrEnum):
    """What the logits are held in."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


class TimedPeer(enum.StrEnum):
    """What is timed beside ours; ``all``: NumPy and the libraries that are installed."""

    TORCH = "torch"
    JAX = "jax"
    SCIPY = "scipy"
    NUMPY = "numpy"
    ALL = "all"


class Shape(NamedTuple):
    """Rows and classes."""

    rows: int
    classes: int

    def __str__(self) -> str:
        return f"{self.rows}x{self.classes}"


DEFAULT_SHAPES = (Shape(128, 1000), Shape(2048, 4096), Shape(2048, 32768), Shape(2048, 131072))
"""A small batch of ImageNet's classes, and a batch of tokens with vocabularies up to the largest in use."""


def shape_of(text: str) -> Shape:
    """Read ``ROWSxCLASSES``.

    >>> shape_of("128x1000")
    Shape(rows=128, classes=1000)
    """
    found = re.fullmatch(r"([1-9][0-9]{0,11})x([1-9][0-9]{0,11})", text, re.ASCII)
    if found is None:
        raise StablemaxError(f"--shape {shown(text)} is not ROWSxCLASSES", "two whole numbers: --shape 2048x32768")
    return Shape(int(found[1]), int(found[2]))
