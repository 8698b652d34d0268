"""Long tables: a line of row, class and value for each logit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from stablemax.inputs.stored import StoredArray
from stablemax.numerics.formats import Array
from stablemax.text.errors import StablemaxError

# Not id and label: id, label, score is a wide table, too, with the label of each row.
_TITLES = (
    frozenset({"row", "sample", "example", "i", "n"}),
    frozenset({"class", "column", "col", "j", "k"}),
    frozenset({"value", "logit", "logits", "score"}),
)


def is_long(header: Sequence[str]) -> bool:
    """Whether a header names a row, a class and a value, in this order.

    >>> is_long(("row", "class", "logit")), is_long(("cat", "dog", "bird"))
    (True, False)
    """
    return len(header) == 3 and all(title.lower() in known for title, known in zip(header, _TITLES, strict=True))


def widened(stored: StoredArray) -> StoredArray:
    """Return a long table (N * K, 3) as logits (N, K); refuse one that lacks a class of a row, or has it twice."""
    order, rows, classes = _order(stored.array, stored.name)
    logits = stored.array[order, 2].reshape(rows, classes)
    logits.flags.writeable = False
    note = f"{stored.name}: lines of row, class and value taken as {rows:,} rows x {classes:,} classes"
    return replace(stored, shape=logits.shape, memory=logits, path="", class_names=(), notes=(*stored.notes, note))


def widened_cells(lines: Sequence[Sequence[str]], name: str) -> Iterator[list[str]]:
    """Give the values of a long table row by row, as they are printed."""
    order, _, classes = _order(np.array([[float(cell) for cell in line] for line in lines]), name)
    values = [lines[place][2] for place in order.tolist()]
    for start in range(0, len(values), classes):
        yield values[start : start + classes]


def _order(table: Array, name: str) -> tuple[Array, int, int]:
    """Return the lines in the order of the rows, and how many rows and classes there are."""
    numbers, hint = table[:, :2], "count rows and classes from 0; --header reads the three columns as classes"
    with np.errstate(invalid="ignore"):
        wrong = ~((numbers >= 0) & (numbers < len(table)) & (numbers == np.floor(numbers))).all(axis=1)
    if wrong.any():
        row, column = table[np.argmax(wrong), :2].tolist()
        raise StablemaxError(f"{name}: is a table of row, class and value, but has row {row:g}, class {column:g}", hint)
    row_of, class_of = numbers.T.astype(np.int64)
    rows, classes = int(row_of.max()) + 1, int(class_of.max()) + 1
    order = np.lexsort((class_of, row_of))
    places = (row_of * classes + class_of)[order]
    expected = np.arange(min(len(places), rows * classes))
    differs = places[: len(expected)] != expected
    if len(places) != rows * classes or differs.any():
        at = int(np.argmax(differs)) if differs.any() else len(expected)
        is_twice = at > 0 and at < len(places) and places[at] == places[at - 1]
        row, column = divmod(int(places[at]) if is_twice else at, classes)
        what = "twice" if is_twice else "nowhere"
        raise StablemaxError(
            f"{name}: is a table of row, class and value, but has row {row:,}, class {column:,} {what}",
            "give each row each class once (nan for an unknown one); --header reads the three columns as classes",
        )
    return order, rows, classes
