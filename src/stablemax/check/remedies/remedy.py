"""What a remedy is: the body of a function for one operation, in one library, and why it holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remedy:
    """The body of a function, with `{x}`, `{y}`, `{axis}`, `{reduce}` and `{wide}` for what differs.

    `{x}` and `{y}` are the arguments, `{reduce}` is ``.mean()`` or ``.sum()`` or nothing, `{wide}` the wider dtype that
    sums are added in.
    """

    operation: str
    #: Name of the library.
    backend: str
    #: What it does, as a sentence.
    why: str
    body: str
    #: It computes in a wider format, of which there is none for float64.
    is_wide: bool = False
    #: It gives a row of nothing but -inf, where the operation has no value, a result all the same.
    is_of_masked_rows: bool = False
    #: Parameters that the function must have; those of this name are used in the body.
    needs: tuple[str, ...] = ()
