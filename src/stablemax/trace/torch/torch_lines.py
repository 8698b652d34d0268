"""Which line of Python an operator belongs to: the one that called it, or that created its autograd node."""

from __future__ import annotations

import bisect
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch

from stablemax.trace.observation import BACKWARD, FORWARD, Site
from stablemax.trace.traced_code import PACKAGE, STANDARD_LIBRARY, Code, boundary, expression_at, is_library

TORCH = str(Path(torch.__file__).parent)
# What stands between an operator and whoever called it.
_DISPATCHING = tuple(str(Path(TORCH, part)) for part in ("_dynamo", "_compile.py", "utils", "overrides.py"))
_ENGINE = "_engine_run_backward"
_COMPILED = "compile_wrapper"


@dataclass
class Locator:
    """Finds the lines of one run.

    PyTorch numbers autograd's nodes as it creates them, and gives the operator that a node is made for
    the number before the next: so an operator of the backward pass finds the line of its forward one.
    """

    #: The traced code, traced even where it is installed.
    code: Code
    #: The functions that took part, in order.
    functions: dict[CodeType, None] = field(default_factory=dict)
    #: True once code of torch.compile was met.
    compiled: bool = False
    _forward: dict[int, Site] = field(default_factory=dict)
    _last: Site = field(default_factory=lambda: Site(phase=BACKWARD))

    def site(self) -> Site:
        """Find where the running operator was called."""
        traced, library, engine = self._walk(sys._getframe(1))
        node: Any = torch._C._current_autograd_node()
        if engine or node is not None:
            if traced is not None:
                return self._of_frame(traced, BACKWARD)
            return self._of_node(node)
        site = self._of_frame(traced or library, FORWARD)
        self._forward.setdefault(torch._C._autograd._get_sequence_nr() - 1, site)
        return site

    def caller(self) -> Site:
        """Find the running line of the traced code, whatever it calls."""
        traced, library, _ = self._walk(sys._getframe(1))
        return self._of_frame(traced or library, FORWARD)

    def source(self) -> str:
        """Return the expression that the traced code is at; empty where that is not known."""
        traced, _, _ = self._walk(sys._getframe(1))
        return expression_at(traced) if traced is not None else ""

    def frame(self) -> FrameType | None:
        """Return the running frame of the traced code."""
        traced, _, _ = self._walk(sys._getframe(1))
        return traced

    def _of_frame(self, frame: FrameType | None, phase: str) -> Site:
        if frame is None:
            return Site()
        code = frame.f_code
        return Site(code.co_filename, frame.f_lineno, phase, "", frame.f_lasti, code.co_qualname)

    def _of_node(self, node: Any) -> Site:
        # Between two nodes the engine adds up gradients; a leaf's own node has no forward operator.
        if node is None or node.name().endswith("AccumulateGrad"):
            return self._last
        known = sorted(self._forward)
        # A view that is written to gets one more node, after its operator's own.
        position = bisect.bisect_right(known, node._sequence_nr()) - 1
        source = self._forward[known[position]] if position >= 0 else Site()
        self._last = Site(source.file, source.line, BACKWARD, node.name(), source.instruction, source.function)
        return self._last

    def _walk(self, frame: FrameType | None) -> tuple[FrameType | None, FrameType | None, bool]:
        """Return the innermost frame of the traced code, that of any other library, and whether autograd runs."""
        traced: FrameType | None = None
        library: FrameType | None = None
        engine = False
        chain: list[CodeType] = []
        while frame is not None and frame.f_code is not boundary.__code__:
            name = frame.f_code.co_filename
            if self._is_traced(name):
                traced = traced or frame
                chain.append(frame.f_code)
            elif name.startswith(TORCH):
                self.compiled = self.compiled or frame.f_code.co_name == _COMPILED
                if frame.f_code.co_name == _ENGINE and traced is None:
                    engine = True
                    # What called the backward pass as a whole did not call this operator.
                    frame = _outermost(frame)
                elif not name.startswith(_DISPATCHING):
                    library = library or frame
            elif not name.startswith((PACKAGE, STANDARD_LIBRARY, "<frozen")):
                library = library or frame
            frame = frame.f_back
        for code in reversed(chain):
            self.functions.setdefault(code)
        return traced, library, engine

    def _is_traced(self, filename: str) -> bool:
        return self.code.holds(filename) or not (is_library(filename) or filename.startswith((TORCH, PACKAGE)))


def _outermost(frame: FrameType) -> FrameType:
    while frame.f_back is not None and frame.f_back.f_code is not boundary.__code__:
        frame = frame.f_back
    return frame
