"""Balls in several threads: each has its own precision, and none leaves it behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import flint
import numpy as np
import pytest

from stablemax.numerics.formats import FLOAT64, Array
from stablemax.operations.variant import evaluate, get
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


@pytest.mark.parametrize("variant", ["log_softmax/compensated", "logsumexp/compensated", "softmax/compensated"])
def test_what_a_rounding_took_off_is_known_to_a_billionth_of_an_ulp(variant: str) -> None:
    # Their results are small differences of what is added: 128 bits leave the fewest of them.
    rows = [[-13.0, 18.0], [0.0, 80.0], [-1e-9, -40.0], [1e8, 1e8 - 60.0], [1e-300, 0.0], [-0.6931471805599453] * 2]
    for row in rows:
        few, many = (truth(partial(computed, variant, row), FLOAT64, first_precision=bits) for bits in (64, 4096))
        assert few.nearest.tolist() == many.nearest.tolist()
        assert (np.abs(few.residual_ulp - many.residual_ulp) <= 2.0**-32).all(), (row, few.residual_ulp)


def computed(variant: str, row: list[float], xp: Any) -> Any:
    return evaluate(get(variant), xp.array([row]), xp)
