"""A run, watched operation by operation."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from stablemax.text.outcomes import Outcome


class Origin(enum.StrEnum):
    """Where an operation's error comes from."""

    NONE = "none"
    MADE_HERE = "made here"
    INHERITED = "inherited"
    CANCELLATION = "cancellation"
    ABSORPTION = "absorption"


@dataclass(frozen=True)
class TracedOperation:
    """One operation of the traced code."""

    #: Order of execution, from 0
    index: int
    #: As NumPy or PyTorch calls it: `exp`, `add.reduce`, `aten.logsumexp`
    name: str
    #: `forward` or `backward`
    phase: str
    #: Of the line that called it
    file: str
    #: Counted from 1
    line: int
    dtype: str
    shape: tuple[int, ...]
    #: Range of the finite cells of the output; NaN if there are none
    smallest: float
    largest: float
    #: Cells of the output; those that are infinite where the exact value is not, NaN, and 0 where the exact value is
    #: not
    cells: int
    inf: int
    nan: int
    lost: int
    #: Largest distance from the shadow, in ulps of the dtype; None without a finite cell
    error_ulp: float | None
    #: Largest distance from the same operation taken exactly on the inputs that it really got: the error made here
    local_error_ulp: float | None
    #: Where the error comes from
    origin: Origin
    #: What happened, in words: `exp overflows for 496 of 500 cells (first: row 0, class 1, logit 1001.0)`
    note: str = ""
    #: How often this line ran this operation: the rows of a loop are told together
    times: int = 1


@dataclass(frozen=True)
class TracedLine:
    """A line of source with what ran on it."""

    #: As the user would name it
    file: str
    #: Counted from 1
    line: int
    #: The source, as it stands
    text: str
    #: In order of execution; empty for a line on which nothing was computed
    operations: tuple[TracedOperation, ...]
    #: True for the line to blame
    blamed: bool = False


@dataclass(frozen=True)
class Blame:
    """The line at which the result was lost."""

    file: str
    #: Counted from 1
    line: int
    #: Index of the operation; of a comparison, that of the operation which lost what it compares; -1 where it has none
    operation: int
    #: `line 12: exp overflows for 496 of 500 cells (first: row 0, class 1, logit 1001.0)`
    sentence: str


@dataclass(frozen=True)
class Trace:
    """What `trace` returns."""

    #: What was traced
    target: str
    #: `none` for any function, whose truth is exact arithmetic on its own code
    operation: str
    #: `numpy` or `torch`
    backend: str
    #: Of the input
    format: str
    #: Where the input came from
    source: str
    #: Of the input; for any function the numbers of its result, and 1
    rows: int
    classes: int
    #: The source of every function that took part, file by file
    lines: tuple[TracedLine, ...]
    #: The worst of all cells of the result
    outcome: Outcome
    #: Largest error of the result
    error_ulp: float | None
    #: True where the shadow, exact arithmetic on the same code, is wrong too; None where the code could not be
    #: followed to its end
    formula_is_wrong: bool | None
    #: None where the result is good, or where the formula itself is wrong and its mistake has no certain line
    blame: Blame | None
    finding: str
    #: What the shadow could not go through, with its line
    not_followed: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    #: The known mistake that explains a wrong formula, in a word or two; empty where none does
    mistake: str = ""
    #: Python to write instead, with the same name and parameters, that holds on this input; and why
    instead: str = ""
    instead_why: str = ""
    #: Id of the pattern, known from many programs, that the fault is an instance of; empty where it is none
    pattern: str = ""
