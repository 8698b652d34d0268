"""Balls in several threads: each has its own precision, and none leaves it behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flint
import numpy as np

from stablemax.numerics.formats import FLOAT64, Array
from stablemax.truth.balls import truth


def proved(row: Array) -> tuple[list[float], list[float]]:
    """Prove a softmax, with a difference that has to be exact."""

    def computed(xp: Any) -> Any:
        x = xp.array(row)
        # 1 is lost beside 1e300 at any precision that is not meant for exact sums.
        one = xp.exact_difference(xp.exact_difference(xp.array([1e300]), xp.array([-1.0])), xp.array([1e300]))
        e = np.exp(x - x[0])
        return e / e.sum() * one

    found = truth(computed, FLOAT64)
    return found.rounded.tolist(), found.residual_ulp.tolist()


def test_threads_prove_what_one_thread_proves_and_leave_no_precision_behind() -> None:
    rows = np.random.default_rng(5).normal(size=(60, 40)) * 30
    before = flint.ctx.prec
    alone = [proved(row) for row in rows]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(proved, rows)) == alone
    assert flint.ctx.prec == before
