"""Implementations side by side over all hazards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stablemax.results.judged import Outcome


@dataclass(frozen=True)
class Standout:
    """One implementation of one operation in one format, over all hazards.

    Parameters
    ----------
    operation, implementation, format : str
        What ran; the implementation is a variant id, or a peer's such as ``torch/softmax``.
    worst : Outcome or None
        The worst of all cells of all hazards, leaving out what the input is to blame for; None where
        it was not run.
    worst_hazard : str
        The hazard that did it; empty when all is well.
    error_ulp : float or None
        Largest error of a finite cell with a finite truth.
    error_hazard : str
        The hazard of that error.
    failed : tuple of str
        All hazards with a cell that the formula, not the input, is to blame for.
    outcomes : mapping of Outcome to tuple of str
        The hazards under which each outcome occurred.
    judged : int
        How many hazards were run.
    cause : str
        Of the worst, in words.
    skipped : str
        Why it was not run; empty when it was.
    """

    operation: str
    implementation: str
    format: str
    worst: Outcome | None
    worst_hazard: str = ""
    error_ulp: float | None = None
    error_hazard: str = ""
    failed: tuple[str, ...] = ()
    outcomes: Mapping[Outcome, tuple[str, ...]] = field(default_factory=dict)
    judged: int = 0
    cause: str = ""
    skipped: str = ""


@dataclass(frozen=True)
class League:
    """What `compare --hazards` returns.

    Parameters
    ----------
    formats, hazards : tuple of str
        Columns of the tables, and what was run.
    max_ulp : float or None
        The limit above which an error is inaccurate; None for half of each format's bits.
    standouts : tuple of Standout
        By operation, implementation, format.
    libraries : mapping of str to str
        Versions of the peers that took part.
    finding : str
        The result in a sentence.
    command : tuple of str
        The command that reproduces it.
    notes : tuple of str
        What a reader should know.
    backend, device : str
        On whose arrays our variants ran, and where; an empty device is the library's own choice.
    """

    formats: tuple[str, ...]
    hazards: tuple[str, ...]
    max_ulp: float | None
    standouts: tuple[Standout, ...]
    libraries: Mapping[str, str]
    finding: str
    command: tuple[str, ...]
    notes: tuple[str, ...] = ()
    backend: str = "numpy"
    device: str = ""
