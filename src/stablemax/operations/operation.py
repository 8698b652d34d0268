"""The record of an operation: everything that tells one operation from another."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from stablemax.operations import all_operations, get_operation

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array


class Gives(enum.Enum):
    """The shape of a result: one number for each logit, (N, K), or for each row, (N,)."""

    CELL = "cell"
    ROW = "row"


class Second(enum.Enum):
    """The second argument of an operation: what it is computed with beside the logits (N, K)."""

    NONE = "none"
    LABELS = "labels"
    """Labels (N,) or soft targets (N, K), as `targets.LabelTargets` or `targets.SoftTargets`."""
    CELL_TARGETS = "cell targets"
    """A target in [0, 1] for each cell, as `targets.CellTargets`."""
    UPSTREAM = "upstream gradient"
    """An upstream gradient (N, K)."""
    LOGITS = "second logits"
    """A second array of logits (N, K)."""


class Given(NamedTuple):
    """What a result was computed from: logits (N, K) in float64 and the second argument."""

    x: Array
    second: Any = None


class Prover(Protocol):
    """What proves truths in exact arithmetic; `truth.measure` hands one to the hooks of a record."""

    def prove(self, compute: Callable[[Any, Any], Any], shape: tuple[int, int]) -> Any:
        """Return the truth of what ``compute(xp, rows)`` gives for some rows of logits of a shape (N, K)."""

    def of(self, operation: Operation, x: Array, second: Any) -> Any:
        """Return the truth of an operation on finite logits."""


@dataclass(frozen=True, eq=False, repr=False)
class Operation:
    """What is computed. There is one instance of each, so that operations are compared by identity.

    Parameters
    ----------
    name : str
        From `operations.NAMES`: it stands in ids, results and messages, and names the module.
    gives : Gives
        The shape of the result.
    second : Second
        What it takes beside the logits.
    scale : callable
        ``(values (N, C), Given)`` in float64 to (N, C) or (N, 1): the size that an error is measured
        against where a result must be stable, not accurate.
    undefined : callable
        ``(x, second)`` to the rows (N,), or the cells (N, K), in which it has no value.
    limit : mapping of float to float or callable
        What stands in a cell whose logit is -inf or inf, for balls know no infinities; a callable gets
        ``(second, xp)`` and returns (N, K), balls where the limit is not a number of every format. A row of
        an operation that is not `cellwise` is computed without its classes at -inf.
    cellwise : bool
        True where each cell depends on its own logit alone, and is judged alone.
    masked : callable, optional
        ``(prover, x, unmasked, second)`` to the truth of rows that share a mask, where it is not what the
        row without its classes at -inf gives; `unmasked` are the other classes.
    open_sum : callable, optional
        ``(x, second, xp)`` in exact arithmetic to ``(a, b, tail)``, whose value is a - b + tail: a difference of
        logits without any rounding, and what may be tiny beside it. None where there is no such sum.
    reduces : bool
        True where its numbers are losses, of which a program may give the mean or the sum.
    gradient_of : str
        Name of the operation whose gradient it is; empty for none.
    error_u : float, optional
        Bound of the relative error of the best variant in float64, in units of u, several times what was measured;
        None where a result may be ill-conditioned, so that there is no such bound.
    best : str
        Name of the variant that runs in exact arithmetic, and is right to a few ulps in float64.
    reference : str
        Name of the variant whose bound any good kernel should keep; the best one when empty.
    follows_shift : bool
        True where a number added to every logit of a row is added to the result; elsewhere it changes nothing.
    laws : tuple of str
        From `laws.LAW_NAMES`: what every implementation obeys.
    looks_like : str
        Regular expression that is looked for in the lower-case name of a function.
    looks_rank : int
        Names are held against the patterns of a lower rank first: a softmax loss is a loss.
    kernel : str
        From `array_job.KERNELS`; without one the best variant computes arrays, in blocks.
    libraries : mapping of str to str
        What other libraries call it, by library.
    computes : str
        What it computes, in a sentence for those who see it for the first time.
    noun : str
        What a result is called in a sentence.
    command : str
        The command that computes it; empty for none.
    timed : bool
        True where `bench` times it beside the libraries.
    by_default : bool
        True where `compare --all` and the league run it when nothing is asked for.
    main_variants : tuple of str
        Names of the naive, the usual stable and the most accurate formula: what the first screen of `compare` shows.
    in_overview : bool
        True where that screen shows it.
    """

    name: str
    gives: Gives
    second: Second = Second.NONE
    scale: Callable[[Array, Given], Array] = field(kw_only=True)
    undefined: Callable[[Array, Any], Array] = field(kw_only=True)
    limit: Mapping[float, float | Callable[[Any, Any], Array]] = field(default_factory=lambda: MappingProxyType({}))
    cellwise: bool = False
    masked: Callable[[Prover, Array, Array, Any], Any] | None = None
    open_sum: Callable[[Array, Any, Any], tuple[Array, Any, Array] | None] | None = None
    reduces: bool = False
    gradient_of: str = ""
    error_u: float | None = None
    best: str = "compensated"
    reference: str = ""
    follows_shift: bool = False
    laws: tuple[str, ...] = ()
    looks_like: str = r"(?!)"
    looks_rank: int = 50
    kernel: str = ""
    libraries: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    computes: str = ""
    noun: str = ""
    command: str = ""
    timed: bool = True
    by_default: bool = True
    main_variants: tuple[str, ...] = ("naive", "shifted", "compensated")
    in_overview: bool = False

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<operation {self.name}>"

    def __reduce__(self) -> tuple[Callable[[str], Operation], tuple[str]]:
        """Travel to another process by name."""
        return get_operation, (self.name,)

    @property
    def needs_targets(self) -> bool:
        """True where the second argument is labels or soft targets."""
        return self.second is Second.LABELS

    @property
    def takes_labels(self) -> bool:
        """True where the second argument is made of labels: targets of rows or of cells."""
        return self.second in (Second.LABELS, Second.CELL_TARGETS)

    @property
    def needs_upstream(self) -> bool:
        """True where the second argument is an upstream gradient."""
        return self.second is Second.UPSTREAM

    @property
    def per_row(self) -> bool:
        """True where a row of logits gives one number."""
        return self.gives is Gives.ROW

    @property
    def best_id(self) -> str:
        """Id of the variant that is right to a few ulps in float64."""
        return f"{self.name}/{self.best}"

    @property
    def forward(self) -> Operation | None:
        """The operation whose gradient it is; None for none."""
        return get_operation(self.gradient_of) if self.gradient_of else None

    @property
    def gradient(self) -> Operation | None:
        """The operation that is its gradient; None where there is none."""
        return next((o for o in all_operations() if o.gradient_of == self.name), None)

    @property
    def of_losses(self) -> bool:
        """True for the gradient of losses: of their mean, or of their sum."""
        return self.forward is not None and self.forward.reduces

    def loss_count(self, rows: int, classes: int) -> int:
        """How many losses the mean divides by, without ignored ones."""
        return rows * classes if self.cellwise else rows

    def is_reduced(self, shape: tuple[int, ...], logits_shape: tuple[int, ...]) -> bool:
        """Tell whether an output of some shape is one number for all losses of the logits (N, K)."""
        rows, classes = logits_shape
        one_number = all(n == 1 for n in shape)
        return self.reduces and one_number and (not shape or self.loss_count(rows, classes) > 1)
