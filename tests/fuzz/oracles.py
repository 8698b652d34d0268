"""What other readers make of a file: NumPy, the csv module with float(), json, safetensors and pyarrow.

A table or a text may be read in more than one way. The program says which way it took (a header, a delimiter, an
index), and the reference takes the same: what is accepted has to be what it was announced to be.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from typing import Any

import numpy as np

from stablemax.inputs.file_format import TableOptions
from stablemax.inputs.stored import StoredArray
from stablemax.numerics.formats import Array


@dataclass(frozen=True)
class Read:
    """What a reference reads."""

    array: Array
    #: The column of labels.
    labels: Array | None = None


class UnreadError(Exception):
    """The reference refuses the file."""


def of_npy(content: bytes, stored: StoredArray, member: str | None, options: TableOptions) -> Read:
    """Read as numpy.load does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # NumPy reads Python 2's long integers, and text that is no UTF-8, in headers of versions 1 and 2 alone.
        plain = content[:6] + b"\x02" + content[7:] if content[6] == 3 else content
        return Read(np.load(io.BytesIO(plain), allow_pickle=False))


def of_npz(content: bytes, stored: StoredArray, member: str | None, options: TableOptions) -> Read:
    """Read a member as numpy.load does."""
    archive = zipfile.ZipFile(io.BytesIO(content))
    arrays = [name for name in archive.namelist() if name.endswith(".npy")]
    if member is None:
        (name,) = arrays
    else:
        name = member if member in arrays else f"{member}.npy"
    return of_npy(archive.read(name), stored, None, options)


def of_safetensors(content: bytes, stored: StoredArray, member: str | None, options: TableOptions) -> Read:
    """Read a tensor as the library of Hugging Face does."""
    import safetensors

    deserialize: Any = safetensors.deserialize

    try:
        tensors = dict(deserialize(content))
    except safetensors.SafetensorError:
        # One tensor is read whatever else the file holds: metadata of any kind, types of the future, names of any sort.
        tensors, member = dict(deserialize(_alone(content, member))), None
    tensor = next(iter(tensors.values())) if member is None else tensors[member]
    return Read(np.frombuffer(bytes(tensor["data"]), stored.dtype).reshape(tensor["shape"]))


def _alone(content: bytes, member: str | None) -> bytes:
    """Return a file that holds one tensor of a file."""
    begin = 8 + int.from_bytes(content[:8], "little")
    table = json.loads(content[8:begin])
    table.pop("__metadata__", None)
    entry = next(iter(table.values())) if member is None else table[member]
    start, end = entry["data_offsets"]
    header = json.dumps({"x": entry | {"data_offsets": [0, end - start]}}).encode()
    return len(header).to_bytes(8, "little") + header + content[begin + start : begin + end]


def of_parquet(content: bytes, stored: StoredArray, member: str | None, options: TableOptions) -> Read:
    """Read all columns as pyarrow does."""
    import pyarrow as pa
    from pyarrow import parquet

    opened = parquet.ParquetFile(pa.BufferReader(content), pre_buffer=False)
    names = list(opened.schema_arrow.names)
    places = list(range(len(names)))
    label = None if options.label_column is None else _place(options.label_column, names)
    index = 0 if options.index_column else None
    if any("taken as the index of pandas" in note for note in stored.notes):
        index = names.index("__index_level_0__")
    # What is left out is not read, and may be damaged.
    read = [name for place, name in enumerate(names) if place != index] if len({*names}) == len(names) else None
    table = opened.read(columns=read, use_threads=False)
    table.validate(full=True)
    columns = [column.combine_chunks() for column in table.columns]
    if read is not None and index is not None:
        columns.insert(index, None)
    kept = [place for place in places if place not in (label, index)]
    titles = tuple(names[place] for place in kept)
    labels = None if label is None else _plain_column(columns[label], titles).astype(float)
    if len(kept) == 1 and isinstance(columns[kept[0]].type, (pa.ListType, pa.LargeListType, pa.FixedSizeListType)):
        lists = columns[kept[0]]
        flat = lists.flatten()
        if lists.null_count or flat.null_count:
            raise UnreadError("a null")
        return Read(flat.to_numpy(zero_copy_only=False).reshape(len(lists), -1), labels)
    of_labels = options.class_names if options.class_names is not None and len(kept) == 1 else None
    arrays = [_plain_column(columns[place], of_labels) for place in kept]
    return Read(
        np.column_stack(arrays)
        if len({a.dtype for a in arrays}) == 1
        else np.column_stack([a.astype(float) for a in arrays]),
        labels,
    )


