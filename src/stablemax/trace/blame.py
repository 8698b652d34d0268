"""Which operation to blame: the run is repeated with some of its operations made exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stablemax.trace.observe import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.trace.numpy.tape import Step


@dataclass(frozen=True)
class Culprit:
    """What the search found; positions in the run's steps.

    Parameters
    ----------
    at : int
        The operation to blame.
    root : int
        Where the information was lost that it would have needed; `at` where that is the same.
    """

    at: int
    root: int


def first_true(count: int, holds: Callable[[int], bool]) -> int | None:
    """Return the least k in 1..count for which `holds` turns true, by bisection; None if not even for count.

    Examples
    --------
    >>> first_true(10, lambda k: k >= 7), first_true(10, lambda k: False)
    (7, None)
    """
    if count < 1 or not holds(count):
        return None
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def culprit(
    steps: list[Step], good_if_rounded: Callable[[int], bool], bad_if_forgotten: Callable[[int], bool] | None
) -> Culprit | None:
    """Find the operation to blame for a bad cell.

    Two questions are asked of every operation. Had it and all before it been right to the last bit,
    would the result be good? The first for which it would makes something bad of inputs as good as
    the format allows. And: can exact arithmetic still make the right result of what it gave? The first
    for which it cannot destroys information. An overflow is blamed where it destroys; so are zeros
    that turn into 0 / 0; all else where the right inputs do not help any more.

    Parameters
    ----------
    steps : list of Step
        The run that ended badly.
    good_if_rounded, bad_if_forgotten : callable
        Repeat the run with the first k operations correctly rounded, or with the shadow beginning
        after them, and look at the cell. The second is None where the shadow does not reach the end.
    """
    rounded = first_true(len(steps), good_if_rounded)
    forgotten = None if bad_if_forgotten is None else first_true(len(steps), bad_if_forgotten)
    if rounded is None or forgotten is None:
        # What makes inf or NaN of finite numbers; else what stands last before the result is good again.
        broken = first_broken(steps)
        last = broken if broken is not None else None if rounded is None else rounded - 1
        return None if last is None else Culprit(last, last)
    at, root = rounded - 1, forgotten - 1
    destroys, breaks = _kinds(steps[root]), _kinds(steps[at])
    if Kind.OVERFLOW in destroys:
        return Culprit(root, root)
    if Kind.ZERO in destroys and Kind.INVALID in breaks:
        # 0 / 0 is the zeros' fault; but where one was divided by first, that division is to blame.
        pole = next((i for i in range(root + 1, at) if Kind.POLE in _kinds(steps[i])), None)
        return Culprit(root, root) if pole is None else Culprit(pole, root)
    return Culprit(at, root)


def first_broken(steps: list[Step]) -> int | None:
    """Return the first operation that makes inf or NaN of finite numbers."""
    broken = (Kind.OVERFLOW, Kind.POLE, Kind.INVALID)
    return next((i for i, s in enumerate(steps) if any(k in broken for k in _kinds(s))), None)


def _kinds(step: Step) -> set[Kind]:
    return {e.kind for e in step.seen.events}
