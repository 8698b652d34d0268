"""Range checks of options."""

from __future__ import annotations

import math

from stablemax.text.errors import StablemaxError, shown


def check_range(option: str, value: float | None, low: float, high: float, rule: str) -> None:
    """Refuse a value that is out of range; None stands for an option that is not given.

    >>> check_range("--rows", 0, 1, 100, "at least 1")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: --rows 0 is out of range
    """
    if value is None or low <= value <= high:
        return
    if value > high and isinstance(high, int):
        rule = f"at most {high:,}"
    raise StablemaxError(f"{option} {shown(value)} is out of range", rule)


def check_max_ulp(value: float | None) -> None:
    """Refuse an allowed error that is negative or NaN."""
    check_range("--max-ulp", value, 0, math.inf, "a number, 0 or more")


def check_judge(rows: int | None) -> None:
    """Refuse to judge no rows."""
    check_range("--judge", rows, 1, math.inf, "--judge all, or --judge 500")


def check_timeout(seconds: float) -> None:
    """Refuse a timeout of 0 seconds or less."""
    check_range("--timeout", seconds, math.ulp(0.0), math.inf, "seconds, more than 0")
