"""Which line of Python an equation belongs to, and which pass of a gradient."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

import jax
from jax.extend.source_info_util import current

from stablemax.trace.cures.flow import SourceRange, range_of
from stablemax.trace.observation import BACKWARD, FORWARD, Site
from stablemax.trace.traced_code import PACKAGE, STANDARD_LIBRARY, Code, boundary, expression_of, is_library

JAX = str(Path(jax.__file__).parent)
_TRANSPOSED = "transpose("


@dataclass
class Lines:
    """Finds the lines of one run: JAX keeps with each equation the frames that called its primitive."""

    #: The traced code, traced even where it is installed.
    code: Code
    #: Equations, by identity, that only the gradient needs.
    of_gradient: Collection[int] = ()
    #: The functions that took part, in order.
    functions: dict[CodeType, None] = field(default_factory=dict)
    #: Of the sites in the traced code.
    _codes: dict[Site, CodeType] = field(default_factory=dict)
    _sites: dict[tuple[int, Site], Site] = field(default_factory=dict)
    _owners: dict[str, bool] = field(default_factory=dict)

    def site(self, source: Any, above: Site) -> Site:
        """Find where an equation was called; code of a library's within a call stands on the line `above` of that."""
        key = (id(source), above)
        if key not in self._sites:
            self._sites[key] = self._found(source, above)
        return self._sites[key]

    def caller(self) -> Site:
        """Find the line of the traced code that runs now."""
        return self._found(SimpleNamespace(source_info=current()), Site())

    def expression(self, site: Site) -> str:
        """Return the expression that called an equation; empty where that is not known."""
        code = self._codes.get(site)
        return "" if code is None else expression_of(code, site.instruction)

    def range(self, site: Site) -> SourceRange | None:
        """Return where the expression that called an equation stands in its file; None where that is not known."""
        code = self._codes.get(site)
        return None if code is None else range_of(code, site.instruction, self._globals_of(code.co_filename))

    def _globals_of(self, filename: str) -> dict[str, Any]:
        """Return the globals of the module of a file of the traced code."""
        of_file = (names for names in self.code.namespaces if names.get("__file__") == filename)
        return next(of_file, self.code.names)

    def _found(self, source: Any, above: Site) -> Site:
        frames = _frames(source)
        is_backward = (
            above.phase == BACKWARD
            or id(source) in self.of_gradient
            or _TRANSPOSED in str(source.source_info.name_stack)
        )
        phase = BACKWARD if is_backward else FORWARD
        traced = [f for f in frames if self._is_traced(f[0].co_filename)]
        for code, _ in reversed(traced):
            self.functions.setdefault(code)
        if not traced and above.file:
            site = replace(above, phase=phase)
            if above in self._codes:
                self._codes[site] = self._codes[above]
            return site
        of_library = (f for f in frames if not f[0].co_filename.startswith((JAX, PACKAGE, STANDARD_LIBRARY, "<frozen")))
        frame = next(iter(traced), None) or next(of_library, None)
        if frame is None:
            return Site(phase=phase)
        code, instruction = frame
        site = Site(code.co_filename, line_of(code, instruction), phase, "", instruction, code.co_qualname)
        if traced:
            self._codes[site] = code
        return site

    def _is_traced(self, filename: str) -> bool:
        owner = self._owners.get(filename)
        if owner is None:
            is_foreign = is_library(filename) or filename.startswith((JAX, PACKAGE))
            owner = self._owners[filename] = self.code.holds(filename) or not is_foreign
        return owner


def _frames(source: Any) -> list[tuple[CodeType, int]]:
    """Return the code and the instruction of each frame that led to an equation, the innermost first."""
    traceback = source.source_info.traceback
    if traceback is None:
        return []
    codes, instructions = traceback.raw_frames()
    frames = list(zip(codes, instructions, strict=True))
    ends = (i for i, (code, _) in enumerate(frames) if code is boundary.__code__)
    return frames[: next(ends, len(frames))]


def line_of(code: CodeType, instruction: int) -> int:
    """Return the line of an instruction of a code object.

    >>> line_of((lambda x: x + 1).__code__, 0) > 0
    True
    """
    lines = (line for start, end, line in code.co_lines() if start <= instruction < end)
    return next(lines, None) or code.co_firstlineno
