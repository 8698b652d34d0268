"""Files of every format with all sorts of faults: only our own error comes out, or what another reader reads.

A seed is a file, the same one on every machine. `STABLEMAX_FUZZ` says how many of each kind are tried.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from stablemax.inputs.open import open_array
from stablemax.text.errors import StablemaxError

from ..cli.running import assert_refused, process, run
from . import hunting
from .campaign import run_campaign
from .hunting import KINDS, Case, FaultError, Judge, case_of, hunt
from .parquet_files import places_of, samples

FILES = int(os.environ.get("STABLEMAX_FUZZ", "1000"))
IN_THIS_PROCESS = [kind for kind in KINDS if kind != "parquet"]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("kind", IN_THIS_PROCESS)
def test_some_files_are_refused_in_words_or_read_as_others_read_them(kind: str, desk: Path) -> None:
    _needs(kind)
    assert hunt(kind, 0, 40, desk, np.zeros(2, np.int64)) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_refused_in_words_or_read_as_others_read_it_in_time_and_memory(kind: str) -> None:
    _needs(kind)
    # A process is forked for each file of Parquet.
    files = FILES // 4 if kind == "parquet" else FILES
    done = run_campaign(kind, 0, files)
    assert done.faults == []
    # Else the files would be so damaged that nothing is compared.
    assert done.accepted > files / 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_command_ends_with_2_at_what_is_refused(kind: str, desk: Path) -> None:
    _needs(kind)
    judge = Judge(desk)
    np.save(desk / "y.npy", np.array([0, 1]))
    refused = 0
    for seed in range(1_000, 1_400):
        case = case_of(kind, seed)
        if case.reader != "file" or case.member is not None or judge.opens(case):
            continue
        file = desk / f"x{case.ending}"
        file.write_bytes(case.content)
        command = process if kind == "parquet" else run
        assert_refused(command("loss", str(file), str(desk / "y.npy")))
        refused += 1
        if refused == (3 if kind == "parquet" else 25):
            return
    raise AssertionError("too few files were refused")


@pytest.mark.parametrize("kind", IN_THIS_PROCESS)
def test_a_seed_is_a_file(kind: str) -> None:
    assert [case_of(kind, seed) for seed in range(20)] == [case_of(kind, seed) for seed in range(20)]
    assert len({case_of(kind, seed).content for seed in range(20)}) > 10


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda: np.zeros(0)[0], "IndexError"),
        (lambda: _refuse("two\nlines", "hint"), "not printable"),
        (lambda: _refuse("message", ""), "says nothing"),
        (lambda: _refuse("m" * 2_000, "hint"), "says too much"),
    ],
    ids=["another error", "a line feed", "no hint", "length"],
)
def test_the_judge_finds_what_must_not_happen(
    spoil: object, says: str, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, case = Judge(desk), Case("table", b"1,2\n3,4\n", ".csv")
    assert judge.accepts(case)
    monkeypatch.setattr(hunting, "open_array", lambda *_, **__: spoil())  # type: ignore[operator]
    with pytest.raises(FaultError, match=says):
        judge.accepts(case)


def test_the_judge_finds_a_number_that_is_off_by_its_last_bit(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, case = Judge(desk), Case("table", b"1,2\n3,4\n", ".csv")
    read = open_array

    def changed(*arguments: object, **options: object) -> object:
        stored = read(*arguments, **options)  # type: ignore[arg-type]
        return type(stored).of(np.nextafter(stored.array, 9), format=stored.format)

    monkeypatch.setattr(hunting, "open_array", changed)
    with pytest.raises(FaultError, match="and the reference"):
        judge.accepts(case)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that stops a computation")
def test_the_judge_stops_what_takes_too_long(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Judge(desk)
    monkeypatch.setattr(hunting, "SECONDS", 0.05)
    monkeypatch.setattr(hunting, "open_array", _never_ends)
    with pytest.raises(FaultError, match="took more than"):
        judge.accepts(Case("table", b"1,2\n3,4\n", ".csv"))


def test_the_values_of_a_parquet_footer_are_found_to_its_end() -> None:
    pytest.importorskip("pyarrow", reason="writes the files")
    for content in samples():
        length = int.from_bytes(content[-8:-4], "little")
        places, end = places_of(content[-8 - length : -8])
        assert end == length
        assert {"integer", "length", "count", "type"} == {place.kind for place in places}


def _never_ends(*_: object, **__: object) -> None:
    while True:
        pass


def _refuse(message: str, hint: str) -> None:
    raise StablemaxError(message, hint)


def _needs(kind: str) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="reads and writes Parquet")
