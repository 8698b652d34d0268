"""Stored arrays as rows: every layout, dtype and cut gives the numbers of the array."""

from __future__ import annotations

import io
import json
import math
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablemax.compute.sinks import FileSink, MemorySink, in_row_order, npy_sink
from stablemax.inputs import row_layout, spooled
from stablemax.inputs.blocks import blocks_of
from stablemax.inputs.logits import as_stream
from stablemax.inputs.open import open_array
from stablemax.inputs.row_layout import Place, gather, layout_of, spread, turn
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.stored_rows import Part, Rows
from stablemax.inputs.workspace import Workspace
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.numerics.formats import Array

SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)
DTYPES = st.sampled_from(["<f4", ">f4", "<f8", ">f8", "<f2", "<i4", ">i8", "u1"])


def by_hand(array: Array, axis: int | None) -> Array:
    """The rows of an array in the order of the other axes."""
    if axis is None:
        return array.reshape(-1, 1)
    return np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])


@st.composite
def arrays(draw: st.DrawFn) -> tuple[Array, int | None]:
    shape, dtype = draw(SHAPES), draw(DTYPES)
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    if draw(st.booleans()):
        array = np.asfortranarray(array)
    return array, draw(st.one_of(st.none(), st.integers(0, len(shape) - 1)))


@given(arrays(), st.data())
def test_a_block_of_any_layout_is_what_the_array_holds(
    tmp_path_factory: pytest.TempPathFactory, given_: tuple[Array, int | None], data: st.DataObject
) -> None:
    array, axis = given_
    path = tmp_path_factory.mktemp("rows") / "x.npy"
    np.save(path, array)
    expected = by_hand(array, axis)
    start = data.draw(st.integers(0, len(expected) - 1))
    stop = data.draw(st.integers(start + 1, len(expected)))
    first = data.draw(st.integers(0, expected.shape[1] - 1))
    last = data.draw(st.integers(first + 1, expected.shape[1]))
    memory = (array, np.repeat(array, 2, axis=0)[::2], np.repeat(array, 2, axis=-1)[..., ::2])
    for stored in (open_array(str(path)), *map(StoredArray.of, memory)):
        rows = Rows((Part(stored, axis),))
        with Workspace() as workspace:
            found = rows.read(start, stop, workspace, first=first, last=last)
            assert found.dtype == array.dtype.newbyteorder("=")
            assert found.dtype.isnative
            np.testing.assert_array_equal(found, expected[start:stop, first:last])


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.data())
def test_several_arrays_are_one_after_the_other(counts: list[int], data: st.DataObject) -> None:
    pieces = [np.full((n, 3), i) + np.arange(n)[:, None] / 8 for i, n in enumerate(counts)]
    whole = np.concatenate(pieces)
    rows = Rows(tuple(Part(StoredArray.of(p, f"part-{i}"), 1) for i, p in enumerate(pieces)))
    start = data.draw(st.integers(0, len(whole) - 1))
    stop = data.draw(st.integers(start + 1, len(whole)))
    np.testing.assert_array_equal(rows.read(start, stop, Workspace()), whole[start:stop])
    name, place = rows.place(start)
    assert pieces[int(name.removeprefix("part-"))][place].tolist() == whole[start].tolist()


def test_what_is_sent_to_another_process_reads_the_same(tmp_path: Path) -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    np.save(tmp_path / "x.npy", np.asfortranarray(array))
    rows = Rows((Part(open_array(str(tmp_path / "x.npy")), 1),))
    before = rows.read(0, 8, Workspace())
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(rows)).read(0, 8, Workspace()), before)


def save_as(path: Path, array: np.ndarray) -> None:
    """Save an array under a name that may end in anything, as a new file; a file that is open stays as it is."""
    with (path.parent / "new").open("wb") as stream:
        np.save(stream, array)
    (path.parent / "new").replace(path)


