"""Inputs of any size: the same bits however they are cut, in bounded memory, into whole files only."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stablemax import softmax
from stablemax.cli import source
from stablemax.cli.source import InputOptions
from stablemax.compute import array_job, arrays, streaming
from stablemax.compute.block_job import Method
from stablemax.compute.loss import loss_of
from stablemax.compute.streaming import RESERVED, Resources, plan
from stablemax.inputs.logits import Stream, as_stream
from stablemax.inputs.open import open_array
from stablemax.inputs.stored import StoredArray
from stablemax.inspect.inspection import inspect_stream
from stablemax.kernels import passes
from stablemax.operations.targets import TargetOptions
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Reduction

from ..records import CROSS_ENTROPY, CROSS_ENTROPY_GRAD, LOG_SOFTMAX, LOGSUMEXP, SOFTMAX

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array
    from stablemax.operations.operation import Operation

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def cut(array: Array, places: list[int], folder: Path) -> list[StoredArray]:
    """Cut an array into pieces, every other of which is in a file."""
    found = []
    for n, piece in enumerate(piece for piece in np.split(array, sorted(places)) if len(piece)):
        if n % 2:
            found.append(StoredArray.of(piece))
        else:
            path = folder / f"{array.dtype.str[1:]}-{n}.npy"
            np.save(path, piece)
            found.append(open_array(str(path)))
    return found


@st.composite
def cuts(draw: st.DrawFn, rows: int) -> tuple[list[int], list[int], int, int]:
    """Where logits and labels are cut into files, the logits in a block, the threads."""
    places = st.lists(st.integers(0, rows), max_size=4)
    return draw(places), draw(places), draw(st.integers(1, 2000)), draw(st.integers(1, 4))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float16, np.float32, np.float64]), st.data())
def test_a_loss_has_the_same_bits_for_any_files_blocks_and_threads(
    tmp_path_factory: pytest.TempPathFactory, seed: int, dtype: Any, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    rng = np.random.default_rng(seed)
    n, classes = int(rng.integers(1, 60)), int(rng.integers(1, 40))
    x = (rng.normal(size=(n, classes)) * 10 ** rng.uniform(-2, 2)).astype(dtype)
    labels = rng.integers(0, classes, n)
    labels[rng.random(n) < 0.2] = -100
    options = TargetOptions(rng.uniform(0, 2, classes) if rng.random() < 0.3 else None)
    for reduction in (Reduction.MEAN, Reduction.SUM):
        whole = loss_of(
            CROSS_ENTROPY, as_stream(StoredArray.of(x), StoredArray.of(labels)), reduction=reduction, options=options
        )
        files, label_files, cells, threads = data.draw(cuts(n))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streaming, "ALONE_CELLS", 0)
            patch.setattr(streaming, "STEP_CELLS", cells)
            pieces = loss_of(
                CROSS_ENTROPY,
                as_stream(cut(x, files, folder), cut(labels, label_files, folder), axis=1),
                reduction=reduction,
                options=options,
                resources=Resources(threads=threads),
            )
        assert np.float64(pieces.value).tobytes() == np.float64(whole.value).tobytes()
        assert (pieces.kept_rows, pieces.total_rows) == (whole.kept_rows, whole.total_rows)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]), st.data())
def test_every_array_has_the_same_bits_for_any_blocks_and_threads(seed: int, dtype: Any, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, size=3).tolist())
    axis = int(rng.integers(0, 3))
    x = (rng.normal(size=shape) * 20).astype(dtype)
    labels = rng.integers(0, shape[axis], shape[:axis] + shape[axis + 1 :])
    stream = as_stream(StoredArray.of(x), StoredArray.of(labels), axis=axis)
    _, _, cells, threads = data.draw(cuts(1))
    for operation in (SOFTMAX, LOG_SOFTMAX, LOGSUMEXP, CROSS_ENTROPY_GRAD):
        whole, pieces = (
            result(operation, stream, Resources(threads=1)),
            small_blocks(operation, stream, cells, Resources(threads=threads)),
        )
        assert pieces.tobytes() == whole.tobytes(), operation


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.data())
def test_a_file_of_interleaved_rows_has_the_same_bytes_for_any_threads_and_memory(
    tmp_path_factory: pytest.TempPathFactory, seed: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 12, size=3).tolist())
    folder = tmp_path_factory.mktemp("interleaved")
    np.save(folder / "x.npy", (rng.normal(size=shape) * 20).astype(np.float32))
    np.save(folder / "y.npy", rng.integers(0, shape[1], (shape[0], shape[2])))
    stream = as_stream(open_array(str(folder / "x.npy")), open_array(str(folder / "y.npy")), axis=1)
    _, _, cells, threads = data.draw(cuts(1))
    resources = Resources(threads=threads, memory=data.draw(st.one_of(st.none(), st.integers(10 << 20, 20 << 20))))
    for operation in (SOFTMAX, CROSS_ENTROPY_GRAD):
        whole = result(operation, stream, Resources(threads=1))

        def run(sink: Any, operation: Operation = operation) -> tuple[str, ...]:
            return arrays.compute(operation, stream, sink, resources=resources)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(streaming, "ALONE_CELLS", 0)
            patch.setattr(streaming, "STEP_CELLS", cells)
            for module in ("stablemax.compute.sinks", "stablemax.inputs.stored_rows"):
                patch.setattr(f"{module}.IN_PLACE_BYTES", data.draw(st.sampled_from([0, 1 << 20])))
            patch.setattr("stablemax.inputs.row_layout.TILE_BYTES", data.draw(st.integers(8, 5000)))
            arrays.result_in_npy(operation, stream, Method(), run, str(folder / "p.npy"), force=True)
        assert np.load(folder / "p.npy").tobytes() == whole.tobytes(), operation


def result(operation: Operation, stream: Stream, resources: Resources) -> Array:
    return arrays.array_of(operation, stream, resources=resources)


def small_blocks(operation: Operation, stream: Stream, cells: int, resources: Resources) -> Array:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "ALONE_CELLS", 0)
        patch.setattr(streaming, "STEP_CELLS", cells)
        return result(operation, stream, resources)


@pytest.mark.parametrize("operation", [SOFTMAX, LOG_SOFTMAX, LOGSUMEXP, CROSS_ENTROPY_GRAD])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("axis", [0, 1])
def test_rows_longer_than_a_piece_give_what_they_give_whole(
    operation: Operation, dtype: Any, axis: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    x = np.moveaxis(rng.normal(scale=6.0, size=(6, 200)), 1, axis).astype(dtype)
    labels = rng.integers(0, 200, 6)
    labels[2] = -100
    stream = as_stream(StoredArray.of(x), StoredArray.of(labels), axis=axis)
    whole = result(operation, stream, Resources(threads=1))
    loss_whole = loss_of(CROSS_ENTROPY, stream).value
    for module in (array_job, passes, streaming):
        if hasattr(module, "PIECE"):
            monkeypatch.setattr(module, "PIECE", 64)
    pieces = result(operation, stream, Resources(threads=1))
    assert pieces.shape == whole.shape
    # Both are within 4 ulp of the truth in float64, and correctly rounded but for ties below.
    np.testing.assert_array_max_ulp(pieces, whole, maxulp=8 if dtype is np.float64 else 1)
    np.testing.assert_array_max_ulp(loss_of(CROSS_ENTROPY, stream).value, loss_whole, maxulp=4)


# --- plans --------------------------------------------------------------------------------------------


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 64), st.integers(0, 2**34))
def test_a_plan_covers_every_row_once_and_fits_the_memory(rows: int, classes: int, threads: int, memory: int) -> None:
    resources = Resources(threads=threads, memory=memory)
    if rows * classes > 10**10:
        rows = max(1, 10**10 // classes)
    try:
        found = plan(rows, classes, resources)
    except StablemaxError as error:
        if "too little" not in error.message:
            raise
        return
    assert found.blocks[0].start == 0
    assert found.blocks[-1].stop == rows
    assert all(a.stop == b.start for a, b in zip(found.blocks, found.blocks[1:], strict=False))
    held = found.step * min(classes, passes.PIECE) * found.threads
    assert held * streaming.BYTES_PER_CELL <= memory
    assert 1 <= found.threads <= threads


def test_what_the_hint_asks_for_is_enough() -> None:
    with pytest.raises(StablemaxError) as refused:
        plan(1000, 100_000, Resources(memory=1 << 20))
    megabytes = int(refused.value.hint.removeprefix("give at least ").removesuffix("MB"))
    assert plan(1000, 100_000, Resources(memory=megabytes * 10**6)).threads == 1


# --- the command line -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    rng = np.random.default_rng(0)
    x = rng.normal(scale=4.0, size=(600, 20_000)).astype(np.float32)
    y = rng.integers(0, 20_000, 600)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    np.save(folder / "proved.npy", softmax(x))
    np.save(folder / "interleaved.npy", x.reshape(2, 300, 20_000).swapaxes(1, 2))
    np.save(folder / "few.npy", y.reshape(2, 300))
    for n, (piece, labels) in enumerate(zip(np.split(x, [100, 350]), np.split(y, [99, 400]), strict=True)):
        np.save(folder / f"x-{n}.npy", piece)
        np.save(folder / f"y-{n}.npy", labels)
    return folder


def stablemax(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stablemax", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_the_command_prints_the_same_digits_for_any_threads_memory_and_files(desk: Path) -> None:
    ways = [
        ("x.npy", "y.npy"),
        ("x.npy", "y.npy", "--threads", "1"),
        ("x.npy", "y.npy", "--threads", "5", "--memory", "30MB"),
        ("x-*.npy", "y-*.npy", "-q"),
        ("x-0.npy", "x-1.npy", "x-2.npy", "--labels", "y.npy", "-q"),
    ]
    found = [stablemax("loss", *way, cwd=desk) for way in ways]
    assert [done.returncode for done in found] == [0] * len(ways)
    assert len({done.stdout for done in found}) == 1
    assert not any(done.stderr for done in found)


@pytest.mark.slow
def test_numbered_files_that_a_shell_put_out_of_order_are_told_and_a_pattern_puts_them_in_order(tmp_path: Path) -> None:
    for n in range(11):
        np.save(tmp_path / f"x-{n}.npy", np.eye(1, 11, n))
    np.save(tmp_path / "y.npy", np.arange(11))
    told = [
        stablemax("loss", *way, "--labels", "y.npy", cwd=tmp_path)
        for way in (["x-*.npy"], sorted(path.name for path in tmp_path.glob("x-*.npy")))
    ]
    assert [done.returncode for done in told] == [0, 0]
    assert float(told[0].stdout) < float(told[1].stdout)
    words = "x-10.npy comes before x-2.npy, as they were named; a quoted pattern has numbers in order"
    assert [words in done.stderr for done in told] == [False, True]


# Not ru_maxrss: a process inherits that of its parent, beside which no peak of its own would show. A computation of two
# rows comes first: libraries and code, of which Typer's pydantic takes 11 MB, are none of the computation's memory.
PEAK = """
import sys
from pathlib import Path
from stablemax.cli.main import main
import concurrent.futures.thread, stablemax.compute.arrays, stablemax.operations.cross_entropy_grad
import stablemax.truth.measure, stablemax.render.array_files

