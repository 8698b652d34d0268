"""Worker threads: the order, the bound, and what is left when one of the blocks fails."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stablemax.compute.engines.threads import WAITING, Threads
from stablemax.inputs.blocks import Block, blocks_of
from stablemax.inputs.remote import open_address
from stablemax.text.processor import available_threads

if TYPE_CHECKING:
    from pathlib import Path

    from stablemax.inputs.workspace import Workspace

COUNTS = (1, 2, 3, 7)


def worker_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("stablemax_")]


def test_at_least_one_thread_is_available() -> None:
    assert available_threads() >= 1


@pytest.mark.parametrize("count", COUNTS)
def test_results_come_in_the_order_of_the_blocks_though_later_ones_are_done_first(count: int) -> None:
    def job(block: Block, workspace: Workspace) -> int:
        time.sleep(0.002 * (block.start % 3))
        return block.start

    assert list(Threads(count).run(job, blocks_of(40, 1))) == list(range(40))


@pytest.mark.parametrize("count", COUNTS)
def test_no_blocks_give_no_results(count: int) -> None:
    assert list(Threads(count).run(lambda block, workspace: block, [])) == []


@pytest.mark.parametrize("count", COUNTS[1:])
def test_blocks_run_side_by_side_and_no_more_at_once_than_there_are_threads(count: int) -> None:
    lock, running, most = threading.Lock(), 0, 0

    def job(block: Block, workspace: Workspace) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1

    list(Threads(count).run(job, blocks_of(6 * count, 1)))
    assert most == count


@pytest.mark.parametrize("count", COUNTS)
def test_results_that_nobody_takes_are_not_computed(count: int) -> None:
    begun: list[int] = []
    results = Threads(count).run(lambda block, workspace: begun.append(block.start), blocks_of(1000, 1))
    next(results)
    time.sleep(0.05)
    assert 1 <= len(begun) <= WAITING * count + 1
    results.close()  # type: ignore[attr-defined]
    assert worker_threads() == []


@pytest.mark.parametrize("count", COUNTS)
def test_the_error_of_a_block_arrives_and_the_blocks_after_it_are_not_begun(count: int) -> None:
    begun: list[int] = []

    def job(block: Block, workspace: Workspace) -> None:
        begun.append(block.start)
        if block.start == 5:
            raise ZeroDivisionError("in block 5")
        time.sleep(0.001)

    with pytest.raises(ZeroDivisionError, match="in block 5"):
        list(Threads(count).run(job, blocks_of(1000, 1)))
    assert len(begun) <= 6 + WAITING * count
    assert worker_threads() == []


@pytest.mark.parametrize("count", COUNTS)
def test_the_error_of_the_first_failing_block_is_told_whatever_the_threads(count: int) -> None:
    def job(block: Block, workspace: Workspace) -> None:
        time.sleep(0.01 if block.start == 3 else 0.0)
        if block.start >= 3:
            raise ValueError(f"block {block.start}")

    with pytest.raises(ValueError, match="block 3"):
        list(Threads(count).run(job, blocks_of(50, 1)))


@pytest.mark.parametrize("count", COUNTS)
def test_an_interrupt_of_who_takes_the_results_ends_the_threads(count: int) -> None:
    def take() -> None:
        for result in Threads(count).run(lambda block, workspace: block.start, blocks_of(1000, 1)):
            if result == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take()
    assert worker_threads() == []


@pytest.mark.parametrize("count", COUNTS[1:])
def test_blocks_that_wait_for_a_server_are_not_waited_for(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec")
    system, asked, released = fsspec.filesystem("memory"), threading.Event(), threading.Event()
    answered = []

    def never(*args: object, **options: object) -> bytes:
        asked.set()
        released.wait(20)
        answered.append(b"abc")
        return b"abc"

    def job(block: Block, workspace: Workspace) -> bytes:
        if block.start == 0:
            return b""
        with open_address("memory://asked-of-nobody") as stream:
            return stream.read()

    system.pipe("/asked-of-nobody", b"abc")
    # Each thread has a file system of its own.
    monkeypatch.setattr(type(system), "cat_file", never)
    results = Threads(count).run(job, blocks_of(1000, 1))
    try:
        next(results)
        assert asked.wait(30)
        results.close()  # type: ignore[attr-defined]
        assert answered == []
        assert worker_threads() == []
    finally:
        released.set()
        system.rm("/asked-of-nobody")


@pytest.mark.parametrize("count", COUNTS)
def test_blocks_that_compute_are_waited_for(count: int) -> None:
    begun, done = [], []

    def job(block: Block, workspace: Workspace) -> None:
        begun.append(block.start)
        time.sleep(0.02 * (block.start > 0))
        done.append(block.start)

    results = Threads(count).run(job, blocks_of(1000, 1))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert sorted(begun) == sorted(done)


@pytest.mark.parametrize("count", COUNTS)
def test_no_two_blocks_use_a_workspace_at_the_same_time(count: int) -> None:
    def job(block: Block, workspace: Workspace) -> bool:
        mine = workspace.take("mine", (64,))
        mine[:] = block.start
        time.sleep(0.001)
        return bool((mine == block.start).all())

    assert all(Threads(count).run(job, blocks_of(20 * count, 1)))


@pytest.mark.parametrize("count", COUNTS)
def test_a_worker_keeps_its_workspace_from_block_to_block(count: int) -> None:
    # The workspaces are held, so that no two of them can have one identity.
    seen = list(Threads(count).run(lambda block, workspace: workspace, blocks_of(20 * count, 1)))
    assert len({id(workspace) for workspace in seen}) <= count


@pytest.mark.parametrize("failing", [False, True], ids=["to the end", "after an error"])
@pytest.mark.parametrize("count", COUNTS)
def test_files_are_closed(count: int, failing: bool, tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(bytes(64))
    opened = []

    def job(block: Block, workspace: Workspace) -> None:
        opened.append(workspace.file(str(path), "rb", lambda: path.open("rb")))
        if failing and block.start == 9:
            raise ZeroDivisionError

    try:
        list(Threads(count).run(job, blocks_of(30, 1)))
    except ZeroDivisionError:
        assert failing
    assert opened
    assert all(file.closed for file in opened)


@pytest.mark.parametrize("count", COUNTS)
def test_overflow_in_a_block_is_not_warned_of(count: int) -> None:
    # Warnings are errors here.
    results = Threads(count).run(lambda block, workspace: float(np.exp(np.float64(1e4))), blocks_of(4 * count, 1))
    assert set(results) == {float("inf")}