@pytest.fixture(params=["npy", "npz", "safetensors"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Rows]:
    """A file in each format whose numbers are left where they lie, and its rows."""
    path, array = tmp_path / f"x.{request.param}", np.arange(16.0).reshape(4, 4)
    if request.param == "safetensors":
        header = json.dumps({"x": {"dtype": "F64", "shape": [4, 4], "data_offsets": [0, 128]}}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + array.tobytes())
    else:
        {"npy": np.save, "npz": np.savez}[request.param](path, array)
    return path, Rows((Part(open_array(str(path)), 1),))


def _cut_short(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2)


def _rewritten(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[:-8] + bytes(8))


def _replaced(path: Path) -> None:
    save_as(path, np.zeros((4, 4)))


def _of_another_length(path: Path) -> None:
    save_as(path, np.zeros((400, 4)))


@pytest.mark.parametrize("change", [_cut_short, _rewritten, _replaced, _of_another_length])
def test_a_file_that_changes_after_it_was_opened_is_refused(
    opened: tuple[Path, Rows], change: Callable[[Path], None]
) -> None:
    path, rows = opened
    change(path)
    said = rf"{re.escape(path.name)}(:arr_0)?: was changed while it was read"
    with pytest.raises(StablemaxError, match=said), Workspace() as workspace:
        rows.read(0, 4, workspace)
    with pytest.raises(StablemaxError, match=said):
        rows.whole()


def test_a_file_that_is_cut_short_while_it_is_read_is_refused(opened: tuple[Path, Rows]) -> None:
    path, rows = opened
    with Workspace() as workspace:
        rows.read(0, 2, workspace)
        _cut_short(path)
        with pytest.raises(StablemaxError, match="ends before its array does"):
            rows.read(0, 4, workspace)


def test_a_file_that_is_replaced_while_it_is_read_is_read_to_its_end(opened: tuple[Path, Rows]) -> None:
    path, rows = opened
    with Workspace() as workspace:
        rows.read(0, 2, workspace)
        _replaced(path)
        np.testing.assert_array_equal(rows.read(2, 4, workspace), np.arange(8.0, 16).reshape(2, 4))


def test_thousands_of_files_do_not_run_out_of_descriptors(tmp_path: Path) -> None:
    parts = []
    for n in range(60):
        np.save(tmp_path / f"{n:03}.npy", np.full((1, 2), float(n)))
        parts.append(Part(open_array(str(tmp_path / f"{n:03}.npy")), 1))
    with Workspace() as workspace:
        before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
        assert Rows(tuple(parts)).read(0, 60, workspace)[:, 0].tolist() == list(map(float, range(60)))
        after = len(list(Path("/proc/self/fd").iterdir())) if before else 0
    assert after - before <= 8


@pytest.mark.parametrize("shape", [(2, 3000, 300), (3, 20, 7000), (1, 90, 91), (300, 5, 20), (2, 9000, 3)], ids=str)
def test_large_boxes_are_turned_into_rows_and_back(shape: tuple[int, int, int]) -> None:
    array = np.random.default_rng(0).normal(size=shape)
    rows = by_hand(array, 1)
    found, box = np.empty_like(rows), np.empty_like(array)
    gather(array, found)
    spread(rows, box)
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_array_equal(box, array)


# --- sinks ------------------------------------------------------------------------------------------


@given(SHAPES, st.data(), st.booleans())
def test_a_sink_puts_every_block_where_the_rows_came_from(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], data: st.DataObject, cut: bool
) -> None:
    axis = data.draw(st.one_of(st.none(), st.integers(0, len(shape) - 1)))
    array = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    rows = by_hand(array, axis)
    size = data.draw(st.integers(1, len(rows)))
    starts = data.draw(st.permutations(range(0, len(rows), size)))
    path = tmp_path_factory.mktemp("sink") / "out.npy"
    in_memory = np.zeros_like(array)
    with path.open("xb") as stream:
        sinks = (npy_sink(stream, shape, axis, array.dtype), MemorySink(in_memory, axis))
        with Workspace() as workspace:
            for sink in sinks:
                for start in starts:
                    stop = min(start + size, len(rows))
                    classes = rows.shape[1]
                    for first in range(classes) if cut else (0,):
                        last = first + 1 if cut else classes
                        room = sink.room(start, stop, workspace, first=first, last=last)
                        room[...] = rows[start:stop, first:last]
                        sink.put(start, room, workspace, first=first)
    np.testing.assert_array_equal(np.load(path), array)
    np.testing.assert_array_equal(in_memory, array)


