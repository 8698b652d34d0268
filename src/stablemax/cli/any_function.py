"""Functions that are held to no operation: when a command takes a TARGET for one, and what it says of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from stablemax.text.errors import StablemaxError, shown
from stablemax.text.vocabulary import NO_OPERATION

if TYPE_CHECKING:
    from stablemax.check.target.messages import Target
    from stablemax.cli.options import ImplementationOptions

NO_OPERATION_NAMED = (
    f"its name says no operation, and exact arithmetic on its own code is right: --operation {NO_OPERATION}"
)
ALL_BY_NAME = (
    f"all that it takes is given by --arg, and exact arithmetic on its own code is right: --operation {NO_OPERATION}"
)
"""Said where no operation was named, and the function is held to none."""


def is_any(target: str, implementation: ImplementationOptions, *, gets_rows: bool = False) -> bool:
    """Tell whether a target is held to no operation: that is said, or nothing says one and all is given by --arg."""
    if implementation.operation is not None:
        return implementation.operation == NO_OPERATION
    if not implementation.arg or gets_rows:
        return False
    from stablemax.check.target.infer import operation_named
    from stablemax.check.target.load import is_code

    return is_code(target) and operation_named(target) is None


def are_any(targets: Sequence[str], implementation: ImplementationOptions, *, gets_rows: bool = False) -> bool:
    """Tell whether targets are held to no operation: all of them, or none."""
    found = [is_any(target, implementation, gets_rows=gets_rows) for target in targets]
    if any(found) and not all(found):
        raise StablemaxError(
            f"{shown(targets[found.index(False)])} is held to an operation, and "
            f"{shown(targets[found.index(True)])} to none",
            f"--operation {NO_OPERATION} takes all of them for any function; or name them in two commands",
        )
    return all(found)


def refuse_variants(target: str) -> None:
    """Refuse a variant, which is held to its operation."""
    from stablemax.check.target.load import is_code

    if not is_code(target):
        raise StablemaxError(
            f"{shown(target)} is a variant, whose operation is known", f"leave out --operation {NO_OPERATION}"
        )


@contextlib.contextmanager
def told_of(target: Target) -> Iterator[None]:
    """Word that a target gives no answer."""
    from stablemax.check.target.messages import NoAnswerError

    try:
        yield
    except NoAnswerError as error:
        raise StablemaxError(f"{target.name} {error}", error.hint) from None
