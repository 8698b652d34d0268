"""Cases made of a number, and the judge of each: an error of ours, or what another reader reads."""

from __future__ import annotations

import io
import random
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stablemax.inputs.file_format import TableOptions
from stablemax.inputs.open import open_array, open_computed, open_files, read_weights
from stablemax.inputs.stored import StoredArray
from stablemax.operations import get_operation
from stablemax.text.errors import StablemaxError

from .binary_files import npy, npz, safetensors
from .mutations import damaged
from .oracles import ORACLES, same_bits
from .parquet_files import parquet_file
from .text_files import jsonl, lists, long_table, table

SECONDS = 5
"""Most time of the processor that a file may take."""
MEMORY = 512 * 2**20
"""Most bytes beyond what the program takes by itself."""
MESSAGE_BYTES = 2_000

_MAKERS: dict[str, tuple[Callable[[random.Random], bytes], tuple[str, ...]]] = {
    "npy": (npy, (".npy",)),
    "npz": (npz, (".npz",)),
    "safetensors": (safetensors, (".safetensors",)),
    "table": (table, (".csv", ".csv", ".tsv", ".txt")),
    "long": (long_table, (".csv", ".tsv")),
    "lists": (lists, (".csv", ".csv", ".tsv", ".txt")),
    "jsonl": (jsonl, (".jsonl", ".jsonl", ".json")),
    "parquet": (parquet_file, (".parquet",)),
}
_DAMAGED = {"npz": 0.15, "parquet": 0.1}
"""How often a file is damaged further, without any knowledge of its format."""
KINDS = tuple(_MAKERS)
"""Kinds of files; a seed gives one file of each."""
_TEXT = ("table", "long", "lists", "jsonl")
_MEMBERS = {
    "npz": ("logits", "labels", "arr_0", "logits.npy"),
    "safetensors": ("logits", "logits1"),
    "jsonl": ("logits", "more"),
}
_LABEL_COLUMNS = ("label", "label", "label", "y", "0", "1", "-1", "cat", "")
_CLASS_NAMES = ("cat", "dog", "bird", "c0")


class FaultError(Exception):
    """What must not happen."""


class TooSlow(BaseException):
    """A file took too long; no `except Exception` stops it."""


@dataclass(frozen=True)
class Case:
    """A file, and how it is read."""

    kind: str
    content: bytes
    #: The ending of its name.
    ending: str
    #: `file`, `pipe`, `labels`, `weights` or `printed`.
    reader: str = "file"
    member: str | None = None
    table: TableOptions = field(default_factory=TableOptions)
    input_format: str | None = None


def case_of(kind: str, seed: int) -> Case:
    """Make the case of a seed: the same one each time.

    >>> case_of("npy", 7) == case_of("npy", 7)
    True
    """
    rng = random.Random(f"{kind} {seed}")
    make, endings = _MAKERS[kind]
    content, ending = make(rng), rng.choice(endings)
    if rng.random() < _DAMAGED.get(kind, 0.3):
        other = rng.choice(KINDS[:-1]) if rng.random() < 0.2 else kind
        content = damaged(rng, content, _MAKERS[other][0](rng))
    if rng.random() < 0.02:
        ending = rng.choice((".npy", ".npz", ".csv", ".jsonl", ".safetensors", ".dat", ""))
    member = rng.choice(_MEMBERS[kind]) if kind in _MEMBERS and rng.random() < 0.25 else None
    reader = rng.choices(("file", "pipe", "labels", "weights", "printed"), (80, 7, 6, 3, 4))[0]
    options = (
        _options(rng)
        if reader in ("file", "pipe") and kind in (*_TEXT, "parquet") and rng.random() < 0.4
        else TableOptions()
    )
    asked = None
    if reader == "pipe" and rng.random() < 0.5:
        asked = {"table": "csv", "long": "csv", "lists": "csv"}.get(kind, kind)
    return Case(kind, content, ending, reader, member, options, asked)


def _options(rng: random.Random) -> TableOptions:
    known: dict[str, Any] = {"label_column": rng.choice(_LABEL_COLUMNS)} if rng.random() < 0.7 else {}
    if rng.random() < 0.2:
        known["delimiter"] = rng.choice((",", ";", "tab", "|", "space", ":"))
    if rng.random() < 0.15:
        known["header"] = rng.random() < 0.5
    if rng.random() < 0.15:
        known["index_column"] = rng.random() < 0.5
    if rng.random() < 0.1:
        known["comment"] = rng.choice(("", "%", "//"))
    if rng.random() < 0.1:
        known["class_names"] = _CLASS_NAMES
    return TableOptions(**known)


