"""The stance of torch.compile in a watched run: in compiled code no operation is seen."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch


@contextlib.contextmanager
def uncompiled(note: Callable[[str], None]) -> Iterator[None]:
    """Run what torch.compile compiles uncompiled, and note that."""
    words = "torch.compile: the code was run uncompiled, so that its operations are seen"
    own, compiler = torch.compile, torch.compiler
    stances = contextlib.ExitStack()

    def force_eager() -> None:
        note(words)
        stances.enter_context(compiler.set_stance("force_eager"))

    def compile_(*arguments: Any, **options: Any) -> Any:
        force_eager()
        return own(*arguments, **options)

    torch.compile = compile_
    if "torch._dynamo" in sys.modules:
        stances.enter_context(compiler.set_stance("force_eager"))
    try:
        yield
    finally:
        torch.compile = own
        stances.close()