def _plain_column(column: Any, class_names: Sequence[str] | None) -> Array:
    if column.null_count:
        raise UnreadError("a null")
    values: list[Any] = column.to_pylist()
    if values and isinstance(values[0], str):
        names = [value.strip() for value in values]
        return np.array([float(n) if _is_float(n) else _class_number(n, class_names or ()) for n in names])
    array: Array = column.to_numpy(zero_copy_only=False)
    return array


def _place(asked: str, names: Sequence[str]) -> int:
    return list(names).index(asked) if asked in names else int(asked)


def _class_number(title: str, class_names: Sequence[str]) -> float:
    if list(class_names).count(title) != 1:
        raise UnreadError(f"{title!r} is no class")
    return float(list(class_names).index(title))


def _is_float(text: str) -> bool:
    if not text.isascii() or "_" in text:
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> float:
    # What float() reads beyond this is refused: 1_000, digits of other scripts, blanks that are none.
    if not text.isascii() or "_" in text:
        raise UnreadError(f"{text!r} is no number")
    value = float(text)
    if math.isinf(value) and "n" not in text.lower():
        raise UnreadError(f"{text!r} is outside float64")
    return value


def text_of(content: bytes, notes: Sequence[str]) -> str:
    """Decode a text as its byte order mark says, or as it was announced to be."""
    marks = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
    found = next((one for one in marks if content.startswith(one[0])), None)
    codec = "utf-8"
    if found is not None:
        content, codec = content.removeprefix(found[0]), found[1]
    elif any("read as UTF-16, which begins without" in note for note in notes):
        codec = "utf-16-le" if content[1] == 0 else "utf-16-be"
    return io.TextIOWrapper(io.BytesIO(content), codec, newline=None).read()


_CALLED = {"commas": ",", "semicolons": ";", "tabs": "\t", "pipes": "|", "blanks": " "}
_WORDS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}


def _delimiter(stored: StoredArray, options: TableOptions) -> str:
    if options.delimiter is not None:
        return _WORDS.get(options.delimiter, options.delimiter)
    for note in stored.notes:
        if match := re.search(r": cells are separated by (\w+)$", note):
            return _CALLED[match[1]]
    return "\t" if stored.format == "tsv" else ","


def _lines(text: str, comment: str) -> list[str]:
    lines = [line for line in text.split("\n") if not (comment and line.lstrip().startswith(comment))]
    while lines and not lines[-1].strip(" "):
        lines.pop()
    return lines


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        words = _words(line)
        return [(one[1:-1] if len(one) > 1 and one[0] == one[-1] == '"' else one).strip() for one in words]
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [""])]


def _words(line: str) -> Iterator[str]:
    """Cut a line at blanks that stand in no quotes."""
    word, is_quoted = "", False
    for sign in line:
        if sign.isspace() and not is_quoted:
            if word:
                yield word
            word = ""
            continue
        is_quoted = (not is_quoted if word == "" or is_quoted else False) if sign == '"' else is_quoted
        word += sign
    if word:
        yield word


def of_table(content: bytes, stored: StoredArray, member: str | None, options: TableOptions) -> Read:
    """Read with the csv module, and cells with float()."""
    said = " | ".join(stored.notes)
    text = text_of(content, stored.notes)
    if "taken as a row of logits" in said or "holds a list a row" in said:
        return _of_lists(text, stored, options)
    csv.field_size_limit(2**25)
    rows = [_cells(line, _delimiter(stored, options)) for line in _lines(text, options.comment)]
    has_header = options.header if options.header is not None else "taken as a header" in said
    names = rows.pop(0) if has_header else []
    if "lines of row, class and value taken as" in said:
        return _of_long(rows)
    label = None if options.label_column is None else _place(options.label_column, names)
    index = 0 if options.index_column or "taken as an index and left out" in said else None
    if len({*map(len, rows), *([len(names)] if has_header else [])}) != 1:
        raise UnreadError("rows differ in length")
    kept = [place for place in range(len(rows[0])) if place not in (label, index)]
    classes = options.class_names if options.class_names is not None else [n for k, n in enumerate(names) if k in kept]
    of_labels = options.class_names is not None and len(kept) == 1
    if index is not None and not options.index_column and [_number(row[0]) for row in rows] != list(range(len(rows))):
        raise UnreadError("the index does not count")

    def value(text: str, *, is_label: bool) -> float:
        return _class_number(text, classes) if is_label and not _is_float(text) else _number(text)

    array = np.array([[value(row[place], is_label=of_labels) for place in kept] for row in rows])
    labels = None if label is None else np.array([value(row[label], is_label=True) for row in rows])
    return Read(array, labels)


