"""A run, watched operation by operation."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stablemax.results.judged import Outcome


class Origin(enum.StrEnum):
    """Where an operation's error comes from."""

    NONE = "none"
    MADE_HERE = "made here"
    CAME_IN = "came in"
    CANCELLATION = "cancellation"
    ABSORPTION = "absorption"


@dataclass(frozen=True)
class TracedOperation:
    """One operation of the traced code.

    Parameters
    ----------
    index : int
        Order of execution, from 0.
    name : str
        As NumPy or PyTorch calls it: ``exp``, ``add.reduce``, ``aten.logsumexp``.
    phase : str
        ``forward`` or ``backward``.
    file : str
        Of the line that called it.
    line : int
        Counted from 1.
    dtype : str
        Of the output.
    shape : tuple of int
        Of the output.
    smallest, largest : float
        Range of the finite cells of the output; NaN if there are none.
    cells, inf, nan, lost : int
        Cells of the output; those that are infinite where the exact value is not, NaN, and 0 where
        the exact value is not.
    error_ulp : float or None
        Largest distance from the shadow, in ulps of the dtype; None without a finite cell.
    local_error_ulp : float or None
        Largest distance from the same operation taken exactly on the inputs that it really got:
        the error made here.
    origin : Origin
        Where the error comes from.
    note : str
        What happened, in words: ``exp overflows for 496 of 500 cells (first: row 0, class 1, logit 1001.0)``.
    times : int
        How often this line ran this operation: the rows of a loop are told together.
    """

    index: int
    name: str
    phase: str
    file: str
    line: int
    dtype: str
    shape: tuple[int, ...]
    smallest: float
    largest: float
    cells: int
    inf: int
    nan: int
    lost: int
    error_ulp: float | None
    local_error_ulp: float | None
    origin: Origin
    note: str = ""
    times: int = 1


@dataclass(frozen=True)
class TracedLine:
    """A line of source with what ran on it.

    Parameters
    ----------
    file : str
        As the user would name it.
    line : int
        Counted from 1.
    text : str
        The source, as it stands.
    operations : tuple of TracedOperation
        In order of execution; empty for a line on which nothing was computed.
    blamed : bool
        True for the line to blame.
    """

    file: str
    line: int
    text: str
    operations: tuple[TracedOperation, ...]
    blamed: bool = False


@dataclass(frozen=True)
class Blame:
    """The line at which the result was lost.

    Parameters
    ----------
    file : str
        Of the line.
    line : int
        Counted from 1.
    operation : int
        Index of the operation.
    sentence : str
        ``line 12: exp overflows for 496 of 500 cells (first: row 0, class 1, logit 1001.0)``.
    """

    file: str
    line: int
    operation: int
    sentence: str


@dataclass(frozen=True)
class Trace:
    """What `trace` returns.

    Parameters
    ----------
    target : str
        What was traced.
    operation : str
        What it is meant to compute.
    backend : str
        ``numpy`` or ``torch``.
    format : str
        Of the input.
    source : str
        Where the input came from.
    rows, classes : int
        Of the input.
    lines : tuple of TracedLine
        The source of every function that took part, file by file.
    outcome : Outcome
        The worst of all cells of the result.
    error_ulp : float or None
        Largest error of the result.
    formula_is_wrong : bool or None
        True where the shadow, exact arithmetic on the same code, is wrong too; None where the code
        could not be followed to its end.
    blame : Blame or None
        None where the result is good, or where the formula itself is wrong.
    finding : str
        The result in a sentence or two.
    not_followed : tuple of str
        What the shadow could not go through, with its line.
    command : tuple of str
        The command that reproduces it.
    notes : tuple of str
        What a reader should know.
    """

    target: str
    operation: str
    backend: str
    format: str
    source: str
    rows: int
    classes: int
    lines: tuple[TracedLine, ...]
    outcome: Outcome
    error_ulp: float | None
    formula_is_wrong: bool | None
    blame: Blame | None
    finding: str
    not_followed: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
