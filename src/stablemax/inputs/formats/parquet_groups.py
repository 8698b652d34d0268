"""The tables of Parquet files, read by pyarrow, a row group at a time; `parquet` runs this in a process of its own."""

from __future__ import annotations

import collections
import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

import numpy as np

from stablemax.inputs.file_format import TableOptions
from stablemax.inputs.foreign_text import brief
from stablemax.inputs.formats.table_cells import is_number, no_class_error
from stablemax.inputs.formats.table_layout import class_names_note, other_columns
from stablemax.inputs.input_warnings import inexact_in_float64
from stablemax.inputs.spooled import disk_errors, temporary_directory
from stablemax.inputs.workspace import bytes_of
from stablemax.numerics.formats import Array
from stablemax.text.errors import StablemaxError
from stablemax.text.words import counted

BATCH_CELLS = 2**18
"""Numbers that are converted at a time."""
OPEN_BYTES = 2**22
"""What the columns that are read at once may take at least: pyarrow holds a page of each, as stored and decoded."""
PAGE_BYTES = 2**20
"""Pages are about so long where a column of a row group is longer."""
COLUMN_BYTES = 2**12
"""What a column takes at least that is read."""
BUFFER_BYTES = 2**16
"""What pyarrow reads of a column at once; a page that is longer, whole."""
_INDEX = "__index_level_0__"
"""What pandas calls its index where that is no plain count."""

Sink = Callable[[Array], None]
"""Takes the numbers of some rows, in C order."""


class Bounds(Protocol):
    """What reading may take."""

    def of_file(self, metadata: Any) -> None:
        """Set bounds for a file of which pyarrow has read these metadata, or refuse it."""

    def of_batch(self) -> None:
        """Set bounds for the next batch."""


