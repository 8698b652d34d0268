from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stablemax.inputs.file_format import ReadingLimits, TableOptions
from stablemax.inputs.formats import parquet as parent
from stablemax.inputs.formats import parquet_groups as module
from stablemax.inputs.open import open_array
from stablemax.inputs.spooled import Spool

if TYPE_CHECKING:
    from stablemax.inputs.stored import StoredArray

    from .conftest import Peak, Refusal

DTYPES = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def arrow() -> Any:
    return pytest.importorskip("pyarrow", reason="needs pyarrow")


def write(table: Any, **options: Any) -> None:
    from pyarrow import parquet

    parquet.write_table(table, "x.parquet", **options)


def read(**options: Any) -> StoredArray:
    return open_array("x.parquet", table=TableOptions(**options))


class Unbounded:
    def of_file(self, metadata: Any) -> None:
        pass

    def of_batch(self) -> None:
        pass


def read_here(**options: Any) -> StoredArray:
    """Read in this process, where the sizes of the reader can be set."""
    with Spool("x.parquet") as values, Spool("x.parquet") as labels, Path("x.parquet").open("rb") as stream:
        sinks = values.write, labels.write
        found = module.read_parquet(stream, "x.parquet", TableOptions(**options), 0, sinks, Unbounded())
        targets = labels.stored(found.shape[:1], np.dtype(float)) if found.has_labels else None
        return values.stored(found.shape, found.dtype, labels=targets, notes=found.notes)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    st.sampled_from(DTYPES).flatmap(
        lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=5))
    ),
    st.booleans(),
)
def test_columns_and_lists_are_read_bit_for_bit_as_npy_is(arrow: Any, array: np.ndarray, lists: bool) -> None:
    if lists:
        flat = arrow.array(array.ravel(), arrow.from_numpy_dtype(array.dtype), from_pandas=False)
        write(arrow.table({"logits": arrow.FixedSizeListArray.from_arrays(flat, array.shape[1])}))
    else:
        columns = [arrow.array(np.ascontiguousarray(column), from_pandas=False) for column in array.T]
        write(arrow.table(columns, [f"class {n}.x" for n in range(len(columns))]))
    np.save("x.npy", array)
    found, npy = read_here().array, open_array("x.npy").array
    assert (found.dtype, found.shape) == (npy.dtype, npy.shape)
    known = ~np.isnan(npy.astype(float))
    assert found[known].tobytes() == npy[known].tobytes()
    assert np.isnan(found[~known].astype(float)).all()
    assert not found.flags.writeable


@pytest.mark.parametrize("kind", ["list", "large_list"])
def test_lists_of_any_length_are_read_where_all_have_the_same(arrow: Any, kind: str, refusal: Refusal) -> None:
    rows = [[1.5, 2.5], [3.5, 4.5], [5.5, 6.5]]
    of = arrow.list_ if kind == "list" else arrow.large_list
    write(arrow.table({"logits": arrow.array(rows, of(arrow.float32())), "y": [0, 1, 1]}))
    file = read(label_column="y")
    assert file.array.tolist() == rows
    assert file.array.dtype == np.float32
    assert file.labels is not None
    assert file.labels.array.tolist() == [0, 1, 1]
    assert "there are other columns" in refusal(read).message
    write(arrow.table({"logits": arrow.array([*rows, [1.0]], of(arrow.float32()))}))
    assert refusal(read).message == ("x.parquet: column logits, row 3: the list has 1 entry, but that of row 0 has 2")


def test_columns_of_several_types_become_float64_and_what_that_rounds_is_noted(arrow: Any) -> None:
    write(arrow.table({"a": arrow.array([1, 2**53 + 1, 2**60]), "b": arrow.array([0.5, 1.5, 2.5], arrow.float32())}))
    file = read()
    assert file.array.dtype == np.float64
    assert file.array.tolist() == [[1, 0.5], [2**53, 1.5], [2**60, 2.5]]
    assert file.notes == ("x.parquet: column a, row 1: 9007199254740993 is not exact in float64",)


