from __future__ import annotations

import contextlib
import io
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stablemax.inputs.file_format import OpenedFile
from stablemax.inputs.formats.safetensors import HEADER_LIMIT, open_safetensors
from stablemax.inputs.open import open_array
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from pathlib import Path

    from stablemax.inputs.stored import StoredArray

    from .conftest import Peak, Refusal

KINDS = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "I8": np.int8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "U8": np.uint8,
    "U16": np.uint16,
    "U32": np.uint32,
    "U64": np.uint64,
    "BOOL": np.bool_,
}


def content(declared: object, data: bytes = b"", length: int | None = None) -> bytes:
    header = declared if isinstance(declared, bytes) else json.dumps(declared).encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def entry(dtype: object = "F32", shape: object = (2,), place: object = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": place}


def opened(raw: bytes, member: str | None = None) -> StoredArray:
    return open_safetensors(OpenedFile(io.BytesIO(raw), "x.safetensors", "x.safetensors", member=member))


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_is_read_bit_for_bit(kind: str, tmp_path: Path) -> None:
    array = (np.arange(24) % 2 if kind == "BOOL" else np.arange(24)).reshape(2, 3, 4).astype(KINDS[kind])
    path = tmp_path / "x.safetensors"
    path.write_bytes(content({"x": entry(kind, [2, 3, 4], [0, array.nbytes])}, array.tobytes()))
    for spec in (str(path), f"{path}:x"):
        read = open_array(spec)
        assert read.array.dtype == array.dtype
        assert read.array.shape == array.shape
        assert read.array.tobytes() == array.tobytes()
        assert read.format == "safetensors"
        assert not read.array.flags.writeable


def test_what_the_safetensors_package_writes_is_read_as_npy_is(tmp_path: Path) -> None:
    writer = pytest.importorskip("safetensors.numpy", reason="needs safetensors")
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {
        "lm_head.weight": rng.standard_normal((3, 5)).astype(np.float32),
        "logits": rng.standard_normal((4, 6)),
        "half": rng.standard_normal((2, 2)).astype(np.float16),
        "labels": np.arange(4),
        "scalar": np.array(2.5),
        "none": np.zeros((0, 7), np.float32),
    }
    path = tmp_path / "x.safetensors"
    writer.save_file(arrays, path, metadata={"format": "pt"})
    for name, array in arrays.items():
        np.save(tmp_path / "x.npy", array)
        found, npy = open_array(f"{path}:{name}").array, open_array(str(tmp_path / "x.npy")).array
        assert (found.dtype, found.shape, found.tobytes()) == (npy.dtype, npy.shape, npy.tobytes())


def test_what_torch_writes_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    writer = pytest.importorskip("safetensors.torch", reason="needs safetensors")
    values = torch.linspace(-5, 5, 12).reshape(3, 4)
    path = tmp_path / "x.safetensors"
    for dtype, name in (
        (torch.bfloat16, "bfloat16"),
        (torch.float8_e4m3fn, "float8_e4m3fn"),
        (torch.float16, "float16"),
    ):
        writer.save_file({"x": values.to(dtype)}, path)
        array = open_array(str(path)).array
        assert array.dtype.name == name
        assert array.astype(np.float64).tolist() == values.to(dtype).double().tolist()


def test_the_file_is_recognised_without_its_extension(tmp_path: Path, refusal: Refusal) -> None:
    raw = content({"x": entry()}, bytes(8))
    for name in ("x.bin", "x.csv", "x.npy"):
        (tmp_path / name).write_bytes(raw)
    assert open_array(str(tmp_path / "x.bin")).format == "safetensors"
    assert open_array(f"{tmp_path / 'x.bin'}:x").shape == (2,)
    for name in ("x.csv", "x.npy"):
        assert refusal(open_array, str(tmp_path / name)).hint == "--input-format safetensors"
    assert open_array("-:x", input_format="safetensors", stdin=io.BytesIO(raw)).array.tolist() == [0, 0]


def test_several_tensors_are_listed_and_picked_by_name(refusal: Refusal) -> None:
    raw = content({"a": entry(), "b": entry("I64", [1], [8, 16]), "__metadata__": {"format": "pt"}}, bytes(16))
    assert opened(raw, "b").shape == (1,)
    error = refusal(opened, raw)
    assert error.message == "x.safetensors: holds 2 tensors: a, b"
    assert error.hint == "say which: FILE.safetensors:NAME"
    error = refusal(opened, raw, "c")
    assert (error.message, error.hint) == ("x.safetensors: holds no tensor named c", "it holds: a, b")
    assert "no tensor named __metadata__" in refusal(opened, raw, "__metadata__").message


def test_nothing_but_the_table_of_contents_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content({"x": entry("U8", [2**32], [0, 2**32])}))
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size + 2**32)
    tracemalloc.start()
    stored = open_array(str(path))
    assert stored.shape == (2**32,)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        (b"", "table of contents is damaged"),
        (b"{", "table of contents is damaged"),
        (b"[]", "no JSON object"),
        (b"\xff{}", "table of contents is damaged"),
        (b"[" * 100_000, "table of contents is damaged"),
        (b'{"x":' * 100_000, "table of contents is damaged"),
        (b'{"x":1,"x":2}', "a name stands twice"),
        (b'{"x":' + b"9" * 5000 + b"}", "damaged"),
        ({"x": 1}, "must declare"),
        ({"x": {"dtype": "F32", "shape": [2]}}, "must declare"),
        ({"x": entry() | {"more": 1}}, "must declare"),
        ({"x": entry("F4")}, "'F4', which are not read"),
        ({"x": entry("C64")}, "'C64', which are not read"),
        ({"x": entry(None)}, "None, which are not read"),
        ({"x": entry(["F32"])}, "which are not read"),
        ({"x": entry(shape=2)}, "not a list of sizes"),
        ({"x": entry(shape=[-2])}, "not a list of sizes"),
        ({"x": entry(shape=[True, 2])}, "not a list of sizes"),
        ({"x": entry(shape=[2.0])}, "not a list of sizes"),
        ({"x": entry(shape=[1] * 65)}, "65 dimensions"),
        ({"x": entry(shape=[2**62, 2**62])}, "larger than any memory"),
        ({"x": entry(shape=[3])}, "make 12 bytes, but the file keeps 8 bytes for it"),
        ({"x": entry("F64")}, "make 16 bytes, but the file keeps 8 bytes for it"),
        ({"x": entry(place=[8, 0])}, "run backwards"),
        ({"x": entry(place=[0])}, "not two positions"),
        ({"x": entry(place=[-8, 0])}, "not two positions"),
        ({"x": entry(place=[0, "8"])}, "not two positions"),
        ({"x": entry(place=[8, 16])}, "need 16 bytes, but 8 bytes follow"),
        ({"x": entry(shape=[4], place=[0, 16])}, "need 16 bytes, but 8 bytes follow"),
        (
            {"x": entry(shape=[1], place=[0, 4]), "y": entry(shape=[1], place=[8, 12])},
            "need 12 bytes, but 8 bytes follow",
        ),
        ({"x": entry(shape=[1], place=[0, 4])}, "belong to no tensor"),
        ({"x": entry(shape=[1], place=[4, 8])}, "belong to no tensor"),
        ({"x": entry(), "y": entry(shape=[1], place=[4, 8])}, "overlap"),
        ({"x": entry(), "y": entry()}, "overlap"),
        ({"\x1b[31m" * 100: entry("F4")}, "which are not read"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_hostile_tables_of_contents_are_refused_in_words(declared: object, says: str, refusal: Refusal) -> None:
    assert says in refusal(opened, content(declared, bytes(8))).message


def test_no_tensors_and_impossible_empty_ones_are_refused(refusal: Refusal) -> None:
    assert refusal(opened, content({})).message == "x.safetensors: holds no tensors"
    empty = content({"x": entry(shape=[0, 2**62], place=[0, 0])})
    assert "larger than any memory" in refusal(opened, empty).message


def test_lengths_that_claim_more_than_there_is_are_refused(refusal: Refusal) -> None:
    assert "is empty" in refusal(opened, b"").message
    assert "has 5 bytes" in refusal(opened, b"12345").message
    assert "claims 18,446,744,073,709,551,615 bytes" in refusal(opened, b"\xff" * 20).message
    assert "claims 99 bytes, but 10 bytes follow" in refusal(opened, content({"x": 1}, b"ab", 99)).message


def test_every_truncation_and_every_appended_byte_is_refused(refusal: Refusal) -> None:
    raw = content({"x": entry()}, bytes(8))
    assert opened(raw).shape == (2,)
    for count in range(len(raw)):
        refusal(opened, raw[:count])
    refusal(opened, raw + b"\0")


def test_a_table_of_contents_that_claims_gigabytes_costs_nothing(tmp_path: Path, peak: Peak) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as stream:
        stream.write((2**32).to_bytes(8, "little"))
        stream.truncate(2**33)
    memory, output = peak("refused(sys.argv[1])", str(path))
    assert f"claims 4,294,967,296 bytes; at most {HEADER_LIMIT:,} are read" in output
    assert memory < 150


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.data())
def test_changed_bytes_are_read_within_the_file_or_refused_in_words(data: st.DataObject) -> None:
    raw = bytearray(content({"x": entry(), "y": entry("F16", [2, 2], [8, 16])}, bytes(range(16))))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(StablemaxError):
        stored = opened(bytes(raw), data.draw(st.sampled_from(["x", "y", None])))
        assert stored.offset >= 8
        assert stored.offset + stored.size_bytes <= len(raw)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_refused_in_words(raw: bytes) -> None:
    with pytest.raises(StablemaxError):
        opened(raw)