def _of_long(rows: list[list[str]]) -> Read:
    """Read lines of row, class and value, each of which stands once."""
    if {len(row) for row in rows} != {3}:
        raise UnreadError("lines differ in length")

    def numbers(column: int, *, sort: bool) -> list[int]:
        words = [row[column] for row in rows]
        if all(map(_is_float, words[:50])):
            return [int(_number(word)) for word in words]
        order = list(dict.fromkeys(words))
        return [(sorted(order) if sort else order).index(word) for word in words]

    places = list(zip(numbers(0, sort=False), numbers(1, sort=True), strict=True))
    shape = tuple(max(place[axis] for place in places) + 1 for axis in range(2))
    if sorted(places) != [(row, column) for row in range(shape[0]) for column in range(shape[1])]:
        raise UnreadError("a logit is missing, or stands twice")
    array = np.empty(shape)
    for place, row in zip(places, rows, strict=True):
        array[place] = _number(row[2])
    return Read(array)


def _of_lists(text: str, stored: StoredArray, options: TableOptions) -> Read:
    """Read each innermost pair of brackets of a cell that begins as a list."""
    comment = options.comment
    lines = ["" if comment and line.lstrip().startswith(comment) else line for line in text.split("\n")]
    whole, column = "\n".join(lines), None
    for note in stored.notes:
        if match := re.search(r": column (\d+).* holds a list a row", note, re.DOTALL):
            column = int(match[1]) - 1
    if column is None:
        return Read(np.array([_numbers(inner) for inner in _innermost(whole)]))
    delimiter = _list_delimiter(whole, stored, options)
    records, names = list(_records(whole, delimiter)), list[str]()
    # A header may hold brackets that are never closed, and ends at the end of its line nevertheless.
    first, *rest = dropwhile(lambda line: not line.strip(), whole.split("\n"))
    titles = next(_records(first, delimiter), ["["])
    if options.header and titles == ["["]:
        names = records.pop(0)
    elif options.header or (options.header is None and not any(_begins_list(c) or _is_float(c) for c in titles)):
        names, records = titles, list(_records("\n".join(rest), delimiter))
    found = [list(_innermost(record[column])) for record in records]
    if any(len(one) != 1 for one in found):
        raise UnreadError("not one list a row")
    array = np.array([_numbers(one[0]) for one in found])
    if options.label_column is None:
        return Read(array)
    label = _place(options.label_column, names)
    return Read(array, np.array([_number(record[label]) for record in records]))


def _list_delimiter(text: str, stored: StoredArray, options: TableOptions) -> str:
    """Return the sign that stands most often outside of quotes and brackets."""
    if options.delimiter is not None:
        return _WORDS.get(options.delimiter, options.delimiter)
    opening, ending = r"(?:(?:torch\.)?tensor|(?:(?:np|numpy)\.)?array)\s*\(\s*", r"(?:\s*,[^\[\]\n]*?)?\)"
    outside = re.sub(rf'"[^"]*"|(?:{opening})?\[{{1,3}}[^\[\]]*\]{{1,3}}(?:{ending})?', "x", text).split("\n")[:50]
    counts = {sign: (sum(sign in line for line in outside), sign in outside[0]) for sign in "\t;|,"}
    best = max(counts, key=lambda sign: counts[sign])
    if counts[best][0]:
        return best
    has_words = any(len(line.split()) > 1 for line in outside[1:] or outside)
    return " " if has_words else "\t" if stored.format == "tsv" else ","


def _records(text: str, delimiter: str) -> Iterator[list[str]]:
    """Cut a text at delimiters and line ends outside of quotes, brackets and parentheses."""
    cells, cell, is_quoted, was_quoted, depth = list[str](), "", False, False, 0
    opening = re.compile(r"\s*(?:(?:torch\.)?tensor|(?:(?:np|numpy)\.)?array)\s*")
    signs = (" ", "\t", "\n") if delimiter == " " else (delimiter, "\n")
    # What is never closed does not begin anything.
    closed, called = re.compile(r"\[{1,3}[^\[\]]*\]"), re.compile(r"\s*\(\s*\[{1,3}[^\[\]]*\]")
    for place, sign in enumerate([*text, "\n"]):
        if is_quoted:
            is_quoted = sign != '"'
            cell += "" if sign == '"' else sign
        elif sign == '"' and not cell.strip():
            is_quoted = was_quoted = True
            cell = ""
        elif sign == '"' and was_quoted:
            is_quoted, cell = True, cell + '"'
        elif sign in signs and not depth and not (opening.fullmatch(cell) and called.match(text, place)):
            if delimiter == " " and sign != "\n" and not cell.strip() and not was_quoted:
                continue
            cells.append(cell.strip())
            cell, was_quoted = "", False
            if sign == "\n":
                if any(cells):
                    yield cells
                cells = []
        else:
            begins = (
                closed.match(text, place) if not cell.strip() else opening.fullmatch(cell) and called.match(text, place)
            )
            is_open = depth or begins
            depth = max(0, depth + (sign in "[(") - (sign in ")]")) if is_open else 0
            cell += sign