def test_labels_are_taken_by_name_or_number_and_keep_the_type_of_the_rest(arrow: Any) -> None:
    write(arrow.table({"a": np.ones(2, np.float32), "label": [3, 4], "b": np.zeros(2, np.float32)}))
    for column in ("label", "1"):
        file = read(label_column=column)
        assert file.array.tolist() == [[1, 0], [1, 0]]
        assert file.array.dtype == np.float32
        assert file.labels is not None
        assert file.labels.dtype == np.float64
        assert file.labels.array.tolist() == [3, 4]


def test_a_missing_label_column_is_refused(arrow: Any, refusal: Refusal) -> None:
    write(arrow.table({"a": [1.0]}))
    assert "no column is named y" in refusal(read, label_column="y").message
    assert "no column is left" in refusal(read, label_column="a").message


def test_the_index_of_pandas_is_left_out_and_announced(arrow: Any) -> None:
    write(arrow.table({"a": [1.0, 2.0], "__index_level_0__": ["u", "v"]}))
    assert read().array.tolist() == [[1], [2]]
    assert read().notes == ("x.parquet: column __index_level_0__ taken as the index of pandas and left out",)
    write(arrow.table({"name": ["u", "v"], "a": [1.0, 2.0]}))
    assert read(index_column=True).array.tolist() == [[1], [2]]


def test_columns_of_one_name_are_all_read(arrow: Any) -> None:
    write(arrow.table([arrow.array([1.0]), arrow.array([2.0])], ["a", "a"]))
    assert read_here().array.tolist() == [[1, 2]]


