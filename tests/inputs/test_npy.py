from __future__ import annotations

import io
import os
import struct
import tracemalloc
import warnings
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stablemax.inputs.file_format import OpenedFile
from stablemax.inputs.foreign_text import file_name
from stablemax.inputs.formats.npy import HEADER_LIMIT, open_npy, spool_npy
from stablemax.inputs.open import open_array
from stablemax.inputs.regular_file import open_regular, reading

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Peak, Refusal

KINDS = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
DTYPES = st.sampled_from(KINDS).flatmap(lambda kind: st.sampled_from("<>").map(lambda order: np.dtype(order + kind)))
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


def npy(header: str | bytes, data: bytes = b"", version: tuple[int, int] = (1, 0), length: int | None = None) -> bytes:
    raw = header.encode("latin-1") if isinstance(header, str) else header
    size = len(raw) if length is None else length
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", size) + raw + data


def declared(descr: object = "<f8", shape: object = (2,), fortran_order: object = False) -> str:
    return f"{{'descr': {descr!r}, 'fortran_order': {fortran_order!r}, 'shape': {shape!r}, }}\n"


def saved(array: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def read_npy(path: str, *, name: str | None = None) -> np.ndarray:
    with open_regular(path) as stream, reading(path):
        return open_npy(OpenedFile(stream, name or file_name(path), path)).array


def read_npy_stream(stream: io.BytesIO, name: str) -> np.ndarray:
    return spool_npy(OpenedFile(stream, name)).array


def written(tmp_path: Path, content: bytes, name: str = "x.npy") -> str:
    (tmp_path / name).write_bytes(content)
    return str(tmp_path / name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ARRAYS, st.booleans())
def test_what_numpy_saves_is_read_bit_for_bit(tmp_path: Path, array: np.ndarray, fortran: bool) -> None:
    content = saved(np.asfortranarray(array) if fortran and array.ndim else array)
    for result in (read_npy(written(tmp_path, content)), read_npy_stream(io.BytesIO(content), "stdin")):
        assert result.dtype == array.dtype
        assert result.dtype.str == array.dtype.str
        assert result.shape == array.shape
        assert result.tobytes() == array.tobytes()
        assert not result.flags.writeable
        if fortran:
            assert result.flags.f_contiguous


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_is_read(tmp_path: Path, version: tuple[int, int]) -> None:
    path = written(tmp_path, npy(declared(), np.array([1.0, 2.0]).tobytes(), version))
    assert read_npy(path).tolist() == [1.0, 2.0]


def test_only_the_header_of_a_large_file_is_read_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    header = npy(declared("|u1", (2**42,)))
    path.write_bytes(header)
    os.truncate(path, len(header) + 2**42)
    assert open_array(str(path)).shape == (2**42,)


def test_the_numbers_outlive_the_open_file(tmp_path: Path) -> None:
    arrays = [read_npy(written(tmp_path, saved(np.arange(5)), f"{n}.npy")) for n in range(50)]
    assert sum(int(array.sum()) for array in arrays) == 500


@pytest.mark.parametrize(
    ("descr", "says", "hints"),
    [
        ("|O", "Python objects", "pickled Python code"),
        ("<c16", "complex", "x.real"),
        ([("a", "<f8"), ("b", "<i4")], "structured", "save one field"),
        ([("a", "<f8")], "structured", "save one field"),
        ("<U3", "text", "numbers"),
        ("|S3", "text", "numbers"),
        ("|V2", "raw bytes", "ml_dtypes"),
        ("<V1", "raw bytes", "ml_dtypes"),
        ("<f1", "raw bytes", "ml_dtypes"),
        ("<M8[ns]", "dates", "int64"),
        ("<m8[s]", "time spans", "int64"),
        ("<f16", "extended-precision", "float64"),
        ("<f12", "extended-precision", "float64"),
        ("<i3", "unknown", "float64"),
        ("float64", "the dtype in the .npy header", "numpy.save"),
        ("f8,f8", "the dtype in the .npy header", "numpy.save"),
        (3, "the dtype in the .npy header", "numpy.save"),
    ],
)
def test_dtypes_that_are_no_real_numbers_are_refused(
    tmp_path: Path, refusal: Refusal, descr: object, says: str, hints: str
) -> None:
    error = refusal(read_npy, written(tmp_path, npy(declared(descr), bytes(48))), name="x.npy")
    assert error.message.startswith("x.npy: ")
    assert says in error.message
    assert hints in error.hint
    assert "allow_pickle" not in error.hint


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_saved_ml_dtypes_are_refused_with_the_way_out(tmp_path: Path, refusal: Refusal, dtype: Any) -> None:
    error = refusal(read_npy, written(tmp_path, saved(np.ones(3, dtype))))
    assert "save x.astype(np.float32)" in error.hint


def test_a_saved_object_array_is_refused_and_never_run(tmp_path: Path, refusal: Refusal) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    content = saved(np.array([Bomb()], dtype=object), allow_pickle=True)
    refusal(read_npy, written(tmp_path, content))
    refusal(read_npy_stream, io.BytesIO(content), "stdin")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{",
        "[]",
        "{'descr': '<f8', 'shape': (2,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), 'more': 1}",
        declared(shape=(-1,)),
        declared(shape=(True,)),
        declared(shape=(2.0,)),
        declared(shape=[2]),
        declared(shape=2),
        declared(shape=(1,) * 65),
        declared(shape=(0, 2**62)),
        declared(shape=(2**62, 2**62)),
        declared(fortran_order=0),
        declared(fortran_order=None),
        "(" * 5000,
        "-" * 9000 + "1",
        "[" * 90 + "]" * 90,
        "{[]: 1}",
        "__import__('os').mkdir('ran')",
        "'\\d'",
        "'\0'",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0x" + "f" * 9000 + ",)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 9000 + ",)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (" + "1," * 4000 + ")}",
        "\x1b[31m" * 100,
    ],
    ids=lambda text: ascii(text[:50]),
)
def test_damaged_headers_are_refused_in_words(tmp_path: Path, refusal: Refusal, header: str) -> None:
    assert ".npy header" in refusal(read_npy, written(tmp_path, npy(header, bytes(16))), name="x").message


