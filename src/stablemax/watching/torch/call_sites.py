"""Where an operation was called: the user's line and module; of a backward operation, those of its forward one."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import linecache
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import get_ident
from types import CodeType, FrameType
from typing import Any, NamedTuple

import torch
from torch import nn

from stablemax.trace.observation import BACKWARD, FORWARD, Site
from stablemax.trace.traced_code import PACKAGE, is_library
from stablemax.watching.torch.ring import address_of

_TORCH = str(Path(torch.__file__).parent)
_ENGINE = "_engine_run_backward"
_MOST_LINES = 100_000
"""Forward operations whose lines are remembered for their backward ones."""

_OWN, _LIBRARY, _BETWEEN, _AUTOGRAD = range(4)


class CallSite(NamedTuple):
    """A place in the code, cheap to note: its line is looked up when it is asked for."""

    code: CodeType | None
    instruction: int
    module: Any
    #: The number and name of the autograd node that ran; None in the forward pass.
    node: tuple[int, str] | None = None

    @property
    def line(self) -> int:
        """The number of the line; 0 where there is none."""
        if self.code is None:
            return 0
        position = next(itertools.islice(self.code.co_positions(), self.instruction // 2, None), None)
        return (position[0] if position else None) or self.code.co_firstlineno

    @property
    def site(self) -> Site:
        """The same as a trace has it."""
        file = "" if self.code is None else self.code.co_filename
        phase = FORWARD if self.node is None else BACKWARD
        return Site(file, self.line, phase, "" if self.node is None else self.node[1], self.instruction)

    @property
    def text(self) -> str:
        """The source of the line."""
        return "" if self.code is None else linecache.getline(self.code.co_filename, self.line).strip()


_NODES = 1 << 48
"""PyTorch numbers the autograd nodes of each thread from 0: so many numbers keep those of two threads apart."""


@dataclass
class _ThreadState:
    """What runs in a thread."""

    #: What the numbers of its autograd nodes begin at.
    first_node: int = 0
    last_number: int = -1
    #: A backward pass runs, in which hooks may call operations beside its nodes.
    in_backward: bool = False
    modules: list[nn.Module] = field(default_factory=list)


class CallSites:
    """Finds the lines and modules of a run."""

    def __init__(self) -> None:
        #: By the ids of code that is kept: to hash code takes longer than all else that is done for a frame.
        self._kinds: dict[int, int] = {}
        self._kept: list[CodeType] = []
        #: By the numbers of autograd's nodes.
        self._forward: dict[int, CallSite] = {}
        #: Of threads that the program has started; all others, autograd's too, belong to the first.
        self._threads: dict[int, _ThreadState] = {}
        self._first = _ThreadState()
        self._thread_count = 0
        self.roots: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[None]:
        """Tell what runs in this thread from what runs in others."""
        self._thread_count += 1
        self._threads[get_ident()] = _ThreadState(self._thread_count * _NODES)
        try:
            yield
        finally:
            del self._threads[get_ident()]

    @contextlib.contextmanager
    def backward(self) -> Iterator[None]:
        """Note that a backward pass runs in this thread."""
        state = self._state
        state.in_backward = True
        try:
            yield
        finally:
            state.in_backward = False

    @property
    def _state(self) -> _ThreadState:
        return self._threads.get(get_ident(), self._first) if self._threads else self._first

    def here(self) -> CallSite:
        """Find where the running operation was called."""
        state = self._state
        module = state.modules[-1] if state.modules else None
        node: Any = torch._C._current_autograd_node()
        frame, library = self._user_frame(sys._getframe(2), in_autograd=node is not None)
        if node is not None:
            if frame is None:
                return CallSite(None, 0, None, (node._sequence_nr() + state.first_node, node.name()))
            return CallSite(frame.f_code, frame.f_lasti, module, (node._sequence_nr() + state.first_node, node.name()))
        frame = frame or library
        if frame is None:
            return CallSite(None, 0, module)
        if state.in_backward:
            return CallSite(frame.f_code, frame.f_lasti, module, (-1, ""))
        site = CallSite(frame.f_code, frame.f_lasti, module)
        number = torch._C._autograd._get_sequence_nr() - 1 + state.first_node
        if number != state.last_number:
            # The node was made for this operation, just before it runs.
            state.last_number = number
            self._forward[number] = site
            if len(self._forward) > _MOST_LINES:
                for old in list(itertools.islice(self._forward, _MOST_LINES // 2)):
                    del self._forward[old]
        return site

    def resolved(self, site: CallSite) -> CallSite:
        """Give a backward operation without a line of its own that of the forward operation of its node."""
        if site.code is not None or site.node is None or not self._forward:
            return site
        known = sorted(self._forward)
        # A view that is written to gets one more node, after its operator's own.
        position = bisect.bisect_right(known, site.node[0]) - 1
        is_of_thread = position >= 0 and known[position] // _NODES == site.node[0] // _NODES
        if not is_of_thread or site.node[1].endswith("AccumulateGrad"):
            return site
        forward = self._forward[known[position]]
        return CallSite(forward.code, forward.instruction, forward.module, site.node)

    def module_name(self, module: Any) -> str:
        """Name a module by its path from the outermost one that was called."""
        if module is None:
            return ""
        for root in list(self.roots):
            for name, inner in root.named_modules():
                if inner is module:
                    return f"{type(root).__name__}.{name}" if name else type(root).__name__
        return type(module).__name__

    def parameter_name(self, tensor: torch.Tensor) -> str:
        """Name a parameter or a buffer of the modules that were called; empty for any other tensor."""
        return self.name_at(address_of(tensor))

    def name_at(self, address: int) -> str:
        """Name the parameter or buffer whose storage an address tells; empty where there is none."""
        for root in list(self.roots):
            named = itertools.chain(root.named_parameters(), root.named_buffers())
            for name, own in named:
                if address_of(own) == address:
                    return name
        return ""

    def _user_frame(self, frame: FrameType | None, *, in_autograd: bool) -> tuple[FrameType | None, FrameType | None]:
        """Return the innermost frame of the user's code, and that of another library."""
        kinds, library = self._kinds, None
        while frame is not None:
            code = frame.f_code
            kind = kinds.get(id(code))
            if kind is None:
                kind = kinds[id(code)] = _kind_of(code)
                self._kept.append(code)
            if kind == _OWN:
                return frame, library
            if kind == _AUTOGRAD and in_autograd:
                # What called the backward pass as a whole did not call this operation.
                return None, library
            if kind == _LIBRARY and library is None:
                library = frame
            frame = frame.f_back
        return None, library

    def enter_module(self, module: nn.Module, _: Any) -> None:
        """Note that a module runs; as a hook before every module."""
        modules = self._state.modules
        if not modules:
            self.roots.add(module)
        modules.append(module)

    def leave_module(self, module: nn.Module, *_: Any) -> None:
        """Note that a module has run; as a hook after every module."""
        modules = self._state.modules
        if module in modules:
            while modules.pop() is not module:
                pass


def _kind_of(code: CodeType) -> int:
    name = code.co_filename
    if name.startswith(_TORCH):
        return _AUTOGRAD if code.co_name == _ENGINE else _BETWEEN
    if name.startswith(PACKAGE):
        return _BETWEEN
    if not is_library(name):
        return _OWN
    return (
        _BETWEEN if name.startswith("<") or not any(p in name for p in ("site-packages", "dist-packages")) else _LIBRARY
    )
