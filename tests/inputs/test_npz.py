from __future__ import annotations

import contextlib
import io
import os
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stablemax.inputs import spooled as spooled_module
from stablemax.inputs.file_format import OpenedFile, ReadingLimits
from stablemax.inputs.foreign_text import file_name
from stablemax.inputs.formats.npz import open_npz
from stablemax.inputs.logits import as_stream
from stablemax.inputs.open import find_array, open_array, open_computed, open_files, read_weights
from stablemax.inputs.regular_file import open_regular
from stablemax.inputs.spooled import Spool
from stablemax.inputs.stored import StoredArray
from stablemax.operations import get_operation
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from .conftest import Peak, Refusal


def read_npz(path: str, member: str | None = None, *, name: str | None = None) -> np.ndarray:
    with open_regular(path) as stream:
        return open_npz(OpenedFile(stream, name or file_name(path), path, member=member)).read_in().array


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def archive(path: Path, method: int = zipfile.ZIP_STORED, /, **members: bytes) -> str:
    with zipfile.ZipFile(path, "w", method) as target:
        for name, content in members.items():
            target.writestr(f"{name}.npy", content)
    return str(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_members_are_read_bit_for_bit(path: Path, save: object) -> None:
    arrays = {"logits": np.arange(6.0).reshape(2, 3), "labels": np.array([1, 0], ">u2")}
    save(path, **arrays)  # type: ignore[operator]
    for name, array in arrays.items():
        for spelled in (name, f"{name}.npy"):
            result = read_npz(str(path), spelled)
            assert result.dtype == array.dtype
            assert result.tobytes() == array.tobytes()
            assert result.shape == array.shape
            assert not result.flags.writeable


def test_the_only_array_needs_no_name(path: Path) -> None:
    np.savez(path, logits=np.ones(3))
    assert read_npz(str(path)).tolist() == [1, 1, 1]


def test_several_arrays_are_listed(path: Path, refusal: Refusal) -> None:
    np.savez(path, logits=np.ones(3), labels=np.ones(3))
    error = refusal(read_npz, str(path), name="x.npz")
    assert error.message == "x.npz: holds 2 arrays: logits, labels"
    error = refusal(read_npz, str(path), "targets", name="x.npz")
    assert error.message == "x.npz: holds no array named targets"
    assert error.hint == "it holds: logits, labels"


def test_a_list_of_thousands_of_hostile_names_is_bounded(path: Path, refusal: Refusal) -> None:
    archive(path, zipfile.ZIP_STORED, **{f"\x1b[31m[bold]{n}{chr(0xE0001) * 90}": b"" for n in range(2000)})
    assert "(2,000 in all)" in refusal(read_npz, str(path)).message
    refusal(read_npz, str(path), "\x1b[2J" * 100)


def test_a_stored_member_is_left_where_it_lies(path: Path) -> None:
    archive(path, a=npy(np.zeros(2**22)), b=npy(np.arange(4)))
    stored = open_array(f"{path}:a")
    assert (stored.memory, stored.path) == (None, str(path))
    assert read_npz(str(path), "b").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_member_of_another_size_than_declared_is_refused(
    path: Path, refusal: Refusal, method: int, change: int
) -> None:
    content = npy(np.arange(10))
    archive(path, method, a=content[:-1] if change < 0 else content + b"x")
    error = refusal(read_npz, str(path), name="x.npz")
    assert error.message == f"x.npz:a: header and data make 208 bytes, but the file has {208 + change} bytes"


def test_a_wrong_checksum_is_refused(path: Path, refusal: Refusal) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        archive(path, method, a=npy(np.arange(10_000)))
        with zipfile.ZipFile(path) as source:
            crc = struct.pack("<I", source.getinfo("a.npy").CRC)
        path.write_bytes(path.read_bytes().replace(crc, b"\1\2\3\4"))
        assert "CRC" in refusal(read_npz, str(path)).message


@pytest.mark.slow
def test_a_member_that_grows_when_decompressed_needs_no_memory(path: Path, peak: Peak) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target, target.open("a.npy", "w") as member:
        header = npy(np.zeros(0, np.uint8)).replace(b"(0,), }          ", b"(268435456,), }  ")
        member.write(header)
        for _ in range(256):
            member.write(bytes(2**20))
    memory, output = peak("print(open_array(sys.argv[1], limits=ReadingLimits(force=True)).array.shape)", str(path))
    assert output == "(268435456,)"
    assert memory < 150


def test_a_zip_bomb_that_no_disk_can_hold_is_refused_before_it_grows(path: Path, peak: Peak) -> None:
    size = 2**50
    header = npy(np.zeros(0, np.uint8)).replace(b"(0,), }" + b" " * 15, b"(1125899906842624,), }")
    archive(path, zipfile.ZIP_DEFLATED, a=header)
    raw = path.read_bytes()
    at = raw.index(b"PK\x01\x02")
    entry, name = bytearray(raw[at : at + 46]), raw[at + 46 : at + 51]
    entry[24:28] = b"\xff" * 4
    entry[30:32] = (12).to_bytes(2, "little")
    extra = struct.pack("<HHQ", 1, 8, size + len(header))
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry) + len(name) + len(extra), at, 0)
    path.write_bytes(raw[:at] + bytes(entry) + name + extra + end)
    memory, output = peak("refused(sys.argv[1]); refused(sys.argv[1], limits=ReadingLimits(force=True))", str(path))
    claimed, without_room = output.splitlines()
    assert "bytes claim to hold 1,125,899,906,842,752 bytes" in claimed
    assert "1,125,899,906,842,624 bytes do not fit into" in without_room
    assert memory < 150


