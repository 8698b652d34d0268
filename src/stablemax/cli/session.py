"""What commands share when they run: what a computation may use, and notes on standard error."""

from __future__ import annotations

import contextlib
import re
import sys
from fractions import Fraction
from typing import TYPE_CHECKING

from stablemax.text.errors import StablemaxError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stablemax.cli.options import ArithmeticOptions, PrintOptions, StreamOptions
    from stablemax.compute.streaming import Resources
    from stablemax.operations.operation import Operation
    from stablemax.operations.variant import Variant


_SHOWN = 10


def resources(options: StreamOptions) -> Resources:
    """Read what a computation may use."""
    from stablemax.compute.streaming import Resources
    from stablemax.text.vocabulary import EngineName

    if options.scheduler is not None and options.engine is not EngineName.DASK:
        raise StablemaxError("--scheduler is for --engine dask", "add --engine dask, or leave --scheduler out")
    return Resources(options.threads, bytes_of(options.memory), options.engine, options.scheduler)


def bytes_of(text: str | None) -> int | None:
    """Read an amount of memory: a number with or without a unit.

    >>> bytes_of("512MB"), bytes_of("1.5 GiB"), bytes_of("4096"), bytes_of("8.2MB")
    (512000000, 1610612736, 4096, 8200000)
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(i?)[bB]?", text.strip(), re.ASCII)
    if found is None or (found[3] and not found[2]):
        raise StablemaxError(f"--memory {shown(text)} is not an amount of memory", "such as 512MB, 2GiB or 1000000")
    power = " kmgt".index(found[2].lower() or " ")
    # A fraction, as 8.2 * 10**6 is a little less than 8,200,000 in float64.
    return int(Fraction(found[1]) * (1024 if found[3] else 1000) ** power)


def chosen_variant(operation: Operation, options: ArithmeticOptions) -> Variant | None:
    """Look up --variant, with or without its operation in front."""
    from stablemax.operations.variant import get

    if options.variant is None:
        return None
    name = options.variant
    found = get(name if "/" in name else f"{operation}/{name}")
    if found.operation is not operation:
        raise StablemaxError(f"{found.id} does not compute {operation}", f"stablemax list variants {operation}")
    return found


def say(notes: Iterable[str], options: PrintOptions) -> None:
    """Print notes on standard error."""
    if not options.quiet:
        for note in notes:
            warn(f"note: {note}")


def warn(line: str) -> None:
    """Print a line on standard error, whatever its encoding can show, after what standard output was given."""
    stream = sys.stderr
    if stream is None:  # closed: 2>&-
        return
    # Into a pipe (2>&1, a log of CI) standard output would otherwise come last: only the end flushes it. What
    # cannot be written is told there.
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    encoding = getattr(stream, "encoding", None) or "ascii"
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    with contextlib.suppress(OSError, ValueError):
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def failed(finding: str, lines: Sequence[str]) -> int:
    """Say what failed, with the first ten lines about it, and return the exit code."""
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    warn(f"failed: {finding}")
    for line in (*lines[:_SHOWN], *more):
        warn(f"  {line}")
    return 1
