"""One record of each kind that a plugin of stablemax can add."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.plugins import (
    Computed,
    Figure,
    FigureRow,
    FileFormat,
    Form,
    Format,
    Gives,
    Hazard,
    HazardCase,
    Library,
    Operation,
    Outcome,
    StoredArray,
    Term,
    Variant,
    Writer,
    get_operation,
    of_cells,
    variant,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.plugins import Array, Given, OpenedFile, Page, ResultKind


def size_of_value(values: Array, given: Given) -> Array:
    """At least 1."""
    return np.maximum(1.0, np.abs(values))


def nan_cells(x: Array, second: Any) -> Array:
    """Only NaN has no value."""
    return np.asarray(np.isnan(x))


# --- a term ---------------------------------------------------------------------------------------


def gates() -> tuple[Figure, ...]:
    """What a gate of 1 lets through."""
    return (Figure("A gate", ("x",), (FigureRow("gated", (Computed(float(np.float32(0.5)), "float32"),)),)),)


GATE = Term("gate", "A gate multiplies a logit by its probability.", ("SiLU is one.",), gates, aliases=("gating",))

# --- an operation with its variants ---------------------------------------------------------------

SILU = Operation(
    "silu",
    Gives.CELL,
    scale=size_of_value,
    undefined=nan_cells,
    limit={-math.inf: 0.0, math.inf: math.inf},
    cellwise=True,
    best="by-sign",
    laws=("cells-independent", "input-unchanged", "dtype-kept", "shape-kept"),
    looks_like="silu|swish",
    noun="SiLU",
    timed=False,
    by_default=False,
)


@variant(SILU, "naive", formula="x / (1 + exp(-x))", cure="silu/by-sign")
def naive(x: Array, xp: Any) -> Array:
    """The definition, word for word.

    Why it holds: the denominator is at least 1.

    Where it breaks: exp(-x) overflows below -88.72 in float32, and x / inf is -0 where subnormal numbers are right.
    """
    return x / (xp.number(1.0) + xp.exp(-x))


@variant(SILU, "by-sign", formula="x e / (1 + e) below 0, x / (1 + e) above,  e = exp(-|x|)")
def by_sign(x: Array, xp: Any) -> Array:
    """An exponential that cannot overflow.

    Why it holds: e lies in (0, 1] on both sides.

    Where it breaks: nowhere but at NaN.
    """
    one = xp.number(1.0)
    e = xp.exp(xp.minimum(x, -x))
    return xp.where(x < xp.number(0.0), x * e, x) / (one + e)


# --- a variant of one of stablemax's own operations -----------------------------------------------


@variant(
    get_operation("softmax"),
    "mean-shifted",
    formula="exp(x - mean(x)) / sum(exp(x - mean(x)))",
    promises={Outcome.OK: "gentle", Outcome.NAN: "wide-spread"},
    cure="softmax/shifted",
)
def mean_shifted(x: Array, xp: Any) -> Array:
    """Probabilities with the mean subtracted instead of the maximum.

    Why it holds: a softmax does not change when its logits are shifted.

    Where it breaks: the largest logit may be far above the mean, and its exponential overflows.
    """
    e = xp.exp(x - xp.sum(x) / xp.number(float(x.shape[-1])))
    return e / xp.sum(e)


# --- a hazard, a number format --------------------------------------------------------------------

FAR_LEFT = Hazard(
    "far-left-cells",
    "cells so far below 0 that exp(-x) overflows",
    "stablemax-example",
    lambda fmt: HazardCase(
        np.array([[-fmt.exp_overflow.first_bad, -1.0, 1.0]]), np.array([0]), np.zeros((1, 3)),
        cell_targets=np.zeros((1, 3)),
    ),
    of_cells,
)  # fmt: skip

FP24 = Format("fp24", precision=16, emax=127, emin=-126)


# --- a file format, a writer ----------------------------------------------------------------------


def open_vector(file: OpenedFile) -> StoredArray:
    """Read one number a line, as one row of logits."""
    numbers = [float(line) for line in (file.stream.read() or b"").split()]
    return StoredArray.of(np.array([numbers]), file.name)


VECTOR = FileFormat("vector", "one number a line, one row of logits", (".vec",), open_vector)


def write_org(kind: ResultKind, result: Any, page: Page) -> Iterator[str]:
    """Write a table of Org mode."""
    rows = kind.rows(result)
    yield "|" + "|".join(rows.headers) + "|\n"
    for row in rows.rows:
        cells = row.values() if hasattr(row, "values") else row
        yield "|" + "|".join(map(str, cells)) + "|\n"


ORG = Writer("org", (Form.ROWS,), write_org, (".org",))


# --- a library ------------------------------------------------------------------------------------

LIBRARY = Library("stablemax_example", __name__, "pip install stablemax-example", takes_devices=False)


def _halving(x: Array, xp: Any) -> Array:
    """Softmax as a library may have it: without a shift.

    Why it holds: for small logits it is the definition.

    Where it breaks: exp overflows.
    """
    with np.errstate(all="ignore"):
        e = np.exp(x)
        return np.asarray(e / e.sum(axis=-1, keepdims=True))


BUILT_IN = Variant(get_operation("softmax"), "softmax", "stablemax_example.softmax(x)", _halving, library=LIBRARY.name)