@given(st.data())
def test_a_file_holds_what_was_put_in_row_order(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6)))
    array = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    rows = by_hand(array, 1)
    size, step = data.draw(st.integers(1, len(rows))), data.draw(st.integers(1, 8))
    pieces = data.draw(st.integers(1, shape[1]))
    folder = tmp_path_factory.mktemp("turned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stablemax.compute.sinks.IN_PLACE_BYTES", data.draw(st.sampled_from([0, 1 << 20])))
        patch.setattr(row_layout, "TILE_BYTES", data.draw(st.integers(8, 200)))
        with (
            (folder / "out.npy").open("xb") as stream,
            Workspace() as workspace,
            in_row_order(npy_sink(stream, shape, 1, np.dtype(np.float32))) as sink,
        ):
            for block in data.draw(st.permutations(blocks_of(len(rows), size))):
                for part in block.steps(step):
                    for first in range(0, shape[1], pieces):
                        values = rows[part.start : part.stop, first : first + pieces]
                        sink.put(part.start, values, workspace, first=first)
    np.testing.assert_array_equal(np.load(folder / "out.npy"), array)
    assert [path.name for path in folder.iterdir()] == ["out.npy"]


def test_a_file_in_row_order_goes_where_the_computation_fails(tmp_path: Path) -> None:
    def failing() -> None:
        with (
            (tmp_path / "p.npy").open("xb") as stream,
            in_row_order(npy_sink(stream, (2, 1000, 1000), 1, np.dtype(np.float32))),
        ):
            assert len(list(tmp_path.iterdir())) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failing()
    assert [path.name for path in tmp_path.iterdir()] == ["p.npy"]


@given(st.data())
def test_boxes_of_any_shape_are_turned_in_tiles_of_any_size(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)))
    dtype = np.dtype(data.draw(st.sampled_from(["u1", "<f2", ">f4", "<f8"])))
    array, target = np.arange(math.prod(shape)).reshape(shape).astype(dtype), io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_layout, "TILE_BYTES", data.draw(st.integers(8, 1000)))
        turn(Place(io.BytesIO(b"head" + array.tobytes()), 4), Place(target), shape, dtype.itemsize)
    assert target.getvalue() == array.transpose(0, 2, 1).tobytes()


def test_turning_costs_few_reads_and_writes() -> None:
    # 2,000 rows of 5,000 classes: a read for each class of each ten rows would be a million.
    class Counted(io.BytesIO):
        calls = 0

        def seek(self, *arguments: Any) -> int:
            self.calls += 1
            return super().seek(*arguments)

    source, target = Counted(bytes(2000 * 5000 * 4)), Counted()
    turn(Place(source), Place(target), (1, 5000, 2000), 4)
    assert max(source.calls, target.calls) <= 20_000


def test_a_sink_converts_a_format_that_numpy_lacks() -> None:
    out = np.zeros((2, 2), np.float32)
    MemorySink(out, 1).put(0, np.array([[1.5, 2.0], [3.0, 4.0]], ml_dtypes.bfloat16), Workspace())
    assert out.tolist() == [[1.5, 2.0], [3.0, 4.0]]


def test_room_on_the_disk_is_taken_before_the_work(tmp_path: Path) -> None:
    with (tmp_path / "p.npy").open("xb") as stream:
        sink = npy_sink(stream, (1000, 100), 1, np.dtype(np.float64))
        assert isinstance(sink, FileSink)
        assert (tmp_path / "p.npy").stat().st_size == sink.offset + 800_000
        blocks: Any = getattr((tmp_path / "p.npy").stat(), "st_blocks", None)
        assert blocks is None or blocks * 512 >= 800_000