def peak():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

def run(*arguments):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as stop:
        return stop.code

asked = sys.argv[1:]
run("loss", "two.npy", "two-labels.npy")
run("judge", "two.npy", "two.npy", "--operation", "softmax")
before = peak()
assert not run(*asked)
print(peak() - before, file=sys.stderr)
"""


def peak_of(*arguments: str, cwd: Path) -> int:
    """Return the bytes that a command under a cap of 24 MB takes beside libraries and code."""
    np.save(cwd / "two.npy", np.zeros((2, 3), np.float32))
    np.save(cwd / "two-labels.npy", np.zeros(2, np.int64))
    command = [sys.executable, "-c", PEAK, *arguments, "--memory", "24MB", "--threads", "2"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.splitlines()[-1])


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize(
    "command",
    [
        ("loss", "x.npy", "y.npy"),
        ("softmax", "x.npy", "-o", "p.npy", "--force"),
        ("grad", "x.npy", "y.npy", "-o", "g.npy", "--force"),
        ("logsumexp", "x.npy"),
        ("softmax", "interleaved.npy", "--axis", "1", "-o", "p.npy", "--force"),
        ("softmax", "interleaved.npy", "--axis", "1", "-o", "p.npy", "--force", "--variant", "shifted"),
        ("grad", "interleaved.npy", "few.npy", "-o", "g.npy", "--force"),
        ("judge", "x.npy", "proved.npy", "--operation", "softmax"),
    ],
    ids=" ".join,
)
def test_the_peak_of_the_memory_stays_under_the_cap(command: tuple[str, ...], desk: Path) -> None:
    # The input is 48 MB; without a cap the gradient takes 22 to 26 MB.
    assert peak_of(*command, cwd=desk) <= 24e6 - RESERVED


COMPUTED = (partial(loss_of, CROSS_ENTROPY), partial(arrays.array_of, CROSS_ENTROPY_GRAD))


@pytest.mark.parametrize("run", [*COMPUTED, inspect_stream])
def test_progress_counts_bytes_from_none_before_the_first_block_to_all(run: Any) -> None:
    logits = np.zeros((40, 3), np.float16)
    stream = as_stream(StoredArray.of(logits), StoredArray.of(np.zeros(40, np.int64)))
    told: list[tuple[int, int]] = []
    run(stream, progress=lambda done, total, _: told.append((done, total)))
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    # The rate is counted from the first one on, so that none may be done by then.
    assert (told[0], told[-1]) == ((0, logits.nbytes), (logits.nbytes, logits.nbytes))


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize(
    ("classes", "targets"),
    [(2, "labels"), (20_000, "soft")],
    ids=["many short rows", "soft targets"],
)
@pytest.mark.parametrize("command", ["loss", "grad"])
def test_what_comes_with_the_logits_counts_too(command: str, classes: int, targets: str, tmp_path: Path) -> None:
    rows = 12_000_000 // classes
    soft = targets == "soft"
    # A soft target that is exactly the probability has a gradient of 0, which balls alone can tell.
    x = (
        np.random.default_rng(0).standard_normal((rows, classes), np.float32)
        if soft
        else np.ones((rows, classes), "f4")
    )
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.full((rows, classes), 1 / classes, np.float32) if soft else np.zeros(rows, np.int64))
    written = ["-o", "g.npy"] if command == "grad" else []
    assert peak_of(command, "x.npy", "y.npy", *written, cwd=tmp_path) <= 24e6 - RESERVED


def test_under_a_cap_no_text_is_held_in_memory(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,2\n3,4\n")
    capped = source.open_stream([str(tmp_path / "x.csv")], [], InputOptions(), Resources(memory=10**8))
    free = source.open_stream([str(tmp_path / "x.csv")], [], InputOptions(), Resources())
    assert capped.logits.parts[0].stored.memory is None
    assert free.logits.parts[0].stored.memory is not None


@pytest.mark.slow
@pytest.mark.parametrize("command", [("loss", "y.npy"), ("logsumexp",)], ids=lambda command: command[0])
def test_a_formula_that_takes_a_row_whole_is_refused_where_the_row_does_not_fit(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    # The memory is enough for a piece of the row with the accurate formula.
    np.save(tmp_path / "x.npy", np.zeros((1, passes.PIECE + 10_000), dtype=np.float32))
    np.save(tmp_path / "y.npy", np.zeros(1, dtype=np.int64))
    arguments = (command[0], "x.npy", *command[1:], "--memory", "26.5MB")
    assert stablemax(*arguments, cwd=tmp_path).returncode == 0
    refused = stablemax(*arguments, "--variant", "shifted", cwd=tmp_path)
    assert refused.returncode == 2
    assert "is too little for rows of 272,144 classes" in refused.stderr


def test_a_full_folder_of_temporary_files_is_named_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(arrays, "file_sink", full)
    stream = as_stream(StoredArray.of(np.zeros((4, 1000))))
    resources = Resources(memory=1000)
    with (
        pytest.raises(StablemaxError, match=r"32,000 bytes does not fit into .* \(No space left on device\)") as told,
        arrays.result_of(SOFTMAX, stream, Method(), lambda _: (), resources),
    ):
        pass
    assert "TMPDIR" in told.value.hint


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize(("sent", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_run_that_is_stopped_leaves_no_half_file(sent: str, code: int, desk: Path) -> None:
    command = [sys.executable, "-m", "stablemax", "softmax", "x.npy", "-o", "interrupted.npy", "--threads", "1"]
    before = {path.name for path in desk.iterdir()}
    running = subprocess.Popen(command, cwd=desk, stderr=subprocess.PIPE, text=True)
    begun = time.monotonic()
    while {path.name for path in desk.iterdir()} == before and time.monotonic() - begun < 300:
        time.sleep(0.001)
    running.send_signal(getattr(signal, sent))
    _, said = running.communicate(timeout=300)
    assert (running.returncode, said) == (code, "")
    assert {path.name for path in desk.iterdir()} == before


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a file system of limited size")
def test_a_disk_without_room_is_told_before_the_work(desk: Path) -> None:
    free = os.statvfs("/dev/shm").f_bavail * os.statvfs("/dev/shm").f_frsize
    rows = free // (20_000 * 4) + 10
    if rows > 10**6:
        pytest.skip("the file system in memory is too large to be overfilled")
    # A file of zeros that takes no room itself.
    with (desk / "sparse.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, 20_000)})
        file.truncate(file.tell() + rows * 20_000 * 4)
    begun = time.monotonic()
    target = f"/dev/shm/stablemax-{os.getpid()}.npy"
    done = stablemax("softmax", "sparse.npy", "-o", target, cwd=desk)
    assert done.returncode == 2
    assert "cannot be written (No space left on device)" in done.stderr
    assert time.monotonic() - begun < 300
    assert not list(Path("/dev/shm").glob(f"*stablemax-{os.getpid()}*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--memory", "1MB"), "is too little for rows of 20,000 classes"),
        (("--memory", "lots"), "--memory lots is not an amount of memory"),
        (("--threads", "0"), "threads"),
        (("--scheduler", "tcp://localhost:1"), "--scheduler is for --engine dask"),
    ],
)
def test_a_mistake_about_resources_is_told_in_two_lines(arguments: tuple[str, ...], words: str, desk: Path) -> None:
    done = stablemax("loss", "x.npy", "y.npy", *arguments, cwd=desk)
    assert done.returncode == 2
    assert done.stdout == ""
    assert words in done.stderr.splitlines()[0]
    assert done.stderr.splitlines()[1].startswith("hint: ")
