"""When the mode that watches is entered: in steps that are not watched it is out of the way, and costs nothing."""

from __future__ import annotations

from torch.utils._python_dispatch import _get_current_dispatch_mode

from stablemax.watching.torch.finite_check import FiniteCheck


class ModeSwitch:
    """Enters the mode that watches, and leaves it."""

    def __init__(self, check: FiniteCheck) -> None:
        self._check = check
        self._is_entered = False

    def set(self, *, is_on: bool) -> None:
        """Enter the mode, or leave it where it is the innermost one."""
        if is_on and not self._is_entered:
            self._check.__enter__()  # type: ignore[no-untyped-call]
            self._is_entered = True
        elif not is_on and self._is_entered and _get_current_dispatch_mode() is self._check:
            self._check.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._is_entered = False
        self._check.is_active = is_on
        if not is_on:
            self._check.ring.clear()
