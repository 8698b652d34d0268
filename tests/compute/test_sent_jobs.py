"""A job that was sent to another process computes what it computes here, to the last bit."""

from __future__ import annotations

import contextlib
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.compute import streaming
from stablemax.compute.arrays import compute
from stablemax.compute.block_job import Method
from stablemax.compute.loss import loss_of
from stablemax.compute.sinks import MemorySink
from stablemax.inputs.logits import as_stream
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.workspace import Workspace
from stablemax.operations import all_operations
from stablemax.operations.operation import Second

from ..records import CROSS_ENTROPY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stablemax.inputs.blocks import Block
    from stablemax.operations.operation import Operation

RNG = np.random.default_rng(0)
SECOND = {
    Second.LABELS: RNG.integers(0, 40, 30),
    Second.CELL_TARGETS: RNG.random((30, 40)),
    Second.UPSTREAM: RNG.standard_normal((30, 40)),
    Second.LOGITS: RNG.standard_normal((30, 40)),
}


class Sending:
    """An engine that runs each block twice: by the job, and by the copy that a worker would get."""

    def run(self, job: Callable[[Block, Workspace], Any], blocks: Sequence[Block]) -> Iterator[Any]:
        sent = pickle.loads(pickle.dumps(job))
        for block in blocks:
            with Workspace() as here, Workspace() as there:
                result = job(block, here)
                assert sent(block, there) == result
            if hasattr(job, "sink"):
                np.testing.assert_array_equal(sent.sink.array.view(np.uint8), job.sink.array.view(np.uint8))
            yield result


@pytest.fixture(autouse=True)
def sending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "engine_for", lambda *_: contextlib.nullcontext(Sending()))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("operation", [o for o in all_operations() if o is not CROSS_ENTROPY], ids=str)
def test_an_array_is_the_same_wherever_it_is_computed(operation: Operation, dtype: type, exact: bool) -> None:
    x: np.ndarray = (3 * RNG.standard_normal((30, 40))).astype(dtype)
    second = () if operation.second is Second.NONE else StoredArray.of(SECOND[operation.second])
    stream = as_stream(StoredArray.of(x), second, second=operation.second)
    out: np.ndarray = np.zeros((30,) if operation.per_row else (30, 40), dtype)
    compute(operation, stream, MemorySink(out, stream.axis if not operation.per_row else None), Method(exact=exact))
    assert np.any(out)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_loss_is_the_same_wherever_it_is_computed(dtype: type, exact: bool) -> None:
    stream = as_stream(
        StoredArray.of(RNG.standard_normal((30, 40)).astype(dtype)), StoredArray.of(SECOND[Second.LABELS])
    )
    assert loss_of(CROSS_ENTROPY, stream, Method(exact=exact)).kept_rows == 30