def _begins_list(cell: str) -> bool:
    return re.match(r"(?:(?:torch\.)?tensor\s*\(\s*|(?:(?:np|numpy)\.)?array\s*\(\s*)?\[", cell) is not None


def _innermost(text: str) -> Iterator[str]:
    begin = -1
    for place, sign in enumerate(text):
        if sign == "[":
            begin = place
        elif sign == "]" and begin >= 0:
            yield text[begin + 1 : place]
            begin = -1


def _numbers(inner: str) -> list[float]:
    plain = re.sub(r"\b(?:np|numpy)\.\w+\(([^()]*)\)", r"\1", inner).strip().removesuffix(",").strip()
    if not plain:
        return []
    words = [word.split() for word in plain.split(",")]
    if not all(words):
        raise UnreadError("nothing between two commas")
    return [_number(word) for group in words for word in group]


def of_jsonl(content: bytes, stored: StoredArray, member: str | None, options: TableOptions) -> Read:
    """Read with the json module."""
    text = text_of(content, stored.notes)
    records = _json_records(text)
    first = records[0]
    if not isinstance(first, dict):
        return Read(np.array([[_json_number(one) for one in record] for record in records], float))
    label = options.label_column
    lists = [key for key, value in first.items() if isinstance(value, list) and key != label]
    if lists:
        key = member or ("logits" if "logits" in lists and len(lists) > 1 else lists[0])
        rows = [record[key] for record in records]
        keys: list[str] = []
    else:
        keys = [
            *(
                k
                for k, v in first.items()
                if _is_json_number(v) and k != label and k.lower() not in ("", "unnamed: 0", "index", "id")
            )
        ]
        rows = [[record[key] for key in keys] for record in records]
    array = np.array([[_json_number(one) for one in row] for row in rows], float)
    if label is None:
        return Read(array)
    named = [keys.index(r[label]) if keys and r[label] in keys else _json_number(r[label]) for r in records]
    return Read(array, np.array(named, float))


class _Printed(str):
    """A number of JSON as it is printed."""

    __slots__ = ()


def _loads(text: str) -> Any:
    return json.loads(text, parse_int=_Printed, parse_float=_Printed, parse_constant=_Printed)


def _json_records(text: str) -> list[Any]:
    lines = [line for line in text.split("\n") if line.strip()]
    try:
        records = [_loads(line) for line in lines]
    except ValueError:
        records = []
    if len(records) > 1:
        return records
    document = _loads("\n".join(lines))
    if isinstance(document, list) and document and isinstance(document[0], (list, dict)):
        return document
    columns = {k: v for k, v in document.items() if isinstance(v, list) and v} if isinstance(document, dict) else {}
    if any(isinstance(column[0], list) for column in columns.values()):
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [document]


def _is_json_number(value: object) -> bool:
    return isinstance(value, _Printed) or value in ("NaN", "Infinity", "-Infinity")


def _json_number(value: object) -> float:
    if not isinstance(value, str):
        raise UnreadError(f"{value!r} is no number")
    return _number(value)


ORACLES: dict[str, Callable[[bytes, StoredArray, str | None, TableOptions], Read]] = {
    "npy": of_npy,
    "npz": of_npz,
    "csv": of_table,
    "tsv": of_table,
    "jsonl": of_jsonl,
    "safetensors": of_safetensors,
    "parquet": of_parquet,
}
"""The reference of each file format."""


def same_bits(ours: Array, theirs: Array) -> bool:
    """Whether two arrays have one type, one shape and the same bits; any two NaN of a text are one."""
    if ours.dtype.newbyteorder("=") != theirs.dtype.newbyteorder("=") or ours.shape != theirs.shape:
        return False
    return (
        np.ascontiguousarray(ours).astype(ours.dtype.newbyteorder("=")).tobytes()
        == np.ascontiguousarray(theirs).astype(theirs.dtype.newbyteorder("=")).tobytes()
    )
