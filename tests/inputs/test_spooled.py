from __future__ import annotations

import gc
import io
import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stablemax.inputs.spooled import Spool

if TYPE_CHECKING:
    from stablemax.inputs.stored import StoredArray

    from .conftest import Refusal

FLOAT = np.dtype(float)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of temporary files that holds nothing but what a test writes."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def spooled(array: np.ndarray, limit: int) -> StoredArray:
    with Spool("x.csv", in_memory=limit) as spool:
        for piece in np.array_split(array, 7):
            spool.write(piece)
        return spool.stored(array.shape, array.dtype, format="csv")


@pytest.mark.parametrize("limit", [-1, 0, 8, 100, 10**6])
def test_what_is_written_is_read_again_from_memory_or_from_a_file(limit: int, temporary: Path) -> None:
    array = np.random.default_rng(0).standard_normal((50, 3))
    stored = spooled(array, limit)
    assert (stored.memory is None) == (array.nbytes > limit)
    assert len(list(temporary.iterdir())) == (array.nbytes > limit)
    loaded = stored.array
    assert loaded.tobytes() == array.tobytes()
    assert not loaded.flags.writeable


def test_the_file_is_private(temporary: Path) -> None:
    stored = spooled(np.ones((50, 3)), 0)
    assert os.name != "posix" or Path(stored.path).stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_the_file_lives_as_long_as_an_array_or_a_copy_of_it(temporary: Path) -> None:
    stored = spooled(np.ones((50, 3)), 0)
    again = replace(stored, name="again")
    del stored
    gc.collect()
    assert again.array.sum() == 150
    sent = pickle.loads(pickle.dumps(again))
    del again
    gc.collect()
    assert list(temporary.iterdir()) == []
    assert sent.path.startswith(str(temporary)), "a copy in another process does not keep the file"


@pytest.mark.slow
def test_a_mapping_outlives_the_file(temporary: Path) -> None:
    if os.name != "posix":
        pytest.skip("a mapped file cannot be removed here")
    array = spooled(np.arange(150.0).reshape(50, 3), 0).array
    gc.collect()
    assert list(temporary.iterdir()) == []
    assert array.sum() == 149 * 75


def test_the_file_goes_when_the_block_fails(temporary: Path) -> None:
    def interrupted() -> None:
        with Spool("x.csv", in_memory=0) as spool:
            spool.write(b"12345678")
            assert len(list(temporary.iterdir())) == 1
            raise KeyboardInterrupt

    # The error is kept, and with it everything that its frames hold.
    with pytest.raises(KeyboardInterrupt) as caught:
        interrupted()
    assert list(temporary.iterdir()) == []
    assert caught.traceback


def test_a_full_disk_is_an_error_in_words_and_leaves_nothing(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    def fill() -> None:
        with Spool("x.csv", in_memory=0) as spool:
            spool.write(b"12345678")

    monkeypatch.setattr(os, "write", full)
    error = refusal(fill)
    assert "x.csv: its numbers cannot be kept in a temporary file" in error.message
    assert "No space left on device" in error.message
    assert "TMPDIR" in error.hint
    assert list(temporary.iterdir()) == []


def test_writes_that_take_only_a_part_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
    array = np.arange(150.0).reshape(50, 3)
    assert spooled(array, 0).array.tobytes() == array.tobytes()


@pytest.mark.parametrize("ending", ["", "raise SystemExit(3)", "raise KeyboardInterrupt", "1 / 0"])
def test_no_file_is_left_when_the_program_ends(ending: str, temporary: Path) -> None:
    code = (
        "import numpy as np, sys\nfrom stablemax.inputs.spooled import Spool\n"
        "with Spool('x', in_memory=0) as spool:\n"
        "    spool.write(np.ones(9)); kept = spool.stored((9,), np.dtype(float))\n"
        "kept_for_ever = [kept]; kept_for_ever.append(kept_for_ever)\nimport os; print(os.path.exists(kept.path))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + ending],
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.strip() == "True"
    assert list(temporary.iterdir()) == []


def test_a_stream_is_copied_byte_for_byte(temporary: Path) -> None:
    for content in (b"", os.urandom(3 * 2**20 + 5)):
        with Spool("x", in_memory=-1) as spool:
            assert spool.fill(io.BytesIO(content)) == len(content)
            assert Path(spool.path).read_bytes() == content
        del spool
        assert list(temporary.iterdir()) == []
