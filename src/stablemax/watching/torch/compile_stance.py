"""The stance of torch.compile in a watched run: in compiled code no operation is seen."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch

from stablemax.watching.torch.replaced_functions import replaced


@contextlib.contextmanager
def uncompiled(note: Callable[[str], None]) -> Iterator[None]:
    """Run what torch.compile compiles uncompiled, and note that."""
    words = "torch.compile: the code was run uncompiled, so that its operations are seen"

    def compile_uncompiled(own: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        note(words)
        stances.enter_context(torch.compiler.set_stance("force_eager"))
        return own(*arguments, **options)

    with contextlib.ExitStack() as stances, replaced(torch, "compile", compile_uncompiled):
        if "torch._dynamo" in sys.modules:
            stances.enter_context(torch.compiler.set_stance("force_eager"))
        yield