@pytest.mark.parametrize("label", ["y", "0", "2"])
def test_columns_of_one_name_are_all_read_beside_labels(arrow: Any, label: str) -> None:
    columns = [arrow.array([1.0, 3.0]), arrow.array([2.0, 4.0])]
    place = 2 if label == "y" else int(label)
    columns.insert(place, arrow.array([1, 0]))
    names = ["a", "a"]
    names.insert(place, "y")
    write(arrow.table(columns, names))
    found = read(label_column=label)
    assert found.array.tolist() == [[1, 2], [3, 4]]
    assert found.labels is not None
    assert found.labels.array.tolist() == [1, 0]


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read two columns at once, and of those two rows."""
    page = 2 * 24 + 48
    monkeypatch.setattr(module, "PAGE_BYTES", page)
    monkeypatch.setattr(module, "OPEN_BYTES", 2 * 2 * page)
    monkeypatch.setattr(module, "BATCH_CELLS", 4)


@pytest.mark.parametrize("columns", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("size", [1, 3, 64])
@pytest.mark.usefixtures("few_at_once")
def test_columns_that_are_read_a_few_at_a_time_are_the_same_rows(arrow: Any, columns: int, size: int) -> None:
    array = np.random.default_rng(size).standard_normal((11, columns)).astype(np.float32)
    table = {f"c{n}": column for n, column in enumerate(array.T)}
    write(arrow.table({"y": np.arange(11), **table}), row_group_size=size)
    file = read_here(label_column="y")
    assert file.array.tobytes() == array.tobytes()
    assert file.labels is not None
    assert file.labels.array.tolist() == list(range(11))


@pytest.mark.usefixtures("few_at_once")
def test_what_is_said_of_columns_read_a_few_at_a_time_names_the_row_of_the_file(arrow: Any, refusal: Refusal) -> None:
    whole = [0.0] * 9
    table = {"a": whole, "b": whole, "c": whole, "d": [*range(7), 2**53 + 1, 0]}
    write(arrow.table(table), row_group_size=5)
    found = read_here()
    assert found.notes == ("x.parquet: column d, row 7: 9007199254740993 is not exact in float64",)
    write(arrow.table({**table, "c": [*whole[:6], None, 0.0, 0.0]}), row_group_size=5)
    assert "column c, row 6: there is no value" in refusal(read_here).message


@pytest.mark.parametrize("rows", [3, 300_000])
def test_a_missing_value_is_refused_with_its_column_and_row(arrow: Any, rows: int, refusal: Refusal) -> None:
    values = [1.0] * (rows - 1) + [None]
    write(arrow.table({"a": [1.0] * rows, "b": values}))
    assert refusal(read_here).message == f"x.parquet: column b, row {rows - 1:,}: there is no value (null)"
    write(arrow.table({"l": arrow.array([[1.0, 2.0]] * (rows - 1) + [[1.0, None]])}))
    assert refusal(read_here).message == f"x.parquet: column l, row {rows - 1:,}, entry 1: there is no value (null)"
    write(arrow.table({"l": arrow.array([[1.0, 2.0]] * (rows - 1) + [None])}))
    assert refusal(read_here).message == f"x.parquet: column l, row {rows - 1:,}: there is no value (null)"


@pytest.mark.parametrize("values", [["a"], [True], [b"x"], [{"a": 1}], [[["x"]]], [[[1.0]]]], ids=ascii)
def test_columns_that_are_no_numbers_are_named(arrow: Any, values: list[object], refusal: Refusal) -> None:
    write(arrow.table({"a": [1.0], "b\x1b[31m": arrow.array(values)}))
    message = refusal(read_here).message
    assert r"column b\x1b[31m holds" in message
    assert "not numbers" in message


def test_a_file_without_rows_is_refused(arrow: Any, refusal: Refusal) -> None:
    write(arrow.table({"a": arrow.array([], arrow.float32())}))
    assert "holds no rows" in refusal(read_here).message
    write(arrow.table({"a": arrow.array([], arrow.list_(arrow.float32()))}))
    assert "holds no rows" in refusal(read_here).message


def test_a_file_is_recognised_by_its_content_and_read_from_a_pipe(arrow: Any, refusal: Refusal) -> None:
    write(arrow.table({"a": [1.5, 2.5]}))
    raw = Path("x.parquet").read_bytes()
    for name in ("x.dat", "x.csv"):
        Path(name).write_bytes(raw)
    assert open_array("x.dat").format == "parquet"
    assert refusal(open_array, "x.csv").hint == "--input-format parquet"
    assert open_array("-", input_format="parquet", stdin=io.BytesIO(raw)).array.tolist() == [[1.5], [2.5]]
    assert "no member 'a'" in refusal(open_array, "x.dat:a").message


def test_without_pyarrow_the_way_to_install_it_is_given(monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
    Path("x.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    error = refusal(read)
    assert error.message == "x.parquet: Parquet files need the package pyarrow"
    assert error.hint == 'pip install "stablemax[parquet]"'


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the memory of a process")
HOSTILE = Path(__file__).parents[1] / "cases" / "hostile"


@on_linux
@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize(
    ("name", "force", "said"),
    [
        ("parquet-rows-lost", False, "is damaged (row group 2 declares 1 row, and its columns hold 0)"),
        ("parquet-abort", False, "is damaged (what(): Definition level histogram size mismatch, size: 4, expected: 3)"),
        ("longlist28", False, "598 bytes claim to hold 2,147,483,648 bytes"),
        ("longlist28", True, "takes far more memory than the file"),
    ],
)
def test_what_a_file_makes_pyarrow_do_does_not_become_of_this_process(
    name: str, force: bool, said: str, refusal: Refusal
) -> None:
    assert said in refusal(open_array, str(HOSTILE / f"{name}.parquet"), limits=ReadingLimits(force=force)).message


@on_linux
@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("force", [[], ["--force"]], ids=ascii)
def test_a_file_of_600_bytes_costs_no_gigabytes(force: list[str]) -> None:
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run([sys.executable, '-m', 'stablemax', 'inspect', *sys.argv[1:]], capture_output=True)\n"
        "print(done.returncode, done.stderr.count(b'error:'), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(HOSTILE / "longlist28.parquet"), *force],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    exit_code, errors, peak_kib = map(int, done.stdout.split())
    assert (exit_code, errors) == (2, 1)
    assert peak_kib < 512 * 2**10


@on_linux
@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("os.abort()", "is damaged (its reader ended with -6)"),
        ("print('words of C++', file=sys.stderr); os._exit(3)", "is damaged (words of C++)"),
        ("print('std::bad_alloc', file=sys.stderr); os.abort()", "takes far more memory"),
        ("limit_processor_time(1)\nwhile True: pass", "takes seconds of processor time"),
        ("sys.stdout.write('no message')", "is damaged (its reader ended with 0)"),
        ("sys.stdout.write('no message\\n')", "is damaged (its reader ended with 0)"),
        ("""sys.stdout.write('{"spool": 0, "bytes": 9}\\n')""", "is damaged (its reader ended with 0)"),
        ("sys.stdin.close()", "is damaged (its reader ended with 0)"),
    ],
)
def test_a_reader_that_ends_before_its_time_is_an_error_in_words(
    does: str, said: str, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    Path("x.parquet").write_bytes(b"PAR1")
    code = f"import os, sys\nfrom stablemax.text.process_limits import limit_processor_time\n{does}"
    monkeypatch.setattr(parent, "_CHILD", ("-c", code))
    assert said in refusal(read).message


def test_a_reader_ends_with_the_process_that_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    Path("x.parquet").write_bytes(b"PAR1")
    said = """{"spool": 0, "bytes": 8}"""
    code = (
        f"import os, sys, time\nopen('pid', 'w').write(str(os.getpid()))\nprint('{said}', flush=True)\ntime.sleep(60)"
    )
    monkeypatch.setattr(parent, "_CHILD", ("-c", code))

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Spool, "fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read()
    with pytest.raises(ProcessLookupError):
        os.kill(int(Path("pid").read_text()), 0)


@pytest.mark.parametrize(("columns", "label"), [(1, None), (3, None), (3, "c1")])
def test_a_column_that_ends_early_is_refused_whatever_stands_beside_it(
    arrow: Any, columns: int, label: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(arrow.table({f"c{n}": np.arange(10.0) for n in range(columns)}), row_group_size=5)
    from pyarrow import parquet

    batches = parquet.ParquetFile.iter_batches

    def shorter(self: Any, *given: Any, columns: Any, **options: Any) -> Any:
        for batch in batches(self, *given, columns=columns, **options):
            # As pyarrow's own batches end where a column chunk has fewer values than its row group.
            yield batch.slice(0, len(batch) - 1) if columns is None or "c0" in columns else batch

    assert read_here(label_column=label).shape == (10, columns - (label is not None))
    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", shorter)
    with pytest.raises(ValueError, match="row group 0 declares 5 rows"):
        read_here(label_column=label)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(arrow: Any, peak: Peak) -> None:
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    code = "print(open_array('x.parquet').array.shape)"
    found = []
    for groups in (1, 24):
        columns = {f"c{n}": rng.standard_normal(50_000) for n in range(16)}
        table = arrow.table(columns)
        with parquet.ParquetWriter("x.parquet", table.schema) as writer:
            for _ in range(groups):
                writer.write_table(table)
        memory, output = peak(code)
        assert output == f"({50_000 * groups}, 16)"
        found.append(memory)
    assert Path("x.parquet").stat().st_size > 140 * 2**20
    assert found[1] < found[0] + 150


@pytest.mark.slow
def test_memory_does_not_grow_with_the_row_group(arrow: Any, peak: Peak) -> None:
    rng = np.random.default_rng(0)
    code = (
        "from stablemax.inputs.file_format import ReadingLimits\n"
        "from stablemax.inputs.open import open_array\n"
        "print(open_array('x.parquet', limits=ReadingLimits(in_memory=0)).shape)"
    )
    found = []
    for rows in (100, 40_000):
        columns = {f"c{n}": rng.standard_normal(rows).astype(np.float32) for n in range(300)}
        write(arrow.table(columns), row_group_size=rows)
        memory, output = peak(code)
        assert output == f"({rows}, 300)"
        found.append(memory)
    assert Path("x.parquet").stat().st_size > 45 * 2**20
    assert found[1] < found[0] + 40
