"""What is asked of somebody's code, and its answers: data that travels between processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from stablemax.check.target.call_style import CallStyle
from stablemax.check.target.globals_read import GlobalRead
from stablemax.check.target.returned import Pick
from stablemax.hazards.cases import Layout
from stablemax.numerics.formats import Array
from stablemax.operations.operation import Operation
from stablemax.results import Trace
from stablemax.text.errors import StablemaxError
from stablemax.trace.arrangement import Arrangement
from stablemax.trace.line_values import LineValues

OURS = "stablemax.testing"
"""The module that variants and built-ins are imported from; they take NumPy arrays."""


@dataclass(frozen=True)
class FurtherArgument:
    """An argument beside logits, labels and the like, by its name."""

    name: str
    #: A number, a string, None; or a NumPy array, which becomes one of the target's library.
    value: Any
    #: How Python code has the value.
    text: str


@dataclass(frozen=True)
class Target:
    """What to load, and how it is meant."""

    #: ``file.py:function``, ``module:function``, the id of a variant or of a library's built-in.
    name: str
    #: What it computes; None to read it off the name.
    operation: Operation | None = None
    #: ``numpy``, ``torch`` or ``jax``; empty to find out.
    backend: str = ""
    #: For torch and jax.
    device: str | None = None
    #: Judge the gradient that autograd takes of it, instead of itself.
    backward: bool = False
    #: Which item of what it returns is judged; None to find it by its shape.
    pick: Pick = None
    #: Passed at every call.
    further: tuple[FurtherArgument, ...] = ()
    #: A loss of a sequence (B, T, V), whose position t predicts the label at t + 1.
    shift: bool = False
    #: Of the random numbers that it draws, set before each call.
    seed: int = 0
    #: Any function, which gets the further arguments alone, and is held to no operation.
    is_any: bool = False


@dataclass(frozen=True)
class LoadRequest:
    """The first message to a target's process: what to load, and what it may take."""

    target: Target
    #: Most memory in bytes beyond what the imports take; None for no limit.
    memory_bytes: int | None = None


@dataclass(frozen=True)
class TargetInfo:
    """What was loaded."""

    name: str
    operation: Operation
    backend: str
    #: What it takes beyond logits and labels, from `hazards.hazard.NEEDS`.
    takes: frozenset[str] = frozenset()
    #: The only formats that it can be run in; empty for no known limit.
    formats: tuple[str, ...] = ()
    #: The module or file that it is imported from; empty where nothing can import it.
    module: str = ""
    #: How it is written there: ``softmax``, ``CrossEntropyLoss()``.
    expression: str = ""
    #: Its parameters as they are declared, ``logits, labels, axis=-1``; empty where Python cannot show them.
    signature: str = ""
    #: Global arrays that it reads.
    reads: tuple[GlobalRead, ...] = ()
    #: A loss that takes a target for every class, never class numbers.
    takes_rows_of_targets: bool = False
    #: How it is called, where that was found out or guessed.
    notes: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """True for a variant or a library's built-in, false for somebody's code."""
        return self.module == OURS


@dataclass(frozen=True)
class Call:
    """One call: arrays in the number format, as the function gets them."""

    #: (N, K), of a number format or of integers.
    logits: Array
    #: The operation's second argument: labels (N,) of int64, soft targets or an upstream gradient (N, K).
    second_argument: Array | None = None
    #: ``ignore_index``, ``weight``, ``label_smoothing``, where they are to be passed.
    options: dict[str, Any] = field(default_factory=dict)
    #: How the logits lie in memory when the function gets them.
    layout: Layout = Layout.C
    #: How the rows lie in the array that the function gets; None for (N, K).
    arrangement: Arrangement | None = None
    #: Call the function itself, even where the gradient that autograd takes of it is judged.
    forward: bool = False
    #: A global of the function's module that holds the logits meanwhile; empty for none.
    bound: str = ""


@dataclass(frozen=True)
class Result:
    """What came of a call."""

    #: What was returned; None where there is trouble.
    output: Array | None
    #: What happened instead: an exception, junk, no answer in time; empty when all went well.
    trouble: str = ""
    #: True where the function wrote into its arguments.
    changed_input: bool = False
    #: What it printed, bounded.
    printed: str = ""
    #: True where no answer came in time.
    hung: bool = False
    #: True where it asked for more memory than it may have: the call says nothing about the code.
    lacks_memory: bool = False
    #: The shapes of what was returned instead of an array, by place or name.
    items: dict[int | str, tuple[int, ...]] = field(default_factory=dict)
    #: How the function was called.
    style: CallStyle = field(default_factory=CallStyle)


@dataclass(frozen=True)
class TraceOptions:
    """What a trace says of its input, and how it judges it."""

    source: str = ""
    max_ulp: float | None = None
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    #: Numbers of the rows in the user's input, where they are some of many, (N,).
    numbers: Array | None = None


class LoadedTarget(Protocol):
    """Somebody's function, ready to be called: in this process or in one of its own."""

    info: TargetInfo

    def prepare(self) -> TargetInfo:
        """Find out how the function wants to be called; return what is known of it then."""
        return self.info

    def call(self, call: Call) -> Result:
        """Call the function; raise `NoAnswerError` where it hangs or ends its process."""

    def call_all(self, calls: Sequence[Call]) -> list[Result]:
        """Call the function once for each; a hang or the end of its process becomes that result's trouble."""
        return [self.call(call) for call in calls]

    def run_exactly(self, call: Call) -> Array | None:
        """Run the function on exact numbers: its result in float64, None where that is not possible."""

    def values_of(self, call: Call) -> list[LineValues]:
        """Return the exact values of each operation, in order; none where the code cannot be followed."""

    def call_instead(self, code: str, name: str, calls: Sequence[Call]) -> list[Result]:
        """Call a function of other code, for the same library and operation, once for each."""

    def trace(self, call: Call, options: TraceOptions) -> Trace:
        """Trace the function on an input; raise `StablemaxError` where it raises or cannot be traced."""


class NoAnswerError(Exception):
    """The code hung, ended its process or lacked memory; the text says which, and begins with a verb."""

    def __init__(self, text: str, *, hung: bool = False, lacks_memory: bool = False) -> None:
        super().__init__(text)
        self.hung = hung
        self.lacks_memory = lacks_memory

    @property
    def hint(self) -> str:
        """What a user may do about it."""
        if self.hung:
            return "give it more time: --timeout 300"
        return "give it more: --memory 8GB" if self.lacks_memory else "stablemax check tells on which input"


@dataclass(frozen=True)
class Reply:
    """What the worker sends back: an answer, or the error that took its place."""

    answer: Any = None
    #: What the code printed since the last reply, bounded.
    printed: str = ""
    #: A RuntimeError tells of a fault of this program.
    error: StablemaxError | NoAnswerError | RuntimeError | None = None