@dataclass(frozen=True)
class ParquetTable:
    """What was read of a Parquet file, but for its numbers."""

    #: (N, K).
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    #: Whether a column was taken out as labels, float64 (N,).
    has_labels: bool
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def read_parquet(
    stream: IO[bytes],
    name: str,
    options: TableOptions,
    in_memory: int,
    sinks: tuple[Sink, Sink],
    bounds: Bounds,
) -> ParquetTable:
    """Read a Parquet file, batch by batch: its numbers go to the first sink, those of its labels to the second."""
    from pyarrow import parquet

    notes = list[str]()
    opened = parquet.ParquetFile(stream, buffer_size=BUFFER_BYTES, pre_buffer=False)
    bounds.of_file(opened.metadata)
    schema = opened.schema_arrow  # made anew each time that it is asked for
    names = tuple(schema.names)
    index, label = other_columns(options, names, len(names), names.index(_INDEX) if _INDEX in names else None, name)
    if index is not None and not options.index_column:
        notes.append(f"{name}: column {_INDEX} taken as the index of pandas and left out")
    columns = [column for column in range(len(names)) if column not in {index, label}]
    table = _Groups(opened, name, schema, columns, max(OPEN_BYTES, in_memory // 2), options.class_names, bounds)
    if label is not None:
        table.check_numbers(schema.field(label), schema.field(label).type, of_labels=True)
    count = 0
    for group in range(opened.num_row_groups):
        end = table.copy(group, columns, count, sinks[0], table.dtype)
        if label is not None:
            table.copy(group, [label], count, sinks[1], np.dtype(np.float64))
        count = end
    if count != opened.metadata.num_rows:
        declared = counted(opened.metadata.num_rows, "row")
        raise ValueError(f"it declares {declared}, and its row groups hold {count:,}")
    if not count:
        raise StablemaxError(f"{name}: holds no rows", "save at least one row of logits")
    width = len(columns) if table.list_length is None else table.list_length
    notes += [*table.inexact, *table.named]
    return ParquetTable((count, width), table.dtype, label is not None, table.class_names, tuple(notes))


class _Groups:
    """A Parquet file, a row group at a time; of its columns so many at once as memory allows."""

    def __init__(
        self,
        file: Any,
        name: str,
        schema: Any,
        columns: Sequence[int],
        at_once: int,
        class_names: tuple[str, ...] | None,
        bounds: Bounds,
    ) -> None:
        #: A note about labels that are names of classes.
        self.named: list[str] = []
        #: A note about the first integer that float64 does not hold, where columns of several types become float64.
        self.inexact: list[str] = []
        #: The length of the first list, and of all others, once it is read.
        self.list_length: int | None = None
        self._file = file
        self._bounds = bounds
        self._name = name
        self._names = schema.names
        self._at_once = at_once
        # Columns are asked for by name; where two have the same one, all are read.
        self._unique = len(set(self._names)) == len(self._names)
        fields = [schema.field(column) for column in columns]
        self._holds_lists = len(fields) == 1 and _is_list(fields[0].type)
        types = [field.type.value_type if self._holds_lists else field.type for field in fields]
        for field, kind in zip(fields, types, strict=True):
            # Names of classes are given where the whole file is one of labels.
            self.check_numbers(field, kind, of_labels=class_names is not None and len(fields) == 1)
        titles = () if self._holds_lists else tuple(field.name for field in fields)
        #: Names of the classes, which may stand for their numbers in a column of labels.
        self.class_names = titles if class_names is None else class_names
        counts = collections.Counter(self.class_names)
        self._classes = {title: float(place) for place, title in enumerate(self.class_names) if counts[title] == 1}
        dtypes = {np.dtype(np.float64) if _is_text(kind) else np.dtype(kind.to_pandas_dtype()) for kind in types}
        self.dtype: np.dtype[Any] = dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float64)

    def check_numbers(self, field: Any, kind: Any, *, of_labels: bool = False) -> None:
        """Refuse a column whose values, or entries of lists, are of a type that is no number; labels may be names."""
        if _is_number(kind) or (of_labels and _is_text(kind)):
            return
        column, what = brief(field.name, 120), brief(field.type, 120)
        if _is_list(field.type) and _is_number(field.type.value_type):
            raise StablemaxError(
                f"{self._name}: column {column} holds lists ({what}), and there are other columns",
                f"write {column} alone, or name the labels: --label-column",
            )
        raise StablemaxError(
            f"{self._name}: column {column} holds {what}, not numbers",
            "write the columns of the logits alone; --index-column leaves the first one out",
        )

    def copy(self, group: int, columns: Sequence[int], start: int, sink: Sink, dtype: np.dtype[Any]) -> int:
        """Write the rows of a group, whose first is row `start`; return the row after the last."""
        about = self._file.metadata.row_group(group)
        size = 2 * min(PAGE_BYTES, max(COLUMN_BYTES, about.total_byte_size // max(1, about.num_columns)))
        width = max(1, self._at_once // size) if self._unique else len(columns)
        slices = [columns[first : first + width] for first in range(0, len(columns), width)]
        if len(slices) == 1:
            return self._copy_slice(group, columns, start, sink, dtype)
        # A file without a name: this process may be ended at any time, and leaves nothing behind.
        with disk_errors(self._name):
            scratch = tempfile.TemporaryFile(dir=temporary_directory(), buffering=0)  # noqa: SIM115 - errors of its opening

        def keep(block: Array) -> None:
            rest = bytes_of(block)
            with disk_errors(self._name):
                while rest:
                    rest = rest[scratch.write(rest) :]

        with scratch:
            for some in slices:
                end = self._copy_slice(group, some, start, keep, dtype)
            self._join(scratch, end - start, list(map(len, slices)), sink)
        return end

    def _copy_slice(self, group: int, columns: Sequence[int], start: int, sink: Sink, dtype: np.dtype[Any]) -> int:
        names, width = [self._names[column] for column in columns], len(columns)
        if self._holds_lists:
            about = self._file.metadata.row_group(group)
            values = sum(about.column(column).num_values for column in range(about.num_columns))
            width = values // max(1, about.num_rows)
        first = start
        # Threads take more memory, and are no faster where the columns are read a few at a time.
        batches = self._file.iter_batches(
            max(1, BATCH_CELLS // max(1, width)),
            row_groups=[group],
            columns=names if self._unique else None,
            use_threads=False,
        )
        for batch in self._bounded(batches):
            block = np.empty((len(batch), len(columns)), dtype)
            for place, (name, key) in enumerate(zip(names, names if self._unique else columns, strict=True)):
                array = batch.column(key)
                self._check_nulls(array, name, start)
                if _is_list(array.type):
                    block = self._list_rows(array, start, name)
                    continue
                if _is_text(array.type):
                    block[:, place] = self._class_numbers(array.to_pylist(), name, start)
                    continue
                block[:, place] = numbers = array.to_numpy(zero_copy_only=False)
                self._note_inexact(numbers, dtype, name, start)
            sink(block)
            start += len(block)
        # pyarrow's batches end in silence where a column has fewer values than its row group declares.
        declared = self._file.metadata.row_group(group).num_rows
        if start - first != declared:
            held = f"column {brief(names[0], 120)} holds" if len(names) == 1 else "columns hold"
            rows = counted(declared, "row")
            raise ValueError(f"row group {group:,} declares {rows}, and its {held} {start - first:,}")
        return start

    def _bounded(self, batches: Iterator[Any]) -> Iterator[Any]:
        self._bounds.of_batch()
        for batch in batches:
            yield batch
            self._bounds.of_batch()

    def _join(self, scratch: IO[bytes], rows: int, widths: Sequence[int], sink: Sink) -> None:
        """Write rows whose slices, of several columns each, lie one after the other in a file."""
        step = max(1, BATCH_CELLS // sum(widths))
        for start in range(0, rows, step):
            count = min(step, rows - start)
            blocks = []
            for first, width in zip(itertools.accumulate(widths, initial=0), widths, strict=False):
                scratch.seek((rows * first + start * width) * self.dtype.itemsize)
                blocks.append(np.fromfile(scratch, self.dtype, count * width).reshape(count, width))
            sink(np.hstack(blocks))

    def _check_nulls(self, array: Any, column: str, start: int, list_length: int | None = None) -> None:
        if array.null_count:
            at = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
            row, entry = divmod(at, list_length or 1)
            place = f"column {brief(column, 120)}, row {start + row:,}" + (f", entry {entry:,}" if list_length else "")
            raise StablemaxError(
                f"{self._name}: {place}: there is no value (null)", "write nan for a value that is not known"
            )

    def _list_rows(self, array: Any, start: int, column: str) -> Array:
        """Turn lists into rows, all of the length of the first."""
        lengths = array.value_lengths().to_numpy(zero_copy_only=False)
        if self.list_length is None:
            self.list_length = int(lengths[0])
        wrong = np.flatnonzero(lengths != self.list_length)
        if len(wrong):
            row = int(wrong[0])
            raise StablemaxError(
                f"{self._name}: column {brief(column, 120)}, row {start + row:,}: the list has "
                f"{counted(int(lengths[row]), 'entry', 'entries')}, but that of row 0 has {self.list_length:,}",
                "give every row as many classes",
            )
        flat = array.flatten()
        self._check_nulls(flat, column, start, self.list_length)
        rows: Array = flat.to_numpy(zero_copy_only=False).reshape(len(array), self.list_length)
        return rows

    def _class_numbers(self, labels: Sequence[str], column: str, start: int) -> list[float]:
        """Return the numbers of classes that labels name, or hold as text."""
        numbers = []
        for row, label in enumerate(map(str.strip, labels), start):
            if is_number(label):
                numbers.append(float(label))
            elif label in self._classes:
                numbers.append(self._classes[label])
                self.named = [class_names_note(self.class_names, self._name)]
            else:
                place = f"{self._name}: column {brief(column, 120)}, row {row:,}"
                raise no_class_error(place, label, self.class_names)
        return numbers

    def _note_inexact(self, numbers: Array, dtype: np.dtype[Any], column: str, start: int) -> None:
        inexact = None if self.inexact or dtype.kind != "f" else inexact_in_float64(numbers)
        if inexact is not None and inexact.any():
            at = int(np.argmax(inexact))
            place = f"column {brief(column, 120)}, row {start + at:,}"
            self.inexact.append(f"{self._name}: {place}: {int(numbers[at])} is not exact in float64")


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind))


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))
