"""The folder of temporary files: shared, held while it is needed, and removed whoever was killed."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stablemax.inputs.spooled import Spool
from stablemax.inputs.temporary_folder import temporary_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="flock")

HOLDS = """
import sys
from stablemax.inputs.spooled import Spool
with Spool("x", in_memory=-1) as spool:
    print(spool.path, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def holding(folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a process that holds a temporary file."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().decode().strip())


def test_what_a_killed_process_left_goes_with_the_next_file_and_what_a_living_one_holds_stays(temporary: Path) -> None:
    living, kept = holding(temporary)
    killed, left = holding(temporary)
    killed.kill()
    killed.communicate()
    assert left.exists()
    with Spool("x", in_memory=-1) as spool:
        assert Path(spool.path).exists()
        assert not left.parent.exists()
        assert kept.exists()
    living.communicate(b"")
    assert living.returncode == 0
    del spool
    gc.collect()
    assert not list(temporary.iterdir())


def test_many_files_share_a_folder_and_one_descriptor() -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    spools = []
    for _ in range(20):
        with Spool("x", in_memory=-1) as spool:
            assert spool.path
        spools.append(spool)
    assert len({Path(spool.path).parent for spool in spools}) == 1
    assert len(list(Path("/dev/fd").iterdir())) == before + 1
    del spools, spool
    gc.collect()
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_what_is_not_ours_to_remove_stays(temporary: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "held").touch()
    (temporary / "stablemax-aaaaaaaa").symlink_to(elsewhere)
    (temporary / "stablemax-bbbbbbbb").mkdir()  # a folder whose file is not there yet, with something in it
    (temporary / "stablemax-bbbbbbbb" / "mine").touch()
    (temporary / "stablemax-notes").mkdir()
    (temporary / "stablemax-cccccccc").mkdir()
    folder = temporary_folder()
    assert (elsewhere / "held").exists()
    assert {path.name for path in temporary.iterdir()} == {
        *("stablemax-aaaaaaaa", "stablemax-bbbbbbbb", "stablemax-notes"),
        Path(folder.path).name,
    }


def test_a_folder_that_is_taken_before_it_is_held_is_made_anew(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = tempfile.mkdtemp, []

    def taken(**options: str) -> str:
        path = make(**options)
        made.append(path)
        if len(made) == 1:
            Path(path).rmdir()
        return path

    monkeypatch.setattr(tempfile, "mkdtemp", taken)
    folder = temporary_folder()
    assert len(made) == 2
    assert [str(path) for path in temporary.iterdir()] == [folder.path]
