"""What an implementation is held to, and how hard it is tried."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stablemax.check.laws import INTEGER_LAW, LAW_NAMES
from stablemax.hazards.catalogue import HAZARDS, NEEDS, Hazard
from stablemax.hazards.shapes import TAKEN
from stablemax.numerics.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format, get_format
from stablemax.operations.operation import Operation
from stablemax.results import Contract, Grade, Outcome
from stablemax.results.checked import UNSTABLE_IN
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.ranges import check_max_ulp

if TYPE_CHECKING:
    from stablemax.check.target.messages import TargetInfo

DEFAULT_FORMATS = (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)
FAILURES = tuple(outcome.value for outcome in Outcome if outcome.is_failure)
"""Names of the outcomes that break a contract."""


@dataclass(frozen=True)
class CheckOptions:
    """What an implementation is held to, and how hard it is tried; raise `StablemaxError` for an unknown name."""

    #: Number formats to try, as far as the implementation accepts them; empty for the usual ones: `usual_formats`.
    formats: tuple[Format, ...] = ()
    #: Errors above are inaccurate; half of the format's bits when not given.
    max_ulp: float | None = None
    #: Outcomes and laws that do not count, and formats in which it may be unstable: unstable-in=float16.
    allow: tuple[str, ...] = ()
    #: Globs of hazard names; empty for all.
    only: tuple[str, ...] = ()
    #: From `hazards.hazard.NEEDS` and `hazards.shapes.TAKEN`: what the implementation takes beyond what its text shows.
    takes: tuple[str, ...] = ()
    #: True to look for the smallest input that breaks the implementation.
    search: bool = True
    #: Try every shape, however long it takes.
    thorough: bool = False
    #: Seed of that search.
    seed: int = 0
    #: The least grade that passes: stable or accurate.
    require: Grade = Grade.STABLE

    def __post_init__(self) -> None:
        check_max_ulp(self.max_ulp)
        object.__setattr__(self, "allow", tuple(map(_allowed, self.allow)))
        refuse_unknown(self.takes, (*NEEDS, *TAKEN), "--with: nothing is called", "one of")
        for pattern in self.only:
            if not fnmatch.filter(HAZARDS, pattern):
                raise StablemaxError(f"--only: no hazard matches {shown(pattern)!r}", "stablemax list hazards")

    def contract(self, formats: tuple[Format, ...]) -> Contract:
        """Return the contract, as it is reported."""
        return Contract(self.max_ulp, self.allow, self.only, tuple(f.name for f in formats), self.require)

    def hazards_of(self, operation: Operation) -> list[Hazard]:
        """Return the hazards that an operation is tried on; raise `StablemaxError` where there is none."""
        hazards = [
            hazard
            for hazard in HAZARDS.values()
            if operation in hazard.operations
            and any(fnmatch.fnmatchcase(hazard.name, pattern) for pattern in self.only or ("*",))
        ]
        if not hazards:
            raise StablemaxError(f"no hazard of {operation} matches {', '.join(self.only)}", "stablemax list hazards")
        return hazards


def _allowed(name: str) -> str:
    """Return what is allowed by the names of the tables; raise `StablemaxError` for an unknown name."""
    if name.startswith(UNSTABLE_IN):
        return f"{UNSTABLE_IN}{get_format(name.removeprefix(UNSTABLE_IN)).name}"
    known = (*FAILURES, *LAW_NAMES, INTEGER_LAW, f"{UNSTABLE_IN}FORMAT")
    refuse_unknown([name], known, "--allow: there is no outcome or law", "one or more of")
    return name


def refuse_unknown(names: Iterable[str], known: Sequence[str], message: str, hint: str) -> None:
    """Raise `StablemaxError` for the first name that is not known."""
    for name in names:
        if name not in known:
            raise StablemaxError(f"{message} {shown(name)!r}", f"{hint}: {', '.join(known)}")


def usual_formats(info: TargetInfo) -> tuple[Format, ...]:
    """Return the formats in which an implementation is tried when none is named.

    bfloat16 is no format of NumPy's: with ml_dtypes a bare ``1.0`` in the code makes float32 of it, and
    sums are added one by one, for which the code is not to blame.
    """
    is_numpy_code = info.backend == "numpy" and not info.is_ours
    return tuple(f for f in DEFAULT_FORMATS if not (is_numpy_code and f == BFLOAT16))
