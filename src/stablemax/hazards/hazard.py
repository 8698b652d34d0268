"""What a hazard is, and which operations it concerns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stablemax.operations import all_operations
from stablemax.operations.operation import Gives, Operation, Second

if TYPE_CHECKING:
    from stablemax.hazards.cases import HazardCase
    from stablemax.numerics.formats import Format

NEEDS = ("ignore-index", "soft-targets", "weights")
"""What an implementation must take, beyond logits and labels, for some hazards to be run on it."""


def every_operation(operation: Operation) -> bool:  # noqa: ARG001 - one signature for all
    """An input of logits concerns all that take logits."""
    return True


def of_softmax(operation: Operation) -> bool:
    """The softmax of a row, and what is made of it: a condition of the row as a whole."""
    return not operation.cellwise


def of_cells(operation: Operation) -> bool:
    """What depends on one logit alone."""
    return operation.cellwise


def with_labels(operation: Operation) -> bool:
    """The cross-entropy and its gradient."""
    return operation.needs_targets


def losses_of_labels(operation: Operation) -> bool:
    """The cross-entropy alone."""
    return operation.needs_targets and operation.reduces


def with_upstream(operation: Operation) -> bool:
    """Products with an upstream gradient."""
    return operation.needs_upstream


def with_cell_targets(operation: Operation) -> bool:
    """The binary cross-entropy and its gradient."""
    return operation.second is Second.CELL_TARGETS


def with_two_rows(operation: Operation) -> bool:
    """What compares two rows of logits."""
    return operation.second is Second.LOGITS


def of_one_distribution(operation: Operation) -> bool:
    """What describes the softmax of a row by one number, without labels."""
    return operation.gives is Gives.ROW and operation.second is Second.NONE


@dataclass(frozen=True)
class Hazard:
    """An input on which implementations failed. What is right on it is computed, never typed in.

    Parameters
    ----------
    name : str
        Names the condition of the input (``row-all-neg-inf``), not what becomes of anybody under it.
    reason : str
        Why it is here, in words.
    source : str
        Where it was seen, separated by commas: ``pytorch 11752``, ``arXiv 2501.04697``; empty for our own.
    case : callable
        The input for a number format.
    concerns : callable
        Tells of an operation whether it concerns it: by what the operation takes and gives, so that a new
        one joins by itself.
    needs : tuple of str
        From `NEEDS`.
    promised : bool
        True where the variants say what becomes of them on it, in float32.

    Examples
    --------
    >>> from stablemax.numerics.formats import FLOAT16
    >>> from stablemax.hazards.catalogue import HAZARDS
    >>> HAZARDS["logit-above-exp-overflow"].case(FLOAT16).logits.tolist()
    [[11.09375, 0.0]]
    """

    name: str
    reason: str
    source: str
    case: Callable[[Format], HazardCase]
    concerns: Callable[[Operation], bool] = every_operation
    needs: tuple[str, ...] = ()
    promised: bool = False

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations that it concerns."""
        return tuple(o for o in all_operations() if self.concerns(o))