def test_a_hostile_header_prints_no_warnings(tmp_path: Path, refusal: Refusal) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        refusal(read_npy, written(tmp_path, npy(r"'\d'")))
    assert not seen


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x20\x00", npy(declared())]),
)
def test_garbage_is_refused_in_words(tmp_path: Path, refusal: Refusal, tail: bytes, start: bytes) -> None:
    if start and len(start) > 20 and len(tail) == 16:
        return
    refusal(read_npy, written(tmp_path, start + tail))
    refusal(read_npy_stream, io.BytesIO(start + tail), "stdin")


def test_one_byte_less_or_more_is_refused_with_both_numbers(tmp_path: Path, refusal: Refusal) -> None:
    whole = saved(np.arange(10))
    short = refusal(read_npy, written(tmp_path, whole[:-1]))
    assert "make 208 bytes, but the file has 207 bytes" in short.message
    assert "truncated" in short.hint
    long = refusal(read_npy, written(tmp_path, whole + b"x"))
    assert "make 208 bytes, but the file has 209 bytes" in long.message
    assert "207" in refusal(read_npy_stream, io.BytesIO(whole[:-1]), "stdin").message
    assert "more bytes follow" in refusal(read_npy_stream, io.BytesIO(whole + b"x"), "stdin").message


def test_every_truncation_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    whole = saved(np.arange(2))
    for count in range(len(whole)):
        refusal(read_npy, written(tmp_path, whole[:count]))
        refusal(read_npy_stream, io.BytesIO(whole[:count]), "stdin")


