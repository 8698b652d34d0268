"""Calls timed in turns: a slow or busy moment of the machine meets all of them alike."""

from __future__ import annotations

import contextlib
import gc
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MIN_ROUNDS = 3
MAX_ROUNDS = 200
ENOUGH_S = 0.3
"""Each call is repeated until it has run about this long, but `MIN_ROUNDS` times at least."""

TURN_S = 0.005
"""A short call is repeated within its turn: the first finds the caches as another library left them."""

MAX_CALLS = 200
"""In one turn."""


_SHORT_S = 1.0


def rehearsed(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Run a call uncounted and return about how long it takes.

    The first run compiles, and builds what is built at first use; a second one tells how long the call
    takes without that, unless the first took so long that it does not matter.
    """
    first = _once(call, clock)
    return _once(call, clock) if first < _SHORT_S else first


def _once(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    start = clock()
    result = call()
    spent = clock() - start
    del result  # memory is given back outside the time
    return spent


def in_turns(
    calls: Mapping[str, Callable[[], Any]], repeat: int | None, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Time calls in rounds, each in every round, in an order that changes."""
    per_turn = {n: math.ceil(TURN_S / max(rehearsed(call, clock), TURN_S / MAX_CALLS)) for n, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    shuffle = random.Random(0).shuffle  # noqa: S311 - an order of calls is no secret
    with _no_collection():
        begun = clock()
        for done in range(MAX_ROUNDS if repeat is None else repeat):
            if repeat is None and done >= MIN_ROUNDS and clock() - begun >= ENOUGH_S * len(calls):
                break
            shuffle(order)
            for name in order:
                times[name] += _turn(calls[name], per_turn[name], clock)
    return times


def _turn(call: Callable[[], Any], count: int, clock: Callable[[], float]) -> list[float]:
    """Time one call; a short one several times, after one that does not count."""
    if count > 1:
        call()
    return [_once(call, clock) for _ in range(count)]


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's garbage collector out of the times."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
