"""What a program computes in threads that it starts is watched; of processes that it forks the result says so."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="operations of PyTorch are watched")

import stablemax  # noqa: E402


def train(size: float, steps: int = 3) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 3)
    for step in range(steps):
        p = torch.softmax((size if step == 1 else 1.0) * layer(torch.ones(2, 4)), 1)
        (-torch.log(p).mean()).backward()  # fault


FAULT = train.__code__.co_firstlineno + 5


class Trainer(threading.Thread):
    def run(self) -> None:
        train(1000.0)


def in_a_thread() -> None:
    thread = threading.Thread(target=train, args=(1000.0,))
    thread.start()
    thread.join()


def in_a_thread_of_its_own_class() -> None:
    thread = Trainer()
    thread.start()
    thread.join()


def in_a_pool() -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(train, [1.0, 1000.0]))


def beside_a_thread_that_loads_batches() -> None:
    ends = threading.Event()

    def load() -> None:
        while not ends.is_set():
            torch.stack([torch.rand(4) for _ in range(3)]).mean()

    thread = threading.Thread(target=load)
    thread.start()
    try:
        train(1000.0, steps=20)
    finally:
        ends.set()
        thread.join()


@pytest.mark.parametrize(
    "run", [in_a_thread, in_a_thread_of_its_own_class, in_a_pool, beside_a_thread_that_loads_batches]
)
def test_what_is_made_in_threads_is_found_at_its_line(run: Callable[[], None]) -> None:
    before = (threading.Thread.start, threading.Thread._bootstrap_inner)  # type: ignore[attr-defined]
    with stablemax.watch(repro=None, quiet=True) as watched:
        run()
    assert (watched.result.verdict, watched.result.error) == ("operation", ""), watched.result.finding
    assert watched.result.fault is not None
    assert (watched.result.fault.line, watched.result.fault.operation) == (FAULT, "aten.log")
    assert watched.result.pattern == "log-of-softmax"
    after = (threading.Thread.start, threading.Thread._bootstrap_inner)  # type: ignore[attr-defined]
    assert after == before


def test_a_backward_operation_of_a_thread_stands_on_its_own_forward_line() -> None:
    def sound() -> None:
        w = torch.ones(3, requires_grad=True)
        for _ in range(20):
            (w * 2).exp().sum().backward()

    def faulty() -> None:
        w = torch.tensor([0.0, 1.0], requires_grad=True)
        length = torch.sqrt(w * w)  # fault
        (length * w).sum().backward()
        w.grad.sum()

    def run(*functions: Callable[[], None]) -> None:
        for function in functions:
            thread = threading.Thread(target=function)
            thread.start()
            thread.join()

    with stablemax.watch(repro=None, quiet=True) as watched:
        sound()
        run(sound, faulty)
    fault = watched.result.fault
    assert fault is not None, watched.result.finding
    assert (fault.phase, fault.line) == ("backward", faulty.__code__.co_firstlineno + 2)


def test_threads_that_work_at_once_lose_no_operation() -> None:
    def compute() -> None:
        x = torch.ones(2)
        for _ in range(50):
            x = x * 1.0
            (x - x) / (x - x)  # NaN that goes no further: the watch looks at it each time

    with stablemax.watch(repro=None, quiet=True) as alone:
        compute()
    with stablemax.watch(repro=None, quiet=True) as watched:
        threads = [threading.Thread(target=compute) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert alone.result.operations > 200
    assert (watched.result.verdict, watched.result.operations) == (None, 3 * alone.result.operations)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
# JAX, where another test has imported it, warns of any fork.
@pytest.mark.filterwarnings("ignore:os.fork")
def test_a_process_that_is_forked_is_named_as_not_seen() -> None:
    with stablemax.watch(repro=None, quiet=True) as watched:
        torch.ones(2).exp()
        process = multiprocessing.get_context("fork").Process(target=sys.getrefcount, args=(None,))
        process.start()
        process.join()
    assert watched.result.verdict is None
    notes: tuple[Any, ...] = watched.result.notes
    assert "1 process was forked, as to load batches: what it computes is not seen" in notes
