"""The cluster engine on a real cluster of processes: order, the same bits, lost workers, and clear errors."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from stablemax.compute.engines import cluster as module
from stablemax.compute.engines.cluster import IN_FLIGHT, TASKS_PER_THREAD, Cluster, cluster
from stablemax.compute.engines.sending import SENT, for_workers
from stablemax.compute.engines.threads import Threads
from stablemax.inputs.blocks import Block, blocks_of
from stablemax.inputs.logits import Stream, as_stream
from stablemax.inputs.spooled import Spool
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.workspace import Workspace
from stablemax.kernels.passes import PAIRS
from stablemax.kernels.row_kernels import losses
from stablemax.numerics.exact_sum import ExactSum
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

distributed = pytest.importorskip("distributed", reason="the cluster engine is not installed")
psutil = pytest.importorskip("psutil", reason="the cluster engine is not installed")

WORKERS = 2
STABLEMAX = (sys.executable, "-m", "stablemax")

# Jobs are made by functions, so that they are sent as they are: the workers cannot import the tests.


@pytest.fixture(scope="module")
def engine() -> Iterator[Cluster]:
    with cluster(None, WORKERS) as started:
        yield started


def pids(engine: Cluster) -> list[int]:
    return list(engine.client.run(os.getpid).values())


def slow(pause_s: float) -> Callable[[Block, Workspace], int]:
    def job(block: Block, workspace: Workspace) -> int:
        time.sleep(pause_s)
        return block.start

    return job


def noting(folder: Path, pause_s: float = 0.0) -> Callable[[Block, Workspace], int]:
    """A job that leaves a file for every block that it begins."""

    def job(block: Block, workspace: Workspace) -> int:
        (folder / str(block.start)).touch()
        time.sleep(pause_s)
        return block.start

    return job


def loss_job(stream: Stream, pause_s: float = 0.0) -> Callable[[Block, Workspace], ExactSum]:
    def job(block: Block, workspace: Workspace) -> ExactSum:
        time.sleep(pause_s)
        labels = stream.read_labels(block, None, workspace)
        x = stream.logits.read(block.start, block.stop, workspace)
        return ExactSum.of(losses(x, labels, PAIRS, workspace))

    return job


def raising(error: Exception, at: int) -> Callable[[Block, Workspace], int]:
    def job(block: Block, workspace: Workspace) -> int:
        if block.start == at:
            raise error
        return block.start

    return job


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    """Logits and labels of 600 rows in files."""
    rng = np.random.default_rng(4)
    np.save(tmp_path / "x.npy", rng.normal(0, 30, (600, 50)).astype(np.float32))
    np.save(tmp_path / "y.npy", rng.integers(0, 50, 600))
    return as_stream(*(stored_at(tmp_path / name) for name in ("x.npy", "y.npy")))


def stored_at(path: Path) -> StoredArray:
    array = np.load(path, mmap_mode="r")
    return StoredArray(array.shape, array.dtype, path.name, path=str(path), offset=array.offset)


def total(sums: list[ExactSum]) -> ExactSum:
    return sum(sums, start=ExactSum())


# --- order and tasks ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 2, 7, 64, 1000])
def test_results_come_in_the_order_of_the_blocks(engine: Cluster, count: int) -> None:
    assert list(engine.run(slow(0.0), blocks_of(count, 1))) == list(range(count))


@pytest.mark.parametrize("threads", [1, 2, 30])
@pytest.mark.parametrize("count", [0, 1, 2, 9, 64, 1000, 100_000])
def test_tasks_are_few_and_hold_every_block_once(count: int, threads: int) -> None:
    blocks = blocks_of(count, 1)
    groups = list(module._groups(blocks, threads))
    assert [block for group in groups for block in group.blocks] == blocks
    assert all(group.blocks for group in groups)
    assert len(groups) <= TASKS_PER_THREAD * threads
    # No worker is idle for want of tasks.
    assert len(groups) >= min(count, threads)


@pytest.mark.slow
def test_the_job_is_sent_once_and_not_with_every_task(engine: Cluster) -> None:
    payload = os.urandom(100_000)
    sizes = []

    class Watched:
        def submit(self, function: Any, *given: Any, key: Any) -> Any:
            sizes.append(sum(len(one) for one in given if isinstance(one, bytes)))
            return engine.client.submit(function, *given, key=key)

        def __getattr__(self, name: str) -> Any:
            return getattr(engine.client, name)

    def job(block: Block, workspace: Workspace) -> int:
        return len(payload)

    assert set(Cluster(Watched()).run(job, blocks_of(500, 1))) == {100_000}
    assert len(sizes) > 8
    assert 100_000 < sum(sizes) < 200_000


def test_both_workers_compute(engine: Cluster) -> None:
    def job(block: Block, workspace: Workspace) -> int:
        time.sleep(0.005)
        return os.getpid()

    assert set(engine.run(job, blocks_of(80, 1))) == set(pids(engine))


@pytest.mark.slow
def test_results_that_nobody_takes_are_not_computed(engine: Cluster, tmp_path: Path) -> None:
    blocks = blocks_of(64 * TASKS_PER_THREAD * WORKERS, 1)
    results = engine.run(noting(tmp_path), blocks)
    next(results)
    time.sleep(0.3)
    results.close()  # type: ignore[attr-defined]
    # What the workers had begun they finish, however busy the machine is.
    counts = [-1, len(list(tmp_path.iterdir()))]
    for _ in range(120):
        if counts[-1] == counts[-2]:
            break
        time.sleep(0.5)
        counts.append(len(list(tmp_path.iterdir())))
    assert counts[-1] == counts[-2]
    assert 1 <= counts[-1] <= 64 * IN_FLIGHT * WORKERS


def test_overflow_in_a_block_is_not_warned_of(engine: Cluster) -> None:
    def job(block: Block, workspace: Workspace) -> str:
        return str(np.geterr())

    assert set(engine.run(job, blocks_of(4, 1))) == {str(dict.fromkeys(np.geterr(), "ignore"))}


# --- the same bits ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 7, 600])
def test_the_sum_of_losses_is_that_of_threads_to_the_last_bit(engine: Cluster, stream: Stream, size: int) -> None:
    threads = total(list(Threads(3).run(loss_job(stream), blocks_of(600, 50))))
    assert total(list(engine.run(loss_job(stream), blocks_of(600, size)))) == threads
    assert threads.count == 600


@pytest.mark.slow
@pytest.mark.parametrize("deaths", [1, WORKERS], ids=["one worker", "all workers"])
def test_workers_killed_in_the_middle_lose_nothing(
    engine: Cluster, stream: Stream, deaths: int, capfd: pytest.CaptureFixture[str]
) -> None:
    blocks = blocks_of(600, 5)
    expected = list(Threads(1).run(loss_job(stream), blocks))
    before = pids(engine)
    results = engine.run(loss_job(stream, 0.01), blocks)
    sums = [next(results)]
    for pid in before[:deaths]:
        os.kill(pid, signal.SIGKILL)
    sums += results
    assert sums == expected
    assert set(before[:deaths]).isdisjoint(pids(engine))
    engine.client.wait_for_workers(WORKERS, timeout=300)
    assert capfd.readouterr() == ("", "")


# --- errors -------------------------------------------------------------------------------------


def test_a_mistake_that_a_worker_finds_arrives_as_it_is(engine: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StablemaxError) as caught:
        list(engine.run(raising(StablemaxError("row 3: label 9", "classes are 0 to 8"), 20), blocks_of(50, 1)))
    assert (caught.value.message, caught.value.hint) == ("row 3: label 9", "classes are 0 to 8")
    assert capfd.readouterr() == ("", "")


def test_a_bad_label_is_told_with_its_file_and_row(engine: Cluster, tmp_path: Path, stream: Stream) -> None:
    labels = np.arange(600) % 50
    labels[444] = 50
    np.save(tmp_path / "y.npy", labels)
    with pytest.raises(StablemaxError, match=r"y\.npy.*444.*50"):
        list(engine.run(loss_job(stream), blocks_of(600, 7)))


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("a"), MemoryError("b"), TimeoutError("c"), RuntimeError("d")], ids=repr
)
def test_other_exceptions_arrive_as_they_are(engine: Cluster, error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        list(engine.run(raising(error, 3), blocks_of(50, 1)))
    assert list(engine.run(slow(0.0), blocks_of(5, 1))) == list(range(5))


@pytest.mark.slow
def test_after_an_error_the_rest_is_not_begun(engine: Cluster, tmp_path: Path) -> None:
    note = noting(tmp_path, 0.003)

    def job(block: Block, workspace: Workspace) -> int:
        if block.start == 0:
            raise ZeroDivisionError
        return note(block, workspace)

    blocks = blocks_of(64 * TASKS_PER_THREAD * WORKERS, 1)
    # Its traceback keeps the tasks alive, unless they are cancelled.
    with pytest.raises(ZeroDivisionError) as caught:
        list(engine.run(job, blocks))
    time.sleep(0.5)
    begun = len(list(tmp_path.iterdir()))
    assert begun <= 64 * IN_FLIGHT * WORKERS < len(blocks)
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) == begun
    assert caught.tb is not None


def test_a_file_that_a_worker_does_not_see_is_told_with_the_remedy(engine: Cluster, tmp_path: Path) -> None:
    gone = StoredArray((4, 5), np.dtype(np.float32), "x.npy", path=str(tmp_path / "x.npy"), offset=128)
    with pytest.raises(StablemaxError, match=r"x\.npy: no such file on the worker ") as caught:
        list(engine.run(loss_job(as_stream(gone, StoredArray.of(np.zeros(4, int)))), blocks_of(4, 1)))
    assert "every worker must see the file" in caught.value.hint


def test_an_output_that_a_worker_does_not_see_is_told_with_the_remedy(engine: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "out.npy"

    def job(block: Block, workspace: Workspace) -> None:
        workspace.file(str(path), "r+b", lambda: path.open("r+b"))

    with pytest.raises(StablemaxError, match=r"out\.npy: no such file on the worker "):
        list(engine.run(job, blocks_of(4, 1)))


def test_a_cluster_of_another_version_is_told(engine: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "__version__", "0.0.1")
    with pytest.raises(StablemaxError, match=r"has not Python .* and stablemax 0\.0\.1 \(Python .* and stablemax "):
        module._check_versions(engine.client)


@pytest.mark.parametrize("who", ["scheduler", "worker"])
def test_a_cluster_without_stablemax_is_told(engine: Cluster, who: str) -> None:
    def hide(name: str | None) -> str:
        """Make `import stablemax` fail; and undo it."""
        import sys

        if name is None:
            sys.modules["stablemax"] = sys.modules.pop("hidden")
        else:
            sys.modules["hidden"], sys.modules["stablemax"] = __import__(name), None  # type: ignore[assignment]
        return "done"

    run = engine.client.run_on_scheduler if who == "scheduler" else engine.client.run
    run(hide, "stablemax")
    try:
        with pytest.raises(StablemaxError, match=f"the {who} .*has not .* and stablemax .*import") as caught:
            module._check_versions(engine.client)
        assert "pip install . in the clone that this is from" in caught.value.hint
    finally:
        run(hide, None)
    module._check_versions(engine.client)


def test_a_job_that_a_worker_cannot_load_is_told_and_ends_no_worker(
    engine: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "only_here.py").write_text("def job(block, workspace):\n    return block.start\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    before = pids(engine)
    with pytest.raises(StablemaxError, match=r"a worker cannot load what it is to compute .*only_here"):
        list(engine.run(only_here.job, blocks_of(4, 1)))
    assert pids(engine) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_rows_that_kill_every_worker_are_told(engine: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    def job(block: Block, workspace: Workspace) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(StablemaxError, match=r"\d workers died, one after the other"):
        list(engine.run(job, blocks_of(1, 1)))
    engine.client.wait_for_workers(WORKERS, timeout=300)
    assert capfd.readouterr() == ("", "")


def test_a_missing_package_is_told_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(StablemaxError, match="needs the package distributed") as caught, cluster(None, 1):
        pass
    assert caught.value.hint == 'pip install "stablemax[dask]"'


# --- addresses ----------------------------------------------------------------------------------


def refused(address: str) -> StablemaxError:
    started = time.monotonic()
    with pytest.raises(StablemaxError, match="no Dask scheduler answers at ") as caught, cluster(address, 1):
        pass
    # A minute more: this asks whether it gives up at all, and the cores may be busy with other work.
    assert time.monotonic() - started < module.CONNECT_S + 60
    assert "dask scheduler" in caught.value.hint
    return caught.value


@pytest.mark.parametrize("address", ["", " "])
def test_an_empty_address_is_told_as_such(address: str) -> None:
    with pytest.raises(StablemaxError, match=r"^--scheduler is empty$") as caught, cluster(address, 1):
        pass
    assert "leave --scheduler out" in caught.value.hint


@pytest.mark.parametrize("address", ["nowhere", "foo://x:1", "tcp://a:b:c", "tls://127.0.0.1:1", "inproc://x"])
def test_an_impossible_address_is_an_error_at_once(address: str) -> None:
    refused(address)


@pytest.mark.slow
@pytest.mark.parametrize("listening", [False, True], ids=["nobody", "something else"])
def test_an_address_where_no_scheduler_answers_is_an_error_within_10_s(
    listening: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert module.CONNECT_S + 1 < 10
    monkeypatch.setattr(module, "CONNECT_S", 0.5)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listening:
            server.listen()
        assert "no answer within" in refused(f"tcp://127.0.0.1:{server.getsockname()[1]}").message
    assert capfd.readouterr() == ("", "")


def test_the_address_of_a_worker_is_not_that_of_a_scheduler(engine: Cluster) -> None:
    address = next(iter(engine.client.nthreads()))
    assert "(it is a Worker)" in refused(address).message


def test_an_address_reaches_a_running_cluster_and_leaves_it_running(engine: Cluster) -> None:
    address = engine.client.scheduler.address
    for _ in range(2):
        with cluster(address, 1) as connected:
            assert list(connected.run(slow(0.0), blocks_of(9, 1))) == list(range(9))
    assert len(pids(engine)) == WORKERS


def test_a_scheduler_without_workers_is_an_error_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WORKERS_S", 0.3)
    quiet = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(n_workers=0, processes=False, scheduler_kwargs=quiet, protocol="tcp") as empty:
        expected = rf"the scheduler at {empty.scheduler_address} has no workers"
        with pytest.raises(StablemaxError, match=expected) as caught, cluster(empty.scheduler_address, 1):
            pass
        assert caught.value.hint == f"start some: dask worker {empty.scheduler_address}"


# --- what is left -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_local_cluster_leaves_neither_processes_nor_files_nor_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    handler = logging.StreamHandler()
    monkeypatch.setattr(logging.getLogger("distributed"), "handlers", [handler])
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with cluster(None, 1) as started:
        (pid,) = pids(started)
        assert handler.level > logging.CRITICAL
        assert list(tmp_path.iterdir())
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
    assert not psutil.pid_exists(pid)
    assert handler.level == logging.NOTSET
    assert not list(tmp_path.iterdir())


PROGRAM = """
    import os, signal, time
    from stablemax.inputs.blocks import blocks_of
    from stablemax.compute.engines.cluster import cluster

    def job(block, workspace):
        time.sleep(0.005)
        return os.getpid()

    if __name__ == "__main__":
        with cluster(None, 2) as engine:
            before = set(engine.client.run(os.getpid).values())
            results = engine.run(job, blocks_of(3_000, 1))
            os.kill(next(results), signal.SIGKILL)
            for pid in results:
                if pid not in before:
                    print(pid, flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
def test_neither_a_lost_worker_nor_an_interrupted_one_says_a_word(tmp_path: Path) -> None:
    complaints = interrupted_program(tmp_path)
    # An interrupt that lands in a callback of the garbage collector is lost, in whatever library that is: once more.
    for _ in range(3):
        if "Exception ignored in" not in complaints:
            break
        complaints = interrupted_program(tmp_path)
    # One traceback, that of the program: the command line turns it into exit code 130. An interrupt that lands where a
    # library handles an exception of its own is printed with that exception, as one chain.
    chained = complaints.count("\nDuring handling of the above") + complaints.count("\nThe above exception was")
    assert complaints.count("Traceback") - chained == 1
    assert complaints.endswith("KeyboardInterrupt\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["program.py"]


def interrupted_program(tmp_path: Path) -> str:
    """Interrupt a program and its workers, as a terminal does, and return what they say."""
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as program:
        killer = threading.Timer(300, program.kill)
        killer.start()
        try:
            assert program.stdout is not None
            started_in_its_place = int(program.stdout.readline())
            family = psutil.Process(program.pid).children(recursive=True)
            assert started_in_its_place in {process.pid for process in family}
            os.killpg(program.pid, signal.SIGINT)
            _, complaints = program.communicate(timeout=300)
        finally:
            killer.cancel()
            program.kill()
    assert not psutil.wait_procs(family, timeout=300)[1]
    return complaints


ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a signal to itself ends the process")
@pytest.mark.parametrize("when", ["starts", "stops"])
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_while_a_cluster_starts_or_stops_waits_until_it_is_closed(
    number: int, when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Signalled(distributed.LocalCluster):  # type: ignore[misc, name-defined]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            if when == "starts":
                os.kill(os.getpid(), number)

        def close(self, timeout: float | None = None) -> Any:
            if when == "stops" and not closing:
                os.kill(os.getpid(), number)
            closing.append(True)
            return super().close(timeout)

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    closing: list[bool] = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(distributed, "LocalCluster", Signalled)
    before = signal.signal(number, end)
    family = set(psutil.Process().children(recursive=True))
    try:
        with pytest.raises(SystemExit) as caught, cluster(None, 1):
            assert when == "stops"
        assert signal.getsignal(number) is end
    finally:
        signal.signal(number, before)
    assert caught.value.code == 128 + number
    assert closing
    started_here = set(psutil.Process().children(recursive=True)) - family
    assert not [process for process in started_here if "resource_tracker" not in " ".join(process.cmdline())]
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="terminating a process there gives it no time")
def test_a_program_that_is_terminated_while_its_cluster_starts_leaves_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((6, 4)))
    room = tmp_path / "room"
    room.mkdir()
    with subprocess.Popen(
        [*STABLEMAX, "softmax", "x.npy", "-o", "s.npy", "--engine", "dask", "--threads", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(room)},
    ) as program:
        killer = threading.Timer(40, program.kill)
        killer.start()
        try:
            while program.poll() is None and not list(room.rglob("dask-scratch-space")):
                time.sleep(0.01)
            program.terminate()
            said = program.communicate()
        finally:
            killer.cancel()
            program.kill()
    assert (program.returncode, *said) == (128 + signal.SIGTERM, b"", b"")
    assert not list(room.iterdir())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["room", "x.npy"]


# --- a cluster that runs already ----------------------------------------------------------------


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """What `dask scheduler` and `dask worker` start, in another directory."""
    folder = tmp_path_factory.mktemp("elsewhere")
    file = folder / "scheduler.json"
    options = ["--scheduler-file", str(file), "--no-dashboard"]
    with contextlib.ExitStack() as stack:
        started = []
        for what, more in (("scheduler", ["--port", "0", "--host", "127.0.0.1"]), ("worker", ["--nthreads", "1"])):
            program = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{what}", *options, *more],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            started.append(program)
            stack.callback(program.wait, 20)
            stack.callback(program.terminate)
        while not file.exists() or not file.read_text():
            assert started[0].poll() is None
            time.sleep(0.05)
        yield json.loads(file.read_text())["address"], started[0]


@pytest.mark.slow
def test_the_command_line_uses_a_running_cluster(running: tuple[str, Any], stream: Stream, tmp_path: Path) -> None:
    files = [part.stored.path for rows in (stream.logits, stream.labels) if rows is not None for part in rows.parts]
    plain = subprocess.run([*STABLEMAX, "loss", *files], capture_output=True, text=True, check=True)
    there = [*STABLEMAX, "loss", *files, "--engine", "dask", "--scheduler", running[0]]
    done = subprocess.run(there, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, plain.stdout, "")


def test_a_scheduler_that_ends_in_the_middle_is_an_error_and_no_hang(running: tuple[str, Any]) -> None:
    address, scheduler = running

    def take(engine: Cluster) -> None:
        for _ in engine.run(slow(0.01), blocks_of(2000, 1)):
            scheduler.kill()

    with pytest.raises(StablemaxError, match="the connection to the scheduler was lost"), cluster(address, 1) as engine:
        take(engine)


def test_a_scheduler_that_is_gone_is_told_at_whatever_is_asked_of_it() -> None:
    class Gone:
        """A client whose scheduler has died: it raises one error or another, at its first or its third call."""

        def __init__(self, error: Exception, after: int) -> None:
            self.error, self.calls_left = error, after

        def _answer(self, answer: Any) -> Any:
            self.calls_left -= 1
            if self.calls_left < 0:
                raise self.error
            return answer

        def nthreads(self) -> dict[str, int]:
            return self._answer({"tcp://worker": 1})

        def submit(self, *_: Any, **__: Any) -> None:
            self._answer(None)

        def cancel(self, _: Any) -> None:
            raise self.error

    errors = (distributed.comm.CommClosedError("closed"), distributed.CancelledError("x"), OSError("Timed out"))
    for error in errors:
        for after in range(3):
            with pytest.raises(StablemaxError, match="the connection to the scheduler was lost") as caught:
                list(Cluster(Gone(error, after)).run(slow(0.0), blocks_of(2, 1)))
            assert "dask scheduler" in caught.value.hint


@pytest.mark.parametrize("error", [RuntimeError("Nanny failed to start."), OSError(24, "Too many open files")])
def test_workers_that_the_machine_does_not_let_start_are_told(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def cannot(**_: Any) -> None:
        raise error

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(distributed, "LocalCluster", cannot)
    with (
        pytest.raises(StablemaxError, match="the workers of a cluster of 2 cannot be started") as caught,
        cluster(None, 2),
    ):
        pass
    assert "leave out --engine dask; or allow more" in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_local_cluster_that_cannot_open_its_files_is_refused_and_does_not_hang() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = {int(path.name) for path in Path("/dev/fd").iterdir()}
    tenth_free = [number for number in range(1000) if number not in opened][10]
    resource.setrlimit(resource.RLIMIT_NOFILE, (tenth_free, before[1]))
    try:
        with pytest.raises(StablemaxError, match="too many open files") as caught, cluster(None, 2):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert "ulimit -n" in caught.value.hint


# --- what workers can read ----------------------------------------------------------------------


def same_numbers(first: Stream, second: Stream) -> bool:
    with Workspace() as one, Workspace() as other:
        return np.array_equal(first.logits.read(0, first.rows, one), second.logits.read(0, second.rows, other))


def test_paths_do_not_depend_on_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: Stream) -> None:
    monkeypatch.chdir(tmp_path)
    here = as_stream(
        *(
            StoredArray(p.stored.shape, p.stored.dtype, path=name, offset=p.stored.offset)
            for name, rows in (("x.npy", stream.logits), ("y.npy", stream.labels))
            if rows is not None
            for p in rows.parts
        )
    )
    sent = for_workers(here, "tcp://host:8786")
    assert sent.labels is not None
    monkeypatch.chdir("/")
    assert same_numbers(sent, stream)
    assert [part.stored.path for part in sent.labels.parts] == [str(tmp_path / "y.npy")]


def test_an_address_stays_as_it_is() -> None:
    far = StoredArray((4, 5), np.dtype(np.float32), path="s3://bucket/x.npy", offset=128)
    assert for_workers(as_stream(far), "tcp://host:8786").logits.parts[0].stored.path == "s3://bucket/x.npy"


@pytest.mark.parametrize("scheduler", [None, "tcp://host:8786"])
def test_a_few_numbers_in_memory_travel(scheduler: str | None) -> None:
    array = np.arange(60.0).reshape(20, 3)
    column = StoredArray.of(np.zeros(20), "x.csv")
    sent = for_workers(as_stream(StoredArray.of(array, "x.csv", labels=column)), scheduler)
    assert sent.logits.parts[0].stored.memory is array
    # The column is among the labels, and would travel twice.
    assert sent.logits.parts[0].stored.labels is None
    assert sent.labels is not None
    assert sent.labels.parts[0].stored.memory is column.memory


@pytest.mark.parametrize("layout", ["C", "F", "every second", "one row", "classes first"])
def test_many_numbers_in_memory_go_into_a_file_for_processes_of_this_machine(layout: str) -> None:
    rows = SENT // 400 + 1
    array = np.arange(rows * 100, dtype=np.float32).reshape(rows, 100)
    array = {
        "C": array,
        "F": np.asfortranarray(array),
        "every second": np.repeat(array, 2, axis=0)[::2],
        "one row": array.reshape(-1),
        "classes first": array.T,
    }[layout]
    given = as_stream(StoredArray.of(array, "x.csv"), axis=0 if layout == "classes first" else None)
    sent = for_workers(given, None)
    assert sent.logits.parts[0].stored.memory is None
    assert sent.logits.parts[0].stored.name == "x.csv"
    assert sent.shape == given.shape
    assert same_numbers(sent, given)


def test_many_small_arrays_in_memory_are_counted_together() -> None:
    parts = [StoredArray.of(np.zeros((SENT // 1600, 100), np.float64), f"{n}.csv") for n in range(3)]
    for_workers(as_stream(parts[:2]), "tcp://host:8786")
    with pytest.raises(StablemaxError, match=r"0\.csv"):
        for_workers(as_stream(parts), "tcp://host:8786")


@pytest.mark.slow
def test_what_only_this_machine_has_is_refused_for_another() -> None:
    with Spool("-", in_memory=-1) as spool:
        spool.write(np.zeros((4, 5)))
        stored = spool.stored((4, 5), np.dtype(np.float64))
    assert same_numbers(for_workers(as_stream(stored), None), as_stream(stored))
    with pytest.raises(StablemaxError, match="-: its 160 bytes are in the memory of this machine") as caught:
        for_workers(as_stream(stored), "tcp://host:8786")
    assert "save it as .npy" in caught.value.hint
