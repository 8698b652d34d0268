"""What a pattern is: a tree of operations that loses the result, and the code that computes the same and holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stablemax.trace.cures.matching import formula_of

if TYPE_CHECKING:
    from stablemax.trace.cures.matching import Apply


@dataclass(frozen=True)
class Pattern:
    """A formula that is right and loses the result in floats, with code to write in its place.

    The code is an expression with the leaves of the tree in braces. `{axis}`, `{dim}` and `{of_dim}` are the axes that
    its reduction takes together, `{keep}` is ``, keepdims=True`` where the code has it, `{count}` how many numbers a
    mean takes, `{limit}` the largest whole number whose exp the format holds. Each library may have several
    expressions: the first that cures is told.
    """

    id: str
    trees: tuple[Apply, ...]
    #: What goes wrong, as a clause: ``the sigmoid rounds to 0 or 1 before its logarithm is taken``.
    why: str
    numpy: tuple[str, ...] = ()
    torch: tuple[str, ...] = ()
    jax: tuple[str, ...] = ()
    #: For a formula that has no number of the format: what the code, which is another function, gives in its place.
    extends: str = ""
    #: Its results are logarithms of probabilities: beside 1, what is far below it may lose its own digits.
    is_beside_1: bool = False
    #: For formats of 16 bits and fewer alone.
    is_of_half: bool = False
    #: It costs digits that others keep: it is told where no other cures.
    is_last_resort: bool = False

    @property
    def formula(self) -> str:
        """Its first tree as code."""
        return formula_of(self.trees[0])

    def code(self, backend: str) -> tuple[str, ...]:
        """Return the expressions for a library, by its name."""
        return {"numpy": self.numpy, "torch": self.torch, "jax": self.jax}[backend]