def test_crlf_damage_is_refused_and_named(tmp_path: Path, refusal: Refusal) -> None:
    grown = saved(np.arange(20)).replace(b"\n", b"\r\n")
    assert "CRLF" in refusal(read_npy, written(tmp_path, grown)).hint
    shrunk = saved(np.array([13 + 10 * 256] * 3)).replace(b"\r\n", b"\n")
    assert "CRLF" in refusal(read_npy, written(tmp_path, shrunk)).hint
    recoded = saved(np.arange(3)).decode("latin-1").encode("utf-8")
    assert "binary mode" in refusal(read_npy, written(tmp_path, recoded)).hint


def test_crlf_damage_that_keeps_the_size_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    whole = saved(np.zeros(2, np.uint8))
    damaged = whole.replace(b"\n", b"\r\n")[: len(whole)]
    error = refusal(read_npy, written(tmp_path, damaged))
    assert "ends in a carriage return" in error.message
    assert "CRLF" in error.hint


def test_a_header_of_the_longest_length_is_read_and_one_byte_more_is_not(tmp_path: Path, refusal: Refusal) -> None:
    text = declared(shape=(0,)).rstrip("\n")
    longest = npy(text.ljust(HEADER_LIMIT - 1) + "\n")
    assert read_npy(written(tmp_path, longest)).shape == (0,)
    error = refusal(read_npy, written(tmp_path, npy(text.ljust(HEADER_LIMIT) + "\n")))
    assert "10,001" in error.message


def test_a_sparse_file_that_claims_a_header_of_4_gib_costs_nothing(tmp_path: Path, peak: Peak) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(npy(b"", version=(2, 0), length=2**32 - 1))
    os.truncate(path, 5 * 2**30)
    memory, output = peak("refused(sys.argv[1])", str(path))
    assert "claims 4,294,967,295 bytes; at most 10,000" in output
    assert memory < 150


def test_a_claim_of_72_tib_costs_nothing_in_a_file_and_in_a_pipe(tmp_path: Path, peak: Peak) -> None:
    content = npy(declared(shape=(72 * 2**37,)), bytes(100))
    path = written(tmp_path, content)
    code = "refused(sys.argv[1]); refused('-', stdin=open(sys.argv[1], 'rb'))"
    memory, output = peak(code, path)
    in_file, in_pipe = output.splitlines()
    assert "make 79,164,837,199,952 bytes" in in_file
    assert "79,164,837,199,872 bytes do not fit into" in in_pipe
    assert memory < 150


def test_a_pipe_that_promises_more_than_it_gives_costs_what_it_gives() -> None:
    content = npy(declared("|u1", (2**28,)), bytes(1000))
    tracemalloc.start()
    with pytest.raises(Exception, match="header and data make"):
        read_npy_stream(io.BytesIO(content), "stdin")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_other_files_are_named(tmp_path: Path, refusal: Refusal) -> None:
    assert "is empty" in refusal(read_npy, written(tmp_path, b"")).message
    assert "zip archive" in refusal(read_npy, written(tmp_path, b"PK\x03\x04aaaa")).message
    assert "pickle" in refusal(read_npy, written(tmp_path, b"\x80\x04aaaaaaaa")).message
    assert "'1,2,3" in refusal(read_npy, written(tmp_path, b"1,2,3,4,5")).message
    assert "4.0" in refusal(read_npy, written(tmp_path, npy(declared(), version=(4, 0)))).message


@pytest.mark.parametrize("kind", ["<c8", "<U2", "<M8[D]"])
def test_a_dtype_that_a_header_names_twice_is_the_last_as_for_numpy(kind: str, refusal: Refusal) -> None:
    def raw(first: str, last: str) -> bytes:
        return npy(declared(last).replace("{", f"{{'descr': '{first}', ", 1), bytes(16))

    def opened(content: bytes) -> Any:
        return open_npy(OpenedFile(io.BytesIO(content), "x.npy"))

    assert opened(raw("<f4", "<f8")).dtype == np.float64
    assert "the dtype in the .npy header is " in refusal(opened, raw("<f8", kind)).message
