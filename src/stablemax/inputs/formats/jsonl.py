"""JSON lines: an object or a list a line, and JSON documents of rows or of columns."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from stablemax.inputs.file_format import FileFormat, OpenedFile
from stablemax.inputs.foreign_text import brief, listed, size_of
from stablemax.inputs.formats.list_cells import TEXT_LIMIT, ListRow, check_number, stored_lists
from stablemax.inputs.formats.table_layout import INDEX_NAMES, label_notes
from stablemax.inputs.formats.text_blocks import text_blocks
from stablemax.inputs.spooled import Spool
from stablemax.inputs.stored import StoredArray
from stablemax.text.errors import StablemaxError

LOGITS = "logits"
"""The key that holds the logits where several hold lists."""
PARSED_BYTES = 300 * 2**20
"""Most memory that what is parsed at once may take: a line, or the one document."""
_SHAPES = 'write one row a line: {"logits": [1.5, 2.5], "label": 0}'


class _Number(str):
    """A number as it is printed; NaN and the infinities, which JSON lacks, may stand in quotes."""

    __slots__ = ()


@dataclass(frozen=True)
class _Fields:
    """Which keys of an object hold what."""

    #: The key of a list of logits, or one key a class.
    logits: str | tuple[str, ...]
    label: str | None


def open_jsonl(file: OpenedFile) -> StoredArray:
    r"""Read rows of JSON to float64.

    Every line is a row: a list of logits, an object with such a list, or an object with a number for each class. One
    document may hold all rows: a list of them, or an object of columns.

    >>> import io
    >>> text = b'{"logits": [1, 2], "text": "a"}\n{"logits": [3, 4], "text": "b"}\n'
    >>> stored = open_jsonl(OpenedFile(io.BytesIO(text), "x.jsonl"))
    >>> stored.array.tolist(), stored.notes
    ([[1.0, 2.0], [3.0, 4.0]], ('x.jsonl: logits holds the logits; text left out',))
    """
    notes = list[str]()
    with Spool(file.name, file.limits.in_memory) as values, Spool(file.name, file.limits.in_memory) as labels:
        return stored_lists(_rows(file, notes), values, labels, notes, FORMAT.name)


def visit_numbers(file: OpenedFile, visit: Callable[[list[str]], None]) -> None:
    """Call a visitor with the numbers of each row as they are printed."""
    for row in _rows(file, []):
        visit(row.cells)


def _rows(file: OpenedFile, notes: list[str]) -> Iterator[ListRow]:
    records = _records(file, notes)
    first = next(records, None)
    if first is None:
        raise StablemaxError(f"{file.name}: holds no rows", _SHAPES)
    fields = _fields(first[1], file, notes) if isinstance(first[1], dict) else None
    asked = file.table.label_column or file.member
    if fields is None and asked:
        raise StablemaxError(f"{file.name}: its rows are lists, which have no key {brief(asked, 120)!r}", _SHAPES)
    width = -1
    for line, record in itertools.chain([first], records):
        row = _row(record, fields, f"{file.name}: row {line:,}", line)
        width = len(row.cells) if width < 0 else width
        if len(row.cells) != width:
            raise StablemaxError(
                f"{file.name}: row {line:,} has {len(row.cells):,} logits, but the first row has {width:,}",
                "give every row as many numbers; write NaN for a value that is not known",
            )
        yield row


def _records(file: OpenedFile, notes: list[str]) -> Iterator[tuple[int, Any]]:
    """Give rows of JSON, counted from 0: those of lines, or those of the one document."""
    lines = (line for line in _lines(file, notes) if line.strip())
    first, second = next(lines, ""), next(lines, None)
    if not first:
        return
    if second is None or not _is_json(first):
        yield from enumerate(_of_document(_parsed(_whole(first, second, lines, file.name), file.name, ""), file.name))
        return
    for number, line in enumerate(itertools.chain([first, second], lines)):
        yield number, _parsed(line, file.name, f"row {number:,}: ")


def _lines(file: OpenedFile, notes: list[str]) -> Iterator[str]:
    for _, block in text_blocks(file.stream, file.name, notes):
        yield from block.decode().split("\n")


def _whole(first: str, second: str | None, lines: Iterator[str], name: str) -> str:
    pieces, size = [first, second or ""], 0
    for line in lines:
        size += len(line)
        if size > TEXT_LIMIT:
            raise StablemaxError(f"{name}: is one JSON document of more than {size_of(TEXT_LIMIT)}", _SHAPES)
        pieces.append(line)
    return "\n".join(pieces)


def _is_json(text: str) -> bool:
    if _takes_much(text):  # a row that is refused as such
        return True
    try:
        json.loads(text, parse_int=_Number)
    except (ValueError, RecursionError):
        return False
    return True


def _takes_much(text: str) -> bool:
    """Whether a text of JSON may take more memory than is given to it: numbers, lists and objects cost most."""
    if len(text) < PARSED_BYTES // 250:
        return False
    return 100 * text.count(",") + 80 * text.count("[") + 250 * text.count("{") > PARSED_BYTES


def _parsed(text: str, name: str, place: str) -> Any:
    if _takes_much(text):
        raise StablemaxError(f"{name}: {place}takes more than {size_of(PARSED_BYTES)} once it is parsed", _SHAPES)
    try:
        return json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number)
    except json.JSONDecodeError as error:
        message = f"{name}: {place}is not JSON: {error.msg} (line {error.lineno:,}, column {error.colno:,})"
        raise StablemaxError(message, _SHAPES) from None
    except RecursionError:
        raise StablemaxError(f"{name}: {place}is nested too deeply", _SHAPES) from None


def _of_document(document: Any, name: str) -> list[Any]:
    """Return the rows of one document: of a list of rows, of columns, or the single row that it is."""
    if isinstance(document, list):
        return document if document and isinstance(document[0], (list, dict)) else [document]
    if not isinstance(document, dict):
        return [document]
    columns = {key: value for key, value in document.items() if isinstance(value, list) and value}
    if not any(isinstance(value[0], list) for value in columns.values()):
        return [document]
    lengths = {len(value) for value in columns.values()}
    if len(lengths) > 1:
        counts = listed(f"{key} {len(value):,}" for key, value in columns.items())
        raise StablemaxError(f"{name}: its lists differ in length: {counts}", _SHAPES)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _fields(record: dict[str, Any], file: OpenedFile, notes: list[str]) -> _Fields:
    """Find the keys of the logits and of the label, and say what is left out."""
    name, label = file.name, file.table.label_column
    if label is not None and label not in record:
        raise StablemaxError(f"{name}: has no key {brief(label, 120)!r}", f"its keys are: {listed(record)}")
    lists = [key for key, value in record.items() if isinstance(value, list) and key != label]
    logits: str | tuple[str, ...]
    if file.member is not None or len(lists) > 1:
        chosen = LOGITS if file.member is None and LOGITS in lists else None
        logits = chosen or lists[file.pick(lists, FORMAT)]
    elif lists:
        (logits,) = lists
    else:
        logits = tuple(
            key
            for key, value in record.items()
            if _is_number(value) and key != label and key.lower() not in INDEX_NAMES
        )
        if not logits:
            raise StablemaxError(f"{name}: no key holds numbers: {listed(record)}", _SHAPES)
    taken = {label, *([logits] if isinstance(logits, str) else logits)}
    left_out = [key for key in record if key not in taken]
    words = f"; {listed(left_out)} left out" if left_out else ""
    what = f"{brief(logits, 120)} holds the logits" if isinstance(logits, str) else f"classes are {listed(logits, 200)}"
    notes.append(f"{name}: {what}{words}")
    if label is None:
        notes.extend(label_notes(left_out, name, "left out", in_columns=False))
    return _Fields(logits, label)


def _row(record: Any, fields: _Fields | None, place: str, number: int) -> ListRow:
    if fields is None:
        return ListRow(number, _numbers(record, place))
    keys = [fields.logits] if isinstance(fields.logits, str) else fields.logits
    for key in (*keys, *([] if fields.label is None else [fields.label])):
        if not isinstance(record, dict) or key not in record:
            raise StablemaxError(f"{place} has no key {brief(key, 120)!r}, which the first row has", _SHAPES)
    cells = record[fields.logits] if isinstance(fields.logits, str) else [record[key] for key in fields.logits]
    name = fields.label
    label = None if name is None else _label(record[name], fields, f"{place}, {brief(name, 120)}")
    return ListRow(number, _numbers(cells, place), label)


def _label(value: Any, fields: _Fields, place: str) -> str:
    """Return the number of a label: a class may go by its key."""
    if isinstance(value, str) and not isinstance(value, _Number):
        if isinstance(fields.logits, str) or value not in fields.logits:
            known = "" if isinstance(fields.logits, str) else f"; classes are: {listed(fields.logits)}"
            message = f"{place}: the label '{brief(value)}' is no class number"
            raise StablemaxError(message, f"write class numbers, from 0 on{known}")
        return str(fields.logits.index(value))
    return _number(value, place)


def _numbers(cells: Any, place: str) -> list[str]:
    if not isinstance(cells, list) or not cells:
        raise StablemaxError(f"{place}: {brief(_shown(cells), 120)} is no list of numbers", _SHAPES)
    return [_number(cell, place) for cell in cells]


def _number(value: Any, place: str) -> str:
    if isinstance(value, list):
        raise StablemaxError(f"{place}: holds a list where a number is needed", _SHAPES)
    if not isinstance(value, str):
        hint = "write NaN for a value that is not known" if value is None else "write a number"
        raise StablemaxError(f"{place}: {brief(_shown(value), 120)} is not a number", hint)
    check_number(value, place)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, _Number) or value in ("NaN", "Infinity", "-Infinity")


def _shown(value: Any) -> str:
    return json.dumps(value)


FORMAT = FileFormat(
    *("jsonl", "JSON, a row a line", (".jsonl", ".ndjson", ".json"), open_jsonl),
    open_pipe=open_jsonl,
    members="key",
    is_table=True,
    # A table may begin with a bracket, and never with a brace.
    guess=re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe)?\s*\{"),
    cells=visit_numbers,
)
