"""What a library must tell of its code, so that the cause of a bad gradient is found, and how it writes cures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from stablemax.numerics.formats import Array

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.trace.gradients.singular_points import SingularPoint
    from stablemax.trace.observation import Observation
    from stablemax.trace.run import Inputs, Run


@dataclass(frozen=True)
class ZeroHandedBack:
    """Why a gradient of 0 arrives at an operator: the id of the pattern, and what hands it back."""

    pattern: str
    says: str


@dataclass(frozen=True)
class Dialect:
    """How code of a library is written."""

    #: Modules that cures call by the name here, where the traced code has no other: what is imported, and the line.
    modules: Mapping[str, tuple[str, str]]
    #: Slots of templates that every library fills in its own words; these may hold modules and ``{x}``.
    words: Mapping[str, str]
    #: Names that keep something from autograd, or give it other derivatives.
    hiding: frozenset[str]


class Differentiable(Protocol):
    """Code that is traced, and whose gradient a library takes."""

    @property
    def code(self) -> Callable[..., Any]:
        """The traced code."""

    @property
    def dialect(self) -> Dialect:
        """How it is written."""

    def on(self, given: Inputs) -> Self:
        """Return the same code on another input."""

    def rerun(self) -> Run:
        """Run the code as it now is: the gradient, and the results that it is the gradient of."""

    def exact_losses(self) -> Array | None:
        """Return the results of the forward code as exact arithmetic gives them."""

    def nudged_losses(self, nudges: Mapping[int, Any], bits: int) -> Array | None:
        """Return exact cells of the results where numbers of the input are more by some cells; None where unknown."""

    def own_rules(self) -> frozenset[str]:
        """Name the functions of the traced code whose derivative is written by hand."""

    def zero_before(self, step: Observation, point: SingularPoint) -> ZeroHandedBack | None:
        """Return what handed back a gradient of 0, of which the operator of a step made NaN; None where none did."""