# --- streams ----------------------------------------------------------------------------------------


def stored(*shape: int, name: str = "x.npy", dtype: Any = np.float32) -> StoredArray:
    return StoredArray.of(np.zeros(shape, dtype), name)


def test_labels_may_be_cut_at_other_rows_than_the_logits() -> None:
    logits = [stored(2, 3, name="a"), stored(3, 3, name="b")]
    labels = [stored(4, name="y1", dtype=np.int64), stored(1, name="y2", dtype=np.int64)]
    stream = as_stream(logits, labels)
    assert (stream.rows, stream.classes, stream.shape) == (5, 3, (5, 3))


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        ([stored(2, 3, name="a"), stored(2, 4, name="b")], r"b: has shape \(2, 4\), and a \(2, 3\)"),
        ([stored(2, 3, name="a"), stored(2, 3, name="b", dtype=np.float64)], "b: holds float64, and a float32"),
        ([stored(2, 3, name="a"), stored(2, 3, 1, name="b")], "b: has shape"),
    ],
)
def test_files_that_do_not_belong_together_are_refused_by_name(logits: list[StoredArray], words: str) -> None:
    with pytest.raises(StablemaxError, match=words):
        as_stream(logits)


def test_files_are_not_joined_along_the_classes() -> None:
    with pytest.raises(StablemaxError, match="classes on axis 0"):
        as_stream([stored(2, 3), stored(2, 3)], axis=0)


def test_files_of_one_dimension_are_a_row_each() -> None:
    stream = as_stream([stored(3), stored(3)], stored(2, dtype=np.int64))
    assert (stream.rows, stream.classes) == (2, 3)


def test_layouts_are_found_where_rows_keep_their_order() -> None:
    assert layout_of((2, 3, 4), 2, fortran_order=True) is None
    layout = layout_of((3, 4), 0)
    assert layout is not None
    assert (layout.outer, layout.classes, layout.inner) == (1, 3, 4)


@given(st.data())
def test_rows_that_are_interleaved_are_read_right_in_place_and_in_row_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(2, 9)))
    array = np.arange(math.prod(shape), dtype=data.draw(st.sampled_from([np.float16, np.float64]))).reshape(shape)
    folder = tmp_path_factory.mktemp("order")
    np.save(folder / "x.npy", array)
    in_place, expected = Rows((Part(open_array(str(folder / "x.npy")), 1),)), by_hand(array, 1)
    with pytest.MonkeyPatch.context() as patch, Workspace() as workspace:
        patch.setattr("stablemax.inputs.stored_rows.IN_PLACE_BYTES", 0)
        in_order = in_place.in_row_order()
        assert all(part.layout is not None and part.layout.is_plain for part in in_order.parts)
        assert in_place.whole().tolist() == in_order.whole().tolist() == expected.tolist()
        for _ in range(6):
            start = data.draw(st.integers(0, len(expected) - 1))
            stop = data.draw(st.integers(start + 1, len(expected)))
            first = data.draw(st.integers(0, shape[1] - 1))
            last = data.draw(st.one_of(st.none(), st.integers(first + 1, shape[1])))
            for rows in (in_place, in_order):
                read = rows.read(start, stop, workspace, first=first, last=last)
                assert read.tolist() == expected[start:stop, first:last].tolist()


@pytest.mark.parametrize("in_memory", [0, 2**20])
def test_numbers_in_memory_do_not_change_with_their_file(
    opened: tuple[Path, Rows], in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooled, "IN_MEMORY", in_memory)
    path, rows = opened
    whole = rows.whole()
    with path.open("r+b") as stream:
        stream.truncate(0)
    np.testing.assert_array_equal(whole, np.arange(16.0).reshape(4, 4))