@pytest.mark.slow
def test_a_bomb_that_lies_about_its_size_is_cut_off(path: Path, peak: Peak) -> None:
    archive(path, zipfile.ZIP_DEFLATED, a=npy(np.zeros(10)) + bytes(2**28))
    raw = path.read_bytes()
    path.write_bytes(raw.replace(struct.pack("<I", 208 + 2**28), struct.pack("<I", 208)))
    memory, output = peak("refused(sys.argv[1])", str(path))
    assert "accepted" not in output
    assert memory < 150


def test_a_table_of_contents_that_claims_gigabytes_costs_nothing(path: Path, peak: Peak) -> None:
    size = 2**31
    with path.open("wb") as target:
        target.truncate(size)
        target.seek(0, os.SEEK_END)
        target.write(struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 9, 9, size, 0, 0))
    memory, output = peak("refused(sys.argv[1], input_format='npz')", str(path))
    assert "table of contents claims 2,147,483,648 bytes" in output
    assert memory < 150


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused(path: Path, refusal: Refusal, method: int) -> None:
    archive(path, method, a=npy(np.ones(3)))
    assert f"compression method {method} is not read" in refusal(read_npz, str(path)).message


def test_an_encrypted_member_is_refused(path: Path, refusal: Refusal) -> None:
    archive(path, a=npy(np.ones(3)))
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    assert refusal(read_npz, str(path), name="x.npz").message == "x.npz:a: is encrypted"


def test_a_stored_member_of_two_sizes_is_refused(path: Path, refusal: Refusal) -> None:
    archive(path, a=npy(np.ones(3)))
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 20] += 1
    path.write_bytes(raw)
    assert "declares two sizes" in refusal(read_npz, str(path)).message


def test_a_stored_member_that_claims_more_than_the_archive_holds_is_refused(path: Path, refusal: Refusal) -> None:
    size = 2**29
    content = npy(np.zeros(0, np.uint8)).replace(b"(0,), }          ", b"(536870912,), }  ")
    archive(path, a=content)
    claimed = struct.pack("<II", len(content) + size, len(content) + size)
    raw = path.read_bytes().replace(struct.pack("<II", len(content), len(content)), claimed)
    path.write_bytes(raw)
    assert "archive" in refusal(read_npz, str(path)).message


def test_an_archive_without_arrays_is_refused(path: Path, refusal: Refusal) -> None:
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("archive/data.pkl", b"\x80\x02")
    error = refusal(read_npz, str(path))
    assert "holds no .npy arrays" in error.message
    assert "PyTorch" in error.hint


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_refused(path: Path, refusal: Refusal) -> None:
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("a.npy", npy(np.ones(1)))
        target.writestr("a.npy", npy(np.ones(2)))
    assert "2 times" in refusal(read_npz, str(path), "a").message


