"""What ran, in order: every operation with the line that called it."""

from __future__ import annotations

import enum
import sys
import sysconfig
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.operations import NAMES
from stablemax.results import Origin
from stablemax.shadow import cells
from stablemax.shadow.observe import Event, Observation, observe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, FrameType

    from stablemax.formats import Array, Format

_PACKAGE = str(Path(__file__).parent.parent)
_VARIANTS = tuple(str(Path(_PACKAGE, "operations", f"{name}.py")) for name in (*NAMES, "normalisers"))
_SHADOW = str(Path(_PACKAGE, "shadow"))
_NUMPY = str(Path(np.__file__).parent)
_STANDARD = sysconfig.get_paths()["stdlib"]
_MIX = {Origin.NONE: 0, Origin.CAME_IN: 1, Origin.ABSORPTION: 2, Origin.CANCELLATION: 3, Origin.MADE_HERE: 4}


class Part(enum.Enum):
    """Whose code it is."""

    TRACED = "traced"
    OURS = "this package's, but for the shadow"
    MACHINERY = "the shadow's and NumPy's"
    LIBRARY = "anybody else's"


@dataclass(frozen=True)
class Site:
    """A line of the traced code.

    Parameters
    ----------
    file : str
        Path of the source; empty where no line of it was found.
    line : int
        Counted from 1; 0 where none was found.
    code : code or None
        The function that it is in.
    """

    file: str
    line: int
    code: CodeType | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Step:
    """One operation, as it ran."""

    name: str
    site: Site
    dtype: str
    seen: Observation


@dataclass
class Record:
    """One operation on one line; the runs of a loop are one record with the worst of their figures.

    Parameters
    ----------
    index : int
        Position of its first run.
    name : str
        What NumPy calls it.
    site : Site
        Where.
    dtype : str
        Of the output.
    seen : Observation
        Figures, the worst of all runs.
    times : int
        Number of runs.
    first : dict
        For each kind of event, which run (from 0) had it first.
    """

    index: int
    name: str
    site: Site
    dtype: str
    seen: Observation
    times: int = 1
    first: dict[Any, int] = field(default_factory=dict)

    def add(self, seen: Observation) -> None:
        """Count one more run."""
        for event in seen.events:
            self.first.setdefault(event.kind, self.times)
        self.times += 1
        self.seen = _merged(self.seen, seen)


def _merged(a: Observation, b: Observation) -> Observation:
    events: dict[Any, Event] = {e.kind: e for e in a.events}
    for e in b.events:
        old = events.get(e.kind)
        events[e.kind] = e if old is None else replace(old, cells=old.cells + e.cells)
    return Observation(
        shape=b.shape,
        smallest=float(np.fmin(a.smallest, b.smallest)),
        largest=float(np.fmax(a.largest, b.largest)),
        cells=a.cells + b.cells,
        inf=a.inf + b.inf,
        nan=a.nan + b.nan,
        lost=a.lost + b.lost,
        error_ulp=_larger(a.error_ulp, b.error_ulp),
        local_error_ulp=_larger(a.local_error_ulp, b.local_error_ulp),
        origin=max(a.origin, b.origin, key=_MIX.__getitem__),
        events=tuple(events.values()),
        worst=b.worst if (b.error_ulp or 0.0) > (a.error_ulp or 0.0) else a.worst,
    )


def _larger(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)


