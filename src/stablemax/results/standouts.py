"""Implementations side by side over all hazards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stablemax.text.outcomes import Outcome


@dataclass(frozen=True)
class Standout:
    """One implementation of one operation in one format, over all hazards."""

    #: What ran; the implementation is a variant id, or a peer's such as `torch/softmax`
    operation: str
    implementation: str
    format: str
    #: The worst of all cells of all hazards, leaving out what the input is to blame for; None where it was not run
    worst: Outcome | None
    #: The hazard that did it; empty when all is well
    worst_hazard: str = ""
    #: Largest error of a finite cell with a finite truth
    error_ulp: float | None = None
    #: The hazard of that error
    error_hazard: str = ""
    #: All hazards with a cell that the formula, not the input, is to blame for
    failed: tuple[str, ...] = ()
    #: The hazards under which each outcome occurred
    outcomes: Mapping[Outcome, tuple[str, ...]] = field(default_factory=dict)
    #: How many hazards were run
    judged: int = 0
    #: Of the worst, in words
    cause: str = ""
    #: Why it was not run; empty when it was
    skipped: str = ""


@dataclass(frozen=True)
class League:
    """What `compare --hazards` returns."""

    #: Columns of the tables, and what was run
    formats: tuple[str, ...]
    hazards: tuple[str, ...]
    #: The limit above which an error is inaccurate; None for half of each format's bits
    max_ulp: float | None
    #: By operation, implementation, format
    standouts: tuple[Standout, ...]
    #: Versions of the peers that took part
    libraries: Mapping[str, str]
    finding: str
    command: tuple[str, ...]
    notes: tuple[str, ...] = ()
    #: On whose arrays our variants ran, and where; an empty device is the library's own choice
    backend: str = "numpy"
    device: str = ""
