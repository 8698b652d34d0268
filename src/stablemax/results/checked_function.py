"""Any function, searched for the smallest input that breaks it."""

from __future__ import annotations

from dataclasses import dataclass

from stablemax.results.checked import Contract
from stablemax.text.outcomes import Grade, Outcome


@dataclass(frozen=True)
class TriedFormat:
    """What became of the inputs in one number format."""

    format: str
    #: Accurate, unstable, or stable where numbers far below the largest of a result lose their digits
    grade: Grade
    #: Inputs that were run; those that were held against exact arithmetic
    tried: int
    proved: int
    #: Of those: inputs that break the function
    broken: int
    #: Inputs for which exact arithmetic has no value of the format either
    undefined: int
    #: Inputs of which a few roundings change the exact result as much as the function is off
    ill_conditioned: int
    #: Inputs with numbers far below the largest of the result that lose their digits
    loses_small: int
    #: Inputs that the function refused, by raising
    refused: int
    #: Inputs on which exact arithmetic could not follow the code to its end
    not_followed: int
    #: The worst of all cells that count
    worst: Outcome
    #: Largest error of a result that holds; None without one
    error_ulp: float | None
    #: True where a failure in this format breaks the contract
    failed: bool


@dataclass(frozen=True)
class GivenArray:
    """An array that the function got."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    #: The numbers, row after row
    values: tuple[float, ...]


@dataclass(frozen=True)
class BreakingPoint:
    """Two neighbouring numbers of the format, of which only the second breaks the function."""

    #: The number that was moved, such as `x[0]`
    number: str
    holds: float
    breaks: float
    #: Those that were tried from there to this number break it, too: the end of the range, or that of the search
    #: towards 0; None where some hold
    until: float | None


@dataclass(frozen=True)
class BreakingInput:
    """The smallest input that was found to break the function."""

    format: str
    arguments: tuple[GivenArray, ...]
    outcome: Outcome
    #: The first cell that shows it, such as `result[0]`; what came out, and the exact value rounded to the format
    place: str
    output: float
    truth: float
    #: Where one number alone breaks it
    breaking_point: BreakingPoint | None
    #: Python to paste
    code: str
    #: A pytest test that fails as long as the function does; empty where the input is too large to spell out
    test: str


@dataclass(frozen=True)
class FunctionCheck:
    """What `check` returns of a function that is held to no operation."""

    target: str
    #: `none`: exact arithmetic on its own code is right
    operation: str
    #: `numpy`, `torch` or `jax`
    backend: str
    #: Its arguments, and the ranges that are searched
    source: str
    #: The worst grade of the formats that count
    grade: Grade
    finding: str
    formats: tuple[TriedFormat, ...]
    #: None where no input breaks it
    counterexample: BreakingInput | None
    #: The line of code to blame, in a sentence; empty where none was found
    blame: str
    blame_file: str
    #: Its line; 0 where none was found
    blame_line: int
    #: Python to write instead that holds on the smallest breaking input; and why
    instead: str
    instead_why: str
    #: What it was held to
    contract: Contract
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True where the contract holds."""
        return not any(tried.failed for tried in self.formats)
