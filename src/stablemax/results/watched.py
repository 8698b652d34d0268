"""What `watch` returns: the first inf or NaN of a run, what it came from, and which of three it is."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from stablemax.results.traced import Trace


class WatchVerdict(enum.StrEnum):
    """Where the first inf or NaN of a run comes from."""

    DATA = "data"
    DIVERGENCE = "divergence"
    OPERATION = "operation"
    UNSEEN = "unseen"


@dataclass(frozen=True)
class WatchedTensor:
    """A tensor that went into an operation, or came out of it."""

    #: The name of the parameter, else that of the operation's argument; `output` for what came out
    name: str
    dtype: str
    shape: tuple[int, ...]
    #: Range of the finite cells; None where there are none, or where the tensor was overwritten
    smallest: float | None
    largest: float | None
    inf: int = 0
    nan: int = 0
    zeros: int = 0
    #: It was overwritten before it could be looked at
    is_overwritten: bool = False


@dataclass(frozen=True)
class WatchedFault:
    """The operation that made the first inf or NaN, or saw it first."""

    #: `overflow`, `nan` or `lost`
    kind: str
    #: Counted from 1 by the steps of optimizers
    step: int
    #: As in `MLP.encoder.0`; empty outside of modules
    module: str
    #: The user's line; for a backward operation the line whose forward operation it belongs to
    file: str
    #: Counted from 1; 0 where no line of Python called it
    line: int
    text: str
    #: `forward` or `backward`
    phase: str
    #: As PyTorch calls it: `aten.log`
    operation: str
    inputs: tuple[WatchedTensor, ...]
    output: WatchedTensor
    #: Index of the first cell of the output
    place: tuple[int, ...]
    sentence: str


@dataclass(frozen=True)
class FaultCause:
    """The operation that lost what the faulty one needed, found by running the last operations again, exactly."""

    file: str
    line: int
    text: str
    module: str
    #: As PyTorch calls it; empty where a comparison is the cause
    operation: str
    sentence: str
    #: It is the operation that made the inf or NaN itself
    is_fault_itself: bool
    #: What stood for the truth: `exact arithmetic` or `float64`
    truth: str


@dataclass(frozen=True)
class IncomingTensor:
    """A tensor with an inf or a NaN that no watched operation made."""

    #: The name of the parameter or buffer; empty for a batch
    name: str
    dtype: str
    shape: tuple[int, ...]
    #: Index of the first bad cell, and what stands there: `nan`, `inf` or `-inf`; `not finite` where it was overwritten
    place: tuple[int, ...]
    value: str
    #: Bad cells; None where they were overwritten
    cells: int | None
    file: str
    line: int
    operation: str
    step: int


@dataclass(frozen=True)
class OutlyingNumber:
    """A finite number of the data, far from the others, without whose sample or column the fault is not there."""

    dtype: str
    shape: tuple[int, ...]
    place: tuple[int, ...]
    value: float
    #: The largest number of the other samples or columns, without its sign
    others: float
    #: `sample` or `column`, and how many of them stand apart
    part: str
    parts: int
    #: Where it is read first
    file: str
    line: int
    operation: str


@dataclass(frozen=True)
class WatchedStep:
    """A step of the training: its loss, the largest weight and the norm of all gradients; None where not known."""

    #: Counted from 1; 0 stands for what was there before the first
    step: int
    loss: float | None
    largest_weight: float | None
    gradient_norm: float | None


@dataclass(frozen=True)
class Watched:
    """What `watch` returns."""

    finding: str
    #: None where nothing was found
    verdict: WatchVerdict | None
    fault: WatchedFault | None = None
    cause: FaultCause | None = None
    #: Of the verdict `data`
    incoming: IncomingTensor | None = None
    outlier: OutlyingNumber | None = None
    #: The last steps before
    history: tuple[WatchedStep, ...] = ()
    #: The last operations, run again beside exact arithmetic
    retrace: Trace | None = None
    #: Ids of the patterns that the code to write instead is for
    pattern: str = ""
    #: Code to write instead, where a known cure was run on what the last operations got; and what it gave
    instead: str = ""
    instead_why: str = ""
    #: The folder with files that show it; empty where there is none
    repro: str = ""
    #: Operations that were checked, and steps that were counted
    operations: int = 0
    steps: int = 0
    #: Steps in which scaled gradients overflowed, as GradScaler expects, and those that it skipped
    scaled_overflows: int = 0
    skipped_steps: int = 0
    #: A mistake of the watch itself, by which it ended; empty where there was none
    error: str = ""
    #: Of the program
    exit_code: int | None = None
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
