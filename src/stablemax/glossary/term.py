"""What a term is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stablemax.results.explained import Figure


@dataclass(frozen=True)
class Term:
    """A word of numerical analysis or of the subject, explained by `stablemax explain`.

    Parameters
    ----------
    name : str
        In lower case, its words joined by hyphens.
    definition : str
        One sentence that anybody understands, without numbers of a particular format.
    text : tuple of str
        Two or three more sentences. A number that they name is computed in a figure, not typed in.
    figures : callable
        Computes the figures when the term is explained.
    aliases : tuple of str
        What else people call it. Only one term has an alias.
    see : tuple of str
        Commands to paste, without ``stablemax`` in front.
    cites : tuple of str
        Keys of `citations.CITATIONS`.
    """

    name: str
    definition: str
    text: tuple[str, ...]
    figures: Callable[[], tuple[Figure, ...]]
    aliases: tuple[str, ...] = ()
    see: tuple[str, ...] = ()
    cites: tuple[str, ...] = ()