def test_a_pickled_member_is_refused(path: Path, refusal: Refusal) -> None:
    np.savez(path, a=np.array([{}], dtype=object), allow_pickle=True)
    assert "pickled Python code" in refusal(read_npz, str(path), "a").hint


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.data(), st.booleans())
def test_changed_bytes_are_read_as_before_or_refused_in_words(
    path: Path, data: st.DataObject, compressed: bool
) -> None:
    array = np.arange(4.0)
    (np.savez_compressed if compressed else np.savez)(path, a=array)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
    with contextlib.suppress(StablemaxError):
        assert read_npz(str(path)).tolist() == array.tolist()


@pytest.fixture
def spooled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes that were decompressed, a number for each member."""
    sizes: list[int] = []
    fill = Spool.fill

    def counted(spool: Spool, *given: Any) -> int:
        sizes.append(fill(spool, *given))
        return sizes[-1]

    monkeypatch.setattr(Spool, "fill", counted)
    return sizes


def save_compressed(path: Path, **arrays: np.ndarray) -> str:
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return str(path)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.arange(3), "3 labels for 4 rows of logits"),
        (np.zeros((4, 3)), "of shape (4, 3) do not fit"),
        (np.zeros((2, 2, 2), int), "of shape (2, 2, 2) do not fit"),
    ],
    ids=["too few", "other classes", "other axes"],
)
def test_shapes_are_compared_before_anything_is_decompressed(
    path: Path, labels: np.ndarray, said: str, spooled: list[int], refusal: Refusal
) -> None:
    name = save_compressed(path, logits=np.ones((4, 5)), labels=labels)
    assert said in refusal(open_files, [f"{name}:logits"], [f"{name}:labels"]).message
    assert not spooled
    open_files([f"{name}:logits"]).load()
    assert spooled == [160]


def test_weights_and_outputs_of_another_shape_are_not_decompressed(
    path: Path, spooled: list[int], refusal: Refusal
) -> None:
    name = save_compressed(path, logits=np.ones((4, 5)))
    assert "is not a vector of weights" in refusal(read_weights, name).message
    stream = as_stream(StoredArray.of(np.ones((4, 6))))
    assert "has shape (4, 5)" in refusal(open_computed, name, stream, get_operation("softmax")).message
    assert not spooled


def test_a_thousandfold_needs_force_where_it_is_large(
    path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    monkeypatch.setattr(spooled_module, "IN_MEMORY", 10**6)
    large = save_compressed(path, logits=np.zeros(2 * 10**6))
    error = refusal(open_array, large)
    assert "claim to hold 16,000,128 bytes" in error.message
    assert error.hint == f"unzip it first: python -m zipfile -e {large} FOLDER"
    assert refusal(open_array, large, limits=ReadingLimits(force=False)).hint.startswith("--force reads it; or unzip")
    assert open_array(large, limits=ReadingLimits(force=True)).shape == (2 * 10**6,)
    # What compresses less well than zeros is data, and a few numbers harm nobody.
    assert open_array(save_compressed(path, logits=np.arange(10**6.0) % 999)).shape == (10**6,)
    assert open_array(save_compressed(path, logits=np.zeros(10**5))).shape == (10**5,)
    # As the hint says.
    np.savez_compressed(path, logits=np.zeros(2 * 10**6))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(path.parent)
    assert open_array(str(path.parent / "logits.npy")).shape == (2 * 10**6,)


def test_an_archive_that_is_replaced_between_header_and_numbers_is_refused(path: Path, refusal: Refusal) -> None:
    found = find_array(save_compressed(path, logits=np.zeros((4, 5))))
    save_compressed(path, logits=np.zeros((5, 4)))
    assert "was replaced while it was read" in refusal(found.read_in).message


def test_a_compressed_array_from_standard_input_is_read(path: Path) -> None:
    raw = Path(save_compressed(path, logits=np.arange(6.0))).read_bytes()
    assert open_array("-", stdin=io.BytesIO(raw)).array.tolist() == [0, 1, 2, 3, 4, 5]