@dataclass
class Tape:
    """The record of one run, and what to change in it.

    Parameters
    ----------
    roots : tuple of str
        Files and folders that count as the traced code wherever they are.
    namespaces : tuple of dict
        Globals of the traced modules.
    watch : bool
        Measure every operation; without, only the shadow is kept.
    rounded_to : int
        Up to this many operations give the exact value, rounded once, in place of their own: what
        correct rounding of all of them would have led to.
    forgotten_to : int
        After this many operations the shadow starts again from the values: what exact arithmetic
        can still make of them.
    """

    roots: tuple[str, ...] = ()
    watch: bool = True
    namespaces: tuple[dict[str, Any], ...] = ()
    rounded_to: int = 0
    forgotten_to: int = 0
    count: int = 0
    steps: list[Step] = field(default_factory=list)
    records: dict[tuple[str, int, str, str], Record] = field(default_factory=dict)
    codes: dict[CodeType, None] = field(default_factory=dict)
    not_followed: dict[str, None] = field(default_factory=dict)
    handed: dict[int, tuple[float, Any, str]] = field(default_factory=dict)
    recovered: set[int] = field(default_factory=set)
    _taken: list[tuple[str, Format, Site, Array, Array, Array, list[tuple[Array, Array]]]] = field(default_factory=list)
    _parts: dict[str, Part] = field(default_factory=dict)

    def fresh(self) -> Tape:
        """Return an empty tape with the same instructions."""
        return Tape(self.roots, self.watch, self.namespaces, self.rounded_to, self.forgotten_to)

    def finish(
        self,
        name: str,
        value: Array,
        exact: Array,
        local: Array | None,
        inputs: Sequence[tuple[Array, Array]],
    ) -> tuple[Array, Array]:
        """Take down one operation; return its value and shadow, changed as the tape says."""
        fmt = cells.format_or_none(value.dtype)
        assert fmt is not None, "only results in a number format are taken down"
        index = self.count
        self.count += 1
        if index < self.rounded_to:
            value = fmt.cast(cells.nearest(exact)).reshape(value.shape)
        site = self.site()
        if self.watch:
            # Measured after the run: what runs now sees NumPy's functions replaced, and what is written
            # here may be changed in place before that.
            kept = [(v.copy(), c.copy()) for v, c in inputs]
            local = exact.copy() if local is None else local
            self._taken.append((name, fmt, site, value.copy(), exact.copy(), local, kept))
        if index < self.forgotten_to:
            exact = cells.cells_of(value)
        return value, exact

    def lose(self, what: str) -> None:
        """Take down that the shadow could not go through something, with its line."""
        self.not_followed.setdefault(self._placed(what))

    def lose_call(self, otherwise: str) -> None:
        """The same for a call that is named by its source: ``math.exp(x[0])``."""
        self.not_followed.setdefault(self._placed_call(otherwise))

    def hand_out(self, value: float, cell: Any, otherwise: str) -> float:
        """Give a Python float to the traced code.

        Nothing can be seen of what becomes of it, but the very object is known again when it comes
        back: ``return float(loss)`` loses nothing. What never comes back is not followed.
        """
        self.handed[id(value)] = (value, cell, self._placed_call(otherwise))
        return value

    def known(self, value: float) -> Any:
        """Return the cell of a float that was handed out; None for any other."""
        found = self.handed.get(id(value))
        if found is None or found[0] is not value:
            return None
        self.recovered.add(id(value))
        return found[1]

    def close(self) -> None:
        """Measure what was taken down, at the precision that it ran at, and end the run."""
        for index, (name, fmt, site, value, exact, local, inputs) in enumerate(self._taken):
            found = observe(name, fmt, value, exact, local, inputs)
            self.steps.append(Step(name, site, fmt.name, found))
            key = (site.file, site.line, name, fmt.name)
            if key in self.records:
                self.records[key].add(found)
            else:
                first = {e.kind: 0 for e in found.events}
                self.records[key] = Record(index, name, site, fmt.name, found, first=first)
        self._taken.clear()
        seen = {words for key, (_, _, words) in self.handed.items() if key in self.recovered}
        for _, _, words in self.handed.values():
            if words not in seen:
                self.not_followed.setdefault(words)

    def _placed(self, what: str) -> str:
        site = self.site()
        return f"{what} at {Path(site.file).name}:{site.line}" if site.file else what

    def _placed_call(self, otherwise: str) -> str:
        frame = self._frame()
        return self._placed((_expression(frame) if frame is not None else "") or otherwise)

    def site(self) -> Site:
        """Find the line of the traced code that runs now."""
        frame = self._frame()
        if frame is None:
            return Site("", 0)
        code = frame.f_code
        if code not in self.codes:
            self._take_part(frame)
        return Site(code.co_filename, frame.f_lineno, code)

    def follows(self, filename: str) -> bool:
        """Tell the traced code from all other."""
        return self.part(filename) is Part.TRACED

    def part(self, filename: str) -> Part:
        """Tell whose code a file is."""
        found = self._parts.get(filename)
        if found is None:
            found = self._parts[filename] = self._part_of(filename)
        return found

    def _part_of(self, filename: str) -> Part:
        if filename.startswith((_SHADOW, _NUMPY)):
            return Part.MACHINERY
        if filename.startswith(_PACKAGE):
            return Part.TRACED if filename.startswith(_VARIANTS) else Part.OURS
        if any(filename == r or filename.startswith(r.rstrip("/") + "/") for r in self.roots):
            return Part.TRACED
        installed = "site-packages" in filename or "dist-packages" in filename
        if installed or filename.startswith(("<frozen", _STANDARD)):
            return Part.LIBRARY
        return Part.TRACED

    def _frame(self) -> FrameType | None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not self.follows(frame.f_code.co_filename):
            frame = None if frame.f_code is _BOUNDARY_CODE() else frame.f_back
        return frame

    def _take_part(self, frame: FrameType | None) -> None:
        """Note the functions that lead here, the innermost last."""
        chain = []
        while frame is not None and frame.f_code is not _BOUNDARY_CODE():
            if self.follows(frame.f_code.co_filename):
                chain.append(frame.f_code)
            frame = frame.f_back
        for code in reversed(chain):
            self.codes.setdefault(code)


def boundary(function: Any, arguments: Sequence[Any]) -> Any:
    """Call the traced function: frames outside this one are not its code."""
    return function(*arguments)


def _BOUNDARY_CODE() -> CodeType:  # noqa: N802 - stands for a constant
    return boundary.__code__


def _expression(frame: FrameType) -> str:
    """Source of the expression that a frame is at, where it fits on a line."""
    import itertools
    import linecache

    positions = next(itertools.islice(frame.f_code.co_positions(), frame.f_lasti // 2, None), None)
    if positions is None:
        return ""
    line, end_line, start, end = positions
    if line is None or line != end_line or start is None or end is None:
        return ""
    text = linecache.getline(frame.f_code.co_filename, line).encode()[start:end].decode("utf-8", "replace").strip()
    return text if len(text) <= 60 else f"{text[:57]}..."
