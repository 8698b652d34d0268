"""The lines of a backward rule that somebody wrote: JAX puts its equations where the function was called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from jax.core import Trace
from jax.extend.core import set_current_trace, take_current_trace
from jax.extend.source_info_util import current, user_context


class _OwnLines(Trace):
    """Hands all on to another trace, from the line that calls it."""

    def __init__(self, below: Trace) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.below = below
        self.requires_low = below.requires_low

    def stage_value(self, *args: Any) -> Any:
        return self._here("stage_value", *args)

    def process_primitive(self, *args: Any) -> Any:
        return self._here("process_primitive", *args)

    def process_custom_jvp_call(self, *args: Any, **kwargs: Any) -> Any:
        return self._here("process_custom_jvp_call", *args, **kwargs)

    def process_custom_vjp_call(self, *args: Any, **kwargs: Any) -> Any:
        return self._here("process_custom_vjp_call", *args, **kwargs)

    def process_call(self, *args: Any, **kwargs: Any) -> Any:
        return self._here("process_call", *args, **kwargs)

    def _here(self, process: str, *args: Any, **kwargs: Any) -> Any:
        # JAX keeps the call's frames while the rule runs: their class gives those of this very line.
        frames: Any = type(current().traceback)
        with user_context(frames.get_traceback()), set_current_trace(self.below):  # type: ignore[no-untyped-call]
            return getattr(self.below, process)(*args, **kwargs)


def on_its_own_lines(rule: Callable[..., Any]) -> Callable[..., Any]:
    """Return a rule whose equations stand on its own lines."""

    @functools.wraps(rule)
    def run(*args: Any) -> Any:
        with take_current_trace() as below:
            pass
        with set_current_trace(_OwnLines(below)):  # type: ignore[no-untyped-call]
            return rule(*args)

    return run
