"""Parquet: numeric columns as classes, or one column of lists; the only module that knows pyarrow."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from stablemax.errors import StablemaxError
from stablemax.inputs.layout import label_place
from stablemax.inputs.spool import IN_MEMORY, Spool
from stablemax.inputs.wording import brief

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stablemax.formats import Array
    from stablemax.inputs.layout import TableOptions
    from stablemax.inputs.stored import StoredArray

BATCH_CELLS = 2**18
"""Numbers that are converted at a time."""
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


def open_parquet(stream: BinaryIO, options: TableOptions, name: str, *, in_memory: int = IN_MEMORY) -> StoredArray:
    """Read a Parquet file, batch by batch.

    Every numeric column is a class; a file of one column of lists has a row of logits in each list.
    Numbers keep their type where all columns have the same one, else they become float64.

    Parameters
    ----------
    stream : BinaryIO
        The file; it can seek.
    options : TableOptions
        The label column, and whether the first column is an index; the rest is for text.
    name : str
        For messages, already fit for one.
    in_memory : int
        Most bytes to keep in memory.

    Returns
    -------
    StoredArray
        (N, K), with the label column as float64 (N,).

    Raises
    ------
    StablemaxError
        When pyarrow is missing, the file is damaged, or a column does not hold numbers alone.

    Examples
    --------
    >>> import io
    >>> from stablemax.inputs.layout import TableOptions
    >>> open_parquet(io.BytesIO(b"PAR1"), TableOptions(), "x.parquet")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    stablemax.errors.StablemaxError: x.parquet: ...
    """
    parquet = _pyarrow(name)
    notes: list[str] = []
    with _errors(name), Spool(name, in_memory) as values, Spool(name, in_memory) as labels:
        file = parquet.ParquetFile(stream, buffer_size=2**20, pre_buffer=False)
        columns, label = _columns(file.schema_arrow, options, name, notes)
        types = [file.schema_arrow.field(at).type for at in columns]
        lists = len(columns) == 1 and _is_list(types[0])
        _check_types(file.schema_arrow, [*columns, *([] if label is None else [label])], name, lists=lists)
        dtype = _dtype(types)
        count, width, inexact = 0, None if lists else len(columns), ""
        places = [*columns, *([] if label is None else [label])]
        names = [file.schema_arrow.names[at] for at in places]
        # Columns are asked for by name; where two have the same one, all are read.
        unique = len(set(file.schema_arrow.names)) == len(file.schema_arrow.names)
        rows = _batch_rows(file, len(columns), lists=lists)
        for batch in file.iter_batches(rows, columns=names if unique else None):
            arrays = [batch.column(one) for one in (names if unique else places)]
            for one, array in zip(names, arrays, strict=True):
                _check_nulls(array, one, count, name)
            if lists:
                block, width = _list_rows(arrays[0], width, count, names[0], name)
            else:
                block = np.empty((len(batch), len(columns)), dtype)
                for place, array in enumerate(arrays[: len(columns)]):
                    numbers = array.to_numpy(zero_copy_only=False)
                    block[:, place] = numbers
                    inexact = inexact or _inexact(numbers, dtype, names[place], count)
            values.write(block)
            if label is not None:
                labels.write(arrays[-1].to_numpy(zero_copy_only=False).astype(np.float64))
            count += len(batch)
        if not count or width is None:
            raise StablemaxError(f"{name}: holds no rows", "save at least one row of logits")
        if inexact:
            notes.append(f"{name}: {inexact}")
        found = None if label is None else labels.stored((count,), np.dtype(np.float64), format="parquet")
        return values.stored((count, width), dtype, format="parquet", labels=found, notes=tuple(notes))


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


def _batch_rows(file: Any, columns: int, *, lists: bool) -> int:
    cells = columns
    if lists and file.metadata.num_rows:
        group = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
        values = sum(one.column(at).num_values for one in group for at in range(one.num_columns))
        cells = max(1, values // file.metadata.num_rows)
    return max(1, BATCH_CELLS // cells)


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


def _inexact(numbers: Array, dtype: np.dtype[Any], column: str, start: int) -> str:
    """Note the first integer that float64 does not hold, where columns of several types become float64."""
    if dtype.kind != "f" or numbers.dtype.kind not in "iu" or numbers.dtype.itemsize < 8:
        return ""
    # Python compares an integer with a float exactly; NumPy would round first.
    large = np.flatnonzero((numbers > 2**53) | (numbers < -(2**53)))
    row = next((int(at) for at in large if int(numbers[at]) != float(numbers[at])), None)
    if row is None:
        return ""
    return f"column {brief(column, 120)}, row {start + row:,}: {int(numbers[row])} is not exact in float64"
