"""Parquet: numeric columns as classes, or one column of lists."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.inputs.file_format import FileFormat
from stablemax.inputs.foreign_text import brief
from stablemax.inputs.formats.table_layout import label_place
from stablemax.inputs.input_warnings import inexact_in_float64
from stablemax.inputs.spooled import Spool
from stablemax.inputs.stored_rows import Part
from stablemax.inputs.workspace import Workspace
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stablemax.inputs.file_format import OpenedFile, TableOptions
    from stablemax.inputs.stored import StoredArray
    from stablemax.numerics.formats import Array

BATCH_CELLS = 2**18
"""Numbers that are converted at a time."""
OPEN_BYTES = 2**22
"""What the columns that are read at once may take at least: pyarrow holds a page of each, as stored and decoded."""
PAGE_BYTES = 2**20
"""Pages are about so long where a column of a row group is longer."""
BUFFER_BYTES = 2**16
"""What pyarrow reads of a column at once; a page that is longer, whole."""
# As Arrow names its types.
_NUMBERS = {
    "int8": "i1",
    "int16": "i2",
    "int32": "i4",
    "int64": "i8",
    "uint8": "u1",
    "uint16": "u2",
    "uint32": "u4",
    "uint64": "u8",
    "halffloat": "f2",
    "float": "f4",
    "double": "f8",
}
_INDEX = "__index_level_0__"
"""What pandas calls its index where that is no plain count."""


def open_parquet(file: OpenedFile) -> StoredArray:
    """Read a Parquet file, batch by batch.

    Every numeric column is a class; a file of one column of lists has a row of logits in each list. Numbers keep their
    type where all columns have the same one, else they become float64; labels are float64.

    >>> import io
    >>> from stablemax.inputs.file_format import OpenedFile
    >>> open_parquet(OpenedFile(io.BytesIO(b"PAR1"), "x.parquet"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: x.parquet: ...
    """
    name, in_memory = file.name, file.in_memory
    parquet = _pyarrow(name)
    notes: list[str] = []
    with _errors(name), Spool(name, in_memory) as values, Spool(name, in_memory) as labels:
        opened = parquet.ParquetFile(file.stream, buffer_size=BUFFER_BYTES, pre_buffer=False)
        schema = opened.schema_arrow  # made anew each time that it is asked for
        columns, label = _columns(schema, file.table, name, notes)
        types = [schema.field(at).type for at in columns]
        lists = len(columns) == 1 and _is_list(types[0])
        _check_types(schema, [*columns, *([] if label is None else [label])], name, lists=lists)
        table = _Groups(opened, name, schema.names, _dtype(types), max(OPEN_BYTES, in_memory // 2))
        count, width = 0, None if lists else len(columns)
        for group in range(opened.num_row_groups):
            start = count
            if lists:
                count, width = table.copy_lists(group, columns[0], start, width, values)
            else:
                count = table.copy_columns(group, columns, start, values)
            if label is not None and table.copy_labels(group, label, start, labels) != count:
                raise ValueError("its columns differ in length")
        if not count or width is None:
            raise StablemaxError(f"{name}: holds no rows", "save at least one row of logits")
        if table.inexact:
            notes.append(f"{name}: {table.inexact[0]}")
        targets = None if label is None else labels.stored((count,), np.dtype(np.float64), format="parquet")
        return values.stored((count, width), table.dtype, format="parquet", labels=targets, notes=tuple(notes))


class _Groups:
    """A Parquet file, a row group at a time; of its columns so many at once as memory allows."""

    def __init__(self, file: Any, name: str, names: Sequence[str], dtype: np.dtype[Any], at_once: int) -> None:
        self.file = file
        self.name = name
        self.dtype = dtype
        self.inexact: list[str] = []
        self._names = names
        self._at_once = at_once
        # Columns are asked for by name; where two have the same one, all are read.
        self._unique = len(set(self._names)) == len(self._names)

    def copy_columns(self, group: int, columns: Sequence[int], start: int, values: Spool) -> int:
        """Write the rows of a group; return the row after the last."""
        slices = self._slices(group, columns)
        if len(slices) == 1:
            return self._copy_slice(group, columns, start, values)
        with Spool(self.name, in_memory=-1) as scratch:
            ends = [self._copy_slice(group, one, start, scratch) for one in slices]
            if len(set(ends)) > 1:
                raise ValueError("its columns differ in length")
            self._join(scratch, ends[0] - start, [len(one) for one in slices], values)
        return ends[0]

    def copy_labels(self, group: int, label: int, start: int, labels: Spool) -> int:
        """Write the labels of a group; return the row after the last."""
        for row, (array,) in self._batches(group, [label], start, BATCH_CELLS):
            labels.write(array.to_numpy(zero_copy_only=False).astype(np.float64))
            start = row + len(array)
        return start

    def copy_lists(
        self, group: int, column: int, start: int, width: int | None, values: Spool
    ) -> tuple[int, int | None]:
        """Write the lists of a group, all of the same length; return the row after the last, and that length."""
        rows = max(1, BATCH_CELLS // _row_length(self.file.metadata.row_group(group)))
        for row, (array,) in self._batches(group, [column], start, rows):
            block, width = _list_rows(array, width, row, self._names[column], self.name)
            values.write(block)
            start = row + len(array)
        return start, width

    def _slices(self, group: int, columns: Sequence[int]) -> list[Sequence[int]]:
        about = self.file.metadata.row_group(group)
        size = 2 * min(PAGE_BYTES, max(1, about.total_byte_size // max(1, about.num_columns)))
        width = max(1, self._at_once // size) if self._unique else len(columns)
        return [columns[first : first + width] for first in range(0, len(columns), width)]

    def _copy_slice(self, group: int, columns: Sequence[int], start: int, values: Spool) -> int:
        for row, arrays in self._batches(group, columns, start, max(1, BATCH_CELLS // len(columns))):
            block = np.empty((len(arrays[0]), len(columns)), self.dtype)
            for place, (at, array) in enumerate(zip(columns, arrays, strict=True)):
                numbers = array.to_numpy(zero_copy_only=False)
                block[:, place] = numbers
                if not self.inexact:
                    self.inexact += _inexact(numbers, self.dtype, self._names[at], row)
            values.write(block)
            start = row + len(block)
        return start

    def _join(self, scratch: Spool, rows: int, widths: Sequence[int], values: Spool) -> None:
        """Write rows whose slices lie one after the other."""
        stored = scratch.stored((rows, sum(widths)), self.dtype)
        ends = np.cumsum(widths).tolist()
        begins = [end - width for end, width in zip(ends, widths, strict=True)]
        parts = [
            Part(replace(stored, shape=(rows, width), offset=rows * begin * self.dtype.itemsize), 1)
            for begin, width in zip(begins, widths, strict=True)
        ]
        step = max(1, BATCH_CELLS // sum(widths))
        with Workspace() as workspace:
            for start in range(0, rows, step):
                stop = min(rows, start + step)
                block = workspace.take("block", (stop - start, sum(widths)), self.dtype)
                for part, begin, end in zip(parts, begins, ends, strict=True):
                    block[:, begin:end] = part.read(start, stop, 0, end - begin, workspace)
                values.write(block)

    def _batches(self, group: int, columns: Sequence[int], start: int, rows: int) -> Iterator[tuple[int, list[Any]]]:
        """Read some columns of a group, some rows at a time, with the number of the first."""
        names = [self._names[at] for at in columns]
        wanted = names if self._unique else None
        # Threads take more memory, and are no faster where the columns are read a few at a time.
        for batch in self.file.iter_batches(rows, row_groups=[group], columns=wanted, use_threads=False):
            arrays = [batch.column(one) for one in (names if self._unique else columns)]
            for one, array in zip(names, arrays, strict=True):
                _check_nulls(array, one, start, self.name)
            yield start, arrays
            start += len(batch)


def _pyarrow(name: str) -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise StablemaxError(
            f"{name}: Parquet files need the package pyarrow", 'pip install "stablemax[parquet]"'
        ) from None
    return parquet


@contextlib.contextmanager
def _errors(name: str) -> Iterator[None]:
    """Word what pyarrow raises at a damaged file."""
    from pyarrow import ArrowException

    try:
        yield
    except MemoryError:  # one of pyarrow's is both
        raise
    except (ArrowException, OSError, ValueError) as error:
        reason = brief(" ".join(str(error).split()) or type(error).__name__, 200)
        raise StablemaxError(
            f"{name}: the Parquet file is damaged ({reason})", "copy it again, or write it again"
        ) from None


def _columns(schema: Any, options: TableOptions, name: str, notes: list[str]) -> tuple[list[int], int | None]:
    """Tell which columns hold logits, and which the labels."""
    names = tuple(schema.names)
    label = None if options.label_column is None else label_place(options.label_column, names, len(names), name)
    left_out = {label}
    if options.index_column:
        if label == 0:
            raise StablemaxError(
                f"{name}: column 1 cannot be both the index and the labels",
                "leave out --index-column, or name another --label-column",
            )
        left_out.add(0)
    elif options.index_column is None and _INDEX in names and names.index(_INDEX) != label:
        left_out.add(names.index(_INDEX))
        notes.append(f"{name}: column {_INDEX} taken as the index of pandas and left out")
    columns = [at for at in range(len(names)) if at not in left_out]
    if not columns:
        raise StablemaxError(f"{name}: no column is left for the logits", "leave out --index-column or --label-column")
    return columns, label


def _is_list(kind: Any) -> bool:
    return kind.num_fields == 1 and str(kind).startswith(("list<", "large_list<", "fixed_size_list<"))


def _check_types(schema: Any, columns: Sequence[int], name: str, *, lists: bool) -> None:
    for number, at in enumerate(columns):
        field = schema.field(at)
        kind = field.type.value_type if lists and number == 0 else field.type
        if str(kind) in _NUMBERS:
            continue
        column = brief(field.name, 120)
        what = brief(field.type, 120)
        if _is_list(field.type) and str(field.type.value_type) in _NUMBERS:
            raise StablemaxError(
                f"{name}: column {column} holds lists ({what}), and there are other columns",
                f"write {column} alone, or name the labels: --label-column",
            )
        raise StablemaxError(
            f"{name}: column {column} holds {what}, not numbers",
            "write the columns of the logits alone; --index-column leaves the first one out",
        )


def _dtype(types: Sequence[Any]) -> np.dtype[Any]:
    kinds = {str(kind.value_type if _is_list(kind) else kind) for kind in types}
    return np.dtype(_NUMBERS[kinds.pop()]) if len(kinds) == 1 else np.dtype(np.float64)


def _row_length(group: Any) -> int:
    """Tell how many numbers a row of lists has, before the first is read."""
    values = sum(group.column(at).num_values for at in range(group.num_columns))
    return max(1, values // max(1, group.num_rows))


def _check_nulls(array: Any, column: str, start: int, name: str) -> None:
    if array.null_count:
        row = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
        raise StablemaxError(
            f"{name}: column {brief(column, 120)}, row {start + row:,}: there is no value (null)",
            "write nan for a value that is not known",
        )


def _list_rows(array: Any, width: int | None, start: int, column: str, name: str) -> tuple[Array, int]:
    """Turn lists into rows, all of the length of the first."""
    lengths = array.value_lengths().to_numpy(zero_copy_only=False)
    first = int(lengths[0]) if width is None else width
    wrong = np.flatnonzero(lengths != first)
    if len(wrong):
        row = int(wrong[0])
        raise StablemaxError(
            f"{name}: column {brief(column, 120)}, row {start + row:,}: the list has {int(lengths[row]):,} "
            f"entries, but that of row 0 has {first:,}",
            "give every row as many classes",
        )
    flat = array.flatten()
    if flat.null_count:
        at = int(np.argmax(flat.is_null().to_numpy(zero_copy_only=False)))
        raise StablemaxError(
            f"{name}: column {brief(column, 120)}, row {start + at // first:,}, entry {at % first:,}: "
            "there is no value (null)",
            "write nan for a value that is not known",
        )
    return flat.to_numpy(zero_copy_only=False).reshape(len(array), first), first


def _inexact(numbers: Array, dtype: np.dtype[Any], column: str, start: int) -> list[str]:
    """Note the first integer that float64 does not hold, where columns of several types become float64."""
    inexact = inexact_in_float64(numbers) if dtype.kind == "f" else None
    if inexact is None or not inexact.any():
        return []
    row = int(np.argmax(inexact))
    return [f"column {brief(column, 120)}, row {start + row:,}: {int(numbers[row])} is not exact in float64"]


FORMAT = FileFormat(
    "parquet", "a table of columns", (".parquet", ".pq"), open_parquet, begins=re.compile(rb"PAR1"), is_table=True
)
