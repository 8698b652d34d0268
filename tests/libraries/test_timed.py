"""What is timed computes what it is timed for: nobody's time is of a wrong result."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stablemax import libraries as peers
from stablemax.bench.bench_words import Shape, TimedDtype, timed_operations
from stablemax.bench.implementations import ours, whole_array_numpy
from stablemax.bench.plan import Input
from stablemax.libraries.timed import timed
from stablemax.numerics.formats import FORMATS
from stablemax.operations.targets import LabelTargets
from stablemax.text.errors import StablemaxError

from ..exactly import fractions_of, sum_of, truth_of, ulp_of
from ..records import CROSS_ENTROPY

if TYPE_CHECKING:
    from stablemax.libraries.timed import Implementation
    from stablemax.numerics.formats import Array
    from stablemax.operations.operation import Operation

ROWS, CLASSES = 6, 50
# The ordinary formulas are off by up to 7: x - m rounds, which the exponential magnifies.
WORST_ULP = 16


def implementation(name: str) -> Implementation:
    if name == "stablemax":
        return ours()
    if name == "numpy":
        return whole_array_numpy()
    for library in [one.name for one in peers.peers()[name]]:
        pytest.importorskip(library, reason=f"{library}'s own operations are timed")
    (found,), notes = timed((name,))
    assert (found.name, notes) == (name, ())
    return found


def errors_ulp(operation: Operation, got: Array, x: Array, y: Array) -> Array:
    """Errors in ulps of the logits' format."""
    fmt = FORMATS[x.dtype.name]
    targets = LabelTargets(y, None, float(len(y))) if operation.needs_targets else None
    truth = truth_of(operation, x, fmt, targets)
    if operation is not CROSS_ENTROPY:
        return truth.error_ulp(got.astype(np.float64), fmt)
    exact = sum_of(fractions_of(truth.nearest)) / len(y)
    return np.asarray(float(abs(Fraction(float(got)) - exact) / ulp_of(exact, fmt)))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TimedDtype)
@pytest.mark.parametrize("operation", timed_operations(), ids=str)
@pytest.mark.parametrize("name", ["stablemax", "numpy", "torch", "jax", "scipy"])
def test_a_timed_call_gives_the_operation_of_its_logits(name: str, operation: Operation, dtype: TimedDtype) -> None:
    found = implementation(name)
    if operation not in found.formulas:
        assert (name, operation.needs_targets) == ("scipy", True)
        return
    x, y = Input(Shape(ROWS, CLASSES), dtype).generated(1)
    # No class is nearly certain: the ordinary formulas cancel there, which is known of them and not the question.
    x /= 4
    kept = x.copy(), y.copy()
    with found.running(1):
        call = found.call(operation, x, y, 1)
        first, second = found.back(call()), found.back(call())
    expected = () if operation is CROSS_ENTROPY else (ROWS,) if operation.per_row else (ROWS, CLASSES)
    assert first.shape == expected
    # A sum over the rows is float64 with us, in the logits' own dtype elsewhere.
    assert first.dtype == x.dtype or (name, operation) == ("stablemax", CROSS_ENTROPY)
    assert float(np.max(errors_ulp(operation, first, x, y))) < WORST_ULP
    assert (first == second).all(), "a call that changes what the next one works on"
    assert (x == kept[0]).all()
    assert (y == kept[1]).all()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TimedDtype)
@pytest.mark.parametrize("name", ["stablemax", "numpy", "torch", "jax"])
def test_the_losses_that_are_judged_are_those_of_each_row(name: str, dtype: TimedDtype) -> None:
    found = implementation(name)
    x, y = Input(Shape(ROWS, CLASSES), dtype).generated(1)
    with found.running(1):
        losses = found.back(found.call_by_row(CROSS_ENTROPY, x, y, 1)())
    fmt = FORMATS[losses.dtype.name]
    truth = truth_of(CROSS_ENTROPY, x, fmt, LabelTargets(y, None, float(ROWS)))
    assert losses.shape == (ROWS,)
    assert float(np.max(truth.error_ulp(losses.astype(np.float64), fmt))) < WORST_ULP


@pytest.mark.parametrize("name", ["torch"])
def test_the_number_of_threads_is_put_back(name: str) -> None:
    torch = pytest.importorskip(name, reason="its number of threads is set")
    before = torch.get_num_threads()
    with implementation(name).running(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_peer_that_is_not_installed_is_refused_by_name_and_noted_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "is_installed", lambda library: False)
    monkeypatch.setattr("stablemax.libraries.timed.is_installed", lambda library: False)
    with pytest.raises(StablemaxError, match="jax is not installed") as error:
        timed(("jax",))
    assert error.value.hint == 'pip install "stablemax[jax]"'
    found, notes = timed(("all",))
    assert found == ()
    assert notes == tuple(
        f'{peer} is not installed and left out; pip install "stablemax[{peer}]"' for peer in peers.peers()
    )


def test_jax_is_timed_with_optax_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (peers, __import__("stablemax.libraries.timed", fromlist=["timed"])):
        monkeypatch.setattr(module, "is_installed", lambda library: library == "jax")
    with pytest.raises(StablemaxError, match="jax is timed with optax, which is not installed"):
        timed(("jax",))
    assert (
        'jax is timed with optax, which is not installed: left out; pip install "stablemax[jax]"' in timed(("all",))[1]
    )
