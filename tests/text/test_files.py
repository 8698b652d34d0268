"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from stablemax.text.errors import StablemaxError
from stablemax.text.files import check_place, whole_file, writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="modes and devices of POSIX")


def listed(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_appears_with_everything_that_was_written(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with whole_file(str(target)) as stream:
        stream.write(b"one\n")
        assert not target.exists()
        stream.write(b"two\n")
    assert target.read_bytes() == b"one\ntwo\n"
    assert listed(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_a_write_that_fails_leaves_nothing_and_keeps_what_was_there(tmp_path: Path, error: BaseException) -> None:
    old = tmp_path / "old.txt"
    old.write_text("old")
    for target in (old, tmp_path / "new.txt"):
        expected = StablemaxError if isinstance(error, OSError) else type(error)
        with pytest.raises(expected), whole_file(str(target)) as stream:  # noqa: PT012 - the block is the point
            stream.write(b"half of it")
            raise error
    assert listed(tmp_path) == ["old.txt"]
    assert old.read_text() == "old"


def test_without_force_a_file_that_is_there_is_refused_and_kept(tmp_path: Path) -> None:
    old = tmp_path / "old.txt"
    old.write_text("old")
    with (
        pytest.raises(StablemaxError, match=r"old\.txt: exists") as caught,
        whole_file(str(old), force=False),
    ):
        pytest.fail("the block must not run")
    assert caught.value.hint == "add --force to replace it"
    assert old.read_text() == "old"


@pytest.mark.parametrize(
    ("name", "words"),
    [(".", "is a folder"), ("none/a.txt", "cannot be written"), ("old.txt/a.txt", "cannot be written")],
)
def test_a_place_that_cannot_hold_a_file_is_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "old.txt").write_text("old")
    with pytest.raises(StablemaxError, match=words), whole_file(str(tmp_path / name)):
        pytest.fail("the block must not run")
    assert listed(tmp_path) == ["old.txt"]


@POSIX
def test_a_device_is_not_replaced_by_a_file() -> None:
    with pytest.raises(StablemaxError, match="is not a regular file"), whole_file("/dev/null"):
        pytest.fail("the block must not run")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")  # noqa: PTH112
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/stderr", "/dev/fd/{}", "/proc/self/fd/{}", "link"])
def test_an_open_file_is_not_replaced_by_another_of_its_name(name: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as stream:
        stream.write("kept")
        stream.flush()
        (tmp_path / "link").symlink_to(f"/dev/fd/{stream.fileno()}")
        path = str(tmp_path / "link") if name == "link" else name.format(stream.fileno())
        with pytest.raises(StablemaxError, match="is not a regular file"), whole_file(path):
            pytest.fail("the block must not run")
    assert log.read_text() == "kept"


@POSIX
def test_links_that_go_in_circles_are_refused_or_replaced_but_do_not_hang(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with contextlib.suppress(StablemaxError), whole_file(str(tmp_path / "a")) as stream:
        stream.write(b"x")
    assert len(listed(tmp_path)) == 2


def test_an_error_is_told_in_its_own_words_and_the_hint_names_the_option(tmp_path: Path) -> None:
    path = str(tmp_path / "y.npy")
    with pytest.raises(StablemaxError) as caught, whole_file(path, option="--labels"):
        raise OSError("2 requested and 1 written")
    assert caught.value.message == f"{path}: cannot be written (2 requested and 1 written)"
    assert caught.value.hint == "choose another place with --labels"


@POSIX
@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_has_the_mode_of_any_other_new_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with whole_file(str(tmp_path / "ours")) as stream:
            stream.write(b"")
        (tmp_path / "theirs").write_bytes(b"")
    finally:
        os.umask(before)
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


@POSIX
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    target.chmod(0o640)
    with whole_file(str(target)) as stream:
        stream.write(b"new")
    assert target.stat().st_mode & 0o777 == 0o640


@POSIX
def test_a_link_still_points_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "a.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    with whole_file(str(link)) as stream:
        stream.write(b"new")
    assert link.is_symlink()
    assert target.read_text() == "new"


WRITES = """
import sys
from stablemax.text.files import whole_file
with whole_file(sys.argv[1], force=True) as stream:
    stream.write(b"theirs")
    stream.flush()
    print("written", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def writing_elsewhere(target: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Let another process write the target, as far as the end of its input."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITES, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        yield process


def test_the_next_run_removes_what_a_killed_one_left_behind(tmp_path: Path) -> None:
    target = tmp_path / "p.npy"
    (tmp_path / ".p.npy.notes").write_text("mine")
    with writing_elsewhere(target) as process:
        process.kill()
    assert len(listed(tmp_path)) == 2
    with whole_file(str(target)) as stream:
        stream.write(b"ours")
    assert listed(tmp_path) == [".p.npy.notes", "p.npy"]


def test_what_a_living_process_writes_is_no_leftover(tmp_path: Path) -> None:
    target = tmp_path / "p.npy"
    with writing_elsewhere(target) as process:
        with whole_file(str(target)) as stream:
            stream.write(b"ours")
        assert target.read_bytes() == b"ours"
        assert process.stdin is not None
        process.stdin.close()
    assert process.returncode == 0
    assert target.read_bytes() == b"theirs"
    assert listed(tmp_path) == ["p.npy"]


@pytest.mark.parametrize("has_links", [True, False])
def test_of_two_runs_that_may_replace_nothing_the_second_is_refused(
    tmp_path: Path, has_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(95, "Operation not supported")))
    target = str(tmp_path / "p.npy")

    def write_twice() -> None:
        with whole_file(target, force=False) as slow:
            slow.write(b"slow")
            with whole_file(target, force=False) as quick:
                quick.write(b"quick")

    with pytest.raises(StablemaxError, match="exists"):
        write_twice()
    assert (tmp_path / "p.npy").read_bytes() == b"quick"
    assert listed(tmp_path) == ["p.npy"]


def test_a_long_name_fits(tmp_path: Path) -> None:
    name = "n" * 240
    with whole_file(str(tmp_path / name)) as stream:
        stream.write(b"x")
    assert listed(tmp_path) == [name]


def test_a_missing_folder_is_refused_before_there_is_anything_to_write(tmp_path: Path) -> None:
    with pytest.raises(StablemaxError, match="No such file or directory"):
        check_place(str(tmp_path / "none" / "report.json"))


def interrupted(interrupt: BaseException) -> None:
    with writing("x.npy"):
        try:
            raise interrupt
        finally:
            raise OSError(9, "Bad file descriptor")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(143)])
def test_an_interrupt_is_not_hidden_by_the_error_of_closing_what_it_interrupted(interrupt: BaseException) -> None:
    with pytest.raises(type(interrupt)) as error:
        interrupted(interrupt)
    assert error.value is interrupt