class Judge:
    """Reads cases in a folder of its own, and says of each whether it was accepted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._logits = folder / "x.npy"
        np.save(self._logits, np.arange(6.0).reshape(2, 3))
        self._named = folder / "named.csv"
        self._named.write_text("cat,dog,bird\n1,2,3\n4,5,6\n")
        self._stream = open_files([str(self._logits)])
        self._operation = get_operation("softmax")

    def accepts(self, case: Case) -> bool:
        """Whether a case is accepted; raise a `FaultError` where it is neither refused in words nor read right."""
        path = self._folder / f"case{case.ending}"
        path.write_bytes(case.content)
        try:
            stored, values, options = _timed(lambda: self._read(case, path))
        except StablemaxError as error:
            _check_words(error)
            return False
        except TooSlow:
            raise FaultError(f"took more than {SECONDS} s") from None
        except Exception:
            raise FaultError(traceback.format_exc(limit=-6)) from None
        _compare(case, stored, values, options)
        return True

    def opens(self, case: Case) -> bool:
        """Whether a file is opened at all."""
        path = self._folder / f"case{case.ending}"
        path.write_bytes(case.content)
        try:
            open_array(str(path))
        except StablemaxError:
            return False
        return True

    def _read(self, case: Case, path: Path) -> tuple[StoredArray, np.ndarray, TableOptions]:
        spec = str(path) if case.member is None else f"{path}:{case.member}"
        if case.reader == "pipe":
            source = "-" if case.member is None else f"-:{case.member}"
            stored = open_array(
                source, table=case.table, input_format=case.input_format, stdin=io.BytesIO(case.content)
            )
            return stored, stored.array, case.table
        if case.reader == "weights":
            return open_array(spec), read_weights(spec), TableOptions()
        if case.reader == "labels":
            logits = self._named if len(case.content) % 2 else self._logits
            names = ("cat", "dog", "bird") if len(case.content) % 2 else ()
            labels = open_files([str(logits)], [spec]).load().labels
            assert labels is not None
            options = TableOptions(class_names=names)
            return open_array(spec, table=options), labels, options
        if case.reader == "printed":
            found = open_computed(spec, self._stream, self._operation)
            return open_array(spec), found.rows(), TableOptions()
        stored = open_array(spec, table=case.table)
        return stored, stored.array, case.table


def _timed(call: Callable[[], Any]) -> Any:
    if not hasattr(signal, "setitimer"):
        return call()

    def stop(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return call()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _check_words(error: StablemaxError) -> None:
    said = f"{error.message!r}, hint {error.hint!r}"
    if not (error.message.isprintable() and error.hint.isprintable()):
        raise FaultError(f"says what is not printable: {said}")
    if not error.message or not error.hint:
        raise FaultError(f"says nothing: {said}")
    if len((error.message + error.hint).encode()) >= MESSAGE_BYTES:
        raise FaultError(f"says too much: {said}")


def _compare(case: Case, stored: StoredArray, values: np.ndarray, options: TableOptions) -> None:
    for note in stored.notes:
        if not note.isprintable() or len(note.encode()) >= MESSAGE_BYTES:
            raise FaultError(f"notes what is not printable, or too long: {note!r}")
    if stored.array.shape != stored.shape or stored.array.dtype != stored.dtype:
        raise FaultError(
            f"declares {stored.shape} of {stored.dtype}, and holds {stored.array.shape} of {stored.array.dtype}"
        )
    try:
        expected = ORACLES[stored.format](case.content, stored, case.member, options)
    except Exception as error:  # whatever the reference raises
        raise FaultError(
            f"accepts what the reference refuses ({type(error).__name__}: {str(error)[:300]}): {_short(stored.array)}"
        ) from None
    if not same_bits(stored.array, expected.array):
        raise FaultError(f"reads {_short(stored.array)}, and the reference {_short(expected.array)}")
    if (stored.labels is None) != (expected.labels is None):
        raise FaultError("has labels that the reference has not, or lacks them")
    if (
        stored.labels is not None
        and expected.labels is not None
        and not same_bits(stored.labels.array, expected.labels)
    ):
        raise FaultError(f"reads labels {_short(stored.labels.array)}, and the reference {_short(expected.labels)}")
    if case.reader in ("labels", "weights", "printed") and not np.array_equal(
        values.ravel().astype(float), expected.array.ravel().astype(float), equal_nan=True
    ):
        raise FaultError(f"takes {_short(values)} as {case.reader}, and the file holds {_short(expected.array)}")


def _short(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape} {str(array.ravel()[:8].tolist())[:200]}"


def hunt(kind: str, first: int, count: int, folder: Path, at: np.ndarray) -> list[tuple[int, str]]:
    """Judge cases one after the other; note in `at` where it stands: the seed, and how many were accepted."""
    judge, faults = Judge(folder), list[tuple[int, str]]()
    for seed in range(first, first + count):
        at[0] = seed
        try:
            at[1] += judge.accepts(case_of(kind, seed))
        except FaultError as fault:
            faults.append((seed, str(fault)))
    left = [path.name for path in folder.glob("stablemax-*")]
    if left:
        faults.append((first, f"left temporary files: {left[:3]}"))
    return faults
